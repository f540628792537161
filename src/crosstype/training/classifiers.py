"""One interface for everyone who predicts: networks and baselines alike.

A classifier is fitted on splits, each a training part and a validation part of the same training
patients. There is no place for a test patient in the signature.
"""

from __future__ import annotations

import math
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from crosstype.errors import TrainingError
from crosstype.models.baselines import BASELINES, fit_baseline, predict_baseline
from crosstype.models.catalog import make_network
from crosstype.models.interface import Network, Sizes
from crosstype.models.spec import ModelSpec
from crosstype.training.bags import Patients
from crosstype.training.fit import Epoch, Prepared, fit_network, predict_logits, probabilities_of
from crosstype.training.linear_start import LinearStart, cross_fitted_logits, fit_line
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
    """

    training: TrainingSpec
    model: ModelSpec
    preparing: Preparing
    seed: tuple[int, ...]

    def seeds(self, name: str, member: int) -> np.random.SeedSequence:
        """Return the seed of one member of one model, the same in whatever order they run."""
        return np.random.SeedSequence([*self.seed, zlib.crc32(name.encode()), member])


class Classifier(ABC):
    """Fit on splits, predict probabilities, become arrays and back."""

    def __init__(self, name: str) -> None:
        """Make an unfitted classifier."""
        self.name = name
        self.curves: list[list[Epoch]] = []

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


@dataclass(frozen=True)
class Member:
    """One network with what it was prepared by and started from."""

    preparation: Preparation
    start: LinearStart | None
    network: Network

    def logits(self, patients: Patients) -> Float[Tensor, "patients logits"]:
        """Return start plus network."""
        start = self.start.logits(patients, self.preparation) if self.start else None
        return predict_logits(self.network, Prepared(patients, self.preparation, start))

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """Return arrays and JSON-able settings."""
        arrays, steps = self.preparation.state()
        weights = {f"network.{k}": v.numpy() for k, v in self.network.state_dict().items()}
        if self.start:
            arrays |= {"start.weight": self.start.weight, "start.bias": self.start.bias}
        return arrays | weights, {"preparation": steps, "sizes": asdict(self.network.sizes)}

    @classmethod
    def from_state(
        cls, name: str, arrays: Arrays, settings: dict[str, Any], model: ModelSpec
    ) -> Member:
        """Return what `state` described."""
        network = make_network(name, Sizes(**settings["sizes"]), model)
        weights = _below(arrays, "network.")
        network.load_state_dict({key: torch.from_numpy(v) for key, v in weights.items()})
        network.eval()
        start = None
        if "start.weight" in arrays:
            start = LinearStart(network.uses, arrays["start.weight"], arrays["start.bias"])
        return cls(Preparation.from_state(arrays, settings["preparation"]), start, network)


class NetworkClassifier(Classifier):
    """Several copies of one network, each stopped early on another inner fold; logits averaged."""

    def __init__(self, name: str) -> None:
        """Make an unfitted classifier."""
        super().__init__(name)
        self.members: list[Member] = []
        self.inner_logits: list[Tensor] = []

    def fit(self, splits: Sequence[Split], recipe: Recipe) -> None:
        """Fit one member per split; keep what each said of its own validation patients."""
        for number, split in enumerate(splits):
            member, curve, said = _fit_member(self.name, split, recipe, number)
            self.members.append(member)
            self.curves.append(curve)
            self.inner_logits.append(said)

    def logits(self, patients: Patients) -> Float[Tensor, "patients logits"]:
        """Return the mean logits of the members."""
        return torch.stack([member.logits(patients) for member in self.members]).mean(dim=0)

    def predict(self, patients: Patients) -> Probabilities:
        """Return probabilities of the mean logits."""
        return probabilities_of(self.logits(patients))

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """Return every member's preparation and weights."""
        arrays: Arrays = {}
        settings: list[dict[str, Any]] = []
        for number, member in enumerate(self.members):
            own, about = member.state()
            arrays |= {f"{number}.{key}": value for key, value in own.items()}
            arrays[f"{number}.inner_logits"] = self.inner_logits[number].numpy()
            settings.append(about)
        return arrays, {"members": settings}

    def restore(self, arrays: Arrays, settings: dict[str, Any], model: ModelSpec) -> None:
        """Become what `state` described."""
        for number, about in enumerate(settings["members"]):
            own = _below(arrays, f"{number}.")
            self.members.append(Member.from_state(self.name, own, about, model))
            self.inner_logits.append(torch.from_numpy(own["inner_logits"]))


class BaselineClassifier(Classifier):
    """A baseline on one vector per patient, fitted on all training patients at once."""

    preparation: Preparation
    parameters: Arrays
    n_classes: int

    def fit(self, splits: Sequence[Split], recipe: Recipe) -> None:
        """Fit on the training patients of the first split and those it holds for validation.

        A baseline has no use for validation; leaving those patients out would handicap it.
        Under protocol paper validation is the test fold, and stays out.
        """
        first = splits[0]
        leaking = first.everyone is not None or recipe.preparing.protocol.validation_is_test
        patients = first.train if leaking else _together(first.train, first.validation)
        self.preparation = recipe.preparing.fit(first.everyone or patients)
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
        self.parameters = _below(arrays, "parameters.")
        self.n_classes = int(settings["n_classes"])

    def _inputs(self, patients: Patients) -> Float[np.ndarray, "patients columns"]:
        baseline = BASELINES[self.name]
        parts = [np.zeros((len(patients), 0), dtype=np.float32)]
        if baseline.genes:
            parts.append(np.nan_to_num(self.preparation.genes(patients.genes)))
        if baseline.image:
            parts.append(self.preparation.mean_tiles(patients))
        return np.concatenate(parts, axis=1)


def _fit_member(
    name: str, split: Split, recipe: Recipe, number: int
) -> tuple[Member, list[Epoch], Tensor]:
    """Fit one member; return it, its curve, and its logits of its own validation patients."""
    seeds = recipe.seeds(name, number)
    seed = int(seeds.generate_state(1)[0])
    torch.manual_seed(seed)
    preparation = recipe.preparing.fit(split.everyone or split.train)
    network = make_network(name, _sizes(split.train, preparation), recipe.model)
    start, known = None, None
    if recipe.training.start == "linear":
        start = fit_line(split.train, preparation, network.uses)
        known = cross_fitted_logits(split.train, preparation, network.uses, seed)
    train = Prepared(split.train, preparation, known)
    held = start.logits(split.validation, preparation) if start else None
    validation = Prepared(split.validation, preparation, held)
    curve = fit_network(network, train, validation, recipe.training, np.random.default_rng(seeds))
    if not math.isfinite(curve[-1].train_loss):
        raise TrainingError(
            f"{name}: the loss became {curve[-1].train_loss} in epoch {curve[-1].epoch}. Lower "
            "[training] learning_rate, or look for extreme values in the expression table."
        )
    return Member(preparation, start, network), curve, predict_logits(network, validation)


def _sizes(patients: Patients, preparation: Preparation) -> Sizes:
    n_features = len(preparation.feature_mean)
    n_genes = preparation.genes(patients.genes[:1]).shape[1]
    return Sizes(n_features, n_genes, len(patients.classes))


def _below(arrays: Arrays, prefix: str) -> Arrays:
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
    )
