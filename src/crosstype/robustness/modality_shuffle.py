"""Modality shuffling: test patients with a modality permuted, removed or partly lost."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from crosstype.robustness.perturbations import without_share
from crosstype.training.patients import Patients

LOST = 0.98
"""Share of genes removed in the conditions that measure use of the image with poor expression."""


@dataclass(frozen=True)
class Condition:
    """Test patients under one condition.

    Attributes:
        condition: its name; the reference of `image_shuffled_genes_lost` is `genes_lost` of the
            same draw, that of all others is the unchanged test set.
        level: its strength, 0 to 1.
        draw: number of the random draw.
        patients: the changed test patients.
    """

    condition: str
    level: float
    draw: int
    patients: Patients


def shuffled_conditions(
    test: Patients, n_draws: int, seed: tuple[int, int, int]
) -> Iterator[Condition]:
    """Yield test patients with a modality shuffled among them, absent, or shuffled under gene loss.

    Args:
        test: the test patients of a fold.
        n_draws: random draws of each shuffling; 0: no condition.
        seed: the run's seed, repeat and fold; the same for all models.
    """
    shuffles = {
        "image_shuffled": (0, test.shuffled_images),
        "genes_shuffled": (1, test.shuffled_genes),
    }
    if test.covariates is not None:
        shuffles["clinical_shuffled"] = (3, test.shuffled_clinical)
    for condition, (number, shuffle) in shuffles.items():
        for draw in range(n_draws):
            order = derangement(len(test), np.random.default_rng([*seed, number, draw]))
            yield Condition(condition, 1.0, draw, shuffle(order))
    if n_draws:
        yield Condition("image_absent", 1.0, 0, test.without_images())
        yield Condition("genes_absent", 1.0, 0, test.with_genes(np.full_like(test.genes, np.nan)))
    for draw in range(n_draws):
        rng = np.random.default_rng([*seed, 2, draw])
        lost = without_share(test, LOST, rng)
        shuffled = lost.shuffled_images(derangement(len(test), rng))
        yield Condition("genes_lost", LOST, draw, lost)
        yield Condition("image_shuffled_genes_lost", LOST, draw, shuffled)


def derangement(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return a random permutation without fixed points (for n of 2 or more): a cycle."""
    cycle = rng.permutation(n)
    order = np.empty(n, dtype=np.int64)
    order[cycle] = np.roll(cycle, 1)
    return order
