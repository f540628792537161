"""Each patient's expression brought to a common level by itself, so that another assay's fits.

No test patient ever learns of another. `docs/assays.md` says when which is of use.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

from crosstype.cohort.expression_step import ExpressionStep
from crosstype.cohort.linear_scale import LinearScale, linear_scale_of, median_ratios
from crosstype.cohort.unit import Unit


class NormalRanks(ExpressionStep):
    """Normal scores of each patient's ranks among the genes measured in him (van der Waerden).

    The r-th smallest of n becomes the standard normal's quantile at r / (n + 1); equal values share
    their mean rank. Whatever rises with the value, such as a logarithm or a factor per patient,
    changes nothing. A gene that no training patient has is no rank for anyone and stays NaN.

    Attributes:
        measured_: whether each gene is measured in any training patient.
    """

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002, N803
        """Find which genes there are; `y` is not used."""
        self.measured_ = ~np.isnan(self._checked(X, reset=True)).all(axis=0)
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return normal scores; NaN stays NaN."""
        values = self._checked(X, reset=False)
        found = np.full(values.shape, np.nan, dtype=values.dtype)
        for row, own in enumerate(values):
            there = self.measured_ & ~np.isnan(own)
            if there.any():
                found[row, there] = ndtri(rankdata(own[there]) / (there.sum() + 1))
        return found


class MedianRatio(ExpressionStep):
    """Multiply each patient's amounts by one number, to the level of the training patients.

    The number is the median, over genes, of the training median by the patient's own amount (after
    the median of ratios, Anders & Huber 2010). Genes that are 0 in either are left out; a patient
    without any other keeps his values.

    Args:
        unit: unit of the values, `linear` or `log`; logarithms are multiplied as amounts.

    Attributes:
        medians_: median amount of each gene over the training patients; 0 if missing in all.
        is_log_: 1 if values are log2(amount + offset), else 0.
        offset_: what was added before the logarithm.
        lowest_: lowest amount that there is.
    """

    def __init__(self, unit: Unit = "linear") -> None:
        self.unit = unit

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002, N803
        """Find the training medians; `y` is not used.

        Raises:
            ValueError: the unit is z-scores, which have no linear scale.
        """
        values = self._checked(X, reset=True)
        scale = linear_scale_of(values, self.unit)
        if scale is None:
            raise ValueError(f"unit: found {self.unit!r}, expected 'linear' or 'log'")
        self.is_log_, self.offset_ = float(scale.is_log), float(scale.offset)
        self.lowest_ = float(scale.lowest)
        nobody = np.isnan(values).all(axis=0)
        amounts = np.where(nobody, 0.0, scale.amounts(values))
        self.medians_ = np.asarray(np.nanmedian(amounts, axis=0), dtype=np.float64)
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the values that the multiplied amounts have; NaN stays NaN."""
        values = self._checked(X, reset=False)
        scale = LinearScale(bool(self.is_log_), self.offset_, self.lowest_)
        amounts = scale.amounts(values)
        factors = median_ratios(amounts, self.medians_)
        return scale.values(amounts * factors[:, None]).astype(values.dtype, copy=False)
