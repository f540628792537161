"""One interface for everyone who predicts: networks and baselines alike.

A classifier is fitted on splits, each a training part and a validation part of the same training
patients. There is no place for a test patient in the signature.
"""

from __future__ import annotations

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
    """Training patients, and those that decide when to stop.

    Attributes:
        train: patients to learn from.
        validation: patients for early stopping; test patients only under protocol paper.
        everyone: if given, whom preprocessing is fitted on instead of `train`; protocol paper.
        beside: patients with one modality who are held out beside the validation patients; they
            teach in the other splits and decide nothing.
    """

    train: Patients
    validation: Patients
    everyone: Patients | None = None
    beside: Patients | None = None

    @property
    def held(self) -> tuple[Patients, ...]:
        """Return who is held out: the validation patients, and those beside them."""
        return (self.validation,) if self.beside is None else (self.validation, self.beside)

    @property
    def everybody(self) -> tuple[Patients, ...]:
        """Return everyone of the split."""
        return (self.train, *self.held)


@dataclass(frozen=True)
class TrainingRecipe:
    """All settings of a fit, whole.

    Attributes:
        training: optimiser, schedule, patience.
        model: sizes of the networks.
        preparing: how expression and features are prepared.
        seed: from which every random number of this fit derives.
        gene_sets: the gene sets among the table's genes, for networks that see them; None: they
            learn programs of their own.
    """

    training: TrainingSpec
    model: ModelSpec
    preparing: Preparing
    seed: tuple[int, ...]
    gene_sets: MatchedSets | None = None

    def seeds(self, name: str, member: int) -> np.random.SeedSequence:
        """Return the seed of one member of one model, the same in whatever order they run."""
        return np.random.SeedSequence([*self.seed, zlib.crc32(name.encode()), member])


class Classifier(ABC):
    """Fit on splits, predict probabilities, become arrays and back.

    Attributes:
        name: as the user knows it.
        curves: training curve of each network; empty for a baseline.
        residual_weight: weight of the networks' residual logits where nothing is missing, 0 to 1.
        calibration: temperature and threshold; a baseline's leaves everything as it is.
    """

    def __init__(self, name: str) -> None:
        """Make an unfitted classifier."""
        self.name = name
        self.curves: list[list[Epoch]] = []
        self.calibration = Calibration()

    @property
    def residual_weight(self) -> float:
        """Share of the networks' correction that is kept where data are whole, 0 to 1."""
        return 1.0

    @property
    def sees_genes(self) -> bool:
        """Whether expression can change a prediction."""
        return True

    @abstractmethod
    def fit(self, splits: Sequence[Split], recipe: TrainingRecipe) -> None:
        """Learn from the splits."""

    @abstractmethod
    def predict(self, patients: Patients) -> Probabilities:
        """Return probabilities, patients x classes; each row sums to 1."""

    @abstractmethod
    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """Return arrays and JSON-able settings that `restore` understands."""

    @abstractmethod
    def restore(self, arrays: Arrays, settings: dict[str, Any], model: ModelSpec) -> None:
        """Become what `state` described."""


class BaselineClassifier(Classifier):
    """A baseline on one vector per patient, fitted on all training patients at once."""

    preparation: Preparation
    parameters: Arrays
    n_classes: int

    @property
    def sees_genes(self) -> bool:
        """Whether expression can change a prediction."""
        return Modality.GENES in MODELS[self.name].uses

    def fit(self, splits: Sequence[Split], recipe: TrainingRecipe) -> None:
        """Fit on all training patients; leaving those for validation out would handicap it."""
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
        """Become what `state` described."""
        self.preparation = Preparation.from_state(arrays, settings["preparation"])
        self.parameters = below(arrays, "parameters.")
        self.n_classes = int(settings["n_classes"])

    def _is_whole(self, patients: Patients) -> Bool[np.ndarray, " patients"]:
        """Return who has the modalities that the baseline sees; others can teach it nothing."""
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
    """Return all patients who may teach: those of the first split, its validation included.

    Where the protocol validates on the test fold, that fold stays out.
    """
    first = splits[0]
    leaks = recipe.preparing.protocol.validation_is_test
    return first.train if leaks else together(*first.everybody)


def below(arrays: Arrays, prefix: str) -> Arrays:
    """Return the arrays whose names begin so, without that beginning."""
    return {key.removeprefix(prefix): v for key, v in arrays.items() if key.startswith(prefix)}


def together(first: Patients, *others: Patients) -> Patients:
    """Return the patients of all, one after the other; they share their bags."""
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
