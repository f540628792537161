"""`predict`: predictions of a fitted model for new patients, from either modality or both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crosstype.cohort.cohort import LeftOut
from crosstype.cohort.matching import spelled_as, spelling_note
from crosstype.deploy.inputs import PredictionInputs, SlideInputs
from crosstype.deploy.new_expression import check_level, enough_genes, find_expression
from crosstype.deploy.new_slides import find_slide_inputs
from crosstype.errors import CohortError, UsageError
from crosstype.io import schema
from crosstype.progress import Progress
from crosstype.types import Modality

if TYPE_CHECKING:
    from crosstype.deploy.fitted_model import Artefact
    from crosstype.expression.harmonize import NewExpression
    from crosstype.training.patients import Patients


AT_ONCE = 64
"""Patients per step of progress."""


@dataclass(frozen=True)
class PredictedPatients:
    """Predictions for new patients.

    Attributes:
        patients: the predicted patients, sorted, with the model's inputs.
        probabilities: patients x classes.
        predicted: number of each patient's predicted class.
        modalities: inputs of each prediction: `image`, `genes` or `image+genes`.
        left_out: the other patients, and why.
        faults: feature files or slides that could not be used.
    """

    patients: Patients
    probabilities: np.ndarray
    predicted: np.ndarray
    modalities: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    faults: tuple[str, ...]


def predict(artefact: Artefact, inputs: PredictionInputs, progress: Progress) -> PredictedPatients:
    """Predict new patients.

    A patient with too few of the model's genes is predicted from the image alone if the model uses
    images; otherwise they are left out.

    Raises:
        UsageError: no input of the model is given.
        CrosstypeError: a table or features do not match the model's.
    """
    _check_inputs(artefact, inputs)
    slides = find_slide_inputs(artefact, inputs, progress)
    measured = find_expression(artefact, inputs, progress)
    return predict_inputs(artefact, inputs, (measured, slides), progress)


def predict_inputs(
    artefact: Artefact,
    inputs: PredictionInputs,
    found: tuple[NewExpression | None, SlideInputs],
    progress: Progress,
) -> PredictedPatients:
    """Predict patients from tables that are already read; see `predict`."""
    measured, slides = found
    rows, thin = enough_genes(artefact, inputs, measured, progress)
    slides = _same_patients(slides, rows, progress)
    if measured is not None and rows:
        check_level(artefact, measured, rows, progress)
    left_out = _left_out(artefact, (measured, slides), rows, thin)
    out = {one.patient_id for one in left_out}
    ids = sorted(({*rows} | {*slides.files}) - out)
    patients = _patients(artefact, ids, measured, (rows, slides.files))
    probabilities = _probabilities(artefact, patients, progress)
    parts = [
        "+".join(
            str(one)
            for one, present in ((Modality.IMAGE, p in slides.files), (Modality.GENES, p in rows))
            if present
        )
        for p in ids
    ]
    _warn_of_training_overlap(artefact, ids, progress)
    predicted = artefact.classifier.calibration.choose(probabilities)
    return PredictedPatients(
        patients, probabilities, predicted, tuple(parts), left_out, slides.faults
    )


def _same_patients(slides: SlideInputs, rows: Mapping[str, int], progress: Progress) -> SlideInputs:
    """Return the slides with patients spelled as in the expression table.

    Raises:
        CohortError: there are slides and expression, and no patient has both.
    """
    if not rows or not slides.files:
        return slides
    spelled = spelled_as({*slides.files, *slides.reasons}, rows)
    for note in spelling_note("the slides", spelled, "the expression table"):
        progress.message(note)
    files = {spelled.get(one, one): paths for one, paths in slides.files.items()}
    n_both = len(files.keys() & rows.keys())
    if not n_both:
        raise CohortError(
            f"predict: no patient has slides and expression. Found {len(files)} with slides, such "
            f"as {min(files)!r}, and {len(rows)} with expression, such as {min(rows)!r}; expected "
            "the same ids. Name patients alike (--slides-table), or predict from one of the two."
        )
    progress.message(
        f"{n_both} patients have slides and expression, {len(files) - n_both} slides alone, "
        f"{len(rows) - n_both} expression alone"
    )
    reasons = {spelled.get(one, one): why for one, why in slides.reasons.items()}
    return replace(slides, files=files, reasons=reasons)


def write_predicted(predictions: PredictedPatients, artefact: Artefact, out: Path) -> None:
    """Write predictions and `<out>.left_out.csv`, the patients without a prediction.

    Raises:
        CohortError: there is no prediction; `<out>.left_out.csv` is written nevertheless.
    """
    from crosstype.cohort.cohort import write_left_out

    list_of_others = out.with_name(f"{out.name}.left_out.csv")
    write_left_out(list_of_others, predictions.left_out)
    if not predictions.patients.ids:
        first = predictions.left_out[0] if predictions.left_out else None
        why = f"; {first.patient_id}: {first.reason}" if first else ""
        raise CohortError(
            f"{out.name}: no patient can be predicted{why}. {list_of_others.name} lists all with a "
            "reason."
        )
    model = [artefact.classifier.name] * len(predictions.patients)
    called = [artefact.classes[one] for one in predictions.predicted]
    ids, probabilities = predictions.patients.ids, predictions.probabilities.T
    columns = (ids, model, called, *probabilities, predictions.modalities)
    table = schema.PREDICTED.frame(list(zip(*columns, strict=True)), artefact.classes)
    schema.PREDICTED.write_as(out, table, artefact.classes)


OPTIONS = {Modality.GENES: "--expression", Modality.IMAGE: "--features or --slides"}


def _check_inputs(artefact: Artefact, inputs: PredictionInputs) -> None:
    """Raise UsageError unless an input of the model is given."""
    given = {
        Modality.IMAGE: inputs.features is not None or inputs.slides is not None,
        Modality.GENES: inputs.expression is not None,
    }
    held = {Modality.IMAGE: artefact.features, Modality.GENES: artefact.genes}
    used = [one for one, has in held.items() if has is not None]
    if not any(given[one] for one in used):
        raise UsageError(
            f"{artefact.classifier.name} uses {' and '.join(used)}, and none of them is given. "
            f"Give {' or '.join(OPTIONS[one] for one in used)}."
        )


def _left_out(
    artefact: Artefact,
    found: tuple[NewExpression | None, SlideInputs],
    rows: Mapping[str, int],
    thin: Mapping[str, str],
) -> tuple[LeftOut, ...]:
    """Return the patients without a prediction. A baseline on both modalities needs both."""
    measured, slides = found
    needs_all = not artefact.masks
    reasons = {} if measured is None else {**measured.reasons, **thin}
    everyone = {*rows, *reasons, *slides.files, *slides.reasons}
    left_out = []
    for patient in sorted(everyone):
        lacks_image = artefact.features is not None and patient not in slides.files
        lacks_genes = artefact.genes is not None and patient not in rows
        n_inputs = (patient in rows) + (patient in slides.files)
        if n_inputs and not (needs_all and (lacks_image or lacks_genes)):
            continue
        if lacks_genes and (patient in reasons or not lacks_image):
            why = reasons.get(patient, "no expression is given")
            left_out.append(LeftOut(patient, "expression", why))
        else:
            left_out.append(LeftOut(patient, "slides", slides.reasons.get(patient, "no slide")))
    return tuple(left_out)


def _patients(
    artefact: Artefact,
    ids: list[str],
    measured: NewExpression | None,
    inputs: tuple[Mapping[str, int], Mapping[str, tuple[Path, ...]]],
) -> Patients:
    """Return the model's inputs of these patients; targets are placeholders."""
    from crosstype.training.patients import Bags, Patients

    rows, files = inputs
    preparation = artefact.preparation
    genes = np.full((len(ids), len(preparation.kept)), np.nan, dtype=np.float32)
    if measured is not None:
        known = [position for position, patient in enumerate(ids) if patient in rows]
        genes[known] = measured.values[[rows[ids[position]] for position in known]]
    return Patients(
        tuple(ids),
        np.zeros(len(ids), dtype=np.int64),
        artefact.classes,
        genes,
        Bags(files, len(preparation.feature_mean)),
        tuple(patient if patient in files else None for patient in ids),
    )


def _probabilities(artefact: Artefact, patients: Patients, progress: Progress) -> np.ndarray:
    """Return probabilities, patients x classes, predicted in batches."""
    n_parts = -(-len(patients) // AT_ONCE)
    progress.start("predict", max(1, n_parts))
    found = [np.zeros((0, len(artefact.classes)))]
    for rows in np.array_split(np.arange(len(patients)), range(AT_ONCE, len(patients), AT_ONCE)):
        if len(rows):
            found.append(np.asarray(artefact.classifier.predict(patients.take(rows))))
            progress.step(f"{rows[-1] + 1} of {len(patients)} patients")
    return np.concatenate(found)


def _warn_of_training_overlap(artefact: Artefact, ids: list[str], progress: Progress) -> None:
    """Warn if the model was fitted on some of the patients."""
    among = artefact.training.among(ids)
    if among:
        progress.message(
            f"warning: {len(among)} of {len(ids)} patients are training patients of this model, "
            f"such as {among[0]}; predictions for them are optimistic"
        )
