"""Training loop of the networks: class weights, loss, early stopping and prediction.

Test patients are never an input.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from crosstype.models.network import Batch, Network
from crosstype.training.patients import Patients, make_batch, part_by_size, shuffled_batches
from crosstype.training.preprocessing import Preparation
from crosstype.training.spec import TrainingSpec

POWERS = {"balanced": 1.0, "root": 0.5, "none": 0.0}


def class_weights(
    targets: Int[np.ndarray, " patients"], n_classes: int, spec: TrainingSpec
) -> Float[np.ndarray, " classes"]:
    """Return class weights: a power of the inverse class frequency among these patients.

    A class of mean frequency has weight 1. A class without patients counts as one with one patient.
    """
    counts = np.maximum(np.bincount(targets, minlength=n_classes), 1)
    weights: np.ndarray = (len(targets) / (n_classes * counts)) ** POWERS[spec.class_weights]
    return weights


PREDICTED_AT_ONCE = 64
PREDICTED_BYTES = 1 << 27
"""Bytes of tile features in a batch at prediction; a larger bag is a batch of its own."""
WARM_UP_EPOCHS = 3


@dataclass(frozen=True)
class Epoch:
    """One epoch of a training curve; losses are mean class-weighted cross-entropy per patient."""

    epoch: int
    train_loss: float
    validation_loss: float
    learning_rate: float


class Prepared:
    """Network inputs of patients: expression preprocessed once, tiles read for each batch.

    `base_logits` holds the base model's logits, patients x logits, to which the network's are
    added; 0 if None. Unmeasured genes are masked; for the published networks they are imputed.
    """

    def __init__(
        self,
        patients: Patients,
        preparation: Preparation,
        base_logits: Float[np.ndarray, "patients logits"] | None = None,
        *,
        imputed: bool = False,
    ) -> None:
        """Preprocess the expression of these patients."""
        self.patients = patients
        n_logits = 1 if len(patients.classes) == 2 else len(patients.classes)
        given = np.zeros((len(patients), n_logits)) if base_logits is None else base_logits
        self.base_logits = torch.from_numpy(given.astype(np.float32))
        prepare = preparation.genes if imputed else preparation.measured_genes
        self.genes = prepare(patients.genes)
        self.covariates = preparation.recorded(patients)
        self.targets = torch.from_numpy(patients.targets)
        self._preparation = preparation

    def __len__(self) -> int:
        """Return the number of patients."""
        return len(self.patients)

    def take(self, rows: Int[np.ndarray, " rows"]) -> Prepared:
        """Return the patients at these positions."""
        taken = copy.copy(self)
        taken.patients = self.patients.take(rows)
        taken.base_logits, taken.targets = self.base_logits[rows], self.targets[rows]
        taken.genes = self.genes[rows]
        taken.covariates = None if self.covariates is None else self.covariates[rows]
        return taken

    def batches(self, rows: Int[np.ndarray, " rows"], n_bytes: int) -> list[Int[np.ndarray, " _"]]:
        """Split these patients into batches of at most `n_bytes` of tile features each."""
        ids = [self.patients.bag_of[row] for row in rows]
        n_tiles = [0 if one is None else self.patients.bags.length(one) for one in ids]
        tile_bytes = 4 * len(self._preparation.feature_mean)
        return part_by_size(rows, np.array(n_tiles, dtype=np.int64), n_bytes // tile_bytes)

    def batch(
        self,
        rows: Int[np.ndarray, " rows"],
        sampled: tuple[int, np.random.Generator] | None = None,
    ) -> Batch:
        """Return a batch of these patients.

        `sampled` (maximal number of tiles, random generator), used only in training, samples tiles
        and augmented views; otherwise all plain tiles are used.
        """
        ids = [self.patients.bag_of[row] for row in rows]
        bags = self.patients.bags
        none = np.zeros((0, len(self._preparation.feature_mean)), dtype=np.float32)
        read = [
            none if one is None else bags.draw(one, *sampled) if sampled else bags.read(one)
            for one in ids
        ]
        tiles = [self._preparation.tiles(bag) for bag in read]
        clinical = None if self.covariates is None else self.covariates[rows]
        return make_batch(tiles, self.genes[rows], clinical)

    def measured(self) -> Float[np.ndarray, " patients"]:
        """Return the share of the genes that was measured in each patient, 0 to 1."""
        share: np.ndarray = (~np.isnan(self.genes)).mean(axis=1)
        return share


@dataclass(frozen=True)
class Member:
    """One network of an ensemble that is trained in parallel.

    Attributes:
        network: freshly initialised; trained in place.
        train: training patients in every missingness pattern; complete data first.
        validation: patients for early stopping, never test patients, in the same patterns.
        rng: for the order of patients and the sampling of tiles; dropout uses torch's generator.
        curve: training curve, one entry per epoch.
    """

    network: Network
    train: Sequence[Prepared]
    validation: Sequence[Prepared]
    rng: np.random.Generator
    curve: list[Epoch] = field(default_factory=list)


def fit_members(members: Sequence[Member], spec: TrainingSpec) -> None:
    """Train an ensemble epoch by epoch, with early stopping on its mean validation loss.

    Each network is validated on patients it was not trained on. The mean over networks decides when
    to stop, since the validation patients of one inner fold are few. The weights of the best epoch
    are restored, which may be the initial ones.
    """
    n_classes = len(members[0].train[0].patients.classes)
    losses = [make_loss(one.train[0].targets, n_classes, spec) for one in members]
    optimisers = [_optimiser(one.network, spec) for one in members]
    best = _joint([_validation_loss(*pair) for pair in zip(members, losses, strict=True)], members)
    best_epoch, best_states = -1, _states(members)
    for epoch in range(spec.max_epochs):
        rate = learning_rate_at(epoch, spec)
        for one, loss, optimiser in zip(members, losses, optimisers, strict=True):
            train_loss = _train_epoch(one, (loss, optimiser, rate), spec)
            one.curve.append(Epoch(epoch, train_loss, _validation_loss(one, loss), rate))
        now = _joint([one.curve[-1].validation_loss for one in members], members)
        if now < best:
            best, best_epoch, best_states = now, epoch, _states(members)
        elif epoch - best_epoch >= spec.patience:
            break
    for one, state in zip(members, best_states, strict=True):
        one.network.load_state_dict(state)
        one.network.eval()


def _states(members: Sequence[Member]) -> list[dict[str, Tensor]]:
    return [copy.deepcopy(one.network.state_dict()) for one in members]


def _validation_loss(member: Member, loss: CrossEntropy) -> float:
    """Return the mean loss over missingness patterns."""
    each = [
        float(loss(predict_logits(member.network, one), one.targets)) for one in member.validation
    ]
    return float(np.mean(each))


def _joint(each: Sequence[float], members: Sequence[Member]) -> float:
    """Return the mean validation loss, members weighted by their number of validation patients."""
    return float(np.average(each, weights=[len(one.validation[0]) for one in members]))


def predict_logits(network: Network, prepared: Prepared) -> Float[Tensor, "patients logits"]:
    """Return logits in the patients' order, with all tiles and without dropout."""
    network.eval()
    rows = np.arange(len(prepared))
    chunks = np.array_split(rows, max(1, math.ceil(len(rows) / PREDICTED_AT_ONCE)))
    batches = [batch for one in chunks for batch in prepared.batches(one, PREDICTED_BYTES)]
    with torch.no_grad():
        return (
            torch.cat([network(prepared.batch(one)).logits for one in batches])
            + prepared.base_logits
        )


def probabilities_of(
    logits: Float[Tensor, "patients logits"],
) -> Float[np.ndarray, "patients classes"]:
    """Return class probabilities; a single logit is that of the positive (second) class."""
    exact = logits.double()
    if exact.shape[1] == 1:
        positive = torch.sigmoid(exact)
        return torch.cat([1 - positive, positive], dim=1).numpy()
    return torch.softmax(exact, dim=1).numpy()


def learning_rate_at(epoch: int, spec: TrainingSpec) -> float:
    """Return the learning rate of an epoch (counted from 0)."""
    if spec.schedule == "published":
        return spec.learning_rate * math.exp(-0.1 * max(0, epoch - 9))
    if epoch < WARM_UP_EPOCHS:
        return spec.learning_rate * (epoch + 1) / WARM_UP_EPOCHS
    done = (epoch - WARM_UP_EPOCHS) / max(1, spec.max_epochs - WARM_UP_EPOCHS)
    return spec.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


class CrossEntropy(nn.Module):
    """Class-weighted cross-entropy: binary for one logit, multinomial for more."""

    def __init__(self, class_weights: Float[Tensor, " classes"]) -> None:
        """Use these class weights."""
        super().__init__()
        self.class_weights = class_weights

    def forward(
        self, logits: Float[Tensor, "patients logits"], targets: Int[Tensor, " patients"]
    ) -> Float[Tensor, ""]:
        """Return the weighted mean loss."""
        return self.each(logits, targets).sum() / self.class_weights[targets].sum()

    def each(
        self, logits: Float[Tensor, "patients logits"], targets: Int[Tensor, " patients"]
    ) -> Float[Tensor, " patients"]:
        """Return each patient's weighted loss."""
        if logits.shape[1] > 1:
            return nn.functional.cross_entropy(
                logits, targets, self.class_weights, reduction="none"
            )
        return nn.functional.binary_cross_entropy_with_logits(
            logits[:, 0],
            targets.to(logits.dtype),
            weight=self.class_weights[targets],
            reduction="none",
        )


def make_loss(
    targets: Int[Tensor, " patients"], n_classes: int, spec: TrainingSpec
) -> CrossEntropy:
    """Return the loss with the class weights of the settings."""
    weights = class_weights(targets.numpy(), n_classes, spec)
    return CrossEntropy(torch.from_numpy(weights.astype(np.float32)))


def _optimiser(network: Network, spec: TrainingSpec) -> torch.optim.Optimizer:
    if spec.schedule == "published":
        return torch.optim.Adam(
            network.parameters(), spec.learning_rate, weight_decay=spec.weight_decay, fused=True
        )
    return torch.optim.AdamW(
        network.parameters(), spec.learning_rate, weight_decay=spec.weight_decay, fused=True
    )


def _train_epoch(
    member: Member,
    optimisation: tuple[CrossEntropy, torch.optim.Optimizer, float],
    spec: TrainingSpec,
) -> float:
    """Train for one epoch; return the mean loss."""
    loss, optimiser, rate = optimisation
    network, whole, rng = member.network, member.train[0], member.rng
    for group in optimiser.param_groups:
        group["lr"] = rate
    network.train()
    total = 0.0
    for rows in shuffled_batches(len(whole), spec.batch_size, rng):
        train = _draw_pattern(member, spec)
        batch = train.batch(rows, (spec.n_tiles_per_bag, rng))
        positions = torch.from_numpy(rows)
        value = loss(network(batch).logits + train.base_logits[positions], train.targets[positions])
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        if spec.schedule != "published":  # the notebook does not clip
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        total += float(value.detach()) * len(rows)
    return total / len(whole)


def _draw_pattern(member: Member, spec: TrainingSpec) -> Prepared:
    """Draw the pattern of the next batch: complete, or with probability `corruption` another."""
    if len(member.train) == 1 or member.rng.random() >= spec.corruption:
        return member.train[0]
    return member.train[int(member.rng.integers(1, len(member.train)))]
