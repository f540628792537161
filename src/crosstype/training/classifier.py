"""Interface of all classifiers (networks, late fusion, baselines), and the baselines.

A classifier is fitted on splits of the training patients into training and validation patients.
Test patients are no argument of `fit`.
"""

import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from crosstype.expression.genes.sets import MatchedSets
from crosstype.models.baselines import fit_baseline, predict_baseline
from crosstype.models.catalog import MODELS
from crosstype.models.spec import ModelSpec
from crosstype.training.calibration import Calibration
from crosstype.training.fit import Epoch
from crosstype.training.patients import Patients
from crosstype.training.preprocessing import Preparation, Preparing
from crosstype.training.spec import TrainingSpec
from crosstype.types import Modality

Arrays = dict[str, np.ndarray]
Probabilities = Float[np.ndarray, "patients classes"]


@dataclass(frozen=True)
class Split:
    """One inner split of the training patients.

    Attributes:
        train: training patients.
        validation: patients for early stopping; test patients only under protocol paper.
        everyone: patients to fit preprocessing on, if not on `train`; protocol paper.
        single_modality: single-modality patients of the held-out inner fold; they train in the
            other splits and are not used for validation.
    """

    train: Patients
    validation: Patients
    everyone: Patients | None = None
    single_modality: Patients | None = None

    @property
    def held_out(self) -> tuple[Patients, ...]:
        """Return the held-out patients: validation and single-modality patients."""
        return (
            (self.validation,)
            if self.single_modality is None
            else (self.validation, self.single_modality)
        )

    @property
    def patients(self) -> tuple[Patients, ...]:
        """Return all patients of the split."""
        return (self.train, *self.held_out)


@dataclass(frozen=True)
class TrainingRecipe:
    """All settings of a fit.

    Attributes:
        training: optimiser, schedule, early stopping.
        model: architecture of the networks.
        preparing: preprocessing of expression and features.
        seed: entropy of every random generator of the fit.
        gene_sets: gene sets matched to the table's genes, for networks with gene set tokens; None:
            learned gene tokens.
    """

    training: TrainingSpec
    model: ModelSpec
    preparing: Preparing
    seed: tuple[int, ...]
    gene_sets: MatchedSets | None = None

    def seeds(self, name: str, member: int) -> np.random.SeedSequence:
        """Return the seed of one member of one model; it does not depend on the order of fits."""
        return np.random.SeedSequence([*self.seed, zlib.crc32(name.encode()), member])


class Classifier(ABC):
    """Classifier that is fitted on splits, predicts probabilities and serialises to arrays.

    Attributes:
        name: of the model, as in the config.
        curves: training curve of each network; empty for a baseline.
        residual_weight: weight of the networks' residual logits where nothing is missing, 0 to 1.
        calibration: temperatures and thresholds; the identity for a baseline.
    """

    def __init__(self, name: str) -> None:
        """Make an unfitted classifier."""
        self.name = name
        self.curves: list[list[Epoch]] = []
        self.calibration = Calibration()

    @property
    def residual_weight(self) -> float:
        """Weight of the networks' residual logits where nothing is missing, 0 to 1."""
        return 1.0

    @property
    def uses_genes(self) -> bool:
        """Whether expression can change a prediction."""
        return True

    @abstractmethod
    def fit(self, splits: Sequence[Split], recipe: TrainingRecipe) -> None:
        """Fit on the splits."""

    @abstractmethod
    def predict(self, patients: Patients) -> Probabilities:
        """Return probabilities, patients x classes; each row sums to 1."""

    @abstractmethod
    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """Return arrays and JSON-able settings for `restore`."""

    @abstractmethod
    def restore(self, arrays: Arrays, settings: dict[str, Any], model: ModelSpec) -> None:
        """Set the fitted attributes from `state`."""


class BaselineClassifier(Classifier):
    """Baseline on one vector per patient, fitted on all training patients."""

    preparation: Preparation
    parameters: Arrays
    n_classes: int

    @property
    def uses_genes(self) -> bool:
        """Whether expression can change a prediction."""
        return Modality.GENES in MODELS[self.name].uses

    def fit(self, splits: Sequence[Split], recipe: TrainingRecipe) -> None:
        """Fit on all training patients, validation patients included."""
        patients = training_patients(splits, recipe)
        self.preparation = recipe.preparing.fit(splits[0].everyone or patients)
        self.n_classes = len(patients.classes)
        patients = patients.take(np.flatnonzero(self._is_whole(patients)))
        self.parameters = fit_baseline(
            self.name, self._inputs(patients), patients.targets, self.n_classes
        )

    def predict(self, patients: Patients) -> Probabilities:
        """Return probabilities."""
        return predict_baseline(self.parameters, self._inputs(patients), self.n_classes)

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """Return the preparation and the parameters."""
        arrays, steps = self.preparation.state()
        arrays = arrays | {f"parameters.{k}": v for k, v in self.parameters.items()}
        return arrays, {"preparation": steps, "n_classes": self.n_classes}

    def restore(
        self,
        arrays: Arrays,
        settings: dict[str, Any],
        model: ModelSpec,  # noqa: ARG002
    ) -> None:
        """Set the fitted attributes from `state`."""
        self.preparation = Preparation.from_state(arrays, settings["preparation"])
        self.parameters = with_prefix(arrays, "parameters.")
        self.n_classes = int(settings["n_classes"])

    def _is_whole(self, patients: Patients) -> Bool[np.ndarray, " patients"]:
        """Return which patients have all modalities that the baseline uses."""
        uses = MODELS[self.name].uses
        whole = np.ones(len(patients), dtype=bool)
        if Modality.GENES in uses:
            whole &= ~np.isnan(patients.genes).all(axis=1)
        if Modality.IMAGE in uses:
            whole &= [one is not None for one in patients.bag_of]
        return whole

    def _inputs(self, patients: Patients) -> Float[np.ndarray, "patients columns"]:
        uses = MODELS[self.name].uses
        parts = [np.zeros((len(patients), 0), dtype=np.float32)]
        if Modality.GENES in uses:
            parts.append(np.nan_to_num(self.preparation.genes(patients.genes)))
        if Modality.IMAGE in uses:
            summary = self.preparation.bag_summary(patients)
            parts.append(np.nan_to_num(summary[:, : summary.shape[1] // 2]))
        if Modality.CLINICAL in uses:
            parts.append(self.preparation.clinical(patients))
        return np.concatenate(parts, axis=1)


def training_patients(splits: Sequence[Split], recipe: TrainingRecipe) -> Patients:
    """Return all training patients: those of the first split, its validation patients included.

    Where the protocol validates on the test fold, validation patients are left out.
    """
    first = splits[0]
    leaks = recipe.preparing.protocol.validation_is_test
    return first.train if leaks else concatenate(*first.patients)


def with_prefix(arrays: Arrays, prefix: str) -> Arrays:
    """Return the arrays whose names start with `prefix`, with the prefix removed."""
    return {key.removeprefix(prefix): v for key, v in arrays.items() if key.startswith(prefix)}


def concatenate(first: Patients, *others: Patients) -> Patients:
    """Concatenate patients; they share their bags."""
    everyone = (first, *others)
    return Patients(
        tuple(patient for one in everyone for patient in one.ids),
        np.concatenate([one.targets for one in everyone]),
        first.classes,
        np.concatenate([one.genes for one in everyone]),
        first.bags,
        tuple(shown for one in everyone for shown in one.bag_of),
        np.concatenate([one.covariates for one in everyone if one.covariates is not None])
        if first.covariates is not None
        else None,
    )
