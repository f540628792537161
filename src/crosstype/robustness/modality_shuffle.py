"""Test patients with a modality disturbed, to see what each model makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from crosstype.robustness.perturbations import without_share
from crosstype.training.patients import Patients

LOST = 0.98
"""Share of the genes that is lost where the use of images under failing RNA is looked at."""


@dataclass(frozen=True)
class Condition:
    """Test patients disturbed in one way.

    Attributes:
        condition: what was done, beginning with the modality; `image_shuffled_genes_lost` is to be
            compared with `genes_lost` of the same draw, all others with undisturbed patients.
        level: how much of it, 0 to 1.
        draw: which of several draws.
        patients: the disturbed patients.
    """

    condition: str
    level: float
    draw: int
    patients: Patients


def shuffled_conditions(
    test: Patients, n_draws: int, seed: tuple[int, int, int]
) -> Iterator[Condition]:
    """Return test patients with a modality shuffled between them, absent, or shuffled under loss.

    Args:
        test: the test patients of a fold.
        n_draws: how often each modality is shuffled; 0: nothing is disturbed.
        seed: the run's seed, repeat and fold; the model plays no part.
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
    """Return a random order in which nobody keeps his place (for n of 2 or more)."""
    circle = rng.permutation(n)
    order = np.empty(n, dtype=np.int64)
    order[circle] = np.roll(circle, 1)
    return order
