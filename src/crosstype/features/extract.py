"""Slides to features: tissue, tiles, pixels, encoder, file; every core busy, memory bounded.

Threads read and prepare the next batches while the encoder works on the present one. The order of
tiles and their values do not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import h5py
import numpy as np

from crosstype.errors import EncoderError, Fault, FeatureFileError, SlideError
from crosstype.features.encoders.catalog import EncoderCard
from crosstype.features.formats.open import FORMAT, VERSION, read_attributes
from crosstype.features.formats.writer import DAMAGED, writing_features
from crosstype.features.slide_sources import Source
from crosstype.features.store import NO_FILE, FeatureRow
from crosstype.features.tile_batches import (
    ExtractionRecipe,
    TileSet,
    cut_tiles,
    grid_tiles,
    pixel_batches,
    stain_of,
)
from crosstype.io.files import hash_of, statements_version
from crosstype.progress import Progress
from crosstype.slides.open import open_slide
from crosstype.types import file_name_of

MAKE_ROOM = "Make room or mend the place, and run the same command: finished slides are kept."


class TileEncoder(Protocol):
    """What extraction needs of an encoder.

    Attributes:
        card: what is known of it, its name among it.
        transform: how tiles are prepared, as a stable text.
        weights_sha256: fingerprint of the weights.
    """

    card: EncoderCard
    transform: str
    weights_sha256: str

    def encode(self, tiles: np.ndarray) -> np.ndarray:
        """Return (n, n_features) float32 of (n, size, size, 3) uint8 RGB tiles."""


LEAST_SHARE = 0.01
PIXEL_MODULES = (
    *(f"crosstype.slides.{name}" for name in ("slide", "tissue", "tiles", "stain", "augment")),
    *(f"crosstype.slides.readers.{name}" for name in ("image", "jpeg_tiff", "openslide")),
    *(f"crosstype.features.encoders.{name}" for name in ("encoder", "colour_texture")),
    "crosstype.features.tile_batches",
)
"""Whose statements decide a slide's features; an edit of them has slides extracted anew."""


def hash_of_recipe(recipe: ExtractionRecipe, encoder: TileEncoder, mpp: float | None) -> str:
    """Return a hash over all that decides a slide's features; where it lies does not count."""
    specs = [recipe.tissue, recipe.tiles, recipe.stain, recipe.augmentation]
    stands = [recipe.slides.mpp, mpp, recipe.features.damaged_tiles]
    code = statements_version(*PIXEL_MODULES)
    made_by = [encoder.card.name, encoder.transform, encoder.weights_sha256]
    return hash_of([code, specs, stands, *made_by])


def extract_slides(
    sources: Sequence[Source],
    recipe: ExtractionRecipe,
    encoder: TileEncoder,
    out: Path,
    sha256_of: Callable[[Path], str],
    progress: Progress,
) -> list[FeatureRow]:
    """Extract every slide that is not done; a slide that fails is a row with its fault.

    Writes OUT/features/<encoder>/<slide>.h5, OUT/tiles/<slide>.jpg and .geojson.

    Raises:
        FeatureFileError: files could not be written, for example because the disk is full; the
            other slides were done nevertheless.
    """
    rows = []
    unwritten: list[Fault] = []
    progress.start("features", len(sources))
    for source in sources:
        row = FeatureRow(source.slide_id, source.patient_id, 0, 0, encoder.card.name, "", "")
        path = feature_path(out, encoder.card.name, source.slide_id)
        if not source.is_there:
            rows.append(replace(row, fault=NO_FILE))
            continue
        try:
            extract_slide(source, recipe, encoder, (path, out / "tiles"), sha256_of)
            (n_tiles, n_features), left_out = _shape_of(path)
            row = replace(row, n_tiles=n_tiles, n_features=n_features, sha256=sha256_of(path))
            if left_out:
                progress.say(f"{source.slide_id}: {left_out}")
        except (SlideError, FeatureFileError, EncoderError) as error:
            row = replace(row, fault=str(error))
        except OSError as error:
            verb = "read" if error.filename == str(source.path) else "written"
            found = f"could not be {verb} ({error.strerror or error})"
            unwritten.append(Fault(str(error.filename or path.name), found, MAKE_ROOM))
            continue
        rows.append(row)
        progress.step(f"{source.slide_id}: {row.fault or f'{row.n_tiles} tiles'}")
    if unwritten:
        raise FeatureFileError(unwritten)
    return rows


def _shape_of(path: Path) -> tuple[tuple[int, int], str]:
    """Return a file's number of tiles and features, and words on the tiles left out."""
    with h5py.File(path, "r", locking=False) as file:
        n_tiles, n_features = file["features"].shape
        damaged = file[DAMAGED][:] if DAMAGED in file else np.zeros((0, 2))
    if not len(damaged):
        return (n_tiles, n_features), ""
    x, y = damaged[0]
    words = f"{len(damaged)} damaged tiles were left out, the first at ({x},{y})"
    return (n_tiles, n_features), words


def check_notes(rows: Sequence[FeatureRow], out: Path) -> list[str]:
    """Return in words how many slides have pen marks, black borders, blur or damaged tiles."""
    counts = dict.fromkeys(("pen marks", "black borders", "blurred tissue", "damaged tiles"), 0)
    usable = [row for row in rows if not row.fault]
    for row in usable:
        with h5py.File(feature_path(out, row.encoder, row.slide_id), "r", locking=False) as file:
            shares = [file.attrs.get(f"{name}_share", 0.0) for name in ("pen", "border", "blur")]
            found = [share >= LEAST_SHARE for share in shares] + [DAMAGED in file]
        for name, is_there in zip(counts, found, strict=True):
            counts[name] += int(is_there)
    told = ", ".join(f"{name} on {count}" for name, count in counts.items())
    return [f"Of {len(usable)} extracted slides: {told} (shares of {LEAST_SHARE:.0%} or more)."]


def feature_path(out: Path, encoder: str, slide_id: str) -> Path:
    """Return where a slide's features stand."""
    return out / "features" / encoder / f"{file_name_of(slide_id)}.h5"


def extract_slide(
    source: Source,
    recipe: ExtractionRecipe,
    encoder: TileEncoder,
    places: tuple[Path, Path],
    sha256_of: Callable[[Path], str],
) -> None:
    """Extract one slide unless its file was made from the same slide, settings and weights.

    Args:
        source: the slide.
        recipe: all settings.
        encoder: turns tiles into features.
        places: the feature file, and the folder for thumbnail and outline.
        sha256_of: fingerprints a file.

    Raises:
        SlideError: the slide is damaged, states no mpp, or has no tile.
    """
    path, pictures = places
    attributes: dict[str, str | int | float] = {
        "slide_id": source.slide_id,
        "slide_sha256": source.sha256(sha256_of),
        "encoder": encoder.card.name,
        "weights_sha256": encoder.weights_sha256,
        "transform": encoder.transform,
        "tile_size_px": recipe.tiles.size_px,
        "spec_hash": hash_of_recipe(recipe, encoder, source.mpp),
    }
    if _is_done(path, attributes):
        return
    if source.tiles is not None:
        tiles = cut_tiles(source.tiles, recipe.tiles)
        _write(path, tiles, recipe, encoder, attributes)
        return
    with open_slide(source.path, source.mpp, recipe.slides.mpp) as slide:
        tiles = grid_tiles(slide, recipe, pictures / file_name_of(source.slide_id))
        _write(path, tiles, recipe, encoder, attributes)


def _is_done(path: Path, attributes: dict[str, str | int | float]) -> bool:
    """Whether the file was made from the same, and every checksum in it is right."""
    if not path.is_file():
        return False
    keys = ("format", "version", "slide_sha256", "spec_hash")
    wanted = {"format": FORMAT, "version": VERSION} | attributes
    try:
        with h5py.File(path, "r", locking=False) as file:
            found = read_attributes(file.attrs)
            if any(found.get(key) != wanted[key] for key in keys):
                return False
            n_tiles = len(file["features"])
            return n_tiles == len(file["tile_xy_px"]) and all(map(_is_readable, file.values()))
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, UnicodeDecodeError):
        return False


def _is_readable(dataset: h5py.Dataset) -> bool:
    """Read a dataset chunk by chunk, whereby HDF5 compares its checksums; raise if they differ."""
    return all(dataset[chunk].size for chunk in dataset.iter_chunks())


def _write(
    path: Path,
    tiles: TileSet,
    recipe: ExtractionRecipe,
    encoder: TileEncoder,
    attributes: dict[str, str | int | float],
) -> None:
    """Encode every tile and write the file; damaged tiles fail the slide or are passed over."""
    stain = stain_of(tiles, recipe)
    scales: dict[str, str | int | float] = {
        "mpp": tiles.mpp,
        "slide_mpp": tiles.slide_mpp,
        "footprint_px": tiles.footprint_px,
        "overlap_px": recipe.tiles.overlap_px,
        **tiles.checks,
    }
    damaged: list[int] = []
    most_tiles = len(tiles.tile_xy_px)
    with (
        ThreadPoolExecutor(max_workers=recipe.features.n_readers) as readers,
        writing_features(path, attributes | scales, most_tiles) as writer,
    ):
        batches = pixel_batches(
            tiles, recipe, stain, readers, lambda place, _: damaged.append(place)
        )
        drawing = readers.submit(tiles.draw)
        try:
            for chosen, pixels in batches:
                n, n_sets = pixels.shape[:2]
                features = encoder.encode(pixels.reshape(-1, *pixels.shape[2:]))
                del pixels  # before the next batch is asked for
                sets = features.reshape(n, n_sets, -1).transpose(1, 0, 2)
                writer.append(tiles.tile_xy_px[chosen], sets[0], sets[1:] if n_sets > 1 else None)
            drawing.result()
        finally:
            readers.shutdown(wait=False, cancel_futures=True)
        writer.leave_out(tiles.tile_xy_px[damaged])
        if not writer.n_tiles:
            remedy = "Copy or download the slide again."
            raise SlideError(Fault(path.stem, "every tile is damaged", remedy))
