"""Pixels behind an explanation: a slide's thumbnail, and some of its tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from crosstype.explanation.places import SlideTiles
from crosstype.features.sources import Source
from crosstype.slides.slide import Slide, open_slide

LONGEST_SIDE_PX = 768
SHOWN_TILE_PX = 128


@dataclass(frozen=True)
class Pixels:
    """What could be read of a slide.

    Attributes:
        thumbnail: of the whole slide; its `info["scale_px"]` is the number of level-0 pixels per
            pixel. None if only tiles are there, or nothing.
        tiles: those asked for, (height, width, 3) uint8 each; none if the slide is not there.
    """

    thumbnail: Image.Image | None = None
    tiles: Sequence[np.ndarray] = field(default_factory=tuple)


def read_pixels(
    source: Source | None, default_mpp: float | None, slide: SlideTiles, tiles: Sequence[int]
) -> Pixels:
    """Read a slide's thumbnail and these of its tiles.

    Args:
        source: the slide; None, or one that is not there: nothing is read.
        default_mpp: micrometres per level-0 pixel of slides that state none.
        slide: where its tiles are.
        tiles: places of the tiles wanted.

    Raises:
        SlideError: the slide is damaged.
    """
    if source is None or not source.is_there:
        return Pixels()
    if source.tiles is not None:
        return Pixels(None, _cut_tiles(source, slide, tiles))
    with open_slide(source.path, source.mpp, default_mpp) as opened:
        thumbnail = read_thumbnail(opened, LONGEST_SIDE_PX)
        return Pixels(thumbnail, [_tile(opened, slide, place) for place in tiles])


def read_thumbnail(opened: Slide, longest_side_px: int) -> Image.Image:
    """Return the slide, its longer side at most so long; `info["scale_px"]` as of `Pixels`."""
    mpp = max(opened.mpp, max(opened.size_px) * opened.mpp / longest_side_px)
    thumbnail = Image.fromarray(opened.thumbnail(mpp))
    thumbnail.info["scale_px"] = mpp / opened.mpp
    return thumbnail


def _tile(opened: Slide, slide: SlideTiles, place: int) -> np.ndarray:
    assert slide.tile_xy_px is not None
    x, y = (round(one) for one in slide.tile_xy_px[place].tolist())
    mpp = slide.footprint_px * opened.mpp / SHOWN_TILE_PX
    return opened.read_region(x, y, SHOWN_TILE_PX, mpp)


def _cut_tiles(source: Source, slide: SlideTiles, tiles: Sequence[int]) -> list[np.ndarray]:
    """Return tiles that lie in files of their own, found by where they lie."""
    assert source.tiles is not None
    assert slide.tile_xy_px is not None
    known = {(int(x), int(y)): n for n, (x, y) in enumerate(source.tiles.tile_xy_px.tolist())}
    wanted = [tuple(int(one) for one in slide.tile_xy_px[place]) for place in tiles]
    numbers = [known[x, y] for x, y in wanted if (x, y) in known]
    return [next(iter(source.tiles.read_tiles([number]))) for number in numbers]
