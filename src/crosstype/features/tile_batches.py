"""Batches of a slide's tiles and their augmented views, prefetched by threads.

The order of tiles and their values do not depend on the number of threads.
"""

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from crosstype.errors import Fault, SlideError
from crosstype.features.spec import FeaturesSpec
from crosstype.io.files import write_text
from crosstype.slides.augment import draw_view, view_margin
from crosstype.slides.readers.tile_folder import TileSlide
from crosstype.slides.slide import Slide, check_resolution
from crosstype.slides.spec import AugmentationSpec, SlidesSpec, StainSpec, TilesSpec, TissueSpec
from crosstype.slides.stain import StainNormaliser, fit_stain
from crosstype.slides.thumbnail import draw_thumbnail, tissue_geojson, tissue_outlines, write_image
from crosstype.slides.tiles import Tiles, select_tiles, spread_choice
from crosstype.slides.tissue import Tissue, find_tissue

AHEAD = 4
"""Number of prefetched batches."""
STAIN_TILES = 16
"""Number of tiles, spread over the slide, for the estimation of its staining."""


@dataclass(frozen=True)
class ExtractionRecipe:
    """Settings of feature extraction, other than the encoder."""

    slides: SlidesSpec
    tissue: TissueSpec
    tiles: TilesSpec
    stain: StainSpec
    augmentation: AugmentationSpec
    features: FeaturesSpec


@dataclass(frozen=True)
class TileSet:
    """The selected tiles of one slide and their reader.

    Attributes:
        tile_xy_px: (n, 2) int32.
        mpp: micrometres per tile pixel; NaN if unknown (existing tiles).
        slide_mpp: micrometres per level-0 pixel; NaN if unknown.
        footprint_px: width and height of a tile in level-0 pixels; NaN if unknown.
        read: returns tile `i` with a margin in pixels on each side.
        margin_px: the largest possible margin; 0 for existing tiles.
        checks: from the thumbnail: tissue area and shares of pen, border and blur.
        draw: writes thumbnail and outline; slow, so it runs in parallel with encoding.
    """

    tile_xy_px: np.ndarray
    mpp: float
    slide_mpp: float
    footprint_px: float
    read: Callable[[int, int], np.ndarray]
    margin_px: int
    checks: Mapping[str, float] = field(default_factory=dict)
    draw: Callable[[], None] = lambda: None


def grid_tiles(slide: Slide, recipe: ExtractionRecipe, picture: Path) -> TileSet:
    """Detect tissue and select tiles of a slide; without tiles, write the thumbnail and raise."""
    spec = recipe.tiles
    check_resolution(slide, spec.mpp)
    tissue = find_tissue(slide, recipe.tissue)
    tiles = select_tiles(tissue, slide, spec)
    if not len(tiles.tile_xy_px):
        _draw(picture, slide, tissue, tiles)
        remedy = "Look at its thumbnail in OUT/tiles, and at [tissue] and [tiles]."
        raise SlideError(Fault(slide.path.name, f"no tile: {tiles.reason}", remedy))

    def read(index: int, margin_px: int) -> np.ndarray:
        x, y = tiles.tile_xy_px[index]
        wide = margin_px * tiles.footprint_px / spec.size_px
        side = spec.size_px + 2 * margin_px
        return slide.read_region(round(x - wide), round(y - wide), side, spec.mpp)

    scales = spec.mpp, slide.mpp, tiles.footprint_px
    flags = tissue.flags
    checks = {
        "tissue_mm2": tissue.area_mm2,
        "pen_share": flags.pen,
        "border_share": flags.border,
        "blur_share": flags.blur,
    }
    draw = partial(_draw, picture, slide, tissue, tiles)
    return TileSet(tiles.tile_xy_px, *scales, read, view_margin(spec.size_px), checks, draw)


def _draw(picture: Path, slide: Slide, tissue: Tissue, tiles: Tiles) -> None:
    """Write the thumbnail with tissue and tiles, and the outline for QuPath."""
    polygons = tissue_outlines(tissue.mask)
    thumbnail = draw_thumbnail(tissue, tiles, polygons)
    write_image(picture.with_name(picture.name + ".jpg"), thumbnail)
    outline = json.dumps(tissue_geojson(tissue, slide, polygons))
    write_text(picture.with_name(picture.name + ".geojson"), outline)


def cut_tiles(slide: TileSlide, spec: TilesSpec) -> TileSet:
    """Return existing tiles of a slide; at most n_tiles, spread over the slide."""
    n_tiles = len(slide.tile_xy_px)
    selected = np.arange(n_tiles)
    if spec.n_tiles and n_tiles > spec.n_tiles:
        shares = np.ones(n_tiles, dtype=np.float32)
        selected = spread_choice(slide.tile_xy_px, shares, spec.n_tiles, spec.seed)

    def read(index: int, margin_px: int) -> np.ndarray:  # noqa: ARG001  there is nothing around it
        tile = next(slide.read_tiles([int(selected[index])]))
        if tile.shape[:2] == (spec.size_px, spec.size_px):
            return tile
        resized = Image.fromarray(tile).resize((spec.size_px,) * 2, Image.Resampling.LANCZOS)
        return np.asarray(resized)

    unknown = (float("nan"),) * 3
    return TileSet(slide.tile_xy_px[selected], *unknown, read, 0)


Read = np.ndarray | SlideError
"""A tile's pixels, or the reason why it was skipped."""


def pixel_batches(
    tiles: TileSet,
    recipe: ExtractionRecipe,
    stain: StainNormaliser,
    readers: ThreadPoolExecutor,
    damaged: Callable[[int, SlideError], None],
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (indices, pixels) of batches in tile order, with prefetching.

    Pixels are (n, 1 + n_views, size, size, 3) uint8. `damaged` is called for each skipped tile.
    If the caller releases a batch before the next, at most AHEAD are in memory.
    """
    size = max(1, recipe.features.batch_size // (1 + recipe.augmentation.n_views))
    waiting = deque(range(0, len(tiles.tile_xy_px), size))
    ahead: deque[tuple[np.ndarray, list[Future[Read]]]] = deque()

    def read_ahead() -> None:
        while waiting and len(ahead) < AHEAD - 1:
            first = waiting.popleft()
            indices = np.arange(first, min(first + size, len(tiles.tile_xy_px)))
            jobs = [readers.submit(_pixels, tiles, int(one), recipe, stain) for one in indices]
            ahead.append((indices, jobs))

    read_ahead()
    while ahead:
        indices, jobs = ahead.popleft()
        batch = _joined(indices, jobs, damaged)
        read_ahead()
        if batch is not None:
            yield batch
        del batch


def _joined(
    indices: np.ndarray, jobs: list[Future[Read]], damaged: Callable[[int, SlideError], None]
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return indices and pixels of the tiles that could be read."""
    kept, pixels = [], []
    for index, job in zip(indices.tolist(), jobs, strict=True):
        read = job.result()
        if isinstance(read, SlideError):
            damaged(index, read)
        else:
            kept.append(index)
            pixels.append(read)
    jobs.clear()  # jobs keep references to the tiles
    return (np.array(kept), np.stack(pixels)) if kept else None


def _pixels(tiles: TileSet, index: int, recipe: ExtractionRecipe, stain: StainNormaliser) -> Read:
    """Return the plain tile and its views, (1 + n_views, size, size, 3).

    The plain tile is read separately: cropped from the wider region of the views it could be
    shifted by a fraction of a pixel, and so depend on whether there are views.
    """
    spec = recipe.augmentation
    margin = tiles.margin_px if spec.n_views and spec.rotation else 0
    try:
        plain = stain.transform(tiles.read(index, 0))
        region = stain.transform(tiles.read(index, margin)) if margin else plain
    except SlideError as error:
        if recipe.features.damaged_tiles == "skip":
            return error
        raise
    size = recipe.tiles.size_px
    if tiles.margin_px == 0:  # existing tiles have no margin for rotation
        spec = replace(spec, rotation=False)
    x, y = (int(one) for one in tiles.tile_xy_px[index])
    views = [
        draw_view(region, size, spec, np.random.default_rng([recipe.tiles.seed, x, y, number]))
        for number in range(spec.n_views)
    ]
    return np.stack([plain, *views])


def stain_of(tiles: TileSet, recipe: ExtractionRecipe) -> StainNormaliser:
    """Fit the stain normaliser on a sample of a slide's tiles; damaged ones fail or are skipped."""
    spec = recipe.stain
    if spec.method == "none":
        return fit_stain(np.zeros((1, 3), dtype=np.uint8), spec)
    n_tiles = len(tiles.tile_xy_px)
    sample = np.unique(np.linspace(0, n_tiles - 1, min(STAIN_TILES, n_tiles)).astype(int))
    read = []
    for one in sample.tolist():
        try:
            read.append(tiles.read(one, 0))
        except SlideError:
            if recipe.features.damaged_tiles == "fail" or (one == sample[-1] and not read):
                raise
    return fit_stain(np.stack(read), spec)
