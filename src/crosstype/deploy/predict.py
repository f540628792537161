"""`predict`: new patients served by a fitted model, from either modality or both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crosstype.cohort.cohort import LeftOut
from crosstype.deploy.inputs import PredictionInputs, SlideInputs
from crosstype.deploy.new_expression import check_level, enough_genes, find_measured
from crosstype.deploy.new_slides import find_shown
from crosstype.errors import CohortError, UsageError
from crosstype.io import schema
from crosstype.progress import Progress
from crosstype.types import Modality

if TYPE_CHECKING:
    from crosstype.deploy.fitted_model import Artefact
    from crosstype.expression.harmonize import NewExpression
    from crosstype.training.patients import Patients


AT_ONCE = 64
"""Patients that are predicted before it is said how far it is."""


@dataclass(frozen=True)
class PredictedPatients:
    """What a model says of new patients.

    Attributes:
        patients: who was served, sorted, as the model saw them.
        probabilities: patients x classes.
        called: number of the class that each is called.
        modalities: `image`, `genes` or `image+genes`: what each was judged by.
        left_out: everyone else who was offered, and why.
        faults: feature files or slides that could not be used.
    """

    patients: Patients
    probabilities: np.ndarray
    called: np.ndarray
    modalities: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    faults: tuple[str, ...]


def predict(artefact: Artefact, inputs: PredictionInputs, progress: Progress) -> PredictedPatients:
    """Predict every new patient whom the model can serve.

    A patient with too few of the model's genes is served by the image alone if the model sees
    images; otherwise he is left out.

    Raises:
        UsageError: nothing that the model looks at is offered.
        CrosstypeError: a table or features are of another kind than the model's; nobody is served.
    """
    _check_offer(artefact, inputs)
    shown = find_shown(artefact, inputs, progress)
    measured = find_measured(artefact, inputs, progress)
    return serve(artefact, inputs, (measured, shown), progress)


def serve(
    artefact: Artefact,
    inputs: PredictionInputs,
    found: tuple[NewExpression | None, SlideInputs],
    progress: Progress,
) -> PredictedPatients:
    """Predict the patients of tables that were read; as `predict`."""
    measured, shown = found
    rows, thin = enough_genes(artefact, inputs, measured, progress)
    if measured is not None and rows:
        check_level(artefact, measured, rows, progress)
    left_out = _left_out(artefact, (measured, shown), rows, thin)
    out = {one.patient_id for one in left_out}
    served = sorted(({*rows} | {*shown.files}) - out)
    patients = _patients(artefact, served, measured, (rows, shown.files))
    probabilities = _probabilities(artefact, patients, progress)
    parts = [
        "+".join(
            str(one)
            for one, there in ((Modality.IMAGE, p in shown.files), (Modality.GENES, p in rows))
            if there
        )
        for p in served
    ]
    _warn_of_training_overlap(artefact, served, progress)
    called = artefact.classifier.calibration.choose(probabilities)
    return PredictedPatients(patients, probabilities, called, tuple(parts), left_out, shown.faults)


def write_predicted(served: PredictedPatients, artefact: Artefact, out: Path) -> None:
    """Write predictions, and who could not be served beside them; raise if that is everyone.

    Raises:
        CohortError: nobody was served; the list of who was not is written all the same.
    """
    from crosstype.cohort.cohort import write_left_out

    beside = out.with_name(f"{out.name}.left_out.csv")
    write_left_out(beside, served.left_out)
    if not served.patients.ids:
        first = served.left_out[0] if served.left_out else None
        why = f"; {first.patient_id}: {first.reason}" if first else ""
        raise CohortError(
            f"{out.name}: nobody can be served{why}. {beside.name} lists everyone with a reason."
        )
    model = [artefact.classifier.name] * len(served.patients)
    called = [artefact.classes[one] for one in served.called]
    columns = (served.patients.ids, model, called, *served.probabilities.T, served.modalities)
    table = schema.PREDICTED.frame(list(zip(*columns, strict=True)), artefact.classes)
    schema.PREDICTED.write_as(out, table, artefact.classes)


OPTIONS = {Modality.GENES: "--expression", Modality.IMAGE: "--features or --slides"}


def _check_offer(artefact: Artefact, inputs: PredictionInputs) -> None:
    """Raise UsageError unless something is offered that the model looks at."""
    given = {
        Modality.IMAGE: inputs.features is not None or inputs.slides is not None,
        Modality.GENES: inputs.expression is not None,
    }
    held = {Modality.IMAGE: artefact.features, Modality.GENES: artefact.genes}
    seen = [one for one, has in held.items() if has is not None]
    if not any(given[one] for one in seen):
        raise UsageError(
            f"{artefact.classifier.name} looks at {' and '.join(seen)}, and none of that is given. "
            f"Give {' or '.join(OPTIONS[one] for one in seen)}."
        )


def _left_out(
    artefact: Artefact,
    found: tuple[NewExpression | None, SlideInputs],
    rows: Mapping[str, int],
    thin: Mapping[str, str],
) -> tuple[LeftOut, ...]:
    """Return whom the model cannot serve. A baseline over both must be given both."""
    measured, shown = found
    needs_all = not artefact.masks
    reasons = {} if measured is None else {**measured.reasons, **thin}
    everyone = {*rows, *reasons, *shown.files, *shown.reasons}
    left_out = []
    for patient in sorted(everyone):
        lacks_image = artefact.features is not None and patient not in shown.files
        lacks_genes = artefact.genes is not None and patient not in rows
        seen = (patient in rows) + (patient in shown.files)
        if seen and not (needs_all and (lacks_image or lacks_genes)):
            continue
        if lacks_genes and (patient in reasons or not lacks_image):
            why = reasons.get(patient, "no expression is given")
            left_out.append(LeftOut(patient, "expression", why))
        else:
            left_out.append(LeftOut(patient, "slides", shown.reasons.get(patient, "no slide")))
    return tuple(left_out)


def _patients(
    artefact: Artefact,
    served: list[str],
    measured: NewExpression | None,
    places: tuple[Mapping[str, int], Mapping[str, tuple[Path, ...]]],
) -> Patients:
    """Return these patients as the model is to see them; their targets mean nothing."""
    from crosstype.training.patients import Bags, Patients

    rows, files = places
    preparation = artefact.preparation
    genes = np.full((len(served), len(preparation.kept)), np.nan, dtype=np.float32)
    if measured is not None:
        known = [place for place, patient in enumerate(served) if patient in rows]
        genes[known] = measured.values[[rows[served[place]] for place in known]]
    return Patients(
        tuple(served),
        np.zeros(len(served), dtype=np.int64),
        artefact.classes,
        genes,
        Bags(files, len(preparation.feature_mean)),
        tuple(patient if patient in files else None for patient in served),
    )


def _probabilities(artefact: Artefact, patients: Patients, progress: Progress) -> np.ndarray:
    """Return what the model says, some patients at a time; patients x classes."""
    n_parts = -(-len(patients) // AT_ONCE)
    progress.start("predict", max(1, n_parts))
    found = [np.zeros((0, len(artefact.classes)))]
    for rows in np.array_split(np.arange(len(patients)), range(AT_ONCE, len(patients), AT_ONCE)):
        if len(rows):
            found.append(np.asarray(artefact.classifier.predict(patients.take(rows))))
            progress.step(f"{rows[-1] + 1} of {len(patients)} patients")
    return np.concatenate(found)


def _warn_of_training_overlap(artefact: Artefact, served: list[str], progress: Progress) -> None:
    """Say if patients taught the model: what it says of them is no prediction."""
    among = artefact.taught.among(served)
    if among:
        progress.say(
            f"warning: {len(among)} of {len(served)} patients taught this model, such as "
            f"{among[0]}; what it says of them is recall and flatters it"
        )
