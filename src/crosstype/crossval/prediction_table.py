"""Predictions of patients without a class, by the models of every fold together.

Rows of predictions.csv, in the one form that everyone who predicts writes.
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
    rows = [
        (patient, reason, model, plan.classes[row.argmax()], len(each), *row.tolist())
        for (patient, reason), row in zip(reasons.items(), mean, strict=True)
    ]
    return schema.UNLABELLED_PREDICTIONS.frame(rows, plan.classes)


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
    rows = [
        (patient, job.model, job.repeat, job.fold, label, classes[number], *map(float, row))
        for patient, label, number, row in zip(patients, labels, *said, strict=True)
    ]
    return schema.PREDICTIONS.frame(rows, classes)
