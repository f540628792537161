"""Slides of new patients: feature files looked through, or slides extracted as in training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosstype.cohort.slide_selection import usable_slides
from crosstype.config.run_spec import RunSpec
from crosstype.deploy.inputs import PredictionInputs, SlideInputs
from crosstype.errors import CohortError, ConfigError, UsageError
from crosstype.features.store import NO_FILE
from crosstype.io.files import HashMemory
from crosstype.progress import Progress
from crosstype.slides.spec import SlidesSpec, StainSpec, TilesSpec, TissueSpec
from crosstype.workflow.features import load_encoder_of, recipe_of

if TYPE_CHECKING:
    from crosstype.deploy.fitted_model import Artefact
    from crosstype.features.compatibility import NewSlides


def find_shown(artefact: Artefact, inputs: PredictionInputs, progress: Progress) -> SlideInputs:
    """Return the usable slides that are offered, looked through or extracted.

    Raises:
        UsageError: slides and features are both given.
        CrosstypeError: as `look_through` and `extract_new_slides`.
    """
    if inputs.slides is not None and inputs.features is not None:
        raise UsageError("--slides and --features are both given. Keep one of them.")
    place = inputs.features or inputs.slides
    if artefact.features is None:
        if place is not None:
            progress.say(f"{artefact.classifier.name} does not look at slides; they are not read")
        return SlideInputs()
    if place is None:
        return SlideInputs()
    if inputs.features is not None:
        new = _looked_through(artefact, inputs, progress)
    else:
        new = extract_new_slides(artefact, inputs, progress)
    usable, reasons, notes = usable_slides(new.rows)
    for note in notes:
        progress.say(note)
    files = {
        p: tuple(new.files[row.slide_id] for row in rows)
        for p, rows in usable.items()
        if inputs.concerns(p)
    }
    faults = tuple(
        f"{row.slide_id}: {row.fault}" for row in new.rows if row.fault and row.fault != NO_FILE
    )
    return SlideInputs(files, {p: why for p, why in reasons.items() if inputs.concerns(p)}, faults)


def _looked_through(artefact: Artefact, inputs: PredictionInputs, progress: Progress) -> NewSlides:
    """Look through existing feature files."""
    from crosstype.features.compatibility import find_new_slides, look_through

    assert inputs.features is not None
    assert artefact.features is not None
    slides = find_new_slides(inputs.features, inputs.slides_table, inputs.patient_column)
    progress.start("features", 1)
    sha256_of = HashMemory(inputs.extracted / "sha256.json").sha256_of
    new = look_through(slides, inputs.encoder, artefact.features, sha256_of)
    progress.step(f"{len(slides)} slides")
    if not artefact.features.encoder:
        progress.say("the model's features name no encoder; only their width was compared")
    return new


def extraction_spec(artefact: Artefact, slides: Path, weights: Path | None) -> RunSpec:
    """Return the settings by which the model's training slides became features.

    Raises:
        ConfigError: they were extracted elsewhere, so that nobody knows; or slides are not there.
    """
    held = artefact.extraction
    if held is None:
        encoder = artefact.features.encoder if artefact.features else ""
        raise ConfigError(
            "--slides: this model was fitted on feature files that were extracted elsewhere, so it "
            f"does not know how. Extract the slides with {encoder!r} as those were, and give "
            "--features."
        )
    if not slides.exists():
        raise ConfigError(f"--slides: found {str(slides)!r}, which is not there.")
    own: dict[str, dict[str, Any]] = {name: dict(values) for name, values in held.items()}
    spec = RunSpec()
    place = slides.parent if slides.is_file() and slides.suffix != ".zip" else slides
    return replace(
        spec,
        slides=SlidesSpec(**own["slides"], folder=place),
        tissue=TissueSpec(**own["tissue"]),
        tiles=TilesSpec(**own["tiles"]),
        stain=StainSpec(**own["stain"]),
        features=replace(spec.features, **own["features"], weights=weights),
    )


def extract_new_slides(
    artefact: Artefact, inputs: PredictionInputs, progress: Progress
) -> NewSlides:
    """Extract the offered slides; those that are done stay as they are.

    Raises:
        CohortError: the encoder on this machine is another than the model's.
        CrosstypeError: as extraction.
    """
    from crosstype.features.compatibility import FeatureInput, NewSlides, difference
    from crosstype.features.extract import extract_slides, feature_path
    from crosstype.features.slide_sources import find_sources

    assert inputs.slides is not None
    assert artefact.features is not None
    spec = extraction_spec(artefact, inputs.slides, inputs.weights)
    sources = find_sources(spec.slides, inputs.slides_table, inputs.patient_column)
    if inputs.slides.is_file() and inputs.slides.suffix != ".zip":
        sources = [one for one in sources if one.path == inputs.slides]
    encoder = load_encoder_of(spec)
    width, name = artefact.features.n_features, encoder.card.name
    own = FeatureInput(name, width, encoder.weights_sha256, encoder.transform)
    odd = difference(own, artefact.features)
    if odd:
        raise CohortError(
            f"--slides: {odd}. Give --weights, the file that the model's were made by."
        )
    hashes = HashMemory(inputs.extracted / "sha256.json")
    rows = extract_slides(
        sources, recipe_of(spec), encoder, inputs.extracted, hashes.sha256_of, progress
    )
    hashes.save()
    files = {row.slide_id: feature_path(inputs.extracted, name, row.slide_id) for row in rows}
    return NewSlides(tuple(rows), files)
