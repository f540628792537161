"""Feature files of new patients' slides: found, looked through, and of the model's kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crosstype.errors import ConfigError, Fault, FeatureFileError
from crosstype.features.feature_input import (
    FeatureInput,
    check_stated_encoder,
    difference,
    stated_by,
)
from crosstype.features.layouts import SUFFIXES
from crosstype.features.spec import FeaturesSpec
from crosstype.features.store import (
    FeatureRow,
    find_slides,
    inspect_slides,
    slide_id_of,
    table_slides,
)
from crosstype.terms import PATIENT_COLUMNS, file_name_of, patient_of


@dataclass(frozen=True)
class NewSlides:
    """Slides of new patients.

    Attributes:
        rows: one per slide asked for; a fault says why it cannot be used.
        files: feature file of each slide.
    """

    rows: tuple[FeatureRow, ...]
    files: dict[str, Path]


def find_new_slides(
    place: Path, table: Path | None, patient_column: str = PATIENT_COLUMNS[0]
) -> list[tuple[str, str, Path]]:
    """Return (slide_id, patient_id, path) of each slide of a folder, or of one feature file.

    Raises:
        ConfigError: nothing is there, or it is no feature file.
        TableError, FeatureFileError: as `find_slides`.
    """
    if place.is_dir():
        return find_slides(FeaturesSpec(folder=place), table, patient_column)
    if not place.is_file() or place.suffix not in SUFFIXES:
        raise ConfigError(
            f"--features: found {str(place)!r}, expected a folder of feature files or one file "
            f"that ends in {', '.join(SUFFIXES)}."
        )
    slide_id = slide_id_of(place.name)
    if table is None:
        return [(slide_id, patient_of(slide_id), place)]
    owners = table_slides(table, patient_column)
    found = [
        (one, owner, place) for one, owner in owners.items() if file_name_of(one) == place.stem
    ]
    if not found:
        remedy = "Add its line, or leave the slides table out."
        raise FeatureFileError(Fault(place.name, f"is not in {table.name}", remedy))
    return found


def look_through(
    slides: Sequence[tuple[str, str, Path]],
    encoder: str | None,
    wanted: FeatureInput,
    sha256_of: Callable[[Path], str],
) -> NewSlides:
    """Look through feature files; those of another kind than the model's get a fault.

    Args:
        slides: (slide_id, patient_id, path) each.
        encoder: what the user says of files that name no encoder.
        wanted: what the model was fitted on.
        sha256_of: fingerprints a file.

    Raises:
        ConfigError: the user names another encoder, or must name one.
        FeatureFileError: every file is of another kind.
    """
    check_stated_encoder(encoder, wanted)
    files = {slide_id: path for slide_id, _, path in slides}
    rows = [_of_kind(row, files[row.slide_id], wanted) for row in _inspected(slides, sha256_of)]
    usable = [row for row in rows if not row.fault]
    odd = [row for row in rows if row.fault and row.n_tiles]
    if odd and not usable:
        found = f"{odd[0].fault} ({len(odd)} of {len(rows)} files)"
        remedy = "Extract the slides with that one, or fit a model on these features."
        raise FeatureFileError(Fault(files[odd[0].slide_id].name, found, remedy))
    nameless = [row for row in usable if not row.encoder]
    if nameless and encoder is None and wanted.encoder:
        raise ConfigError(
            f"{files[nameless[0].slide_id].name}: states no encoder, and this model was fitted on "
            f"features of {wanted.encoder!r}. If that is what made them, give --encoder "
            f"{wanted.encoder}; else extract them with it."
        )
    return NewSlides(tuple(replace(row, n_tiles=0) if row.fault else row for row in rows), files)


def _inspected(
    slides: Sequence[tuple[str, str, Path]], sha256_of: Callable[[Path], str]
) -> list[FeatureRow]:
    """Look through one slide at a time: the model's kind counts, not what most files have."""
    return [row for one in slides for row in inspect_slides([one], FeaturesSpec(), sha256_of)]


def _of_kind(row: FeatureRow, path: Path, wanted: FeatureInput) -> FeatureRow:
    """Return the row, with a fault if the file states another kind of features."""
    if row.fault:
        return row
    found = FeatureInput(row.encoder, row.n_features, **stated_by(path))
    return replace(row, fault=difference(found, wanted))
