"""A linear model on both modalities, from which the networks start.

On cohorts of a hundred patients and thousands of genes a ridge-penalised line is hard to beat, and
a network that has to find it by gradient descent finds it badly. So the line is fitted first, and
the networks learn what it leaves unexplained. They see honest errors: the line's logits of a
training patient come from a line fitted on the other inner folds (cross-fitting). How far the
networks' correction is then trusted is decided on the same inner folds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from crosstype.terms import Modality
from crosstype.training.bags import Patients
from crosstype.training.preparation import Preparation

# Chosen on patients of other sites than A2; see docs/decisions/0003-linear-start.md.
STRENGTH = {Modality.GENES: 10.0, Modality.IMAGE: 5.0}
IMAGE_WEIGHT_BESIDE_GENES = 0.5
SPREAD_WEIGHT = 0.5
TRUSTS = (0.25, 0.5, 0.75, 1.0)
N_STANDARD_ERRORS = 2.0

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


def choose_trust(
    start: Float[Tensor, "patients logits"],
    correction: Float[Tensor, "patients logits"],
    losses_of: Callable[[Tensor], Float[Tensor, " patients"]],
) -> float:
    """Return which share of the networks' correction to keep, 0 to 1.

    The share with the lowest loss on patients that neither line nor network was fitted on, if it
    lowers the loss by more than two standard errors of the paired differences, else 0 (after the
    standard error rule of Breiman et al. 1984): without evidence the simpler model stays. Both
    sides are judged at their best temperature, so that mere confidence earns no trust.
    """
    plain = losses_of(_at_best_temperature(start, losses_of))
    best, trust = 0.0, 0.0
    for share in TRUSTS:
        corrected = start + share * correction
        gain = plain - losses_of(_at_best_temperature(corrected, losses_of))
        error = N_STANDARD_ERRORS * float(gain.std(unbiased=True)) / len(gain) ** 0.5
        if float(gain.mean()) > max(best, error):
            best, trust = float(gain.mean()), share
    return trust


def _at_best_temperature(
    logits: Float[Tensor, "patients logits"], losses_of: Callable[[Tensor], Tensor]
) -> Float[Tensor, "patients logits"]:
    """Return the logits times the factor, 1/20 to 20, that makes them fit best.

    Temperature scaling (Guo et al. 2017, arXiv 1706.04599); a ridge penalty shrinks logits.
    """
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda power: float(losses_of(logits * math.exp(power)).mean()),
        bounds=(-3.0, 3.0),
        method="bounded",
    )
    return logits * math.exp(float(found.x))


def line_inputs(patients: Patients, preparation: Preparation, uses: frozenset[Modality]) -> Inputs:
    """Return centred log expression, then tile means and spreads, each block of unit variance.

    Expression is not divided by each gene's spread here: genes that vary more say more.
    """
    parts: list[np.ndarray] = []
    if Modality.GENES in uses:
        spread = preparation.gene_spread.astype(np.float64)
        size = np.sqrt((spread**2).sum()) or 1.0
        parts.append(np.nan_to_num(preparation.genes(patients.genes)) * (spread / size))
    if Modality.IMAGE in uses:
        summary = preparation.bag_summary(patients).astype(np.float64)
        n_features = summary.shape[1] // 2
        summary[:, n_features:] *= SPREAD_WEIGHT
        weight = IMAGE_WEIGHT_BESIDE_GENES if Modality.GENES in uses else 1.0
        parts.append(summary * (weight / np.sqrt(n_features)))
    return np.concatenate(parts, axis=1)


def _fit(
    inputs: Inputs, targets: Int[np.ndarray, " patients"], uses: frozenset[Modality]
) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.linear_model import LogisticRegression

    strength = STRENGTH[Modality.GENES if Modality.GENES in uses else Modality.IMAGE]
    line = LogisticRegression(C=strength, class_weight="balanced", max_iter=5000)
    line.fit(inputs, targets)
    return line.coef_, line.intercept_
