"""Perturbations of test patients' expression: missing genes, noise, normal tissue, other assays.

One function per perturbation, from test patients to perturbed test patients. A result depends on
the seed, the perturbation, the training patients and the tables; never on the model, on labels of
test patients or on other test patients.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64, Int

from crosstype.expression.genes.panels import pam50_among, panel_among
from crosstype.expression.matrix import AlignedExpression, load_expression
from crosstype.expression.spec import ExpressionSpec
from crosstype.expression.transformers import quantiles
from crosstype.expression.units import LinearScale, Unit, linear_scale_of, median_ratios
from crosstype.training.patients import Patients

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
"""All perturbations; the index is part of the seed of the draws."""
OTHER = "other_expression.npz"
"""File of the other assay's expression in OUT."""
LEAST_NAMED = 5
"""With fewer genes of a gene list than this, a table counts as without the list."""


@dataclass(frozen=True)
class Perturbation:
    """One perturbation of expression.

    Attributes:
        pattern: one of ORDER.
        level: its strength; see `study.PATTERNS`.
        draw: number of the random draw.
    """

    pattern: str
    level: float
    draw: int

    @property
    def place(self) -> tuple[int, int, int]:
        """Return the part of the seed that is unique to this perturbation."""
        return (ORDER.index(self.pattern), round(self.level * 1000), self.draw)


@dataclass(frozen=True)
class PerturbationTables:
    """Expression tables that perturbations use.

    Attributes:
        genes: names of the cohort's genes.
        unit: unit of the cohort's expression.
        normal_like: normal-like samples, not of the cohort, same genes and unit; None: none.
        other: amounts (or z-scores) of the cohort's patients by another assay, same genes; None:
            not set.
        is_spectrum: whether columns are gene sets instead of genes, without names or amounts.
    """

    genes: tuple[str, ...]
    unit: Unit
    normal_like: AlignedExpression | None = None
    other: AlignedExpression | None = None
    is_spectrum: bool = False

    @cached_property
    def panel(self) -> Bool[np.ndarray, " genes"] | None:
        """Return the mask of the 21-gene panel; None if the table does not have it."""
        return self._named(panel_among(self.genes))

    @cached_property
    def pam50(self) -> Bool[np.ndarray, " genes"] | None:
        """Return the mask of PAM50 genes; None if the table does not have them."""
        return self._named(pam50_among(self.genes))

    def _named(self, names: tuple[str, ...]) -> Bool[np.ndarray, " genes"] | None:
        named = set(names)
        if self.is_spectrum or len(named) < LEAST_NAMED:
            return None
        return np.array([gene in named for gene in self.genes], dtype=bool)


def read_perturbation_tables(out: Path, spec: ExpressionSpec) -> PerturbationTables:
    """Read the tables in OUT.

    Raises:
        TableError: a table is damaged.
    """
    expression = load_expression(out / "expression.npz")
    is_spectrum = spec.representation == "spectrum"
    normal_like = load_expression(out / "normal_like.npz")
    has_normal = bool(normal_like.patient_ids) and normal_like.genes == expression.genes
    other = load_expression(out / OTHER) if (out / OTHER).exists() else None
    return PerturbationTables(
        expression.genes,
        expression.unit,
        normal_like if has_normal else None,
        other,
        is_spectrum,
    )


@dataclass(frozen=True)
class FoldData:
    """Training patients and tables of a fold, and statistics of them that perturbations use.

    Attributes:
        train: the fold's training patients with raw expression.
        tables: see PerturbationTables.
    """

    train: Patients
    tables: PerturbationTables

    @cached_property
    def scale(self) -> LinearScale:
        """Return the linear scale of the training patients' values; undefined for z-scores."""
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
        """Return genes in decreasing order of correlation with PAM50 in the training patients.

        PAM50 genes first, then by the largest |correlation| with any PAM50 gene; where the table
        does not have them, with any class. Correlations are of logarithms; missing values count as
        the gene's mean, a constant gene has correlation 0.
        """
        values = self.train.genes.astype(np.float64)
        if self.tables.unit == "linear":
            values = np.log1p(np.maximum(values, 0))
        standard = _standardised(values)
        pam50 = self.tables.pam50
        classes = np.eye(len(self.train.classes))[self.train.targets]
        against = _standardised(classes) if pam50 is None else standard[:, pam50]
        correlation = np.abs(against.T @ standard).max(axis=0) / len(values)
        if pam50 is not None:
            correlation[pam50] = np.inf
        order: np.ndarray = np.argsort(-correlation, kind="stable")
        return order


def _mean(values: np.ndarray) -> np.ndarray:
    """Return each column's mean without NaN; 0 if all are NaN."""
    present = ~np.isnan(values)
    mean: np.ndarray = np.where(present, values, 0).sum(axis=0) / np.maximum(present.sum(axis=0), 1)
    return mean


def _standardised(values: np.ndarray) -> np.ndarray:
    """Return columns of mean 0 and variance 1; 0 where missing or constant."""
    centred = np.nan_to_num(values - _mean(values))
    spread = np.sqrt((centred**2).mean(axis=0))
    # Rounding errors of a constant column are not variance.
    varies = spread > 1e-9 * (1 + np.abs(_mean(values)))
    scaled: np.ndarray = centred / np.where(varies, spread, np.inf)
    return scaled


Seed = tuple[int, int, int]
"""The run's seed, repeat and fold."""
PANEL_SIZE = 21


def lose_each(patients: Patients, loss: Perturbation, known: FoldData, seed: Seed) -> Patients:  # noqa: ARG001
    """Remove a share of the genes, drawn separately for each patient."""
    return without_share(patients, loss.level, np.random.default_rng([*seed, *loss.place]))


def without_share(patients: Patients, share: float, rng: np.random.Generator) -> Patients:
    """Return the patients without a share of the genes, drawn separately for each patient."""
    genes = patients.genes.copy()
    n_lost = round(share * genes.shape[1])
    order = np.argsort(rng.random(genes.shape), axis=1)[:, :n_lost]
    np.put_along_axis(genes, order, np.nan, axis=1)
    return patients.with_genes(genes)


def lose_same(patients: Patients, loss: Perturbation, known: FoldData, seed: Seed) -> Patients:  # noqa: ARG001
    """Remove a share of the genes, the same genes in all patients of all folds."""
    order = _drawn_genes(patients, loss, seed)
    return _without(patients, order[: round(loss.level * len(order))])


def add_noise(patients: Patients, loss: Perturbation, known: FoldData, seed: Seed) -> Patients:
    """Add Gaussian noise to amounts: standard deviation level x the gene's training mean.

    Negative amounts become 0, the lowest of the scale.
    """
    if not loss.level:
        return patients
    rng = np.random.default_rng([*seed, *loss.place])
    noise = rng.standard_normal(patients.genes.shape) * loss.level * known.mean_amounts
    return patients.with_genes(known.scale.values(known.scale.amounts(patients.genes) + noise))


def mix_normal_like(
    patients: Patients,
    loss: Perturbation,
    known: FoldData,
    seed: Seed,  # noqa: ARG001
) -> Patients:
    """Mix amounts: (1 - level) x the patient's + level x the mean normal-like profile."""
    if not loss.level:
        return patients
    own = known.scale.amounts(patients.genes)
    mixed = (1 - loss.level) * own + loss.level * known.normal_like_amounts
    return patients.with_genes(known.scale.values(mixed))


def keep_panel(patients: Patients, loss: Perturbation, known: FoldData, seed: Seed) -> Patients:
    """Keep only the genes of the 21-gene panel, or 21 random genes, the same in all patients."""
    panel = known.tables.panel
    if panel is not None:
        return _without(patients, np.flatnonzero(~panel))
    return _without(patients, _drawn_genes(patients, loss, seed)[PANEL_SIZE:])


def exclude_pam50(
    patients: Patients,
    loss: Perturbation,
    known: FoldData,
    seed: Seed,  # noqa: ARG001
) -> Patients:
    """Remove a share of the genes, those most correlated with PAM50 first (`telling_order`).

    Where the table has PAM50 genes, all of them are removed at any level above 0.
    """
    pam50 = known.tables.pam50
    n_lost = round(loss.level * patients.genes.shape[1])
    if pam50 is not None and loss.level:
        n_lost = max(n_lost, int(pam50.sum()))
    return _without(patients, known.telling_order[:n_lost])


def take_other_assay(
    patients: Patients,
    loss: Perturbation,  # noqa: ARG001
    known: FoldData,
    seed: Seed,  # noqa: ARG001
) -> Patients:
    """Replace expression by another assay's, unscaled; patients without it are left out.

    Genes that it did not measure are missing.
    """
    patients, amounts = _by_other_assay(patients, known)
    if known.tables.unit == "zscore":
        return patients.with_genes(amounts.astype(np.float32))
    return patients.with_genes(known.scale.values(amounts))


def take_other_assay_scaled(
    patients: Patients,
    loss: Perturbation,  # noqa: ARG001
    known: FoldData,
    seed: Seed,  # noqa: ARG001
) -> Patients:
    """Replace expression by another assay's, with one size factor per patient.

    The factor is the median, over genes, of the ratio of the training patients' median amount to
    the patient's (after the median of ratios, Anders & Huber 2010).
    """
    patients, amounts = _by_other_assay(patients, known)
    factors = median_ratios(amounts, known.median_amounts)
    return patients.with_genes(known.scale.values(amounts * factors[:, None]))


def _by_other_assay(
    patients: Patients, known: FoldData
) -> tuple[Patients, Float64[np.ndarray, "found genes"]]:
    """Return the patients that the other assay measured, and its amounts or z-scores."""
    other = known.tables.other
    assert other is not None
    row_of = {patient: row for row, patient in enumerate(other.patient_ids)}
    measured = [patient for patient in patients.ids if patient in row_of]
    values = other.values[[row_of[patient] for patient in measured]]
    return patients.select(measured), values.astype(np.float64)


def _drawn_genes(patients: Patients, loss: Perturbation, seed: Seed) -> np.ndarray:
    """Return a random order of the genes, the same for all folds of a repeat."""
    rng = np.random.default_rng([*seed[:2], *loss.place])
    return rng.permutation(patients.genes.shape[1])


def _without(patients: Patients, columns: np.ndarray) -> Patients:
    genes = patients.genes.copy()
    genes[:, columns] = np.nan
    return patients.with_genes(genes)
