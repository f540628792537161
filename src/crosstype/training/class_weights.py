"""How much each class weighs, by how rare it is."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from crosstype.training.spec import TrainingSpec

POWERS = {"balanced": 1.0, "root": 0.5, "none": 0.0}


def class_weights(
    targets: Int[np.ndarray, " patients"], n_classes: int, spec: TrainingSpec
) -> Float[np.ndarray, " classes"]:
    """Return one weight per class: a power of the inverse of its frequency among these patients.

    A class of mean frequency weighs 1. One without patients weighs as if it had one.
    """
    counts = np.maximum(np.bincount(targets, minlength=n_classes), 1)
    weights: np.ndarray = (len(targets) / (n_classes * counts)) ** POWERS[spec.class_weights]
    return weights
