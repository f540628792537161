"""A linear model on both modalities, from which the networks start.

On cohorts of a hundred patients and thousands of genes a ridge-penalised line is hard to beat, and
a network that has to find it by gradient descent finds it badly. So the line is fitted first, in
closed form, and the network learns what it leaves unexplained. While the network trains, the line's
logits of a training patient come from lines fitted without that patient (cross-fitting): the
network then sees the line's honest errors instead of a perfect fit.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from crosstype.terms import Modality
from crosstype.training.bags import Patients
from crosstype.training.preparation import Preparation

# Chosen on patients of other sites than A2, in cohorts of its size (docs/decisions).
STRENGTH = {Modality.GENES: 10.0, Modality.IMAGE: 3.0}
IMAGE_WEIGHT_BESIDE_GENES = 0.5
N_CROSS_FITS = 5

Logits = Float[np.ndarray, "patients logits"]
Inputs = Float[np.ndarray, "patients columns"]


@dataclass(frozen=True)
class LinearStart:
    """A fitted line.

    Attributes:
        uses: modalities it sees; the same as its network's.
        weight: logits x columns, genes first.
        bias: logits.
    """

    uses: frozenset[Modality]
    weight: Float[np.ndarray, "logits columns"]
    bias: Float[np.ndarray, " logits"]

    def logits(self, patients: Patients, preparation: Preparation) -> Logits:
        """Return the line's logits; one per patient for two classes, else one per class."""
        inputs = line_inputs(patients, preparation, self.uses)
        logits: Logits = inputs @ self.weight.T + self.bias
        return logits


def fit_line(
    patients: Patients, preparation: Preparation, uses: Collection[Modality]
) -> LinearStart:
    """Fit the line on training patients."""
    kept = frozenset(uses)
    weight, bias = _fit(line_inputs(patients, preparation, kept), patients.targets, kept)
    return LinearStart(kept, weight, bias)


def cross_fitted_logits(
    patients: Patients,
    preparation: Preparation,
    uses: Collection[Modality],
    seed: int,
) -> Logits:
    """Return for each training patient the logits of a line fitted without that patient."""
    from sklearn.model_selection import StratifiedKFold

    kept = frozenset(uses)
    inputs = line_inputs(patients, preparation, kept)
    smallest = int(np.bincount(patients.targets).min())
    n_splits = max(2, min(N_CROSS_FITS, smallest))
    folds = StratifiedKFold(n_splits, shuffle=True, random_state=seed)
    logits: Logits | None = None
    for train, held in folds.split(inputs, patients.targets):
        weight, bias = _fit(inputs[train], patients.targets[train], kept)
        if logits is None:
            logits = np.zeros((len(inputs), len(bias)))
        logits[held] = inputs[held] @ weight.T + bias
    assert logits is not None
    return logits


def line_inputs(patients: Patients, preparation: Preparation, uses: frozenset[Modality]) -> Inputs:
    """Return centred log expression and mean tiles side by side, each block of unit variance.

    Expression is not divided by each gene's spread here: genes that vary more say more.
    """
    parts: list[np.ndarray] = []
    if Modality.GENES in uses:
        spread = preparation.gene_spread.astype(np.float64)
        size = np.sqrt((spread**2).sum()) or 1.0
        parts.append(np.nan_to_num(preparation.genes(patients.genes)) * (spread / size))
    if Modality.IMAGE in uses:
        tiles = preparation.mean_tiles(patients).astype(np.float64)
        weight = IMAGE_WEIGHT_BESIDE_GENES if Modality.GENES in uses else 1.0
        parts.append(tiles * (weight / np.sqrt(tiles.shape[1])))
    return np.concatenate(parts, axis=1)


def _fit(
    inputs: Inputs, targets: Int[np.ndarray, " patients"], uses: frozenset[Modality]
) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.linear_model import LogisticRegression

    strength = STRENGTH[Modality.GENES if Modality.GENES in uses else Modality.IMAGE]
    line = LogisticRegression(C=strength, class_weight="balanced", max_iter=5000)
    line.fit(inputs, targets)
    return line.coef_, line.intercept_
