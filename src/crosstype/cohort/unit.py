"""The unit of expression values, recognised from the values themselves."""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np

Unit = Literal["linear", "log", "zscore"]

LARGEST_LOGARITHM = 30.0
"""log2 of a billion reads: no logarithm of expression is larger."""


def recognise_unit(values: np.ndarray) -> tuple[Unit, str]:
    """Return the unit of a table of expression values and the evidence in words.

    Args:
        values: (n_samples, n_genes), NaN where missing.

    Returns:
        `zscore` if there are negatives, gene means lie near 0 and standard deviations near 1;
        `log` if there are other negatives, or no value above 30 and not only integers;
        else `linear`.
    """
    present = values[~np.isnan(values)]
    if not present.size:
        return "linear", "no value at all"
    low, high = float(present.min()), float(present.max())
    span = f"values from {low:.4g} to {high:.4g}"
    if low < 0:
        return _unit_with_negatives(values, span, high)
    if high > LARGEST_LOGARITHM:
        return "linear", f"{span}, none negative"
    if bool((present == np.round(present)).all()):
        return "linear", f"{span}, all of them whole numbers"
    return "log", f"{span}, none above {LARGEST_LOGARITHM:.0f}, not whole numbers"


def _unit_with_negatives(values: np.ndarray, span: str, high: float) -> tuple[Unit, str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # genes without any value
        means, spreads = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
        mean, spread = float(np.nanmedian(np.abs(means))), float(np.nanmedian(spreads))
    evidence = f"{span}; median |gene mean| {mean:.2g}, median gene SD {spread:.2g}"
    if mean < 0.5 and 0.5 < spread < 2.0:
        return "zscore", evidence
    if high <= LARGEST_LOGARITHM:
        return "log", evidence
    return "linear", evidence
