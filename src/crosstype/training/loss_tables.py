"""What a loss of expression is told: which one it is, and what training patients and tables say."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64, Int

from crosstype.cohort.aligned import AlignedExpression, load_expression
from crosstype.cohort.linear_scale import LinearScale, linear_scale_of
from crosstype.cohort.pam50_genes import pam50_among
from crosstype.cohort.preprocess import quantiles
from crosstype.cohort.recurrence_panel import panel_among
from crosstype.cohort.spec import ExpressionSpec
from crosstype.cohort.unit import Unit
from crosstype.training.bags import Patients

ORDER = (
    "each",
    "same",
    "noise",
    "normal_like",
    "panel",
    "pam50_withheld",
    "other_assay",
    "other_assay_scaled",
)
"""Every pattern of loss; its place is part of the seed of its draws."""
OTHER = "other_expression.npz"
"""The other assay's table in OUT."""
LEAST_NAMED = 5
"""With fewer genes of a named list than this, a table is said not to have it."""


@dataclass(frozen=True)
class Loss:
    """One way to lose expression.

    Attributes:
        pattern: one of ORDER.
        level: how much is lost; see `losses.PATTERNS`.
        draw: which of several draws.
    """

    pattern: str
    level: float
    draw: int

    @property
    def place(self) -> tuple[int, int, int]:
        """Return what tells this loss's chance from that of every other."""
        return (ORDER.index(self.pattern), round(self.level * 1000), self.draw)


@dataclass(frozen=True)
class LossTables:
    """Tables that a loss may draw on; none of them holds a patient of the cohort.

    The one exception is `other`, which holds the same patients, measured by another assay.

    Attributes:
        genes: names of the cohort's genes.
        unit: unit of the cohort's expression.
        normal_like: normal-like samples, same genes and unit; None where there are none.
        other: amounts (or z-scores) of some of the cohort's patients, same genes; None: not given.
        is_spectrum: whether gene sets stand in for the genes, so that nothing has a name or amount.
    """

    genes: tuple[str, ...]
    unit: Unit
    normal_like: AlignedExpression | None = None
    other: AlignedExpression | None = None
    is_spectrum: bool = False

    @cached_property
    def panel(self) -> Bool[np.ndarray, " genes"] | None:
        """Return which genes are of the 21-gene panel; None if the table does not have it."""
        return self._named(panel_among(self.genes))

    @cached_property
    def pam50(self) -> Bool[np.ndarray, " genes"] | None:
        """Return which genes are PAM50 genes; None if the table does not have them."""
        return self._named(pam50_among(self.genes))

    def _named(self, names: tuple[str, ...]) -> Bool[np.ndarray, " genes"] | None:
        named = set(names)
        if self.is_spectrum or len(named) < LEAST_NAMED:
            return None
        return np.array([gene in named for gene in self.genes], dtype=bool)


def read_loss_tables(out: Path, spec: ExpressionSpec) -> LossTables:
    """Return the tables that stand in OUT.

    Raises:
        TableError: one of them is damaged.
    """
    expression = load_expression(out / "expression.npz")
    is_spectrum = spec.representation == "spectrum"
    normal_like = load_expression(out / "normal_like.npz")
    has_normal = bool(normal_like.patient_ids) and normal_like.genes == expression.genes
    other = load_expression(out / OTHER) if (out / OTHER).exists() else None
    return LossTables(
        expression.genes,
        expression.unit,
        normal_like if has_normal else None,
        other,
        is_spectrum,
    )


@dataclass(frozen=True)
class Known:
    """What is known where test patients lose expression: of training patients only, and tables.

    Attributes:
        train: the fold's training patients with raw expression.
        tables: see LossTables.
    """

    train: Patients
    tables: LossTables

    @cached_property
    def scale(self) -> LinearScale:
        """Return the linear scale of the training patients' values; not for z-scores."""
        scale = linear_scale_of(self.train.genes, self.tables.unit)
        assert scale is not None, "patterns on the linear scale are left out for z-scores"
        return scale

    @cached_property
    def mean_amounts(self) -> Float64[np.ndarray, " genes"]:
        """Return each gene's mean amount over training patients; 0 if missing in all."""
        return _mean(self.scale.amounts(self.train.genes))

    @cached_property
    def median_amounts(self) -> Float64[np.ndarray, " genes"]:
        """Return each gene's median amount over training patients; 0 if missing in all."""
        medians = quantiles(self.scale.amounts(self.train.genes), (0.5,))[0]
        return np.asarray(np.nan_to_num(medians), dtype=np.float64)

    @cached_property
    def normal_like_amounts(self) -> Float64[np.ndarray, " genes"]:
        """Return each gene's mean amount over normal-like samples; the training mean if missing."""
        assert self.tables.normal_like is not None
        amounts = self.scale.amounts(self.tables.normal_like.values)
        missing = np.isnan(amounts).all(axis=0)
        return np.where(missing, self.mean_amounts, _mean(amounts))

    @cached_property
    def telling_order(self) -> Int[np.ndarray, " genes"]:
        """Return genes, those first that tell most of PAM50 in the training patients.

        By the largest |correlation| with any PAM50 gene, these themselves first; where the table
        does not have them, with any class. Correlations are of logarithms; a gene that is missing
        counts as at its mean, a constant one as telling nothing.
        """
        values = self.train.genes.astype(np.float64)
        if self.tables.unit == "linear":
            values = np.log1p(np.maximum(values, 0))
        standard = _standardised(values)
        pam50 = self.tables.pam50
        classes = np.eye(len(self.train.classes))[self.train.targets]
        against = _standardised(classes) if pam50 is None else standard[:, pam50]
        telling = np.abs(against.T @ standard).max(axis=0) / len(values)
        if pam50 is not None:
            telling[pam50] = np.inf
        order: np.ndarray = np.argsort(-telling, kind="stable")
        return order


def _mean(values: np.ndarray) -> np.ndarray:
    """Return each column's mean, NaN aside; 0 if all are missing."""
    present = ~np.isnan(values)
    mean: np.ndarray = np.where(present, values, 0).sum(axis=0) / np.maximum(present.sum(axis=0), 1)
    return mean


def _standardised(values: np.ndarray) -> np.ndarray:
    """Return columns of mean 0 and variance 1; 0 where missing or constant."""
    centred = np.nan_to_num(values - _mean(values))
    spread = np.sqrt((centred**2).mean(axis=0))
    # What rounding leaves of a constant column is no spread.
    varies = spread > 1e-9 * (1 + np.abs(_mean(values)))
    scaled: np.ndarray = centred / np.where(varies, spread, np.inf)
    return scaled
