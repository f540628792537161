"""Rows of predictions.csv, in the one form that everyone who predicts writes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from crosstype.training.plan import Job


def prediction_rows(
    job: Job,
    known: tuple[Sequence[str], Sequence[str]],
    said: tuple[Sequence[int] | np.ndarray, Sequence[Sequence[float]] | np.ndarray],
    classes: Sequence[str],
) -> pl.DataFrame:
    """Return what a model says of a fold's patients: a row each, in the order given.

    Args:
        job: the model, repeat and fold.
        known: the patients, and the class name of each.
        said: number of the class that each is called, and the probability of every class.
        classes: class names in order.
    """
    patients, labels = known
    called, probabilities = said
    columns = {
        "patient_id": list(patients),
        "model": [job.model] * len(patients),
        "repeat": [job.repeat] * len(patients),
        "fold": [job.fold] * len(patients),
        "label": list(labels),
        "predicted": [classes[number] for number in called],
    }
    each = {
        f"probability_{name}": [float(row[number]) for row in probabilities]
        for number, name in enumerate(classes)
    }
    return pl.DataFrame(columns | each)
