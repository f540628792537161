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
from jaxtyping import Float

from crosstype.cohort.genesets import MatchedSets
from crosstype.models.baselines import BASELINES, fit_baseline, predict_baseline
from crosstype.models.spec import ModelSpec
from crosstype.training.bags import Patients
from crosstype.training.fit import (
    Epoch,
)
from crosstype.training.preparation import Preparation, Preparing
from crosstype.training.spec import TrainingSpec

Arrays = dict[str, np.ndarray]
Probabilities = Float[np.ndarray, "patients classes"]


@dataclass(frozen=True)
class Split:
    """Training patients, and those that decide when to stop.

    Attributes:
        train: patients to learn from.
        validation: patients for early stopping; test patients only under protocol paper.
        everyone: if given, whom preprocessing is fitted on instead of `train`; protocol paper.
    """

    train: Patients
    validation: Patients
    everyone: Patients | None = None


@dataclass(frozen=True)
class Recipe:
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
        trust: share of the networks' correction of a line that is kept, 0 to 1.
    """

    def __init__(self, name: str) -> None:
        """Make an unfitted classifier."""
        self.name = name
        self.curves: list[list[Epoch]] = []
        self.trust = 1.0

    @property
    def sees_genes(self) -> bool:
        """Whether expression can change a prediction."""
        return True

    @abstractmethod
    def fit(self, splits: Sequence[Split], recipe: Recipe) -> None:
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
        return BASELINES[self.name].genes

    def fit(self, splits: Sequence[Split], recipe: Recipe) -> None:
        """Fit on all training patients; leaving those for validation out would handicap it."""
        patients = training_patients(splits, recipe)
        self.preparation = recipe.preparing.fit(splits[0].everyone or patients)
        self.n_classes = len(patients.classes)
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

    def _inputs(self, patients: Patients) -> Float[np.ndarray, "patients columns"]:
        baseline = BASELINES[self.name]
        parts = [np.zeros((len(patients), 0), dtype=np.float32)]
        if baseline.genes:
            parts.append(np.nan_to_num(self.preparation.genes(patients.genes)))
        if baseline.image:
            summary = self.preparation.bag_summary(patients)
            parts.append(summary[:, : summary.shape[1] // 2])
        if baseline.clinical:
            parts.append(self.preparation.clinical(patients))
        return np.concatenate(parts, axis=1)


def training_patients(splits: Sequence[Split], recipe: Recipe) -> Patients:
    """Return all patients who may teach: those of the first split, its validation included.

    Where the protocol validates on the test fold, that fold stays out.
    """
    first = splits[0]
    leaks = recipe.preparing.protocol.validation_is_test
    return first.train if leaks else _together(first.train, first.validation)


def below(arrays: Arrays, prefix: str) -> Arrays:
    """Return the arrays whose names begin so, without that beginning."""
    return {key.removeprefix(prefix): v for key, v in arrays.items() if key.startswith(prefix)}


def _together(first: Patients, second: Patients) -> Patients:
    ids = (*first.ids, *second.ids)
    return Patients(
        ids,
        np.concatenate([first.targets, second.targets]),
        first.classes,
        np.concatenate([first.genes, second.genes]),
        first.bags,
        (*first.bag_of, *second.bag_of),
        None if first.covariates is None else np.concatenate([first.covariates, second.covariates]),
    )
