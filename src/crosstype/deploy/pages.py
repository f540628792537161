"""HTML pages of predicted patients."""

from pathlib import Path

import numpy as np

from crosstype.deploy.fitted_model import Artefact
from crosstype.deploy.predict import PredictedPatients
from crosstype.report.pages.patient import PatientTables, Vote, write_patient_page
from crosstype.types import file_name_of

MOST_GENES = 15


def write_predicted_pages(predictions: PredictedPatients, artefact: Artefact, folder: Path) -> None:
    """Write FOLDER/<patient>.html: the prediction, those without each modality, and outlying genes.

    Genes are those with the largest absolute z-score relative to the training patients.
    """
    folder.mkdir(parents=True, exist_ok=True)
    votes = _votes(predictions, artefact)
    # Under representation spectrum the inputs are gene sets instead of genes.
    known = artefact.genes is not None and artefact.genes.representation != "spectrum"
    standardised = (
        artefact.preparation.measured_genes(predictions.patients.genes) if known else None
    )
    columns = np.flatnonzero(artefact.preparation.kept) if known else np.zeros(0, dtype=np.int64)
    for row, patient in enumerate(predictions.patients.ids):
        genes: tuple[tuple[str, float, float], ...] = ()
        if standardised is not None and artefact.genes is not None:
            names = [artefact.genes.genes[column] for column in columns]
            genes = _outlying(standardised[row], names)
        content = PatientTables(
            patient_id=patient,
            facts=(
                ("Model", artefact.classifier.name),
                ("Inputs", predictions.modalities[row]),
                ("Predicted class", artefact.classes[predictions.predicted[row]]),
            ),
            classes=artefact.classes,
            votes=tuple(votes[row]),
            genes=genes,
            notes=("This model was fitted on synthetic patients.",) * artefact.training.synthetic,
        )
        write_patient_page(folder / f"{file_name_of(patient)}.html", content)


def _votes(predictions: PredictedPatients, artefact: Artefact) -> list[list[Vote]]:
    """Return each prediction, and those without either modality for patients with both."""
    classifier, patients = artefact.classifier, predictions.patients
    predicted = [("all inputs", predictions.probabilities, np.ones(len(patients), dtype=bool))]
    both = np.array([one == "image+genes" for one in predictions.modalities])
    if both.any() and artefact.masks:
        missing = np.full_like(patients.genes, np.nan)
        predicted += [
            ("without the genes", classifier.predict(patients.with_genes(missing)), both),
            ("without the image", classifier.predict(patients.without_images()), both),
        ]
    return [
        [_vote(artefact, about, each[row]) for about, each, rows in predicted if rows[row]]
        for row in range(len(patients))
    ]


def _vote(artefact: Artefact, about: str, probabilities: np.ndarray) -> Vote:
    predicted = artefact.classifier.calibration.choose(probabilities[None])[0]
    each = tuple(float(one) for one in probabilities)
    return Vote(artefact.classifier.name, about, each, (), (), artefact.classes[predicted])


def _outlying(own: np.ndarray, names: list[str]) -> tuple[tuple[str, float, float], ...]:
    """Return the genes of largest |z-score|: name, z-score and percentile of a normal curve."""
    from scipy.stats import norm

    known = np.nan_to_num(own)
    order = np.argsort(-np.abs(known), kind="stable")[:MOST_GENES]
    return tuple(
        (names[i], float(known[i]), float(norm.cdf(known[i]) * 100)) for i in order if known[i]
    )
