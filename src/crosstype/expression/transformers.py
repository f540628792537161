"""Expression preprocessing as scikit-learn transformers, fitted on training patients.

Steps of the paper, and scaling or ranking within each patient for other assays (`docs/assays.md`).
At prediction a **missing** gene, NaN from `align_genes`, is imputed; an **extra** gene is dropped
by `align_genes`; a gene **constant** in training is 0 at any value. Test patients do not influence
each other.
"""

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
    """Transformer of patients x genes that keeps all genes; NaN is missing, dtype is preserved."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _checked(self, values: Any, *, reset: bool) -> np.ndarray:
        """Return the values as a float array; raise for inf or another number of genes."""
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
    """Normal scores (van der Waerden) of the ranks of genes within each patient.

    The r-th smallest of n becomes the standard normal's quantile at r / (n + 1); ties share their
    mean rank. Monotone transforms, such as a logarithm or a factor per patient, have no effect. A
    gene that is missing in all training patients is not ranked and stays NaN.

    Attributes:
        measured_: whether each gene is measured in any training patient.
    """

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002, N803
        """Find the measured genes; `y` is not used."""
        self.measured_ = ~np.isnan(self._checked(X, reset=True)).all(axis=0)
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return normal scores; NaN stays NaN."""
        values = self._checked(X, reset=False)
        found = np.full(values.shape, np.nan, dtype=values.dtype)
        for row, own in enumerate(values):
            ranked = self.measured_ & ~np.isnan(own)
            if ranked.any():
                found[row, ranked] = ndtri(rankdata(own[ranked]) / (ranked.sum() + 1))
        return found


class MedianRatio(ExpressionStep):
    """Size factor normalisation of each patient to the training medians.

    The factor is the median, over genes, of the ratio of the training median to the patient's
    amount (after the median of ratios, Anders & Huber 2010). Genes that are 0 in either are left
    out; 1 for a patient without any other.

    Args:
        unit: unit of the values, `linear` or `log`; logarithms are multiplied as amounts.

    Attributes:
        medians_: median amount of each gene over the training patients; 0 if missing in all.
        is_log_: 1 if values are log2(amount + offset), else 0.
        offset_: of the logarithm.
        lowest_: lowest amount of the scale.
    """

    def __init__(self, unit: Unit = "linear") -> None:
        self.unit = unit

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002, N803
        """Compute the training medians; `y` is not used.

        Raises:
            ValueError: the unit is z-scores, which have no linear scale.
        """
        values = self._checked(X, reset=True)
        scale = linear_scale_of(values, self.unit)
        if scale is None:
            raise ValueError(f"unit: found {self.unit!r}, expected 'linear' or 'log'")
        self.is_log_, self.offset_ = float(scale.is_log), float(scale.offset)
        self.lowest_ = float(scale.lowest)
        missing = np.isnan(values).all(axis=0)
        amounts = np.where(missing, 0.0, scale.amounts(values))
        self.medians_ = np.asarray(np.nanmedian(amounts, axis=0), dtype=np.float64)
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the normalised values; NaN stays NaN."""
        values = self._checked(X, reset=False)
        scale = LinearScale(bool(self.is_log_), self.offset_, self.lowest_)
        amounts = scale.amounts(values)
        factors = median_ratios(amounts, self.medians_)
        return scale.values(amounts * factors[:, None]).astype(values.dtype, copy=False)


class ShiftLog(ExpressionStep):
    """Shift to non-negative values, then log(1 + x).

    If the training table has a negative value, |minimum| + 1 is added to every value. Values below
    the training minimum are clipped to it, so that no later patient gives -inf. The published
    description has log in place of `log1p`, which is -inf for zeros of a table without negatives.

    Attributes:
        minimum_: smallest value of the training table.
        shift_: added to every value; 0 if the training table has no negatives.
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
    """Select the genes of highest variance in the training patients, in the table's order.

    Args:
        n_genes: their number; 0, or more than there are: all.

    Attributes:
        variances_: variance of each gene over training patients, without missing values.
        support_: whether each gene is kept.
    """

    def __init__(self, n_genes: int = 0) -> None:
        self.n_genes = n_genes

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002, N803
        """Select genes; `y` is not used."""
        values = self._checked(X)
        self.variances_ = _mean_and_deviation(values)[1] ** 2
        order = np.argsort(-self.variances_, kind="stable")
        self.support_ = np.zeros(values.shape[1], dtype=bool)
        self.support_[order[: self.n_genes or None]] = True
        return self


class Standardiser(ExpressionStep):
    """Z-scores per gene: minus the training mean, over the training standard deviation.

    A gene that is constant or missing in all training patients becomes 0; missing values stay
    missing.

    Attributes:
        mean_: mean of each gene over training patients, without missing values.
        factor_: 1 / standard deviation (of the population); 0 for a constant gene.
    """

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002, N803
        """Compute means and standard deviations; `y` is not used."""
        values = self._checked(X, reset=True)
        self.mean_, deviation = _mean_and_deviation(values)
        # A constant gene's deviation is rounding error, in the precision of the stored values.
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
    """Set values outside the interquartile fences to missing; `outlier_cost` counts them.

    Args:
        factor: distance of the fences from the training quartiles, in interquartile ranges.

    Attributes:
        low_: lower fence of each gene; -inf for a gene missing in all training patients.
        high_: upper fence of each gene.
    """

    def __init__(self, factor: float = 1.5) -> None:
        self.factor = factor

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002, N803
        """Compute the fences; `y` is not used."""
        self.low_, self.high_ = fences(self._checked(X, reset=True), self.factor)
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Return the values with NaN for those outside the fences."""
        values = self._checked(X, reset=False)
        outside = (values < self.low_) | (values > self.high_)
        kept: np.ndarray = np.where(outside, np.array(np.nan, dtype=values.dtype), values)
        return kept


class MissingImputer(ExpressionStep):
    """Impute missing values with the gene's mean or median over the training patients.

    A gene missing in all training patients becomes 0.

    Args:
        strategy: `median` or `mean`.

    Attributes:
        statistics_: imputed value of each gene.
    """

    def __init__(self, strategy: Literal["median", "mean"] = "median") -> None:
        self.strategy = strategy

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002, N803
        """Compute the imputed values; `y` is not used."""
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
    """Return the unfitted preprocessing pipeline, in the paper's order.

    If set, genes with a zero are dropped first. Then shift and log (not for logarithms or z-scores,
    unless the protocol logs again), gene selection by variance, z-scores, outliers to missing (if
    the protocol or the spec removes them), imputation. Representation scaled applies size factors
    before the log; representation ranks has normal scores in place of the log.

    Args:
        spec: representation, zeros, imputation, outliers and number of genes.
        protocol: whether to log again and to remove outliers.
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
    """Return each gene's mean and population standard deviation without NaN; 0 if all missing."""
    missing = np.isnan(values)
    n_present = np.maximum((~missing).sum(axis=0), 1)
    filled = np.where(missing, 0.0, values).astype(np.float64, copy=False)
    mean = filled.sum(axis=0) / n_present
    squares = np.where(missing, 0.0, (filled - mean) ** 2)
    return mean, np.sqrt(squares.sum(axis=0) / n_present)


def quantiles(values: np.ndarray, shares: tuple[float, ...]) -> np.ndarray:
    """Return quantiles per gene with linear interpolation, without NaN: (n_shares, n_genes).

    The same numbers as `numpy.nanquantile`, which takes minutes.
    """
    ordered = np.sort(values, axis=0)  # NaN goes last
    n_present = (~np.isnan(ordered)).sum(axis=0)
    gene = np.arange(values.shape[1])
    found = np.empty((len(shares), values.shape[1]), dtype=np.float64)
    for row, share in enumerate(shares):
        position = np.maximum(n_present - 1, 0) * share
        below = np.floor(position).astype(np.intp)
        above = np.minimum(below + 1, np.maximum(n_present - 1, 0))
        low = ordered[below, gene].astype(np.float64)
        high = ordered[above, gene].astype(np.float64)
        found[row] = low + (high - low) * (position - below)
    return found


def fences(values: np.ndarray, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Return each gene's lower and upper interquartile fence; infinite if the gene is missing."""
    low, high = quantiles(values, (0.25, 0.75))
    margin = factor * (high - low)
    return (
        np.nan_to_num(low - margin, nan=-np.inf, posinf=np.inf, neginf=-np.inf),
        np.nan_to_num(high + margin, nan=np.inf, posinf=np.inf, neginf=-np.inf),
    )
