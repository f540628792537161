"""The features stage: extract features from slides, or look through those that exist."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from crosstype.config.run_spec import RunSpec
from crosstype.features.store import NO_FILE, FeatureRow, find_slides, inspect_slides
from crosstype.progress import Progress
from crosstype.types import file_name_of
from crosstype.workflow.ledger import Ledger, Stage

if TYPE_CHECKING:
    from crosstype.features.extract import TileEncoder
    from crosstype.features.tile_batches import ExtractionRecipe


DEFAULT_ENCODER = "resnet50"

Work = Callable[[], list[FeatureRow]]


def feature_folder(spec: RunSpec, out: Path) -> Path:
    """Return where the cohort's feature files are: the user's folder, or where they are put."""
    return spec.features.folder or out / "features" / _encoder_name(spec)


def feature_files(spec: RunSpec, out: Path, usable: set[str]) -> Mapping[str, tuple[Path, ...]]:
    """Return the usable feature files of each patient.

    Args:
        spec: the settings.
        out: folder of the run.
        usable: slide ids without a fault.
    """
    place = replace(spec.features, folder=feature_folder(spec, out))
    files: dict[str, tuple[Path, ...]] = {}
    for slide, patient, path in find_slides(place, spec.cohort.slides, spec.cohort.patient_column):
        if slide in usable:
            files[patient] = (*files.get(patient, ()), path)
    return files


def features_stage(
    spec: RunSpec, out: Path, ledger: Ledger, progress: Progress
) -> tuple[Stage, Work]:
    """Return the stage and its work, which gives one row per slide asked for."""
    if spec.slides.folder is None:
        progress.start("features", 1)
        return _existing(spec, ledger)
    return _extracted(spec, out, ledger, progress)


def slides_asked_for(spec: RunSpec) -> list[FeatureRow]:
    """Return one row per slide to be read, as if each that is there came out well."""
    from crosstype.features.slide_sources import find_sources

    sources = find_sources(spec.slides, spec.cohort.slides, spec.cohort.patient_column)
    return [
        FeatureRow(one.slide_id, one.patient_id, 1, 1, "", "", "" if one.is_there else NO_FILE)
        for one in sources
    ]


def slide_checks(spec: RunSpec, out: Path, rows: Sequence[FeatureRow]) -> list[str]:
    """Return in words what was found on the slides that were extracted; nothing for others'."""
    if spec.slides.folder is None:
        return []
    from crosstype.features.extract import check_notes

    return check_notes(rows, out)


def _existing(spec: RunSpec, ledger: Ledger) -> tuple[Stage, Work]:
    slides = find_slides(spec.features, spec.cohort.slides, spec.cohort.patient_column)
    inputs = {f"{patient}/{slide}": path for slide, patient, path in slides if path.is_file()}
    asked_for = sorted((slide, patient) for slide, patient, _ in slides)
    stage = Stage("features", [spec.features.encoder, asked_for], inputs, ["features.csv"])
    return stage, lambda: inspect_slides(slides, spec.features, ledger.hashes.sha256_of)


def recipe_of(spec: RunSpec) -> ExtractionRecipe:
    """Return how slides become features."""
    from crosstype.features.tile_batches import ExtractionRecipe

    return ExtractionRecipe(
        spec.slides, spec.tissue, spec.tiles, spec.stain, spec.augmentation, spec.features
    )


def _extracted(spec: RunSpec, out: Path, ledger: Ledger, progress: Progress) -> tuple[Stage, Work]:
    """Slides that were extracted with the same settings and weights stay as they are."""
    from crosstype.features.slide_sources import find_sources

    sources = find_sources(spec.slides, spec.cohort.slides, spec.cohort.patient_column)
    recipe = recipe_of(spec)
    sha256_of = ledger.hashes.sha256_of
    asked_for = [
        (one.slide_id, one.patient_id, one.mpp, one.sha256(sha256_of) if one.is_there else "")
        for one in sources
    ]
    moveless = [
        replace(spec.slides, folder=None),
        spec.tissue,
        spec.tiles,
        spec.stain,
        spec.augmentation,
    ]
    settings = [*moveless, replace(spec.features, weights=None, n_readers=1), asked_for]
    inputs = {"weights": spec.features.weights} if spec.features.weights else {}
    folder = feature_folder(spec, out).relative_to(out)
    outputs = [str(folder / f"{file_name_of(one.slide_id)}.h5") for one in sources]

    def work() -> list[FeatureRow]:
        from crosstype.features.extract import extract_slides

        return extract_slides(sources, recipe, load_encoder_of(spec), out, sha256_of, progress)

    return Stage("features", settings, inputs, ["features.csv", *outputs]), work


def load_encoder_of(spec: RunSpec) -> TileEncoder:
    """Return the encoder; torch is imported only if it is a network."""
    from crosstype.features.encoders.colour_texture import CARD, ColourTexture

    name = _encoder_name(spec)
    if name == CARD.name:
        return ColourTexture()
    from crosstype.features.encoders.encoder import load_encoder

    of = spec.features
    return load_encoder(name, of.weights, of.precision, normalisation=of.normalisation)


def _encoder_name(spec: RunSpec) -> str:
    return spec.features.encoder or DEFAULT_ENCODER
