"""Predictions of patients without a class, by the models of every fold together.

Rows of predictions.csv, in the one form that everyone who predicts writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from crosstype.cohort.unlabelled import UNLABELLED, read_unlabelled
from crosstype.crossval.plan import Job, Plan
from crosstype.io import schema


def write_unlabelled_predictions(
    plan: Plan, records: Sequence[tuple[Job, dict[str, Any]]], path: Path
) -> None:
    """Write what each model says of patients without a class; none of its folds knows them.

    Columns: patient_id, reason (why there is no class), model, predicted (the class of highest
    mean probability), n_models (folds and repeats averaged), probability_<class>: the mean.
    """
    reasons = read_unlabelled(plan.out / UNLABELLED)
    said: dict[str, list[list[list[float]]]] = {}
    for job, record in records:
        said.setdefault(job.model, []).append(record["unlabelled"])
    frames = [_frame(plan, reasons, model, np.array(each)) for model, each in said.items()]
    schema.UNLABELLED_PREDICTIONS.write_as(path, pl.concat(frames), plan.classes)


def _frame(plan: Plan, reasons: dict[str, str], model: str, each: np.ndarray) -> pl.DataFrame:
    mean = each.mean(axis=0).reshape(len(reasons), len(plan.classes))
    columns = {
        "patient_id": list(reasons),
        "reason": list(reasons.values()),
        "model": [model] * len(reasons),
        "predicted": [plan.classes[number] for number in mean.argmax(axis=1)],
        "n_models": [len(each)] * len(reasons),
    }
    probabilities = {f"probability_{name}": mean[:, i] for i, name in enumerate(plan.classes)}
    return schema.UNLABELLED_PREDICTIONS.frame(columns | probabilities, plan.classes)


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
    return schema.PREDICTIONS.frame(columns | each, classes)
