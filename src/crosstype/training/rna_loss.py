"""What each model says when genes are lost at test time: the same losses for every model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from crosstype.files import replacing
from crosstype.training.bags import Patients
from crosstype.training.classifiers import Classifier

LEVELS = (0.0, 0.5, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0)
"""Shares of the genes that are lost."""
PATTERNS = ("each", "same")
"""Each patient loses genes of its own, or all lose the same."""


@dataclass(frozen=True)
class Loss:
    """One way to lose genes.

    Attributes:
        pattern: one of PATTERNS.
        level: share of the genes that is lost.
        draw: which of several draws of genes.
    """

    pattern: str
    level: float
    draw: int


def losses(n_draws: int) -> list[Loss]:
    """Return every loss of the study; where nothing is left to chance one draw is enough."""
    return [
        Loss(pattern, level, draw)
        for pattern in PATTERNS
        for level in LEVELS
        for draw in range(n_draws if 0 < level < 1 else 1)
    ]


def lose_genes(patients: Patients, loss: Loss, seed: tuple[int, int, int]) -> Patients:
    """Return the patients with genes lost (NaN).

    Args:
        patients: test patients with raw expression.
        loss: how many genes, and whose.
        seed: the run's seed, repeat and fold. Which genes are lost does not depend on the model;
            where all lose the same genes it does not depend on the fold either.
    """
    n_genes = patients.genes.shape[1]
    n_lost = round(loss.level * n_genes)
    place = [PATTERNS.index(loss.pattern), round(loss.level * 1000), loss.draw]
    genes = patients.genes.copy()
    if loss.pattern == "same":
        chance = np.random.default_rng([*seed[:2], *place])
        genes[:, chance.permutation(n_genes)[:n_lost]] = np.nan
    else:
        chance = np.random.default_rng([*seed, *place])
        order = np.argsort(chance.random(genes.shape), axis=1)[:, :n_lost]
        np.put_along_axis(genes, order, np.nan, axis=1)
    return patients.with_genes(genes)


def predict_losses(
    classifier: Classifier, test: Patients, n_draws: int, seed: tuple[int, int, int]
) -> Float32[np.ndarray, "losses patients classes"]:
    """Return probabilities of the test patients under every loss, in the order of `losses`."""
    ways = losses(n_draws)
    if not classifier.sees_genes:
        return np.stack([classifier.predict(test)] * len(ways)).astype(np.float32)
    said = [classifier.predict(lose_genes(test, one, seed)) for one in ways]
    return np.stack(said).astype(np.float32)


def save_losses(path: Path, probabilities: Float32[np.ndarray, "losses patients classes"]) -> None:
    """Write the probabilities, whole or not at all."""
    with replacing(path) as temporary, temporary.open("wb") as handle:
        np.save(handle, probabilities)


def join_losses(
    folds: Sequence[tuple[str, int, Sequence[str], Path]],
    patients: Sequence[str],
    labels: Sequence[int],
    n_draws: int,
) -> dict[str, np.ndarray]:
    """Return what all jobs saved as one array per model, and what its axes are.

    Args:
        folds: model, repeat, test patients and saved probabilities of each job.
        patients: the order of the patients.
        labels: class number of each.
        n_draws: as the probabilities were made with.

    Returns:
        `model.<name>`: float32 (n_losses, n_repeats, n_patients, n_classes); `patient_id` and
        `label` per patient; `pattern`, `level` and `draw` per loss.
    """
    place = {patient: row for row, patient in enumerate(patients)}
    n_repeats = 1 + max(repeat for _, repeat, _, _ in folds)
    joined: dict[str, np.ndarray] = {}
    for model, repeat, tested, path in folds:
        said = np.load(path, allow_pickle=False)
        shape = (len(said), n_repeats, len(patients), said.shape[2])
        own = joined.setdefault(f"model.{model}", np.full(shape, np.nan, dtype=np.float32))
        own[:, repeat, [place[patient] for patient in tested]] = said
    ways = losses(n_draws)
    return joined | {
        "patient_id": np.array(patients, dtype=np.str_),
        "label": np.array(labels, dtype=np.int64),
        "pattern": np.array([one.pattern for one in ways], dtype=np.str_),
        "level": np.array([one.level for one in ways]),
        "draw": np.array([one.draw for one in ways], dtype=np.int64),
    }
