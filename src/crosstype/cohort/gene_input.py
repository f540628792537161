"""What a fitted model was given of expression, so that another table can be brought to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from crosstype.cohort.expression import Expression, divides_counts
from crosstype.cohort.linear_scale import linear_scale_of
from crosstype.cohort.spec import ExpressionSpec
from crosstype.cohort.unit import Measure, Unit, unit_of

Kind = Literal["counts per million", "raw counts", "tpm", "fpkm", "rsem", "linear", "log", "zscore"]
"""A measure, with counts told apart by whether they were divided by their sum."""


@dataclass(frozen=True)
class GeneInput:
    """Expression as a model was fitted on it.

    Attributes:
        genes: names of the table's genes, in the order in which values are given on.
        kind: of the training table.
        offset: what stands before the logarithm in log2(amount + offset), 0 for amounts; None
            where values have no amount (z-scores) or it is not known (logarithms of another kind).
        representation: what the model sees, as `[expression] representation`.
        duplicate_genes: what became of genes that stood there twice.
        counts: how counts were divided, as `[expression] counts`.
        set_names: gene sets that the model sees in place of genes; only of a spectrum.
        set_genes: genes of each of them.
        least_genes: a set with fewer measured genes is missing.
    """

    genes: tuple[str, ...]
    kind: Kind
    offset: float | None
    representation: str
    duplicate_genes: str
    counts: str
    set_names: tuple[str, ...] = ()
    set_genes: tuple[tuple[str, ...], ...] = ()
    least_genes: int = 1

    @property
    def unit(self) -> Unit:
        """Whether the training table held amounts, logarithms or z-scores."""
        measure: Measure = "counts" if self.kind in COUNTS else self.kind  # type: ignore[assignment]
        return unit_of(measure)

    def reading(self, spec: ExpressionSpec) -> ExpressionSpec:
        """Return how a new table is read: as the training table was, where the format leaves it.

        Unit, names of genes, columns and layers are the new table's own.
        """
        changed: dict[str, str] = {"duplicate_genes": self.duplicate_genes, "counts": self.counts}
        return replace(
            spec,
            representation="genes",
            gene_sets=None,
            least_genes=ExpressionSpec().least_genes,
            **changed,  # type: ignore[arg-type]
        )


COUNTS = ("counts per million", "raw counts")
EXACT_OFFSETS = (1.0, 1e-3)
"""log2(x + 1), and log2(x + 0.001) of UCSC Xena's Toil tables."""


def kind_of(found: Expression, spec: ExpressionSpec) -> Kind:
    """Return the kind of a table as it was read."""
    if found.measure != "counts":
        return found.measure
    return COUNTS[0] if divides_counts(len(found.genes), spec) else COUNTS[1]  # type: ignore[return-value]


def offset_of(values: np.ndarray, unit: Unit) -> float | None:
    """Return what was added before a table's logarithm: 0 for amounts; None where nobody knows."""
    scale = linear_scale_of(values, unit)
    if scale is None or (scale.is_log and scale.offset not in EXACT_OFFSETS):
        return None
    return scale.offset


def gene_input_of(
    found: Expression,
    genes: tuple[str, ...],
    spec: ExpressionSpec,
    sets: tuple[tuple[str, ...], tuple[tuple[str, ...], ...]] = ((), ()),
) -> GeneInput:
    """Return what a model is given that is fitted on this table.

    Args:
        found: the training table.
        genes: those of its genes that models may see.
        spec: how it was read, and what models see.
        sets: names and genes of the sets of a spectrum.
    """
    return GeneInput(
        genes=genes,
        kind=kind_of(found, spec),
        offset=offset_of(found.values, found.unit),
        representation=spec.representation,
        duplicate_genes=spec.duplicate_genes,
        counts=spec.counts,
        set_names=sets[0],
        set_genes=sets[1],
        least_genes=spec.least_genes,
    )
