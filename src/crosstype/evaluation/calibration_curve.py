"""Calibration curves: of patients given about this probability, how many are of the class."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Float
from scipy.special import ndtri

from crosstype.evaluation.bootstrap import Interval
from crosstype.evaluation.predictions import Predictions
from crosstype.evaluation.probabilities import N_BINS, equal_mass_bins

CALIBRATION_COLUMNS: dict[str, Any] = {
    "model": pl.String,
    "class": pl.String,
    "bin": pl.Int64,
    "n": pl.Int64,
    "mean_probability": pl.Float64,
    "observed": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
}


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
            for number, (n, said, observed) in enumerate(bins):
                if n > 0:
                    ends = wilson_interval(observed, n, confidence)
                    rows.append((name, of, number, round(n), said, observed, *ends))
    return pl.DataFrame(rows, schema=CALIBRATION_COLUMNS, orient="row")


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
        filled = [(who, said) for who, said in zip(members, probability, strict=True) if who.any()]
        if not filled:
            found.append((0.0, 0.0, 0.0))
            continue
        each = [(who.sum(), said[who].mean(), positive[who].mean()) for who, said in filled]
        n, mean, observed = np.mean(each, axis=0).tolist()
        found.append((n, mean, observed))
    return found
