"""Interface of slides: size, micrometres per pixel (mpp), and regions at any mpp.

Coordinates are level-0 pixels, top-left, x before y; arrays are (height, width, 3) uint8 RGB.
Pixels outside the slide, and those that the scanner left out, are white.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from crosstype.errors import Fault, SlideError

WHITE = 255
LEAST_MPP, MOST_MPP = 0.05, 20.0
MPP_TOLERANCE = 0.02
"""Relative deviation of scanners' pixels from their nominal size: a level this near to the
requested mpp, or to a whole multiple, is not resampled. 0.2528 um/px is read as 0.5 by halving."""
ENLARGED, MOST_ENLARGED = 1.2, 1.9
"""Pixels this much larger than requested are warned of, and refused. 20x slides measure up to
0.6 um per pixel; at half the resolution, or with a tag off by ten, detail is lost."""
STRIP_PX = 1 << 24
"""Thumbnails are read in strips of about this many pixels at most, to limit memory."""
LANCZOS_REACH = 3


@dataclass(frozen=True)
class Level:
    """One resolution of a slide.

    Attributes:
        size_px: width and height in this level's pixels.
        downsample: level-0 pixels per pixel of this level.
    """

    size_px: tuple[int, int]
    downsample: float


class Slide(ABC):
    """A slide open for reading; thread-safe.

    Attributes:
        path: the file.
        slide_id: the file's name without its suffix.
        mpp: micrometres per level-0 pixel.
        levels: the resolutions, finest first.
    """

    def __init__(self, path: Path, mpp: float, levels: Sequence[Level]) -> None:
        """Set the attributes of an open slide."""
        self.path = path
        self.slide_id = path.stem
        self.mpp = mpp
        self.levels = tuple(levels)

    @abstractmethod
    def _read_level(self, level: int, box_px: tuple[int, int, int, int]) -> NDArray[np.uint8]:
        """Return the pixels of (left, top, right, bottom), which lies inside the level."""

    @abstractmethod
    def close(self) -> None:
        """Close the file."""

    def __enter__(self) -> Self:
        """Return the slide itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height in level-0 pixels."""
        return self.levels[0].size_px

    def scale_of(self, mpp: float) -> tuple[int, float]:
        """Return the level to read for an mpp, and its pixels per requested pixel.

        The coarsest level that is at least as fine (within 2%); if there is none the finest, which
        is then magnified (a factor below 1).
        """
        coarsest = mpp * (1 + MPP_TOLERANCE)
        fine = [i for i, one in enumerate(self.levels) if self.mpp * one.downsample <= coarsest]
        best = max(fine, key=lambda i: self.levels[i].downsample, default=0)
        factor = mpp / (self.mpp * self.levels[best].downsample)
        whole = max(1, round(factor))
        return best, float(whole) if abs(factor / whole - 1) <= MPP_TOLERANCE else factor

    def footprint_px(self, size_px: int, mpp: float) -> float:
        """Return the length in level-0 pixels of `size_px` pixels at `mpp`."""
        level, factor = self.scale_of(mpp)
        return size_px * factor * self.levels[level].downsample

    def read_region(self, x_px: int, y_px: int, size_px: int, mpp: float) -> NDArray[np.uint8]:
        """Return a square region at an mpp.

        Args:
            x_px: left edge in level-0 pixels; may lie outside the slide.
            y_px: top edge in level-0 pixels; may lie outside the slide.
            size_px: width and height of the result in pixels.
            mpp: micrometres per pixel of the result.

        Returns:
            (size_px, size_px, 3) uint8 RGB. Whole multiples of a level are averaged, others
            resampled by Lanczos including the neighbourhood, so that regions fit seamlessly.

        Raises:
            SlideError: pixels of the region are damaged; with their position.
        """
        level, factor = self.scale_of(mpp)
        x, y = (edge / self.levels[level].downsample for edge in (x_px, y_px))
        if factor == int(factor):
            source_px = size_px * int(factor)
            left, top = round(x), round(y)
            pixels = self._read_padded(level, (left, top, left + source_px, top + source_px))
            return pixels if factor == 1 else _reduced(pixels, int(factor))
        reach = math.ceil(LANCZOS_REACH * max(1.0, factor))
        extent = size_px * factor
        left, top = math.floor(x) - reach, math.floor(y) - reach
        right, bottom = (math.ceil(edge + extent) + reach for edge in (x, y))
        image = Image.fromarray(self._read_padded(level, (left, top, right, bottom)))
        inside = (x - left, y - top, x - left + extent, y - top + extent)
        resampled = image.resize((size_px, size_px), Image.Resampling.LANCZOS, box=inside)
        return np.array(resampled, dtype=np.uint8)

    def thumbnail(self, mpp: float) -> NDArray[np.uint8]:
        """Return the whole slide at a coarse mpp, averaged over areas.

        Pixel (row, column) covers exactly `mpp / slide.mpp` level-0 pixels each way, from
        column * mpp / slide.mpp on; the last ones are padded with white.

        Raises:
            SlideError: pixels of the slide are damaged; with their position.
        """
        fine = [i for i, level in enumerate(self.levels) if self.mpp * level.downsample <= mpp]
        level = max(fine, key=lambda i: self.levels[i].downsample, default=0)
        factor = mpp / (self.mpp * self.levels[level].downsample)
        width, height = (max(1, math.ceil(side * self.mpp / mpp - 1e-6)) for side in self.size_px)
        source_width = math.ceil(width * factor)
        n_rows = max(1, int(STRIP_PX / (source_width * factor)))
        strips = []
        for row in range(0, height, n_rows):
            n = min(n_rows, height - row)
            top, bottom = row * factor, (row + n) * factor
            first = math.floor(top)
            box_px = (0, first, source_width, math.ceil(bottom))
            image = Image.fromarray(self._read_padded(level, box_px))
            inside = (0.0, top - first, min(width * factor, source_width), bottom - first)
            strips.append(np.array(image.resize((width, n), Image.Resampling.BOX, box=inside)))
        return np.concatenate(strips)

    def _read_padded(self, level: int, box_px: tuple[int, int, int, int]) -> NDArray[np.uint8]:
        """Return a box of a level with white outside the slide."""
        left, top, right, bottom = box_px
        width, height = self.levels[level].size_px
        inside = (max(left, 0), max(top, 0), min(right, width), min(bottom, height))
        if inside == box_px:
            return self._read_level(level, box_px)
        canvas = np.full((bottom - top, right - left, 3), WHITE, np.uint8)
        if inside[0] < inside[2] and inside[1] < inside[3]:
            rows = slice(inside[1] - top, inside[3] - top)
            columns = slice(inside[0] - left, inside[2] - left)
            canvas[rows, columns] = self._read_level(level, inside)
        return canvas


def _reduced(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Return the means of squares of factor x factor pixels."""
    return np.array(Image.fromarray(pixels).reduce(factor), dtype=np.uint8)


def check_mpp(name: str, mpp: float) -> float:
    """Return the mpp if it is plausible.

    Raises:
        SlideError: it is outside 0.05 to 20 um per pixel, or NaN.
    """
    if LEAST_MPP <= mpp <= MOST_MPP:
        return mpp
    found = f"{mpp:g} micrometres per pixel, outside {LEAST_MPP} to {MOST_MPP:g}"
    raise SlideError(Fault(name, found, HOW_TO_GIVE_MPP))


def check_resolution(slide: Slide, mpp: float) -> None:
    """Check that a slide is not much coarser than the requested mpp.

    Raises:
        SlideError: it is; its pixels would be enlarged, and show no more detail.
    """
    if slide.mpp <= mpp * MOST_ENLARGED:
        return
    found = f"{slide.mpp:g} micrometres per pixel (mpp), coarser than the {mpp:g} of [tiles] mpp"
    remedy = (
        "If the slide's resolution tag is wrong, state the true one in the column MPP of the "
        "slides table; else raise [tiles] mpp or leave the slide out."
    )
    raise SlideError(Fault(slide.path.name, found, remedy))


HOW_TO_GIVE_MPP = (
    "Give its mpp in the column MPP of the slides table, or for all slides as mpp under [slides]."
)
"""Both ways to state a slide's micrometres per pixel, for error messages."""


def resolve_mpp(
    name: str, candidates: Sequence[float | None], missing: str = "no micrometres per pixel"
) -> float:
    """Return the first known mpp: of the slides table, the slide's metadata, the config.

    Raises:
        SlideError: none is known, or it is implausible; it is never guessed.
    """
    for mpp in candidates:
        if mpp is not None:
            return check_mpp(name, mpp)
    raise SlideError(Fault(name, f"the file states {missing}", HOW_TO_GIVE_MPP))
