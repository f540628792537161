"""The log2 expression of the PAM50 genes, in the centroids' order, from a table of any unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crosstype.cohort.expression import Expression
from crosstype.cohort.pam50_centroids import Centroids
from crosstype.cohort.unit import Measure
from crosstype.errors import CohortError

LEAST_SHARE_OF_GENES = 0.8
"""Share of the centroids' genes that a table must have: 40 of 50."""


@dataclass(frozen=True)
class Profiles:
    """Samples as PAM50 looks at them.

    Attributes:
        sample_ids: one id per row.
        genes: those of the centroids' genes that the table has, in the centroids' order.
        values: float64 (n_samples, n_genes), log2; NaN where missing.
        measure: unit of the table.
    """

    sample_ids: tuple[str, ...]
    genes: tuple[str, ...]
    values: np.ndarray
    measure: Measure

    def of(self, gene: str) -> np.ndarray | None:
        """Return one gene's values (n_samples,), or None if the table lacks it."""
        return self.values[:, self.genes.index(gene)] if gene in self.genes else None

    def only(self, genes: Sequence[str]) -> Profiles:
        """Return the profiles of some of the genes, in that order."""
        columns = [self.genes.index(gene) for gene in genes]
        return Profiles(self.sample_ids, tuple(genes), self.values[:, columns], self.measure)


def pam50_profiles(
    file_name: str, expression: Expression, centroids: Centroids, notes: list[str]
) -> Profiles:
    """Pick the centroids' genes and bring them to log2; amounts become log2(x + 1).

    Args:
        file_name: the table's name, for messages.
        expression: as read.
        centroids: whose genes are wanted.
        notes: receives which genes are missing and what was done to the values.

    Raises:
        CohortError: fewer than four fifths of the genes are there; amounts are negative.
    """
    place = {gene: column for column, gene in enumerate(expression.genes)}
    genes = [gene for gene in centroids.genes if gene in place]
    absent = [gene for gene in centroids.genes if gene not in place]
    least = int(np.ceil(LEAST_SHARE_OF_GENES * len(centroids.genes)))
    found = f"{len(genes)} of the {len(centroids.genes)} genes of the centroids"
    if len(genes) < least:
        raise CohortError(
            f"{file_name}: found {found}, expected at least {least}. Missing: {', '.join(absent)}. "
            "If genes are named otherwise, give a table of identifiers and symbols (gene_names)."
        )
    if absent:
        notes.append(f"warning: found {found}; calls are made without {', '.join(absent)}")
    values = as_written(expression.values[:, [place[gene] for gene in genes]])
    if expression.unit == "linear":
        if (values < 0).any():
            raise CohortError(
                f"{file_name}: amounts ({expression.measure}) of the PAM50 genes are negative, "
                f"down to {np.nanmin(values):.4g}. If they are logarithms, say so (unit: log)."
            )
        values = np.log2(values + 1)
        notes.append(f"amounts ({expression.measure}) taken to log2(x + 1)")
    elif expression.unit == "zscore":
        notes.append(
            "warning: the values are z-scores, whose genes were already centred and scaled on "
            "somebody's cohort; PAM50 is made for log2 expression, and calls may differ"
        )
    return Profiles(expression.sample_ids, tuple(genes), values, expression.measure)


def as_written(values: np.ndarray) -> np.ndarray:
    """Return float32 values as the decimals they were written as, in float64.

    Differences of float32 would break ties, or make some, that the published code, which reads
    decimals into float64, decides otherwise. Exact for up to 6 significant digits.
    """
    exact = np.array([float(str(one)) for one in values.ravel()], dtype=np.float64)
    return exact.reshape(values.shape)
