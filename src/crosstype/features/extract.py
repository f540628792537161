"""Feature extraction from slides: tissue, tiles, encoder, feature file.

Threads read the next batches while the encoder processes the current one; memory is bounded. The
order of tiles and their values do not depend on the number of threads.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import h5py
import numpy as np

from crosstype.errors import EncoderError, Fault, FeatureFileError, SlideError
from crosstype.features import tile_batches
from crosstype.features.encoders.catalog import EncoderCard
from crosstype.features.formats.open import FORMAT, VERSION, read_attributes
from crosstype.features.formats.writer import DAMAGED, writing_features
from crosstype.features.slide_sources import Source
from crosstype.features.store import NO_FILE, FeatureRow, without_copies
from crosstype.io.files import hash_of, statements_version
from crosstype.progress import Progress
from crosstype.slides.open import open_slide
from crosstype.slides.slide import ENLARGED
from crosstype.types import file_name_of

MAKE_ROOM = "Free space or fix the disk, and run the same command: finished slides are kept."


class TileEncoder(Protocol):
    """Interface of encoders.

    Attributes:
        card: its description.
        transform: preprocessing of tiles, as a stable string.
        weights_sha256: SHA-256 of the weights.
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
"""Modules whose code determines a slide's features; a change of them re-extracts slides."""


def hash_of_recipe(
    recipe: tile_batches.ExtractionRecipe, encoder: TileEncoder, mpp: float | None
) -> str:
    """Return a hash of all settings, code and weights that determine a slide's features."""
    specs = [recipe.tissue, recipe.tiles, recipe.stain, recipe.augmentation]
    values = [recipe.slides.mpp, mpp, recipe.features.damaged_tiles]
    code = statements_version(*PIXEL_MODULES)
    encoding = [encoder.card.name, encoder.transform, encoder.weights_sha256]
    return hash_of([code, specs, values, *encoding])


def extract_slides(
    sources: Sequence[Source],
    recipe: tile_batches.ExtractionRecipe,
    encoder: TileEncoder,
    out: Path,
    sha256_of: Callable[[Path], str],
    progress: Progress,
) -> list[FeatureRow]:
    """Extract features of all unfinished slides; a slide that fails is a row with its fault.

    Writes OUT/features/<encoder>/<slide>.h5, OUT/tiles/<slide>.jpg and .geojson.

    Raises:
        FeatureFileError: files could not be written, for example because the disk is full; other
            slides are extracted nevertheless.
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
            (n_tiles, n_features), warnings = _shape_of(path)
            row = replace(row, n_tiles=n_tiles, n_features=n_features, sha256=sha256_of(path))
            for warning in warnings:
                progress.message(f"{source.slide_id}: {warning}")
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
    digests = {one.slide_id: one.sha256(sha256_of) for one in sources if one.is_there}
    return without_copies(rows, digests)


def _shape_of(path: Path) -> tuple[tuple[int, int], list[str]]:
    """Return a file's numbers of tiles and features; warn of enlarged and of damaged tiles."""
    with h5py.File(path, "r", locking=False) as file:
        n_tiles, n_features = file["features"].shape
        damaged = file[DAMAGED][:] if DAMAGED in file else np.zeros((0, 2))
        mpp, slide_mpp = (float(file.attrs.get(name, np.nan)) for name in ("mpp", "slide_mpp"))
    warnings = []
    if slide_mpp > mpp * ENLARGED:
        warnings.append(
            f"warning: {slide_mpp:g} micrometres per pixel, coarser than the {mpp:g} of [tiles] "
            f"mpp: tiles are enlarged {slide_mpp / mpp:.1f}-fold and show no more detail"
        )
    if len(damaged):
        x, y = damaged[0]
        warnings.append(f"{len(damaged)} damaged tiles were left out, the first at ({x},{y})")
    return (n_tiles, n_features), warnings


def check_notes(rows: Sequence[FeatureRow], out: Path) -> list[str]:
    """Return a note on the numbers of slides with pen marks, black borders, blur, damaged tiles."""
    counts = dict.fromkeys(("pen marks", "black borders", "blurred tissue", "damaged tiles"), 0)
    usable = [row for row in rows if not row.fault]
    for row in usable:
        with h5py.File(feature_path(out, row.encoder, row.slide_id), "r", locking=False) as file:
            shares = [file.attrs.get(f"{name}_share", 0.0) for name in ("pen", "border", "blur")]
            found = [share >= LEAST_SHARE for share in shares] + [DAMAGED in file]
        for name, is_there in zip(counts, found, strict=True):
            counts[name] += int(is_there)
    found_on = ", ".join(f"{name} on {count}" for name, count in counts.items())
    return [f"Of {len(usable)} extracted slides: {found_on} (shares of {LEAST_SHARE:.0%} or more)."]


def feature_path(out: Path, encoder: str, slide_id: str) -> Path:
    """Return the path of a slide's feature file."""
    return out / "features" / encoder / f"{file_name_of(slide_id)}.h5"


def extract_slide(
    source: Source,
    recipe: tile_batches.ExtractionRecipe,
    encoder: TileEncoder,
    paths: tuple[Path, Path],
    sha256_of: Callable[[Path], str],
) -> None:
    """Extract one slide unless its file has the same slide, settings, code and weights.

    Args:
        source: the slide.
        recipe: all settings.
        encoder: of tiles.
        paths: the feature file, and the folder for thumbnail and outline.
        sha256_of: returns a file's SHA-256.

    Raises:
        SlideError: the slide is damaged, has no mpp, or no tile.
    """
    path, pictures = paths
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
        tiles = tile_batches.cut_tiles(source.tiles, recipe.tiles)
        _write(path, tiles, recipe, encoder, attributes)
        return
    with open_slide(source.path, source.mpp, recipe.slides.mpp) as slide:
        tiles = tile_batches.grid_tiles(slide, recipe, pictures / file_name_of(source.slide_id))
        _write(path, tiles, recipe, encoder, attributes)


def _is_done(path: Path, attributes: dict[str, str | int | float]) -> bool:
    """Return whether the file has the same attributes and all its checksums are right."""
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
    """Read a dataset by chunks, so that HDF5 verifies its checksums; raise if they differ."""
    return all(dataset[chunk].size for chunk in dataset.iter_chunks())


def _write(
    path: Path,
    tiles: tile_batches.TileSet,
    recipe: tile_batches.ExtractionRecipe,
    encoder: TileEncoder,
    attributes: dict[str, str | int | float],
) -> None:
    """Encode all tiles and write the file; damaged tiles fail the slide or are skipped, as set."""
    stain = tile_batches.stain_of(tiles, recipe)
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
        batches = tile_batches.pixel_batches(
            tiles, recipe, stain, readers, lambda index, _: damaged.append(index)
        )
        drawing = readers.submit(tiles.draw)
        try:
            for indices, pixels in batches:
                n, n_sets = pixels.shape[:2]
                features = encoder.encode(pixels.reshape(-1, *pixels.shape[2:]))
                del pixels  # before the next batch is requested
                sets = features.reshape(n, n_sets, -1).transpose(1, 0, 2)
                writer.append(tiles.tile_xy_px[indices], sets[0], sets[1:] if n_sets > 1 else None)
            drawing.result()
        finally:
            readers.shutdown(wait=False, cancel_futures=True)
        writer.leave_out(tiles.tile_xy_px[damaged])
        if not writer.n_tiles:
            remedy = "Copy or download the slide again."
            raise SlideError(Fault(path.stem, "every tile is damaged", remedy))
