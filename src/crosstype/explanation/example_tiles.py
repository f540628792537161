"""A patient's slide in small, and some of its tiles with the views that training drew from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from crosstype.errors import SlideError
from crosstype.explanation.maps import write_png
from crosstype.explanation.pixels import read_thumbnail
from crosstype.explanation.places import Places
from crosstype.features.pixels import (
    Recipe,
    TileSet,
    cut_tiles,
    grid_tiles,
    pixel_batches,
    stain_of,
)
from crosstype.features.sources import Source
from crosstype.slides.drawing import write_image
from crosstype.slides.slide import open_slide
from crosstype.slides.spec import AugmentationSpec

PICTURE, TILES = "examples/slide.jpg", "examples/tiles.png"
LONGEST_SIDE_PX = 400
N_TILES, MOST_VIEWS, TILE_PX = 3, 3, 128
N_MOSAIC = 4
"""Tiles across and down in place of a slide of which only tiles are there."""


@dataclass(frozen=True)
class TileExamples:
    """Where pixels are to be had, if anywhere.

    Attributes:
        recipe: how slides became features; None: features came from elsewhere.
        sources: slides by id, as far as they are there.
        places: which slides each patient has.
        views: as `[training] views` says.
        faults: slides that could not be read, in words.
    """

    recipe: Recipe | None
    sources: Mapping[str, Source]
    places: Places
    views: str
    faults: dict[str, str] = field(default_factory=dict)

    def first_shown(self, patients: Sequence[str]) -> str:
        """Return the first of these patients with a slide to show; without any, the first."""
        return next((one for one in patients if self._source(one) is not None), patients[0])

    def draw(self, patient_id: str, folder: Path) -> dict[str, str]:
        """Draw the patient's first slide and its tiles; return what was drawn, in words."""
        source = self._source(patient_id)
        facts = {"slide_id": "", "picture": "", "augmentation": self._augmentation()}
        if source is None or self.recipe is None:
            return facts
        facts["slide_id"] = source.slide_id
        try:
            facts["picture"] = self._draw_slide(source, folder / PICTURE, self.recipe)
            if self.recipe.augmentation.n_views:
                facts |= self._draw_views(source, folder, self.recipe)
        except SlideError as error:
            self.faults[source.slide_id] = str(error)
            facts["augmentation"] = "unreadable"
        return facts

    def _source(self, patient_id: str) -> Source | None:
        known = (self.sources.get(one.slide_id) for one in self.places.of(patient_id))
        return next((one for one in known if one is not None and one.is_there), None)

    def _augmentation(self) -> str:
        """Return whether views were drawn: drawn, plain (made and not used), none, ready_made."""
        if self.recipe is None:
            return "ready_made"
        if not self.recipe.augmentation.n_views:
            return "none"
        return self.views

    def _draw_slide(self, source: Source, path: Path, recipe: Recipe) -> str:
        """Write the slide in small, or a mosaic of tiles where only these are; return which."""
        if source.tiles is not None:
            tiles = cut_tiles(source.tiles, replace(recipe.tiles, n_tiles=N_MOSAIC**2))
            write_image(path, _mosaic([tiles.read(one, 0) for one in range(len(tiles.tile_xy_px))]))
            return "tiles"
        with open_slide(source.path, source.mpp, recipe.slides.mpp) as slide:
            write_image(path, read_thumbnail(slide, LONGEST_SIDE_PX))
        return "slide"

    def _draw_views(self, source: Source, folder: Path, recipe: Recipe) -> dict[str, str]:
        """Write tiles, one a row: the plain one, then views, exactly as the encoder got them."""
        if source.tiles is not None:
            pixels = _with_views(cut_tiles(source.tiles, recipe.tiles), recipe)
        else:
            with open_slide(source.path, source.mpp, recipe.slides.mpp) as slide:
                pixels = _with_views(grid_tiles(slide, recipe, folder / "unused"), recipe)
        shown = pixels[:, : 1 + MOST_VIEWS]
        write_png(folder / TILES, _grid(shown))
        rotated = recipe.augmentation.rotation and source.tiles is None
        return {
            "n_tiles": str(len(shown)),
            "n_shown_views": str(shown.shape[1] - 1),
            "n_views": str(recipe.augmentation.n_views),
            "changes": _changes(replace(recipe.augmentation, rotation=rotated)),
        }


def _with_views(tiles: TileSet, recipe: Recipe) -> np.ndarray:
    """Return the first tiles with their views, (n, 1 + n_views, size, size, 3) uint8."""
    several = N_TILES * (1 + recipe.augmentation.n_views)
    small = replace(recipe, features=replace(recipe.features, batch_size=several))
    with ThreadPoolExecutor(max_workers=1) as readers:
        try:
            batches = pixel_batches(tiles, small, stain_of(tiles, recipe), readers, _pass_over)
            return next(batches)[1]
        finally:
            readers.shutdown(wait=False, cancel_futures=True)


def _pass_over(place: int, error: SlideError) -> None:
    """Let a damaged tile go: extraction has told of it."""


def _grid(tiles: np.ndarray) -> Image.Image:
    """Return tiles in rows and columns without gaps, (rows, columns, size, size, 3)."""
    rows, columns = tiles.shape[:2]
    page = Image.new("RGB", (columns * TILE_PX, rows * TILE_PX))
    for row in range(rows):
        for column in range(columns):
            tile = Image.fromarray(tiles[row, column]).resize((TILE_PX, TILE_PX))
            page.paste(tile, (column * TILE_PX, row * TILE_PX))
    return page


def _mosaic(tiles: Sequence[np.ndarray]) -> Image.Image:
    n_across = min(N_MOSAIC, len(tiles))
    n_down = len(tiles) // n_across
    whole = [tiles[row * n_across : (row + 1) * n_across] for row in range(n_down)]
    return _grid(np.array(whole))


def _changes(spec: AugmentationSpec) -> str:
    """Return in words what a view's changes are."""
    factors = {
        "brightness": spec.brightness,
        "contrast": spec.contrast,
        "saturation": spec.saturation,
    }
    told = [f"{name} times {1 - one:g} to {1 + one:g}" for name, one in factors.items()]
    told.append(f"hue turned by up to {spec.hue:g} of the circle")
    return ", ".join([*told, "rotated by any angle" if spec.rotation else "not rotated"])
