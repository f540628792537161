"""A page for each new patient whom a fitted model served."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from crosstype.deploy.fitted_model import Artefact
from crosstype.deploy.predict import PredictedPatients
from crosstype.report.pages.patient import PatientTables, Vote, write_patient_page
from crosstype.types import file_name_of

MOST_GENES = 15


def write_predicted_pages(served: PredictedPatients, artefact: Artefact, folder: Path) -> None:
    """Write FOLDER/<patient>.html: the prediction, and what each modality says by itself.

    Genes are the patient's most unusual ones against the training patients, as the model
    standardises them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    votes = _votes(served, artefact)
    # Under a spectrum models see gene sets, which are no genes of a patient.
    known = artefact.genes is not None and artefact.genes.representation != "spectrum"
    standardised = artefact.preparation.measured_genes(served.patients.genes) if known else None
    places = np.flatnonzero(artefact.preparation.kept) if known else np.zeros(0, dtype=np.int64)
    for row, patient in enumerate(served.patients.ids):
        genes: tuple[tuple[str, float, float], ...] = ()
        if standardised is not None and artefact.genes is not None:
            names = [artefact.genes.genes[place] for place in places]
            genes = _unusual(standardised[row], names)
        content = PatientTables(
            patient_id=patient,
            facts=(
                ("Model", artefact.classifier.name),
                ("Judged by", served.modalities[row]),
                ("Called", artefact.classes[served.called[row]]),
            ),
            classes=artefact.classes,
            votes=tuple(votes[row]),
            genes=genes,
            notes=("Synthetic: made-up patients taught this model.",) * artefact.taught.synthetic,
        )
        write_patient_page(folder / f"{file_name_of(patient)}.html", content)


def _votes(served: PredictedPatients, artefact: Artefact) -> list[list[Vote]]:
    """Return each prediction, and those without either modality where both are there."""
    classifier, patients = artefact.classifier, served.patients
    said = [("as served", served.probabilities, np.ones(len(patients), dtype=bool))]
    both = np.array([one == "image+genes" for one in served.modalities])
    if both.any() and artefact.masks:
        lost = np.full_like(patients.genes, np.nan)
        said += [
            ("without the genes", classifier.predict(patients.with_genes(lost)), both),
            ("without the image", classifier.predict(patients.without_images()), both),
        ]
    return [
        [_vote(artefact, about, each[row]) for about, each, there in said if there[row]]
        for row in range(len(patients))
    ]


def _vote(artefact: Artefact, about: str, probabilities: np.ndarray) -> Vote:
    called = artefact.classifier.calibration.choose(probabilities[None])[0]
    each = tuple(float(one) for one in probabilities)
    return Vote(artefact.classifier.name, about, each, (), (), artefact.classes[called])


def _unusual(own: np.ndarray, names: list[str]) -> tuple[tuple[str, float, float], ...]:
    """Return the genes furthest from the training mean, and the percentile of a normal curve."""
    from scipy.stats import norm

    known = np.nan_to_num(own)
    order = np.argsort(-np.abs(known), kind="stable")[:MOST_GENES]
    return tuple(
        (names[i], float(known[i]), float(norm.cdf(known[i]) * 100)) for i in order if known[i]
    )
