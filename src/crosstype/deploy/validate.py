"""`validate`: a fitted model judged on an external cohort, and how far its inputs have shifted.

Whom of an external cohort a model is judged on, and why nobody else.
"""

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
    artefact: Artefact, spec: RunSpec, served: PredictedPatients, labels: Labels
) -> tuple[list[int], list[LeftOut]]:
    """Return the rows of the patients to be judged, and everyone else of any table."""
    unserved = {one.patient_id: one for one in served.left_out}
    lacking = {} if spec.cohort.single_modality == "train" else _lacking(artefact, spec, served)
    place = {patient: row for row, patient in enumerate(served.patients.ids)}
    rows, left_out = [], []
    for patient in sorted({*place, *unserved, *labels.class_of, *labels.left_out}):
        if patient in labels.left_out:
            step, reason = labels.left_out[patient]
            left_out.append(LeftOut(patient, "site" if step == "site" else "labels", reason))
        elif patient not in labels.class_of:
            left_out.append(LeftOut(patient, "labels", "not in the label table"))
        elif patient in unserved:
            left_out.append(unserved[patient])
        elif patient not in place:
            left_out.append(LeftOut(patient, "slides", "nothing that the model looks at"))
        elif patient in lacking:
            left_out.append(lacking[patient])
        else:
            rows.append(place[patient])
    return rows, left_out


def _lacking(artefact: Artefact, spec: RunSpec, served: PredictedPatients) -> dict[str, LeftOut]:
    """Return who of the served lacks a modality that the config names, and which."""
    parts = dict(zip(served.patients.ids, served.modalities, strict=True))
    shown = _with_slides(spec) if artefact.features is None else None
    measured = _with_expression(spec) if artefact.genes is None else None
    if shown is None and (spec.features.folder or spec.slides.folder):
        shown = {patient for patient, has in parts.items() if "image" in has}
    if measured is None and spec.cohort.expression:
        measured = {patient for patient, has in parts.items() if "genes" in has}
    lacking = {}
    for patient in parts:
        if measured is not None and patient not in measured:
            lacking[patient] = LeftOut(patient, "expression", "no expression that can be used")
        if shown is not None and patient not in shown:
            lacking[patient] = LeftOut(patient, "slides", "no usable slide")
    return lacking


def _with_slides(spec: RunSpec) -> set[str] | None:
    """Return who has slides, for a model that does not look at them; None: none are named."""
    from crosstype.features.slide_sources import find_sources
    from crosstype.features.store import find_slides, inspect_slides

    cohort = spec.cohort
    if spec.features.folder is not None:
        asked = find_slides(spec.features, cohort.slides, cohort.patient_column)
        return set(usable_slides(inspect_slides(asked, spec.features, sha256_of))[0])
    if spec.slides.folder is not None:
        sources = find_sources(spec.slides, cohort.slides, cohort.patient_column)
        return {one.patient_id for one in sources if one.is_there}
    return None


def _with_expression(spec: RunSpec) -> set[str] | None:
    """Return who has expression, for a model that does not look at it; None: none is named."""
    if spec.cohort.expression is None:
        return None
    reading = replace(spec.expression, representation="genes", gene_sets=None)
    return set(select_samples(read_expression(spec.cohort.expression, reading, ()))[0])


WARNING = "warning: "
MADE_BEFORE = (schema.METRICS, schema.COMPARISONS, schema.MODALITY_USE, schema.SHIFT)


@dataclass(frozen=True)
class Validation:
    """What is to be said of a validation.

    Attributes:
        lines: the result in a few sentences.
        faults: slides or feature files that could not be used.
    """

    lines: tuple[str, ...]
    faults: tuple[str, ...]


@dataclass
class _Listener:
    """Passes everything on to a watcher and keeps what was said."""

    progress: Progress
    said: list[str] = field(default_factory=list)

    @property
    def kept(self) -> list[str]:
        """What was said that is no warning; warnings are made anew for those who are judged."""
        return [one for one in self.said if not one.startswith(WARNING)]

    def start(self, stage: str, total: int, done: int = 0) -> None:
        self.progress.start(stage, total, done)

    def step(self, piece: str) -> None:
        self.progress.step(piece)

    def note(self, text: str) -> None:
        self.progress.note(text)

    def say(self, line: str) -> None:
        self.said.append(line)
        self.progress.say(line)


def validate_artefact(
    artefact: Artefact, name: str, spec: RunSpec, out: Path, progress: Progress
) -> Validation:
    """Judge a model on the labelled patients of another cohort; write everything into `out`.

    A patient must have every modality that the config names, so that models are judged on the same
    patients; with `single_modality = "train"` everyone counts whom the model can serve.

    Writes predictions.csv, left_out.csv, metrics.csv with its companions, shift.csv,
    validation.json and validation.html.

    Args:
        artefact: the model.
        name: of its file, for the page.
        spec: `[cohort]`, `[features]` or `[slides]`, units and names of `[expression]`, and
            `[evaluation]`; everything else is the model's own.
        out: folder that receives everything.
        progress: who is told how far it is.

    Raises:
        ConfigError: the classes are not the model's, or labels are not set.
        CohortError: no patient is left, or only one class.
    """
    _check(artefact, spec)
    listener = _Listener(progress)
    labels = read_labels(spec.cohort)
    served = predict(artefact, _offer(spec, labels.class_of, out), listener)
    rows, left_out = evaluated_patients(artefact, spec, served, labels)
    for stale in MADE_BEFORE:
        (out / stale.name).unlink(missing_ok=True)
    write_left_out(out / schema.LEFT_OUT.name, left_out)
    known = [labels.class_of[served.patients.ids[row]] for row in rows]
    _check_classes(artefact, known)
    _write_predictions(artefact, served, rows, known, out / schema.PREDICTIONS.name)
    judging = replace(spec.evaluation, rna_loss=False, other_expression=None)
    progress.start("evaluate", 1)
    evaluate(out, judging, artefact.classes, spec.folds.seed)
    shift = _write_shift(artefact, served, rows, out / schema.SHIFT.name)
    progress.step("metrics, shift")
    warnings = _warnings(artefact, [served.patients.ids[row] for row in rows], labels.provenance)
    lines = (*_said(artefact, served, rows, known), shift)
    about = _about(artefact, name, spec, known)
    about |= {"lines": lines, "warnings": warnings, "faults": served.faults}
    about |= {"notes": listener.kept, "n_left_out": len(left_out)}
    write_text(out / "validation.json", json.dumps(about, indent=1, ensure_ascii=False) + "\n")
    write_validation_page(out)
    return Validation((*lines, *(f"Warning: {one}" for one in warnings)), served.faults)


def _check(artefact: Artefact, spec: RunSpec) -> None:
    """Raise ConfigError for a config that this model cannot be validated by."""
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


def _offer(spec: RunSpec, labelled: Collection[str], out: Path) -> PredictionInputs:
    """Return the cohort's tables and slides as patients to be predicted."""
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
    """Raise CohortError if a class has no patient: nothing can be measured then."""
    sizes = ", ".join(f"{name} {known.count(name)}" for name in artefact.classes)
    empty = [name for name in artefact.classes if name not in known]
    if empty:
        raise CohortError(
            f"validate: found no patient of class {empty[0]!r} ({sizes}); expected some of each. "
            "left_out.csv says who was left out and why."
        )


def _write_predictions(
    artefact: Artefact,
    served: PredictedPatients,
    rows: Sequence[int],
    known: Sequence[str],
    path: Path,
) -> None:
    """Write predictions.csv as a run does: one repeat, one fold."""
    from crosstype.crossval.plan import Job
    from crosstype.crossval.prediction_table import prediction_rows

    who = ([served.patients.ids[row] for row in rows], known)
    said = (served.called[rows], served.probabilities[rows])
    job = Job(0, 0, artefact.classifier.name)
    rows_said = prediction_rows(job, who, said, artefact.classes)
    schema.PREDICTIONS.write_as(path, rows_said, artefact.classes)


def _write_shift(
    artefact: Artefact, served: PredictedPatients, rows: Sequence[int], path: Path
) -> str:
    """Write shift.csv, worst input first, and return what it adds up to."""
    from crosstype.deploy.drift import shift_of

    taken = served.patients.take(np.array(rows, dtype=np.int64))
    table = shift_of(artefact, taken)
    worst = pl.col("standardised_difference").abs()
    table = table.sort(worst, descending=True, nulls_last=True, maintain_order=True)
    schema.SHIFT.write_as(path, table)
    return shift_sentence(table)


def _warnings(artefact: Artefact, ids: Sequence[str], provenance: str) -> list[str]:
    """Return what makes the figures look better than they are."""
    found = []
    among = artefact.taught.among(ids)
    if among:
        found.append(
            f"{len(among)} of {len(ids)} patients taught this model, such as {among[0]}: what it "
            "says of them is recall, and the figures are too good"
        )
    if artefact.features is not None:
        encoder = artefact.features.encoder
        seen = pretraining_note(encoder, ids)
        if seen.startswith(SEEN) or pretraining_cohorts(encoder) is None:
            found.append(seen.removeprefix(SEEN))
    if artefact.genes is not None and "RNA" in provenance:
        found.append(f"labels are {provenance}")
    if artefact.taught.synthetic:
        found.append("the model was taught by made-up patients")
    return found


def _said(
    artefact: Artefact, served: PredictedPatients, rows: Sequence[int], known: Sequence[str]
) -> list[str]:
    """Return how many were judged by what, and mean probability against prevalence."""
    counts = Counter(served.modalities[row] for row in rows)
    by = ", ".join(f"{n} by {what}" for what, n in sorted(counts.items()))
    lines = [f"{len(rows)} patients judged: {by}"]
    for number, name in list(enumerate(artefact.classes))[1 if len(artefact.classes) == 2 else 0 :]:
        mean = float(served.probabilities[rows, number].mean())
        share = known.count(name) / len(known)
        lines.append(f"{name}: mean probability {mean:.3f}, prevalence {share:.3f}")
    return lines


def _about(artefact: Artefact, name: str, spec: RunSpec, known: Sequence[str]) -> dict[str, Any]:
    """Return what the page says of model and cohort."""
    taught = artefact.taught
    return {
        "crosstype": __version__,
        "artefact": name,
        "model": artefact.classifier.name,
        "classes": list(artefact.classes),
        "counts": {one: known.count(one) for one in artefact.classes},
        "confidence": spec.evaluation.confidence,
        "training_summary": taught.n_patients,
        "taught_classes": dict(taught.classes),
        "synthetic": spec.cohort.synthetic or taught.synthetic,
    }
