"""Slides of new patients: feature files checked, or features extracted as in training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosstype.cohort.slide_selection import usable_slides
from crosstype.config.run_spec import RunSpec
from crosstype.deploy.inputs import PredictionInputs, SlideInputs
from crosstype.errors import CohortError, ConfigError, UsageError
from crosstype.features.slide_notes import row_notes
from crosstype.io.files import HashCache
from crosstype.progress import Progress
from crosstype.slides.spec import SlidesSpec, StainSpec, TilesSpec, TissueSpec
from crosstype.workflow.features import load_encoder_of, recipe_of

if TYPE_CHECKING:
    from crosstype.deploy.fitted_model import Artefact
    from crosstype.features.compatibility import NewSlides


def find_slide_inputs(
    artefact: Artefact, inputs: PredictionInputs, progress: Progress
) -> SlideInputs:
    """Return the usable feature files of new patients, after a check or extraction.

    Raises:
        UsageError: slides and features are both given.
        CrosstypeError: as `check_feature_files` and `extract_new_slides`.
    """
    if inputs.slides is not None and inputs.features is not None:
        raise UsageError("--slides and --features are both given. Keep one of them.")
    path = inputs.features or inputs.slides
    if artefact.features is None:
        if path is not None:
            progress.message(f"{artefact.classifier.name} does not use slides; they are not read")
        return SlideInputs()
    if path is None:
        return SlideInputs()
    if inputs.features is not None:
        new = _check_features(artefact, inputs, progress)
    else:
        new = extract_new_slides(artefact, inputs, progress)
    usable, reasons, notes = usable_slides(new.rows)
    for note in [*new.notes, *row_notes(new.rows), *notes]:
        progress.message(note)
    files = {
        p: tuple(new.files[row.slide_id] for row in rows)
        for p, rows in usable.items()
        if inputs.concerns(p)
    }
    faults = tuple(f"{row.slide_id}: {row.fault}" for row in new.rows if row.failed)
    return SlideInputs(files, {p: why for p, why in reasons.items() if inputs.concerns(p)}, faults)


def _check_features(artefact: Artefact, inputs: PredictionInputs, progress: Progress) -> NewSlides:
    """Check existing feature files against the model's."""
    from crosstype.features.compatibility import check_feature_files, find_new_slides

    assert inputs.features is not None
    assert artefact.features is not None
    listing = find_new_slides(inputs.features, inputs.slides_table, inputs.patient_column)
    progress.start("features", 1)
    sha256_of = HashCache(inputs.extracted / "sha256.json").sha256_of
    new = check_feature_files(listing.slides, inputs.encoder, artefact.features, sha256_of)
    new = replace(new, notes=listing.notes)
    progress.step(f"{len(listing.slides)} slides")
    if not artefact.features.encoder:
        progress.message("the model's features name no encoder; only their number was compared")
    return new


def extraction_spec(artefact: Artefact, slides: Path, weights: Path | None) -> RunSpec:
    """Return the settings of feature extraction of the model's training slides.

    Raises:
        ConfigError: they are unknown, since features were extracted elsewhere; or there are no such
            slides.
    """
    held = artefact.extraction
    if held is None:
        encoder = artefact.features.encoder if artefact.features else ""
        raise ConfigError(
            "--slides: this model was fitted on feature files that were extracted elsewhere, with "
            f"unknown settings. Extract the slides with {encoder!r} in the same way, and give "
            "--features."
        )
    if not slides.exists():
        raise ConfigError(f"--slides: found {str(slides)!r}, which does not exist.")
    own: dict[str, dict[str, Any]] = {name: dict(values) for name, values in held.items()}
    spec = RunSpec()
    folder = slides.parent if slides.is_file() and slides.suffix != ".zip" else slides
    return replace(
        spec,
        slides=SlidesSpec(**own["slides"], folder=folder),
        tissue=TissueSpec(**own["tissue"]),
        tiles=TilesSpec(**own["tiles"]),
        stain=StainSpec(**own["stain"]),
        features=replace(spec.features, **own["features"], weights=weights),
    )


def extract_new_slides(
    artefact: Artefact, inputs: PredictionInputs, progress: Progress
) -> NewSlides:
    """Extract features of the slides; finished slides are skipped.

    Raises:
        CohortError: the encoder on this machine differs from the model's.
        CrosstypeError: as extraction.
    """
    from crosstype.features.compatibility import NewSlides
    from crosstype.features.extract import extract_slides, feature_path
    from crosstype.features.slide_sources import list_sources
    from crosstype.features.tile_kind import FeatureInput, difference

    assert inputs.slides is not None
    assert artefact.features is not None
    spec = extraction_spec(artefact, inputs.slides, inputs.weights)
    listing = list_sources(spec.slides, inputs.slides_table, inputs.patient_column)
    sources = listing.sources
    if inputs.slides.is_file() and inputs.slides.suffix != ".zip":
        sources = [one for one in sources if one.path == inputs.slides]
    encoder = load_encoder_of(spec)
    width, name = artefact.features.n_features, encoder.card.name
    own = FeatureInput(name, width, encoder.weights_sha256, encoder.transform)
    found = difference(own, artefact.features)
    if found:
        raise CohortError(
            f"--slides: {found}. Give --weights: the file of weights that the model's features "
            "were extracted with."
        )
    hashes = HashCache(inputs.extracted / "sha256.json")
    rows = extract_slides(
        sources, recipe_of(spec), encoder, inputs.extracted, hashes.sha256_of, progress
    )
    hashes.save()
    files = {row.slide_id: feature_path(inputs.extracted, name, row.slide_id) for row in rows}
    return NewSlides(tuple(rows), files, listing.notes)
