"""Checks of new feature files against the feature input of a fitted model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crosstype.errors import ConfigError, Fault, FeatureFileError
from crosstype.features import store
from crosstype.features.formats.open import SUFFIXES
from crosstype.features.slide_names import match_files, slide_id_of
from crosstype.features.slides_table import read_slides_table
from crosstype.features.spec import FeaturesSpec
from crosstype.features.tile_kind import FeatureInput, alike, difference, minority_faults, stated_by
from crosstype.tcga import patient_of
from crosstype.types import PATIENT_COLUMNS


def feature_input_of(encoder: str, n_features: int, paths: Sequence[Path]) -> FeatureInput:
    """Return the feature input that all files agree on; None for metadata that differ."""
    return FeatureInput(encoder, n_features, **alike([stated_by(path) for path in paths]))


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
        notes: names that were matched, slides that are missing, rows without a slide.
    """

    rows: tuple[store.FeatureRow, ...]
    files: dict[str, Path]
    notes: tuple[str, ...] = ()


def find_new_slides(
    path: Path, table: Path | None, patient_column: str = PATIENT_COLUMNS[0]
) -> store.SlideListing:
    """Return the slides of a folder, or of one feature file.

    Raises:
        ConfigError: there is no such folder, or it is no feature file.
        TableError, FeatureFileError: as `list_slides`.
    """
    if path.is_dir():
        return store.list_slides(FeaturesSpec(folder=path), table, patient_column)
    if not path.is_file() or path.suffix.lower() not in SUFFIXES:
        raise ConfigError(
            f"--features: found {str(path)!r}, expected a folder of feature files or one file "
            f"that ends in {', '.join(SUFFIXES)}."
        )
    if table is None:
        slide_id = slide_id_of(path.name)
        return store.SlideListing([(slide_id, patient_of(slide_id), path)])
    listed = read_slides_table(table, patient_column)
    found = match_files(listed.patient_of, {path.stem: path})
    if not found.files:
        remedy = "Add its line, or leave the slides table out."
        raise FeatureFileError(Fault(path.name, f"is not in {table.name}", remedy))
    slides = [(one, listed.patient_of[one], path) for one in found.files]
    return store.SlideListing(slides, (*listed.notes, *found.notes))


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
        FeatureFileError: no file matches; or two kinds of tiles are equally common.
    """
    check_stated_encoder(encoder, wanted)
    files = {slide_id: path for slide_id, _, path in slides}
    rows = [_of_kind(row, files[row.slide_id], wanted) for row in _inspected(slides, sha256_of)]
    usable = [row for row in rows if not row.fault]
    different = [row for row in rows if row.failed and row.n_tiles]
    if different and not usable:
        found = f"{different[0].fault} ({len(different)} of {len(rows)} files)"
        remedy = "Extract the slides with that one, or fit a model on these features."
        raise FeatureFileError(Fault(files[different[0].slide_id].name, found, remedy))
    kinds = {row.slide_id: store.kind_of(row, files[row.slide_id]) for row in usable}
    faults = minority_faults(kinds, "--features")  # in what the model's features do not state
    rows = [replace(row, fault=faults.get(row.slide_id, row.fault)) for row in rows]
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
    rows = [row for one in slides for row in store.inspect_slides([one], FeaturesSpec(), sha256_of)]
    return store.without_copies(rows)


def _of_kind(row: store.FeatureRow, path: Path, wanted: FeatureInput) -> store.FeatureRow:
    """Return the row, with a fault if the file's metadata differ from the model's."""
    if row.fault:
        return row
    return replace(row, fault=difference(store.kind_of(row, path), wanted))
