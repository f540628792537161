"""The line over both modalities, and how loudly the image speaks in it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.special import log_softmax

from crosstype.training.image_line import deal_parts
from crosstype.training.logistic import Line, fit_logistic

LOUDER = 4.0
"""How much more the image may count than usual, where that is proven."""
N_PARTS = 4
N_STANDARD_ERRORS = 2.0

Targets = Int[np.ndarray, " patients"]
Weights = Float[np.ndarray, " classes"]


def fit_joint_line(
    genes: Float[np.ndarray, "patients genes"],
    images: Float[np.ndarray, "patients image_columns"],
    targets: Targets,
    strength: float,
    weights: Weights,
) -> Line:
    """Return weight and bias of a line over genes and images, genes first.

    Where genes say little, an image that speaks as softly as usual is lost in their noise. So a
    louder image is tried on parts of the patients that the line was not fitted on, and taken if it
    lowers their loss by more than two standard errors.
    """
    loudness = LOUDER if _louder_is_proven(genes, images, targets, strength, weights) else 1.0
    inputs = np.concatenate([genes, loudness * images], axis=1)
    weight, bias = fit_logistic(inputs, targets, strength, weights)
    weight[:, genes.shape[1] :] *= loudness
    return weight, bias


def _louder_is_proven(
    genes: Float[np.ndarray, "patients genes"],
    images: Float[np.ndarray, "patients image_columns"],
    targets: Targets,
    strength: float,
    weights: Weights,
) -> bool:
    """Return whether a louder image helps; not where a class is too small to find out."""
    if np.bincount(targets, minlength=len(weights)).min() < N_PARTS:
        return False
    part = deal_parts(targets, N_PARTS, np.ones(len(targets), dtype=bool))
    losses = np.zeros((2, len(targets)))
    for place, loudness in enumerate((1.0, LOUDER)):
        inputs = np.concatenate([genes, loudness * images], axis=1)
        for number in range(N_PARTS):
            out = part == number
            weight, bias = fit_logistic(inputs[~out], targets[~out], strength, weights)
            losses[place, out] = _loss(inputs[out] @ weight.T + bias, targets[out])
    gain = (losses[0] - losses[1]) * weights[targets]
    error = float(gain.std(ddof=1)) / len(gain) ** 0.5
    return bool(float(gain.mean()) > N_STANDARD_ERRORS * error)


def _loss(
    logits: Float[np.ndarray, "patients logits"], targets: Targets
) -> Float[np.ndarray, " patients"]:
    both = np.concatenate([np.zeros_like(logits), logits], axis=1)
    named = log_softmax(both if logits.shape[1] == 1 else logits, axis=1)
    found: np.ndarray = -named[np.arange(len(targets)), targets]
    return found
