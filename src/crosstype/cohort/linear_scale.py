"""From the unit of an expression table to amounts, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crosstype.cohort.unit import Unit

TOIL_OFFSET = 1e-3
"""UCSC Xena's Toil tables are log2(x + 0.001), and their lowest value is that of x = 0."""


@dataclass(frozen=True)
class LinearScale:
    """How values of a table become amounts, and amounts such values.

    Attributes:
        is_log: whether values are log2(amount + offset); else they are the amounts.
        offset: what was added before the logarithm.
        lowest: the lowest amount that there is: 0, unless the table shows another.
    """

    is_log: bool
    offset: float
    lowest: float

    def amounts(self, values: np.ndarray) -> np.ndarray:
        """Return float64 amounts; NaN stays NaN."""
        exact = np.asarray(values, dtype=np.float64)
        found: np.ndarray = np.exp2(exact) - self.offset if self.is_log else exact
        return found

    def values(self, amounts: np.ndarray) -> np.ndarray:
        """Return float32 values of the table's unit; amounts below the lowest become the lowest."""
        clipped = np.maximum(amounts, self.lowest)
        found = np.log2(clipped + self.offset) if self.is_log else clipped
        return np.asarray(found, dtype=np.float32)


def linear_scale_of(values: np.ndarray, unit: Unit) -> LinearScale | None:
    """Return the linear scale of a table's values; None for z-scores, which have none.

    Logarithms are taken to base 2: log2(x + 1) if none is negative, log2(x + 0.001) if the lowest
    is that of x = 0, else log2(x), whose lowest amount is the lowest of the table.

    Args:
        values: (n_samples, n_genes), NaN where missing; test patients have no place here.
        unit: unit of the values.
    """
    if unit == "zscore":
        return None
    low = 0.0 if np.isnan(values).all() else float(np.nanmin(values))
    if unit == "linear":
        return LinearScale(is_log=False, offset=0.0, lowest=min(0.0, low))
    if low >= 0:
        return LinearScale(is_log=True, offset=1.0, lowest=0.0)
    if abs(low - np.log2(TOIL_OFFSET)) < 0.01:
        return LinearScale(is_log=True, offset=TOIL_OFFSET, lowest=0.0)
    return LinearScale(is_log=True, offset=0.0, lowest=float(np.exp2(low)))


def median_ratios(amounts: np.ndarray, medians: np.ndarray) -> np.ndarray:
    """Return the number that brings each sample's amounts to the level of these medians.

    The median, over genes, of the gene's median by the sample's own amount (after the median of
    ratios, Anders & Huber 2010). Genes that are 0 or missing in either are left out; 1 for a sample
    without any other.

    Args:
        amounts: (n_samples, n_genes), NaN where missing.
        medians: (n_genes,), of the samples whose level is wanted.
    """
    factors = np.ones(len(amounts))
    for row, own in enumerate(amounts):
        usable = (own > 0) & (medians > 0)
        if usable.any():
            factors[row] = np.median(medians[usable] / own[usable])
    return factors
