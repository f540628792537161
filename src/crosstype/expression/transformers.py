"""Expression preprocessing of the paper as scikit-learn transformers, fitted on training patients.

At prediction a **missing** gene, NaN from `genes.align_genes` on, becomes the imputed value; an
**extra** gene is dropped by `align_genes`; a gene **constant** in training is 0 whatever its value.

What the expression steps that keep every gene share.

Each patient's expression brought to a common level by itself, so that another assay's fits.

No test patient ever learns of another. `docs/assays.md` says when which is of use.
"""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted, validate_data

from crosstype.expression.genes.selection import GeneSelector, ZeroGeneDropper
from crosstype.expression.spec import ExpressionSpec
from crosstype.expression.units import LinearScale, Unit, linear_scale_of, median_ratios
from crosstype.protocol import Protocol


class ExpressionStep(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """What all steps share: patients x genes in and out, NaN allowed for missing, float kept."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _checked(self, values: Any, *, reset: bool) -> np.ndarray:
        """Return the values as a float array; inf and another number of genes are refused."""
        if not reset:
            check_is_fitted(self)
        checked: np.ndarray = validate_data(
            self,
            values,
            reset=reset,
            dtype=[np.float64, np.float32],
            ensure_all_finite="allow-nan",
        )
        return checked


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


class ShiftLog(ExpressionStep):
    """Shift negatives away, then take log(1 + x).

    If the training table has a negative value, |minimum| + 1 is added to every value. Values below
    the training minimum are clipped to it, so that no later patient gives -inf. `log1p` stands
    where the published description says log, which is -inf for zeros of a table without negatives.

    Attributes:
        minimum_: smallest value of the training table.
        shift_: what is added to every value; 0 if the training table has no negatives.
    """

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002, N803
        """Find the training table's minimum; `y` is not used."""
        values = self._checked(X, reset=True)
        present = values[~np.isnan(values)]
        self.minimum_ = float(present.min()) if present.size else 0.0
        self.shift_ = abs(self.minimum_) + 1.0 if self.minimum_ < 0 else 0.0
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return clipped, shifted values' log(1 + x); NaN stays NaN."""
        values = self._checked(X, reset=False)
        shifted: np.ndarray = np.log1p(np.maximum(values, self.minimum_) + self.shift_)
        return shifted.astype(values.dtype, copy=False)


class VarianceChoice(GeneSelector):
    """Keep the genes of highest variance in the training patients, in the table's order.

    Args:
        n_genes: how many; 0, or more than there are: all.

    Attributes:
        variances_: variance of each gene over the training patients that have it.
        support_: whether each gene is kept.
    """

    def __init__(self, n_genes: int = 0) -> None:
        self.n_genes = n_genes

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002, N803
        """Choose genes; `y` is not used."""
        values = self._checked(X)
        self.variances_ = _mean_and_deviation(values)[1] ** 2
        order = np.argsort(-self.variances_, kind="stable")
        self.support_ = np.zeros(values.shape[1], dtype=bool)
        self.support_[order[: self.n_genes or None]] = True
        return self


class Standardiser(ExpressionStep):
    """Per gene: subtract the training mean, divide by the training standard deviation.

    A gene that is constant in training, or missing in all of it, becomes 0 in every patient who
    has it; missing values stay missing.

    Attributes:
        mean_: mean of each gene over the training patients that have it.
        factor_: 1 / standard deviation (of the population); 0 for a constant gene.
    """

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002, N803
        """Find means and standard deviations; `y` is not used."""
        values = self._checked(X, reset=True)
        self.mean_, deviation = _mean_and_deviation(values)
        # A constant gene's deviation is rounding, in the precision in which its values were kept.
        rounding = 10 * np.finfo(values.dtype).eps * np.abs(self.mean_)
        varies = deviation > rounding
        self.factor_ = np.where(varies, 1.0 / np.where(varies, deviation, 1.0), 0.0)
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return z-scores; NaN stays NaN."""
        values = self._checked(X, reset=False)
        scaled: np.ndarray = (values - self.mean_) * self.factor_
        return scaled.astype(values.dtype, copy=False)


class OutlierRemover(ExpressionStep):
    """Set values outside the interquartile fences to missing; `genes.outlier_cost` counts them.

    Args:
        factor: fences stand this many interquartile ranges outside the training quartiles.

    Attributes:
        low_: lower fence of each gene; -inf for a gene missing in all training patients.
        high_: upper fence of each gene.
    """

    def __init__(self, factor: float = 1.5) -> None:
        self.factor = factor

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002, N803
        """Find the fences; `y` is not used."""
        self.low_, self.high_ = fences(self._checked(X, reset=True), self.factor)
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the values with NaN for those outside the fences."""
        values = self._checked(X, reset=False)
        outside = (values < self.low_) | (values > self.high_)
        kept: np.ndarray = np.where(outside, np.array(np.nan, dtype=values.dtype), values)
        return kept


class MissingImputer(ExpressionStep):
    """Fill missing values with the gene's mean or median over the training patients.

    A gene missing in all training patients becomes 0.

    Args:
        strategy: `median` or `mean`.

    Attributes:
        statistics_: what each gene's missing values become.
    """

    def __init__(self, strategy: Literal["median", "mean"] = "median") -> None:
        self.strategy = strategy

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002, N803
        """Find what to fill in; `y` is not used."""
        values = self._checked(X, reset=True)
        if self.strategy not in ("median", "mean"):
            raise ValueError(f"strategy: found {self.strategy!r}, expected 'median' or 'mean'")
        if self.strategy == "mean":
            self.statistics_ = _mean_and_deviation(values)[0]
        else:
            self.statistics_ = np.nan_to_num(quantiles(values, (0.5,))[0], nan=0.0)
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the values without any NaN."""
        values = self._checked(X, reset=False)
        filled: np.ndarray = np.where(np.isnan(values), self.statistics_, values)
        return filled.astype(values.dtype, copy=False)


def make_preprocessing(spec: ExpressionSpec, protocol: Protocol, unit: Unit) -> Pipeline:
    """Return the unfitted steps in the paper's order.

    Genes with a zero are dropped first, if the spec says so, while zeros still are zeros. Then
    shift and log (not of values that are logarithms or z-scores already, unless the protocol logs
    again), gene choice by variance (after the log, before the z-score makes all variances 1),
    z-score, outliers to missing (if the protocol or the spec says so), imputation.

    Representation scaled brings each patient to a common level before the log; normal scores of
    ranks take the log's place, for no log changes a rank.

    Args:
        spec: representation, zeros, imputation, outliers and number of genes.
        protocol: says whether to log again and to remove outliers.
        unit: unit of the expression table.
    """
    remove = protocol.remove_outliers if spec.outliers == "protocol" else spec.outliers == "remove"
    steps: list[tuple[str, BaseEstimator]] = []
    if spec.drop_zero_genes:
        steps.append(("zero_genes", ZeroGeneDropper()))
    if spec.representation == "scaled":
        steps.append(("scaled", MedianRatio(unit)))
    if spec.representation == "ranks":
        steps.append(("ranks", NormalRanks()))
    elif unit == "linear" or protocol.log_again:
        steps.append(("shift_log", ShiftLog()))
    if spec.n_genes:
        steps.append(("variance_choice", VarianceChoice(spec.n_genes)))
    steps.append(("standardise", Standardiser()))
    if remove:
        steps.append(("outliers", OutlierRemover(spec.outlier_factor)))
    steps.append(("impute", MissingImputer(spec.imputation)))
    return Pipeline(steps)


def _mean_and_deviation(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each gene's mean and population standard deviation, NaN aside; 0 if all missing."""
    missing = np.isnan(values)
    n_present = np.maximum((~missing).sum(axis=0), 1)
    filled = np.where(missing, 0.0, values).astype(np.float64, copy=False)
    mean = filled.sum(axis=0) / n_present
    squares = np.where(missing, 0.0, (filled - mean) ** 2)
    return mean, np.sqrt(squares.sum(axis=0) / n_present)


def quantiles(values: np.ndarray, shares: tuple[float, ...]) -> np.ndarray:
    """Return quantiles per gene with linear interpolation, NaN aside: (n_shares, n_genes).

    The same numbers as `numpy.nanquantile`, which goes gene by gene and takes minutes.
    """
    ordered = np.sort(values, axis=0)  # NaN goes last
    n_present = (~np.isnan(ordered)).sum(axis=0)
    gene = np.arange(values.shape[1])
    found = np.empty((len(shares), values.shape[1]), dtype=np.float64)
    for row, share in enumerate(shares):
        place = np.maximum(n_present - 1, 0) * share
        below = np.floor(place).astype(np.intp)
        above = np.minimum(below + 1, np.maximum(n_present - 1, 0))
        low = ordered[below, gene].astype(np.float64)
        high = ordered[above, gene].astype(np.float64)
        found[row] = low + (high - low) * (place - below)
    return found


def fences(values: np.ndarray, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Return each gene's lower and upper interquartile fence; infinite if the gene is missing."""
    low, high = quantiles(values, (0.25, 0.75))
    margin = factor * (high - low)
    return (
        np.nan_to_num(low - margin, nan=-np.inf, posinf=np.inf, neginf=-np.inf),
        np.nan_to_num(high + margin, nan=np.inf, posinf=np.inf, neginf=-np.inf),
    )
