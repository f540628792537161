"""Late fusion of the two unimodal models by stacking on inner folds (model `late`)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from crosstype.models.catalog import GENE_ONLY, IMAGE_ONLY, LATE, UNIMODAL
from crosstype.models.spec import ModelSpec
from crosstype.training.calibration import Calibration, calibrate
from crosstype.training.classifier import (
    Arrays,
    Classifier,
    Probabilities,
    Split,
    TrainingRecipe,
    with_prefix,
)
from crosstype.training.fit import class_weights, probabilities_of
from crosstype.training.linear.logistic import Coefficients, fit_logistic
from crosstype.training.missingness import MissingnessPattern, pattern_of
from crosstype.training.network_classifier import NetworkClassifier, trained_patterns
from crosstype.training.patients import Patients
from crosstype.types import Modality

STACK_STRENGTH = 1.0
"""Inverse L2 penalty (scikit-learn's C) of the stacking regression; inputs are logits."""


class LateClassifier(Classifier):
    """Logistic regression on the logits of image_only and gene_only, one per missingness pattern.

    It is fitted on the cross-fitted logits of inner validation patients, so that no logit comes
    from a network that was trained on that patient (Wolpert 1992, stacked generalisation).

    Attributes:
        parents: the fitted unimodal models.
        stacks: weight and bias for each pattern that occurred in training.
    """

    def __init__(self, name: str = LATE) -> None:
        """Make an unfitted classifier."""
        super().__init__(name)
        self.parents: dict[str, NetworkClassifier] = {}
        self.stacks: dict[MissingnessPattern, Coefficients] = {}

    def adopt(self, parents: Sequence[NetworkClassifier]) -> None:
        """Use these unimodal models, already fitted on the same splits and recipe."""
        self.parents = {parent.name: parent for parent in parents}

    def fit(self, splits: Sequence[Split], recipe: TrainingRecipe) -> None:
        """Fit the unimodal models, unless adopted, then the stacking regression and calibrate."""
        for name in UNIMODAL:
            if name not in self.parents:
                parent = NetworkClassifier(name)
                parent.fit(splits, recipe)
                self.parents[name] = parent
        targets = np.concatenate([split.validation.targets for split in splits])
        weights = class_weights(targets, len(splits[0].train.classes), recipe.training)
        for pattern in trained_patterns(frozenset(Modality), recipe):
            inner = self._inner_logits(pattern)
            self.stacks[pattern] = fit_logistic(inner, targets, STACK_STRENGTH, weights)
        crossed = {pattern: self._cross_fitted(pattern, splits, recipe) for pattern in self.stacks}
        known = {pattern: torch.from_numpy(one) for pattern, one in crossed.items() if len(one)}
        if known:
            self.calibration = calibrate(known, targets, recipe.training)

    def predict(self, patients: Patients) -> Probabilities:
        """Return calibrated probabilities, by the regression of each patient's pattern."""
        each = [self.parents[name].logits(patients).numpy() for name in UNIMODAL]
        logits = np.concatenate(each, axis=1).astype(np.float64)
        genes = self.parents[GENE_ONLY].preparation.measured_genes(patients.genes)
        measured = (~np.isnan(genes)).mean(axis=1)
        patterns = pattern_of(patients, measured, tuple(self.stacks))
        some = next(iter(self.stacks.values()))[1]
        stacked: Float[np.ndarray, "patients logits"] = np.zeros((len(patients), len(some)))
        for pattern, (weight, bias) in self.stacks.items():
            rows = patterns == pattern
            stacked[rows] = logits[rows] @ weight.T + bias
        return probabilities_of(
            self.calibration.apply(torch.from_numpy(stacked), patterns.tolist())
        )

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """Return both parents' state and the stacking weights."""
        arrays: Arrays = {}
        for pattern, (weight, bias) in self.stacks.items():
            arrays |= {f"stack.{pattern}.weight": weight, f"stack.{pattern}.bias": bias}
        settings: dict[str, Any] = {"patterns": list(self.stacks)}
        settings["calibration"] = self.calibration.state()
        for name in UNIMODAL:
            own, settings[name] = self.parents[name].state()
            arrays |= {f"{name}.{key}": value for key, value in own.items()}
        return arrays, settings

    def restore(self, arrays: Arrays, settings: dict[str, Any], model: ModelSpec) -> None:
        """Set the fitted attributes from `state`."""
        self.calibration = Calibration.from_state(settings.get("calibration", {}))
        for name in settings["patterns"]:
            stack = with_prefix(arrays, f"stack.{name}.")
            self.stacks[MissingnessPattern(name)] = (stack["weight"], stack["bias"])
        for name in UNIMODAL:
            parent = NetworkClassifier(name)
            parent.restore(with_prefix(arrays, f"{name}."), settings[name], model)
            self.parents[name] = parent

    def _cross_fitted(
        self, pattern: MissingnessPattern, splits: Sequence[Split], recipe: TrainingRecipe
    ) -> Float[np.ndarray, "patients logits"]:
        """Return cross-fitted stacked logits of each split's validation patients, for calibration.

        A temperature fitted on the regression's own training patients would leave it overconfident.
        Empty with a single split, or where the other splits lack a class.
        """
        inner, n_classes = self._inner_logits(pattern), len(splits[0].train.classes)
        targets = np.concatenate([split.validation.targets for split in splits])
        split_of = np.repeat(np.arange(len(splits)), [len(one.validation) for one in splits])
        found = np.zeros((len(targets), 1 if n_classes == 2 else n_classes))
        for number in range(len(splits)):
            own = split_of == number
            others = targets[~own]
            if len(np.unique(others)) < n_classes:
                return found[:0]
            weights = class_weights(others, n_classes, recipe.training)
            weight, bias = fit_logistic(inner[~own], others, STACK_STRENGTH, weights)
            found[own] = inner[own] @ weight.T + bias
        return found

    def _inner_logits(self, pattern: MissingnessPattern) -> Float[np.ndarray, "patients columns"]:
        """Return both models' logits of the inner validation patients in a pattern, genes last.

        In pattern no_image the image model's logits are 0, so that they get no weight.
        """
        found = []
        for name in UNIMODAL:
            inner = self.parents[name].inner_logits
            own = inner.get(pattern, inner[MissingnessPattern.WHOLE]).numpy().astype(np.float64)
            no_image = pattern is MissingnessPattern.NO_IMAGE and name == IMAGE_ONLY
            found.append(np.zeros_like(own) if no_image else own)
        return np.concatenate(found, axis=1)
