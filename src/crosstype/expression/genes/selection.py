"""Gene selection as scikit-learn selectors, and gene exclusion from the cohort's expression."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import polars as pl
from sklearn.base import BaseEstimator
from sklearn.feature_selection import SelectorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from crosstype.errors import CohortError
from crosstype.expression.genes.panels import FORMER_SYMBOLS, PAM50_GENES, pam50_among
from crosstype.expression.matrix import AlignedExpression
from crosstype.expression.spec import ExpressionSpec


class GeneSelector(SelectorMixin, BaseEstimator):
    """Selector of genes of a table, patients x genes; NaN is missing, dtype is preserved.

    Attributes:
        support_: whether each gene is kept.
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _checked(self, values: Any) -> np.ndarray:
        """Return the training table as a float array; raise for infinite values."""
        checked: np.ndarray = validate_data(
            self, values, dtype=[np.float64, np.float32], ensure_all_finite="allow-nan"
        )
        return checked

    def _get_support_mask(self) -> np.ndarray:
        check_is_fitted(self)
        mask: np.ndarray = self.support_
        return mask


class GeneChoice(GeneSelector):
    """Select genes by name, or exclude them, in the table's order.

    Args:
        genes: names; None: every gene is kept.
        exclude: whether the named genes are excluded instead of kept.

    Attributes:
        support_: whether each gene is kept.
        absent_: names that the table does not have; they are ignored.
    """

    def __init__(self, genes: Sequence[str] | None = None, *, exclude: bool = False) -> None:
        self.genes = genes
        self.exclude = exclude

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002, N803
        """Find the named genes among the column names; `y` is not used.

        Raises:
            ValueError: the table has no column names, or no gene would be left.
        """
        values = self._checked(X)
        self.support_ = np.ones(values.shape[1], dtype=bool)
        self.absent_ = np.array([], dtype=object)
        if self.genes is None:
            return self
        names = getattr(self, "feature_names_in_", None)
        if names is None:
            raise ValueError(
                "GeneChoice: found a table without gene names. Fit it on a data frame whose "
                "columns are named by gene."
            )
        named = np.isin(names, list(self.genes))
        self.support_ = ~named if self.exclude else named
        self.absent_ = np.array(sorted(set(self.genes) - set(names)), dtype=object)
        if not self.support_.any():
            raise ValueError(
                f"GeneChoice: of {len(names)} genes none is left. Found {names[0]!r} and others, "
                f"expected names such as {next(iter(self.genes), '')!r}."
            )
        return self


class ZeroGeneDropper(GeneSelector):
    """Drop every gene with a zero in any training patient, as in the paper.

    A zero is the number 0 in the table's unit, before any logarithm or z-score; a missing value is
    not a zero.

    Attributes:
        support_: whether each gene is kept.
        n_zeros_: number of training patients with a zero, for each gene.
    """

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002, N803
        """Count each gene's zeros; `y` is not used. It is no error if no gene is left."""
        self.n_zeros_ = (self._checked(X) == 0).sum(axis=0)
        self.support_ = self.n_zeros_ == 0
        return self


NO_SYMBOL = re.compile(r"^(ENS[A-Z]*G\d+.*|\d+)$")


def exclude_genes(
    expression: AlignedExpression, spec: ExpressionSpec
) -> tuple[AlignedExpression, list[str]]:
    """Return the expression without excluded genes, and notes on exclusion and zeros.

    PAM50 genes are excluded from the whole cohort, since nothing is fitted: `expression.npz`,
    checkpoints and predictions never contain them. Genes with zeros are only counted here; each
    fold drops its own by its training patients.

    Raises:
        CohortError: genes are to be excluded, but names are not symbols; or no gene is left.
    """
    notes = []
    if spec.exclude_pam50:
        expression, note = _without_pam50(expression)
        notes.append(note)
    if spec.drop_zero_genes:
        n_zero = int((expression.values == 0).any(axis=0).sum())
        notes.append(
            f"drop_zero_genes: {n_zero} of {len(expression.genes)} genes are 0 in some patient of "
            "the cohort; each fold drops those that are 0 in one of its training patients"
        )
    return expression, notes


def _without_pam50(expression: AlignedExpression) -> tuple[AlignedExpression, str]:
    """Return the expression without the PAM50 genes, and a note that lists them."""
    genes = expression.genes
    n_other = sum(bool(NO_SYMBOL.match(gene)) for gene in genes)
    if n_other > len(genes) / 2:
        raise CohortError(
            f"[expression] exclude_pam50: found gene names such as {genes[0]!r}, expected gene "
            "symbols, which identify the PAM50 genes. Name the genes by symbol, or set "
            "exclude_pam50 = false."
        )
    found = pam50_among(genes)
    if len(found) == len(genes):
        raise CohortError(
            f"[expression] exclude_pam50: all {len(genes)} genes of the table are PAM50 genes, so "
            "none is left. Give a table with other genes, or set exclude_pam50 = false."
        )
    plain = {gene.partition("|")[0].strip().upper() for gene in found}
    present = {FORMER_SYMBOLS.get(name, name) for name in plain}
    absent = [gene for gene in PAM50_GENES if gene not in present]
    note = f"exclude_pam50: PAM50 genes excluded from all models: {len(found)}"
    if absent and found:
        note += f"; not in the table: {', '.join(absent)}"
    elif absent:
        note += ", since the table has none of them"
    frame = pl.DataFrame(expression.values, schema=list(genes), orient="row")
    choice = GeneChoice(found, exclude=True).fit(frame)
    values = expression.values[:, choice.get_support()]
    kept = tuple(choice.get_feature_names_out().tolist())
    return replace(expression, values=values, genes=kept), note
