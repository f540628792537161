"""`validate`: external validation of a fitted model, with the shift of its inputs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from crosstype import __version__
from crosstype.cohort.cohort import LeftOut, write_left_out
from crosstype.cohort.labels import Labels, read_labels
from crosstype.cohort.slide_selection import usable_slides
from crosstype.config.run_spec import RunSpec
from crosstype.deploy.drift import shift_sentence
from crosstype.deploy.inputs import PredictionInputs
from crosstype.deploy.predict import PredictedPatients, predict
from crosstype.errors import CohortError, ConfigError
from crosstype.evaluation.evaluate import evaluate
from crosstype.expression.read import read_expression
from crosstype.expression.sample_selection import select_samples
from crosstype.features.encoders.catalog import WARNING as SEEN
from crosstype.features.encoders.catalog import pretraining_cohorts, pretraining_note
from crosstype.io import schema
from crosstype.io.files import sha256_of, write_text
from crosstype.progress import Progress
from crosstype.report.pages.validation import write_validation_page

if TYPE_CHECKING:
    from crosstype.deploy.fitted_model import Artefact


def evaluated_patients(
    artefact: Artefact, spec: RunSpec, predictions: PredictedPatients, labels: Labels
) -> tuple[list[int], list[LeftOut]]:
    """Return the rows of the patients to evaluate, and all other patients of any table."""
    unpredicted = {one.patient_id: one for one in predictions.left_out}
    incomplete = (
        {} if spec.cohort.single_modality == "train" else _lacking(artefact, spec, predictions)
    )
    row_of = {patient: row for row, patient in enumerate(predictions.patients.ids)}
    rows, left_out = [], []
    for patient in sorted({*row_of, *unpredicted, *labels.class_of, *labels.left_out}):
        if patient in labels.left_out:
            step, reason = labels.left_out[patient]
            left_out.append(LeftOut(patient, "site" if step == "site" else "labels", reason))
        elif patient not in labels.class_of:
            left_out.append(LeftOut(patient, "labels", "not in the label table"))
        elif patient in unpredicted:
            left_out.append(unpredicted[patient])
        elif patient not in row_of:
            left_out.append(LeftOut(patient, "slides", "no input of the model"))
        elif patient in incomplete:
            left_out.append(incomplete[patient])
        else:
            rows.append(row_of[patient])
    return rows, left_out


def _lacking(
    artefact: Artefact, spec: RunSpec, predictions: PredictedPatients
) -> dict[str, LeftOut]:
    """Return the predicted patients without a modality that the config names, and which."""
    parts = dict(zip(predictions.patients.ids, predictions.modalities, strict=True))
    imaged = _with_slides(spec) if artefact.features is None else None
    measured = _with_expression(spec) if artefact.genes is None else None
    if imaged is None and (spec.features.folder or spec.slides.folder):
        imaged = {patient for patient, has in parts.items() if "image" in has}
    if measured is None and spec.cohort.expression:
        measured = {patient for patient, has in parts.items() if "genes" in has}
    incomplete = {}
    for patient in parts:
        if measured is not None and patient not in measured:
            incomplete[patient] = LeftOut(patient, "expression", "no expression that can be used")
        if imaged is not None and patient not in imaged:
            incomplete[patient] = LeftOut(patient, "slides", "no usable slide")
    return incomplete


def _with_slides(spec: RunSpec) -> set[str] | None:
    """Return the patients with slides, for a model on genes; None: the config names no slides."""
    from crosstype.features.slide_sources import find_sources
    from crosstype.features.store import find_slides, inspect_slides

    cohort = spec.cohort
    if spec.features.folder is not None:
        slides = find_slides(spec.features, cohort.slides, cohort.patient_column)
        return set(usable_slides(inspect_slides(slides, spec.features, sha256_of))[0])
    if spec.slides.folder is not None:
        sources = find_sources(spec.slides, cohort.slides, cohort.patient_column)
        return {one.patient_id for one in sources if one.is_there}
    return None


def _with_expression(spec: RunSpec) -> set[str] | None:
    """Return the patients with expression, for a model on slides; None: the config names none."""
    if spec.cohort.expression is None:
        return None
    reading = replace(spec.expression, representation="genes", gene_sets=None)
    return set(select_samples(read_expression(spec.cohort.expression, reading, ()))[0])


WARNING = "warning: "
MADE_BEFORE = (schema.METRICS, schema.COMPARISONS, schema.MODALITY_USE, schema.SHIFT)


@dataclass(frozen=True)
class Validation:
    """Result of a validation.

    Attributes:
        lines: result and warnings, as sentences.
        faults: slides or feature files that could not be used.
    """

    lines: tuple[str, ...]
    faults: tuple[str, ...]


@dataclass
class _RecordedProgress:
    """Progress that also records its messages."""

    progress: Progress
    messages: list[str] = field(default_factory=list)

    @property
    def notes(self) -> list[str]:
        """Messages other than warnings, which are made anew for the evaluated patients."""
        return [one for one in self.messages if not one.startswith(WARNING)]

    def start(self, stage: str, total: int, done: int = 0) -> None:
        self.progress.start(stage, total, done)

    def step(self, piece: str) -> None:
        self.progress.step(piece)

    def note(self, text: str) -> None:
        self.progress.note(text)

    def message(self, line: str) -> None:
        self.messages.append(line)
        self.progress.message(line)


def validate_artefact(
    artefact: Artefact, name: str, spec: RunSpec, out: Path, progress: Progress
) -> Validation:
    """Evaluate a model on the labelled patients of another cohort; write the results into `out`.

    A patient must have every modality that the config names, so that all models are evaluated on
    the same patients; with `single_modality = "train"` all predicted patients are evaluated.

    Writes predictions.csv, left_out.csv, metrics.csv with its companions, shift.csv,
    validation.json and validation.html.

    Args:
        artefact: the model.
        name: of its file, for the page.
        spec: `[cohort]`, `[features]` or `[slides]`, units and names of `[expression]`, and
            `[evaluation]`; other settings are the model's.
        out: folder of the results.
        progress: receives progress and messages.

    Raises:
        ConfigError: the classes are not the model's, or labels are not set.
        CohortError: no patient is left, or only one class.
    """
    _check(artefact, spec)
    recorded = _RecordedProgress(progress)
    labels = read_labels(spec.cohort)
    predictions = predict(artefact, _prediction_inputs(spec, labels.class_of, out), recorded)
    rows, left_out = evaluated_patients(artefact, spec, predictions, labels)
    for stale in MADE_BEFORE:
        (out / stale.name).unlink(missing_ok=True)
    write_left_out(out / schema.LEFT_OUT.name, left_out)
    known = [labels.class_of[predictions.patients.ids[row]] for row in rows]
    _check_classes(artefact, known)
    _write_predictions(artefact, predictions, rows, known, out / schema.PREDICTIONS.name)
    no_studies = replace(spec.evaluation, rna_loss=False, other_expression=None)
    progress.start("evaluate", 1)
    evaluate(out, no_studies, artefact.classes, spec.folds.seed)
    shift = _write_shift(artefact, predictions, rows, out / schema.SHIFT.name)
    progress.step("metrics, shift")
    warnings = _warnings(
        artefact, [predictions.patients.ids[row] for row in rows], labels.provenance
    )
    lines = (*_summary(artefact, predictions, rows, known), shift)
    about = _about(artefact, name, spec, known)
    about |= {"lines": lines, "warnings": warnings, "faults": predictions.faults}
    about |= {"notes": recorded.notes, "n_left_out": len(left_out)}
    write_text(out / "validation.json", json.dumps(about, indent=1, ensure_ascii=False) + "\n")
    write_validation_page(out)
    return Validation((*lines, *(f"Warning: {one}" for one in warnings)), predictions.faults)


def _check(artefact: Artefact, spec: RunSpec) -> None:
    """Raise ConfigError if classes, labels or slides of the config do not suit this model."""
    found = [one.name for one in spec.cohort.classes]
    if sorted(found) != sorted(artefact.classes):
        raise ConfigError(
            f"[[cohort.classes]]: found {', '.join(found) or 'none'}; expected those of the model: "
            f"{', '.join(artefact.classes)}."
        )
    if spec.cohort.labels is None:
        raise ConfigError("[cohort] labels is not set. Name the table of the cohort's labels.")
    if spec.slides.folder is not None and spec.features.folder is not None:
        raise ConfigError("[slides] folder and [features] folder are both set. Keep one of them.")


def _prediction_inputs(spec: RunSpec, labelled: Collection[str], out: Path) -> PredictionInputs:
    """Return the cohort's tables and slides as prediction inputs."""
    return PredictionInputs(
        expression=spec.cohort.expression,
        reading=spec.expression,
        features=spec.features.folder,
        slides=spec.slides.folder,
        slides_table=spec.cohort.slides,
        patient_column=spec.cohort.patient_column,
        encoder=spec.features.encoder,
        weights=spec.features.weights,
        extracted=out,
        only=frozenset(labelled),
    )


def _check_classes(artefact: Artefact, known: Sequence[str]) -> None:
    """Raise CohortError if a class has no patient, so that metrics are undefined."""
    sizes = ", ".join(f"{name} {known.count(name)}" for name in artefact.classes)
    empty = [name for name in artefact.classes if name not in known]
    if empty:
        raise CohortError(
            f"validate: found no patient of class {empty[0]!r} ({sizes}); expected some of each. "
            "left_out.csv lists the patients that were left out, and why."
        )


def _write_predictions(
    artefact: Artefact,
    predictions: PredictedPatients,
    rows: Sequence[int],
    known: Sequence[str],
    path: Path,
) -> None:
    """Write predictions.csv in the format of a run, with one repeat and one fold."""
    from crosstype.crossval.plan import Job
    from crosstype.crossval.prediction_table import prediction_rows

    patients = ([predictions.patients.ids[row] for row in rows], known)
    predicted = (predictions.predicted[rows], predictions.probabilities[rows])
    job = Job(0, 0, artefact.classifier.name)
    table = prediction_rows(job, patients, predicted, artefact.classes)
    schema.PREDICTIONS.write_as(path, table, artefact.classes)


def _write_shift(
    artefact: Artefact, predictions: PredictedPatients, rows: Sequence[int], path: Path
) -> str:
    """Write shift.csv, most shifted input first, and return its summary."""
    from crosstype.deploy.drift import shift_of

    evaluated = predictions.patients.take(np.array(rows, dtype=np.int64))
    table = shift_of(artefact, evaluated)
    size = pl.col("standardised_difference").abs()
    table = table.sort(size, descending=True, nulls_last=True, maintain_order=True)
    schema.SHIFT.write_as(path, table)
    return shift_sentence(table)


def _warnings(artefact: Artefact, ids: Sequence[str], provenance: str) -> list[str]:
    """Return the reasons for which the metrics may be optimistic."""
    found = []
    among = artefact.training.among(ids)
    if among:
        found.append(
            f"{len(among)} of {len(ids)} patients are training patients of this model, such as "
            f"{among[0]}: the metrics are optimistic"
        )
    if artefact.features is not None:
        encoder = artefact.features.encoder
        seen = pretraining_note(encoder, ids)
        if seen.startswith(SEEN) or pretraining_cohorts(encoder) is None:
            found.append(seen.removeprefix(SEEN))
    if artefact.genes is not None and "RNA" in provenance:
        found.append(f"labels are {provenance}")
    if artefact.training.synthetic:
        found.append("the model was fitted on synthetic patients")
    return found


def _summary(
    artefact: Artefact, predictions: PredictedPatients, rows: Sequence[int], known: Sequence[str]
) -> list[str]:
    """Return sentences: patients by modality, and mean probability and prevalence by class."""
    counts = Counter(predictions.modalities[row] for row in rows)
    by = ", ".join(f"{n} by {modalities}" for modalities, n in sorted(counts.items()))
    lines = [f"{len(rows)} patients evaluated: {by}"]
    for number, name in list(enumerate(artefact.classes))[1 if len(artefact.classes) == 2 else 0 :]:
        mean = float(predictions.probabilities[rows, number].mean())
        share = known.count(name) / len(known)
        lines.append(f"{name}: mean probability {mean:.3f}, prevalence {share:.3f}")
    return lines


def _about(artefact: Artefact, name: str, spec: RunSpec, known: Sequence[str]) -> dict[str, Any]:
    """Return the facts about model and cohort for the page."""
    training = artefact.training
    return {
        "crosstype": __version__,
        "artefact": name,
        "model": artefact.classifier.name,
        "classes": list(artefact.classes),
        "counts": {one: known.count(one) for one in artefact.classes},
        "confidence": spec.evaluation.confidence,
        "n_training": training.n_patients,
        "training_classes": dict(training.classes),
        "synthetic": spec.cohort.synthetic or training.synthetic,
    }
