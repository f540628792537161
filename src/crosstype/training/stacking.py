"""late: late fusion of the two unimodal models, stacked on inner folds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from crosstype.models.spec import ModelSpec
from crosstype.training.bags import Patients
from crosstype.training.class_weights import class_weights
from crosstype.training.classifiers import (
    Arrays,
    Classifier,
    Probabilities,
    Recipe,
    Split,
)
from crosstype.training.fit import probabilities_of
from crosstype.training.logistic import fit_logistic
from crosstype.training.network_classifier import NetworkClassifier

PARENTS = ("image_only", "gene_only")
STACK_STRENGTH = 1.0
"""Inverse L2 penalty (scikit-learn's C) of the stacking regression; inputs are logits."""


class LateClassifier(Classifier):
    """A logistic regression over the logits of image_only and gene_only.

    It is fitted on what each member said of the validation patients of its own inner fold, so no
    logit that teaches the weights comes from a network that was trained on that patient (Wolpert
    1992, stacked generalisation).
    """

    def __init__(self, name: str = "late") -> None:
        """Make an unfitted classifier."""
        super().__init__(name)
        self.parents: dict[str, NetworkClassifier] = {}
        self.weight = np.zeros((0, 0))
        self.bias = np.zeros(0)

    def adopt(self, parents: Sequence[NetworkClassifier]) -> None:
        """Use these fitted unimodal models; they were fitted on the same splits and recipe."""
        self.parents = {parent.name: parent for parent in parents}

    def fit(self, splits: Sequence[Split], recipe: Recipe) -> None:
        """Fit the unimodal models unless they were adopted, then the stacking weights."""
        for name in PARENTS:
            if name not in self.parents:
                parent = NetworkClassifier(name)
                parent.fit(splits, recipe)
                self.parents[name] = parent
        inner = [torch.cat(self.parents[name].inner_logits).numpy() for name in PARENTS]
        targets = np.concatenate([split.validation.targets for split in splits])
        weights = class_weights(targets, len(splits[0].train.classes), recipe.training)
        logits = np.concatenate(inner, axis=1).astype(np.float64)
        self.weight, self.bias = fit_logistic(logits, targets, STACK_STRENGTH, weights)

    def predict(self, patients: Patients) -> Probabilities:
        """Return probabilities."""
        logits = [self.parents[name].logits(patients).numpy() for name in PARENTS]
        stacked: Float[np.ndarray, "patients logits"] = (
            np.concatenate(logits, axis=1).astype(np.float64) @ self.weight.T + self.bias
        )
        return probabilities_of(torch.from_numpy(stacked))

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """Return both parents' state and the stacking weights."""
        arrays: Arrays = {"stack.weight": self.weight, "stack.bias": self.bias}
        settings: dict[str, Any] = {}
        for name in PARENTS:
            own, settings[name] = self.parents[name].state()
            arrays |= {f"{name}.{key}": value for key, value in own.items()}
        return arrays, settings

    def restore(self, arrays: Arrays, settings: dict[str, Any], model: ModelSpec) -> None:
        """Become what `state` described."""
        self.weight, self.bias = arrays["stack.weight"], arrays["stack.bias"]
        for name in PARENTS:
            parent = NetworkClassifier(name)
            own = {k.removeprefix(f"{name}."): v for k, v in arrays.items() if k.startswith(name)}
            parent.restore(own, settings[name], model)
            self.parents[name] = parent
