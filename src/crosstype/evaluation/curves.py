"""Calibration curves: observed share of a class over its predicted probability.

Decision curves: net benefit of a model over the threshold probability.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Float
from scipy.special import ndtri

from crosstype.evaluation.inference.bootstrap import Interval
from crosstype.evaluation.metrics.probability import N_BINS, equal_mass_bins
from crosstype.evaluation.predictions import Predictions
from crosstype.io import schema


def calibration_rows(predictions: Predictions, confidence: float) -> pl.DataFrame:
    """Return the calibration curve of every model and class, as calibration_curve.csv has it.

    Each repeat is cut into bins of equally many patients by its own probabilities; a bin's number,
    mean probability and share are means over the repeats. The interval is Wilson's for that mean
    number: repeats are no new patients, so that it is rather too wide than too narrow over several.
    A bin that no repeat fills has no row.
    """
    rows: list[tuple[Any, ...]] = []
    for name, model in predictions.of_model.items():
        for index, of in enumerate(predictions.classes):
            positive = predictions.labels == index
            bins = _mean_bins(positive, model.probability[:, :, index])
            for number, (n, predicted, observed) in enumerate(bins):
                if n > 0:
                    ends = wilson_interval(observed, n, confidence)
                    rows.append((name, of, number, round(n), predicted, observed, *ends))
    return schema.CALIBRATION_CURVE.frame(rows)


def wilson_interval(share: float, n: float | int, confidence: float) -> Interval:
    """Return Wilson's interval of a share (Wilson 1927; recommended by Brown et al. 2001).

    Args:
        share: 0 to 1.
        n: patients behind it.
        confidence: level.
    """
    z = float(ndtri(1 - (1 - confidence) / 2))
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return Interval(max(0.0, middle - reach), min(1.0, middle + reach))


def _mean_bins(
    positive: Bool[np.ndarray, " n_patients"],
    probability: Float[np.ndarray, "n_repeats n_patients"],
) -> list[tuple[float, float, float]]:
    """Return number, mean probability and share of each bin, over the repeats that fill it."""
    bins = np.stack([equal_mass_bins(one) for one in probability])
    found = []
    for number in range(N_BINS):
        members = [bins[repeat] == number for repeat in range(len(bins))]
        filled = [(one, p) for one, p in zip(members, probability, strict=True) if one.any()]
        if not filled:
            found.append((0.0, 0.0, 0.0))
            continue
        each = [(one.sum(), p[one].mean(), positive[one].mean()) for one, p in filled]
        n, mean, observed = np.mean(each, axis=0).tolist()
        found.append((n, mean, observed))
    return found


THRESHOLDS = np.arange(1, 100) / 100


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
    return schema.DECISION_CURVE.frame(rows)


def benefits(
    positive: Bool[np.ndarray, " n_patients"],
    probability: Float[np.ndarray, "n_repeats n_patients"],
) -> Float[np.ndarray, "n_thresholds n_patients"]:
    """Return each patient's contribution to the net benefit at each threshold, mean over repeats.

    Net benefit is the share of true positives minus the share of false positives, the latter
    weighted by the odds of the threshold: at a threshold of 0.2, one missed case counts
    as much as four false positives (Vickers & Elkin 2006, Medical Decision Making 26:565).
    Patients of at least the threshold are treated.
    """
    limits = THRESHOLDS[:, None]
    treated = np.mean([one >= limits for one in probability], axis=0)
    worth = np.where(positive, 1.0, -limits / (1 - limits))
    return np.asarray(treated * worth)
