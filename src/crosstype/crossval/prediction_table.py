"""Predictions of unlabelled patients, averaged over the models of all folds.

Rows of predictions.csv.
"""

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
    """Write each model's mean prediction of unlabelled patients over all folds.

    Columns: patient_id, reason (why there is no class), model, predicted (the class of highest
    mean probability), n_models (folds and repeats averaged), probability_<class>: the mean.
    """
    reasons = read_unlabelled(plan.out / UNLABELLED)
    by_model: dict[str, list[list[list[float]]]] = {}
    for job, record in records:
        by_model.setdefault(job.model, []).append(record["unlabelled"])
    frames = [_frame(plan, reasons, model, np.array(each)) for model, each in by_model.items()]
    schema.UNLABELLED_PREDICTIONS.write_as(path, pl.concat(frames), plan.classes)


def _frame(plan: Plan, reasons: dict[str, str], model: str, each: np.ndarray) -> pl.DataFrame:
    mean = each.mean(axis=0).reshape(len(reasons), len(plan.classes))
    rows = [
        (patient, reason, model, plan.classes[row.argmax()], len(each), *row.tolist())
        for (patient, reason), row in zip(reasons.items(), mean, strict=True)
    ]
    return schema.UNLABELLED_PREDICTIONS.frame(rows, plan.classes)


def prediction_rows(
    job: Job,
    known: tuple[Sequence[str], Sequence[str]],
    predicted: tuple[Sequence[int] | np.ndarray, Sequence[Sequence[float]] | np.ndarray],
    classes: Sequence[str],
) -> pl.DataFrame:
    """Return a model's predictions of a fold's patients: a row each, in the order given.

    Args:
        job: the model, repeat and fold.
        known: the patients, and the class name of each.
        predicted: number of each patient's predicted class, and the probability of every class.
        classes: class names in order.
    """
    patients, labels = known
    rows = [
        (patient, job.model, job.repeat, job.fold, label, classes[number], *map(float, row))
        for patient, label, number, row in zip(patients, labels, *predicted, strict=True)
    ]
    return schema.PREDICTIONS.frame(rows, classes)
