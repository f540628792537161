"""Feature input of a fitted model, and checks of new feature files against it."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import h5py

from crosstype.errors import ConfigError, Fault, FeatureFileError
from crosstype.features import store
from crosstype.features.formats.open import HDF5_SUFFIXES, SUFFIXES, first_number, read_attributes
from crosstype.features.spec import FeaturesSpec
from crosstype.tcga import patient_of
from crosstype.types import PATIENT_COLUMNS, file_name_of

MPP_TOLERANCE = 0.02
"""Relative difference of micrometres per pixel that counts as equal."""
WORDS = {
    "encoder": "encoder",
    "n_features": "features per tile",
    "weights_sha256": "weights (SHA-256)",
    "transform": "transform",
    "tile_size_px": "tile size in pixels",
    "mpp": "micrometres per pixel (mpp)",
}


@dataclass(frozen=True)
class FeatureInput:
    """Feature input of a fitted model; None where the files have no metadata.

    Attributes:
        encoder: its name; empty if neither files nor config name it.
        n_features: features per tile.
        weights_sha256: of the encoder's weights.
        transform: preprocessing of tiles.
        tile_size_px: width of a tile in its own pixels.
        mpp: micrometres per pixel of the tile.
    """

    encoder: str
    n_features: int
    weights_sha256: str | None = None
    transform: str | None = None
    tile_size_px: float | None = None
    mpp: float | None = None


def stated_by(path: Path) -> dict[str, Any]:
    """Return a feature file's metadata other than encoder and number of features.

    Raises:
        FeatureFileError: the file cannot be read.
    """
    if path.suffix not in HDF5_SUFFIXES:
        return {}
    try:
        with h5py.File(path, "r", locking=False) as file:
            about = read_attributes(file.attrs)
            for name in ("coords", "tile_xy_px"):
                if name in file:
                    about |= read_attributes(file[name].attrs)
    except (OSError, RuntimeError, KeyError) as error:
        raise FeatureFileError(
            Fault(path.name, f"cannot be read ({error})", "Extract or copy the file again.")
        ) from None
    size_px = first_number(about, "tile_size_px", "patch_size")
    size_um = first_number(about, "tile_size_um")
    mpp = first_number(about, "mpp")
    if mpp is None and size_px and size_um:
        mpp = size_um / size_px
    texts = {key: str(about[key]) for key in ("weights_sha256", "transform") if key in about}
    numbers = {"tile_size_px": size_px, "mpp": mpp}
    return texts | {key: value for key, value in numbers.items() if value is not None}


def feature_input_of(encoder: str, n_features: int, paths: Sequence[Path]) -> FeatureInput:
    """Return the feature input that all files agree on; None for metadata that differ."""
    stated = [stated_by(path) for path in paths]
    keys = ("weights_sha256", "transform", "tile_size_px", "mpp")
    alike = {
        key: stated[0].get(key)
        for key in keys
        if stated and all(one.get(key) == stated[0].get(key) for one in stated)
    }
    return FeatureInput(encoder, n_features, **alike)


def difference(found: FeatureInput, wanted: FeatureInput) -> str:
    """Return a message on the first difference between two feature inputs, or an empty string."""
    for key, value in asdict(wanted).items():
        own = getattr(found, key)
        if key == "encoder" and not own:
            continue
        if value in (None, "") or own is None or _same(key, own, value):
            continue
        return f"found {WORDS[key]} {own!r}, expected {value!r}, on which this model was fitted"
    return ""


def _same(key: str, own: Any, wanted: Any) -> bool:
    if key == "mpp":
        return abs(float(own) / float(wanted) - 1) <= MPP_TOLERANCE
    return bool(own == wanted)


def check_stated_encoder(named: str | None, wanted: FeatureInput) -> None:
    """Raise ConfigError if the user names another encoder than the model's."""
    if named is not None and wanted.encoder and named != wanted.encoder:
        raise ConfigError(
            f"--encoder: found {named!r}, expected {wanted.encoder!r}, on whose features this "
            "model was fitted. Extract the slides with that one, or fit a model on these features."
        )


@dataclass(frozen=True)
class NewSlides:
    """Slides of new patients.

    Attributes:
        rows: one per slide; a fault is the reason why it cannot be used.
        files: feature file of each slide.
    """

    rows: tuple[store.FeatureRow, ...]
    files: dict[str, Path]


def find_new_slides(
    path: Path, table: Path | None, patient_column: str = PATIENT_COLUMNS[0]
) -> list[tuple[str, str, Path]]:
    """Return (slide_id, patient_id, path) of each slide of a folder, or of one feature file.

    Raises:
        ConfigError: there is no such folder, or it is no feature file.
        TableError, FeatureFileError: as `find_slides`.
    """
    if path.is_dir():
        return store.find_slides(FeaturesSpec(folder=path), table, patient_column)
    if not path.is_file() or path.suffix not in SUFFIXES:
        raise ConfigError(
            f"--features: found {str(path)!r}, expected a folder of feature files or one file "
            f"that ends in {', '.join(SUFFIXES)}."
        )
    slide_id = store.slide_id_of(path.name)
    if table is None:
        return [(slide_id, patient_of(slide_id), path)]
    owners = store.table_slides(table, patient_column)
    found = [(one, owner, path) for one, owner in owners.items() if file_name_of(one) == path.stem]
    if not found:
        remedy = "Add its line, or leave the slides table out."
        raise FeatureFileError(Fault(path.name, f"is not in {table.name}", remedy))
    return found


def check_feature_files(
    slides: Sequence[tuple[str, str, Path]],
    encoder: str | None,
    wanted: FeatureInput,
    sha256_of: Callable[[Path], str],
) -> NewSlides:
    """Check feature files against the model's feature input; others get a fault.

    Args:
        slides: (slide_id, patient_id, path) each.
        encoder: as set by the user, for files without metadata.
        wanted: feature input of the model.
        sha256_of: returns a file's SHA-256.

    Raises:
        ConfigError: the user names another encoder, or must name one.
        FeatureFileError: no file matches.
    """
    check_stated_encoder(encoder, wanted)
    files = {slide_id: path for slide_id, _, path in slides}
    rows = [_of_kind(row, files[row.slide_id], wanted) for row in _inspected(slides, sha256_of)]
    usable = [row for row in rows if not row.fault]
    different = [row for row in rows if row.fault and row.n_tiles]
    if different and not usable:
        found = f"{different[0].fault} ({len(different)} of {len(rows)} files)"
        remedy = "Extract the slides with that one, or fit a model on these features."
        raise FeatureFileError(Fault(files[different[0].slide_id].name, found, remedy))
    nameless = [row for row in usable if not row.encoder]
    if nameless and encoder is None and wanted.encoder:
        raise ConfigError(
            f"{files[nameless[0].slide_id].name}: states no encoder, and this model was fitted on "
            f"features of {wanted.encoder!r}. If they are of that encoder, give --encoder "
            f"{wanted.encoder}; else extract them with it."
        )
    return NewSlides(tuple(replace(row, n_tiles=0) if row.fault else row for row in rows), files)


def _inspected(
    slides: Sequence[tuple[str, str, Path]], sha256_of: Callable[[Path], str]
) -> list[store.FeatureRow]:
    """Inspect slides one by one, so that the reference is the model and not the majority."""
    return [row for one in slides for row in store.inspect_slides([one], FeaturesSpec(), sha256_of)]


def _of_kind(row: store.FeatureRow, path: Path, wanted: FeatureInput) -> store.FeatureRow:
    """Return the row, with a fault if the file's metadata differ from the model's."""
    if row.fault:
        return row
    found = FeatureInput(row.encoder, row.n_features, **stated_by(path))
    return replace(row, fault=difference(found, wanted))
