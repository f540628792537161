"""Tile locations of a patient, slide by slide, in level-0 pixels if the files have them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from crosstype.errors import FeatureFileError
from crosstype.features.formats.convert import read_slide
from crosstype.features.store import bag_length


@dataclass(frozen=True)
class SlideTiles:
    """The tiles of one slide, which follow each other in the patient's bag.

    Attributes:
        slide_id: the slide.
        first: place of its first tile in the bag.
        n_tiles: number of its tiles.
        tile_xy_px: (n_tiles, 2), top left corners in level-0 pixels; None if unknown.
        footprint_px: width and height of a tile in level-0 pixels; 0 without coordinates.
    """

    slide_id: str
    first: int
    n_tiles: int
    tile_xy_px: Float[np.ndarray, "tiles 2"] | None = None
    footprint_px: float = 0.0

    @property
    def bag(self) -> slice:
        """Return where its tiles stand in the bag."""
        return slice(self.first, self.first + self.n_tiles)


@dataclass(frozen=True)
class TileLocations:
    """Tile locations, from the cohort's feature files.

    Attributes:
        files: feature files of each patient.
        slide_ids: slide of each file.
        mpps: micrometres per level-0 pixel of slides whose table has it.
        faults: slides whose coordinates could not be read, with the reason.
    """

    files: Mapping[str, Sequence[Path]]
    slide_ids: Mapping[Path, str]
    mpps: Mapping[str, float]
    faults: dict[str, str] = field(default_factory=dict)
    _known: dict[str, list[SlideTiles]] = field(default_factory=dict)

    def of(self, patient_id: str) -> list[SlideTiles]:
        """Return a patient's slides in the order in which their tiles stand in the bag."""
        if patient_id not in self._known:
            self._known[patient_id] = self._find(patient_id)
        return self._known[patient_id]

    def _find(self, patient_id: str) -> list[SlideTiles]:
        found, first = [], 0
        for path in sorted(self.files[patient_id], key=lambda path: path.stem):
            one = self._read(path, first)
            found.append(one)
            first += one.n_tiles
        return found

    def _read(self, path: Path, first: int) -> SlideTiles:
        slide_id = self.slide_ids[path]
        n_tiles = bag_length([path])
        if path.suffix.lower() == ".pt":
            return SlideTiles(slide_id, first, n_tiles)
        try:
            read = read_slide(path, lambda _, stated: stated or self.mpps.get(slide_id))
        except FeatureFileError as error:  # such as micrometres that nobody can turn into pixels
            self.faults[slide_id] = str(error)
            return SlideTiles(slide_id, first, n_tiles)
        if read.tile_xy_px is None:
            return SlideTiles(slide_id, first, n_tiles)
        footprint_px = read.footprint_px or _spacing(read.tile_xy_px)
        return SlideTiles(slide_id, first, n_tiles, read.tile_xy_px, footprint_px)


def _spacing(tile_xy_px: Float[np.ndarray, "tiles 2"]) -> float:
    """Return the smallest step between tiles, their size where they do not overlap."""
    steps = [np.diff(np.unique(tile_xy_px[:, axis])) for axis in (0, 1)]
    known = np.concatenate([step[step > 0.5] for step in steps])
    return float(known.min()) if len(known) else 256.0
