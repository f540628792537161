"""Gene attributions of a model, summed over all out-of-fold patients.

Of two classes all numbers are towards the positive, second one. Of more, a patient's are towards
the class of the label, against the mean of all classes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from crosstype.explain.contributions import Contributions
from crosstype.explain.out_of_fold import HeldOut
from crosstype.explain.permutation_importance import Permuted
from crosstype.expression.genes.sets import MatchedSets
from crosstype.io.schema import ATTRIBUTIONS, GENE_SETS, PATIENTS
from crosstype.training.patients import Patients

N_TOP_GENES = 5
SUMMED = ("logit", "baseline", "genes", "image", "rest")


class Attributions:
    """Sums over all models of one kind; tables come out at the end."""

    def __init__(self, model: str, genes: Sequence[str], patients: Patients) -> None:
        """Begin with nothing.

        Args:
            model: whose attributions.
            genes: names of the table's genes.
            patients: the cohort.
        """
        n_genes, self.classes = len(genes), patients.classes
        self.model, self.genes, self.ids = model, tuple(genes), patients.ids
        self.targets = patients.targets
        self.n_logits = 1 if len(self.classes) == 2 else len(self.classes)
        self.n_models = np.zeros(len(patients), dtype=np.int64)
        self.gap = 0.0
        self.has_genes = False
        self._row = {patient: row for row, patient in enumerate(patients.ids)}
        self._own = np.zeros((len(patients), n_genes), dtype=np.float32)
        self._parts = np.zeros((len(patients), len(SUMMED)))
        self._residual_weight = np.zeros(len(patients))
        self._absolute = np.zeros(n_genes)
        self._product, self._square = np.zeros((self.n_logits, n_genes)), np.zeros(n_genes)
        self._permuted = np.zeros((2, n_genes))
        self._n_permuted = np.zeros(n_genes, dtype=np.int64)

    def add(self, held: HeldOut, parts: Contributions) -> None:
        """Add one fold's test patients."""
        rows = np.array([self._row[patient] for patient in held.patients.ids])
        kept = np.flatnonzero(held.classifier.preparation.kept)
        self.n_models[rows] += 1
        self._residual_weight[rows] += parts.predicted.residual_weight
        self.gap = max(self.gap, float(parts.gap.max()))
        totals = (
            parts.predicted.logits,
            parts.baseline,
            parts.genes.sum(axis=2),
            parts.image,
            parts.rest,
        )
        for column, one in enumerate(totals):
            self._parts[rows, column] += self._towards(one[:, :, None], rows)[:, 0]
        if not held.classifier.uses_genes:
            return
        self.has_genes = True
        centred = self._centred(parts.genes)
        self._own[np.ix_(rows, kept)] += self._towards(parts.genes, rows)
        self._absolute[kept] += np.abs(centred).mean(axis=1).sum(axis=0)
        inputs = np.nan_to_num(held.classifier.preparation.measured_genes(held.patients.genes))
        self._product[:, kept] += np.einsum("plg,pg->lg", centred, inputs)
        self._square[kept] += (inputs.astype(np.float64) ** 2).sum(axis=0)

    def add_permuted(self, held: HeldOut, chosen: np.ndarray, found: Permuted) -> None:
        """Add what permuting these kept genes did in one fold."""
        places = np.flatnonzero(held.classifier.preparation.kept)[chosen]
        self._permuted[:, places] += [found.loss, found.change]
        self._n_permuted[places] += 1

    @property
    def residual_weight(self) -> float:
        """Return the mean share of the networks' correction in a prediction, 0 to 1."""
        return float((self._residual_weight / np.maximum(1, self.n_models)).mean())

    @property
    def logits(self) -> Float[np.ndarray, " patients"]:
        """Return each patient's mean logit."""
        mean: np.ndarray = self._parts[:, 0] / np.maximum(1, self.n_models)
        return mean

    @property
    def mean_absolute(self) -> Float[np.ndarray, " genes"]:
        """Return the mean absolute attribution of each gene."""
        mean: np.ndarray = self._absolute / max(1, self.n_models.sum())
        return mean

    @property
    def order(self) -> np.ndarray:
        """Return places of the genes, the one of highest attribution first; ties by place."""
        return np.argsort(-self._absolute, kind="stable")

    def agreement(self) -> dict[str, float]:
        """Return Spearman's rank correlation of attribution with each permutation importance.

        NaN where too few genes were permuted, or all alike.
        """
        from scipy.stats import spearmanr

        known = self._n_permuted > 0
        found = dict.fromkeys(("loss", "change"), float("nan"))
        if known.sum() < 3 or np.ptp(self._absolute[known]) == 0:
            return found
        for name, sums in zip(("loss", "change"), self._permuted, strict=True):
            means = sums[known] / self._n_permuted[known]
            if np.ptp(means) > 0:
                found[name] = float(spearmanr(self._absolute[known], means).statistic)
        return found

    def gene_table(self, sets: MatchedSets | None) -> pl.DataFrame:
        """Return one row per gene, the one of highest attribution first."""
        order = self.order
        columns: dict[str, Any] = {
            "model": [self.model] * len(order),
            "gene": [self.genes[place] for place in order],
            "rank": range(1, len(order) + 1),
            "mean_absolute": self.mean_absolute[order],
        }
        own = self._own / np.maximum(1, self.n_models)[:, None]
        for number, name in enumerate(self.classes):
            columns[f"mean_signed_{name}"] = self._of_class(own, number)[order]
        slopes = self._product / np.where(self._square > 0, self._square, 1)
        for number, name in enumerate(self.classes[-self.n_logits :]):
            columns[f"slope_{name}"] = slopes[number][order]
        known = self._n_permuted > 0
        means = np.where(known, self._permuted / np.maximum(1, self._n_permuted), np.nan)
        columns["permutation_loss"], columns["permutation_change"] = means[:, order]
        columns["gene_sets"] = [self._sets_of(place, sets) for place in order]
        return ATTRIBUTIONS.frame(columns, self.classes).with_columns(
            pl.col("permutation_loss", "permutation_change").fill_nan(None)
        )

    def set_table(self, sets: MatchedSets) -> pl.DataFrame:
        """Return one row per gene set, the one of highest attribution first."""
        member = sets.membership.astype(np.float64)
        own = (self._own / np.maximum(1, self.n_models)[:, None]) @ member.T
        absolute = np.abs(own).mean(axis=0)
        columns: dict[str, Any] = {
            "model": [self.model] * len(sets.names),
            "gene_set": list(sets.names),
            "n_genes": sets.membership.sum(axis=1),
            "mean_absolute": absolute,
        }
        for number, name in enumerate(self.classes):
            columns[f"mean_signed_{name}"] = self._of_class(own, number)
        columns["share"] = member @ self._absolute / (self._absolute.sum() or 1.0)
        found = GENE_SETS.frame(columns, self.classes)
        return found.sort("mean_absolute", "gene_set", descending=[True, False])

    def patient_table(self) -> pl.DataFrame:
        """Return one row per patient: the logit, its parts and the genes that count most."""
        n_models = np.maximum(1, self.n_models)
        means = self._parts / n_models[:, None]
        towards = [self.classes[1 if self.n_logits == 1 else own] for own in self.targets]
        columns: dict[str, Any] = {
            "patient_id": self.ids,
            "model": [self.model] * len(self.ids),
            "label": [self.classes[own] for own in self.targets],
            "towards": towards,
            **{name: means[:, place] for place, name in enumerate(SUMMED)},
            "residual_weight": self._residual_weight / n_models,
            "n_models": self.n_models,
            "top_genes": [self._top_genes(row) for row in range(len(self.ids))],
        }
        return PATIENTS.frame(columns).filter(pl.col("n_models") > 0)

    def _top_genes(self, row: int) -> str:
        """Return a patient's genes of highest attribution, with signs; empty without genes."""
        if not self.has_genes:
            return ""
        own = self._own[row] / max(1, self.n_models[row])
        order = np.argsort(-np.abs(own), kind="stable")[:N_TOP_GENES]
        return "; ".join(f"{self.genes[place]} {own[place]:+.3f}" for place in order)

    def _sets_of(self, place: int, sets: MatchedSets | None) -> str:
        if sets is None:
            return ""
        return "; ".join(sets.names[one] for one in np.flatnonzero(sets.membership[:, place]))

    def _of_class(self, own: np.ndarray, number: int) -> Float[np.ndarray, " columns"]:
        """Return the mean attribution towards a class among the patients of that class."""
        rows = (self.targets == number) & (self.n_models > 0)
        if not rows.any():
            return np.full(own.shape[1], np.nan)
        sign = -1.0 if self.n_logits == 1 and number == 0 else 1.0
        mean: np.ndarray = sign * own[rows].mean(axis=0, dtype=np.float64)
        return mean

    def _centred(self, values: np.ndarray) -> np.ndarray:
        """Return values per logit against the mean of all classes."""
        return values if self.n_logits == 1 else values - values.mean(axis=1, keepdims=True)

    def _towards(self, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return values of the positive class, or of each patient's own; patients x columns."""
        if self.n_logits == 1:
            found: np.ndarray = values[:, 0]
            return found
        own: np.ndarray = self._centred(values)[np.arange(len(rows)), self.targets[rows]]
        return own
