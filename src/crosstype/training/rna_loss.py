"""What each model says when expression is lost at test time: the same losses for every model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from crosstype.files import replacing
from crosstype.training.bags import Patients
from crosstype.training.classifiers import Classifier
from crosstype.training.loss_patterns import Seed
from crosstype.training.loss_tables import Known
from crosstype.training.losses import Study, lose


def predict_losses(
    classifier: Classifier, test: Patients, study: Study, known: Known, seed: Seed
) -> Float32[np.ndarray, "losses patients classes"]:
    """Return probabilities of the test patients under every loss, in the study's order.

    NaN where a loss cannot be done to a patient, in models that do not see genes too: all models
    are to be judged on the same patients.
    """
    place = {patient: row for row, patient in enumerate(test.ids)}
    shape = (len(study.ways), len(test), len(test.classes))
    said = np.full(shape, np.nan, dtype=np.float32)
    plain = None if classifier.sees_genes else classifier.predict(test)
    for number, one in enumerate(study.ways):
        left = lose(test, one, known, seed)
        rows = [place[patient] for patient in left.ids]
        if rows:
            said[number, rows] = classifier.predict(left) if plain is None else plain[rows]
    return said


def save_losses(path: Path, probabilities: Float32[np.ndarray, "losses patients classes"]) -> None:
    """Write the probabilities, whole or not at all."""
    with replacing(path) as temporary, temporary.open("wb") as handle:
        np.save(handle, probabilities)


def join_losses(
    folds: Sequence[tuple[str, int, Sequence[str], Path]],
    patients: Sequence[str],
    labels: Sequence[int],
    study: Study,
) -> dict[str, np.ndarray]:
    """Return what all jobs saved as one array per model, and what its axes are.

    Args:
        folds: model, repeat, test patients and saved probabilities of each job.
        patients: the order of the patients.
        labels: class number of each.
        study: as the probabilities were made with.

    Returns:
        `model.<name>`: float32 (n_losses, n_repeats, n_patients, n_classes); `patient_id` and
        `label` per patient; `pattern`, `level`, `draw` and `note` per loss.
    """
    place = {patient: row for row, patient in enumerate(patients)}
    n_repeats = 1 + max(repeat for _, repeat, _, _ in folds)
    joined: dict[str, np.ndarray] = {}
    for model, repeat, tested, path in folds:
        said = np.load(path, allow_pickle=False)
        shape = (len(said), n_repeats, len(patients), said.shape[2])
        own = joined.setdefault(f"model.{model}", np.full(shape, np.nan, dtype=np.float32))
        own[:, repeat, [place[patient] for patient in tested]] = said
    return joined | {
        "patient_id": np.array(patients, dtype=np.str_),
        "label": np.array(labels, dtype=np.int64),
        "pattern": np.array([one.pattern for one in study.ways], dtype=np.str_),
        "level": np.array([one.level for one in study.ways]),
        "draw": np.array([one.draw for one in study.ways], dtype=np.int64),
        "note": np.array([study.notes[one.pattern] for one in study.ways], dtype=np.str_),
    }
