"""Decision curves: is acting on a model's probabilities worth more than treating all, or nobody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from crosstype.evaluation.predictions import Predictions

THRESHOLDS = np.arange(1, 100) / 100

DECISION_COLUMNS: dict[str, Any] = {
    "model": pl.String,
    "class": pl.String,
    "threshold": pl.Float64,
    "net_benefit": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "treat_all": pl.Float64,
    "treat_none": pl.Float64,
}


def decision_rows(
    predictions: Predictions,
    weight_blocks: Sequence[Float[np.ndarray, "n_patients _"]],
    confidence: float,
) -> pl.DataFrame:
    """Return net benefit at each threshold of every model and class, as decision_curve.csv has it.

    Repeats are averaged, and all repeats of a patient are resampled together.

    Args:
        predictions: of all models.
        weight_blocks: how often each patient counts in each resample; the first column is ones.
        confidence: level of the percentile intervals.
    """
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    rows: list[tuple[Any, ...]] = []
    for name, model in predictions.of_model.items():
        for index, of in enumerate(predictions.classes):
            positive = predictions.labels == index
            each = benefits(positive, model.probability[:, :, index])
            values = np.concatenate([each @ one / len(positive) for one in weight_blocks], axis=1)
            low, high = np.quantile(values[:, 1:], tails, axis=1)
            share = float(positive.mean())
            for place, threshold in enumerate(THRESHOLDS.tolist()):
                treat_all = share - (1 - share) * threshold / (1 - threshold)
                ends = (float(low[place]), float(high[place]))
                row = (name, of, threshold, float(values[place, 0]), *ends, treat_all, 0.0)
                rows.append(row)
    return pl.DataFrame(rows, schema=DECISION_COLUMNS, orient="row")


def benefits(
    positive: Bool[np.ndarray, " n_patients"],
    probability: Float[np.ndarray, "n_repeats n_patients"],
) -> Float[np.ndarray, "n_thresholds n_patients"]:
    """Return what each patient adds to the net benefit at each threshold, mean over repeats.

    Net benefit is the share of patients rightly treated less the share wrongly treated, the latter
    at the odds of the threshold: who treats from a probability of 0.2 on holds one missed case to
    be as bad as four treated in vain (Vickers & Elkin 2006, Medical Decision Making 26:565).
    Patients of at least the threshold are treated.
    """
    limits = THRESHOLDS[:, None]
    treated = np.mean([one >= limits for one in probability], axis=0)
    worth = np.where(positive, 1.0, -limits / (1 - limits))
    return np.asarray(treated * worth)
