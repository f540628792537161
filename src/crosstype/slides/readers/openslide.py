"""Reader of slides by OpenSlide, or by a faster reader with the same pixels."""

import os
import threading
from pathlib import Path

import numpy as np
import openslide
from numpy.typing import NDArray
from openslide.lowlevel import OpenSlideError, OpenSlideUnsupportedFormatError

from crosstype.errors import Fault, SlideError
from crosstype.slides.readers.jpeg_tiff import JpegTiff, TiledLevel, find_tiled_levels
from crosstype.slides.slide import HOW_TO_GIVE_MPP, WHITE, Level, Slide, resolve_mpp

FAST_VENDORS = ("aperio", "generic-tiff")
"""Formats whose levels are plain grids of TIFF tiles."""
MOST_ANISOTROPY = 0.05
PROBE_PX = 64
"""Half the side of the regions in which the fast reader is compared with OpenSlide."""


def knows(path: Path) -> bool:
    """Return whether OpenSlide recognises a file as a slide."""
    try:
        return openslide.OpenSlide.detect_format(path) is not None
    except OpenSlideError:
        return True  # recognised, but opening it raises with the reason


class OpenSlideSlide(Slide):
    """A slide in a format of OpenSlide."""

    def __init__(
        self, path: Path, mpp: float | None = None, default_mpp: float | None = None
    ) -> None:
        """Open a slide; `mpp` overrides its metadata, `default_mpp` is used without any.

        Raises:
            SlideError: the slide is damaged, or its mpp is unknown.
        """
        self.path = path
        self._handle = self._open()
        self._lock = threading.Lock()
        self._agrees: dict[int, bool] = {}
        self._fast: JpegTiff | None = None
        try:
            properties = dict(self._handle.properties)
            known = (mpp, None if mpp else _own_mpp(path.name, properties), default_mpp)
            own_mpp = resolve_mpp(path.name, known, _missing(properties))
            sizes_px = self._handle.level_dimensions
            downsamples = self._handle.level_downsamples
            levels = [Level(*pair) for pair in zip(sizes_px, downsamples, strict=True)]
            super().__init__(path, own_mpp, levels)
            vendor = properties.get(openslide.PROPERTY_NAME_VENDOR)
            if vendor in FAST_VENDORS and hasattr(os, "pread"):
                self._fast = JpegTiff(path, find_tiled_levels(path, sizes_px))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._handle.close()
        if self._fast is not None:
            self._fast.close()

    def is_fast(self, level: int) -> bool:
        """Return whether a level is read by the faster reader.

        Determined when the level is first read: three regions, among them the one with most detail
        and the last, must be equal in every pixel.
        """
        if self._fast is None or self._fast.levels[level] is None:
            return False
        if level not in self._agrees:
            tiled = self._fast.levels[level]
            assert tiled is not None
            self._agrees[level] = self._compare(self._fast, level, tiled)
        return self._agrees[level]

    def _read_level(self, level: int, box_px: tuple[int, int, int, int]) -> NDArray[np.uint8]:
        if self._fast is not None and self.is_fast(level):
            pixels = self._fast.read(level, box_px)
            if pixels is not None:
                return pixels
        return self._read_by_openslide(level, box_px)

    def _read_by_openslide(
        self, level: int, box_px: tuple[int, int, int, int]
    ) -> NDArray[np.uint8]:
        """Read by OpenSlide; after an error the handle is unusable and is reopened.

        Another thread may have caused the error, so the first failure is tried again.
        """
        left, top, right, bottom = box_px
        downsample = self.levels[level].downsample
        xy_px = (round(left * downsample), round(top * downsample))
        message = ""
        for _ in range(2):
            handle = self._handle
            try:
                image = handle.read_region(xy_px, level, (right - left, bottom - top))
                return _on_white(np.asarray(image))
            except OpenSlideError as error:
                message = str(error)
                with self._lock:
                    if self._handle is handle:
                        self._handle = self._open()
        where = f"{self.path.name} level {level}, x {left} to {right}, y {top} to {bottom} px"
        found = f"the pixels there are damaged ({message})"
        raise SlideError(Fault(where, found, "Copy or download the slide again."))

    def _open(self) -> openslide.OpenSlide:
        try:
            return openslide.OpenSlide(self.path)
        except (OpenSlideError, OpenSlideUnsupportedFormatError, OSError) as error:
            found = f"OpenSlide cannot open it ({error})"
            fault = Fault(self.path.name, found, "Copy or download the slide again.")
            raise SlideError(fault) from None

    def _compare(self, fast: JpegTiff, level: int, tiled: TiledLevel) -> bool:
        """Return whether the fast reader and OpenSlide agree around three tiles of a level."""
        present = np.flatnonzero(tiled.n_bytes)
        if not len(present):
            return False
        by_detail = present[np.argsort(tiled.n_bytes[present], kind="stable")]
        width, height = tiled.size_px
        for index in {int(present[-1]), int(by_detail[-1]), int(by_detail[len(by_detail) // 2])}:
            _, _, right, bottom = tiled.tile_box_px(index)
            box_px = (
                max(0, min(right, width) - PROBE_PX - 1),
                max(0, min(bottom, height) - PROBE_PX - 1),
                min(width, right + PROBE_PX),
                min(height, bottom + PROBE_PX),
            )
            try:
                pixels = fast.read(level, box_px)
                reference = self._read_by_openslide(level, box_px)
            except SlideError:
                continue  # damaged: reading it raises
            if pixels is not None and not np.array_equal(pixels, reference):
                return False
        return True


def _on_white(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return RGBA pixels composed on white."""
    alpha = rgba[..., 3:]
    if alpha.min() == WHITE:
        return np.ascontiguousarray(rgba[..., :3])
    weight = alpha.astype(np.uint16)
    mixed = (rgba[..., :3] * weight + WHITE * (WHITE - weight) + WHITE // 2) // WHITE
    return mixed.astype(np.uint8)


def _own_mpp(name: str, properties: dict[str, str]) -> float | None:
    """Return the mpp of a slide's metadata, or None; x and y must agree within 5%."""
    try:
        x = float(properties[openslide.PROPERTY_NAME_MPP_X])
        y = float(properties[openslide.PROPERTY_NAME_MPP_Y])
    except (KeyError, ValueError):
        return None
    if abs(x - y) > MOST_ANISOTROPY * max(abs(x), abs(y)):
        found = f"{x:g} micrometres per pixel across but {y:g} down"
        raise SlideError(Fault(name, found, HOW_TO_GIVE_MPP))
    return (x + y) / 2


def _missing(properties: dict[str, str]) -> str:
    """Return a message on what the metadata of a slide without mpp lack."""
    power = properties.get(openslide.PROPERTY_NAME_OBJECTIVE_POWER)
    nominal = f" (only a nominal {power}x, which is not exact enough)" if power else ""
    return f"no micrometres per pixel{nominal}"
