"""What networks practise on: the training patients in every regime, with honest starting logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from crosstype.terms import Modality
from crosstype.training.bags import Patients
from crosstype.training.classifiers import Recipe, Split, together
from crosstype.training.damage import Regime, damaged, regimes_of
from crosstype.training.fit import Prepared
from crosstype.training.linear_start import LinearStart
from crosstype.training.preparation import Preparation

Rows = Int[np.ndarray, " _"]


@dataclass(frozen=True)
class Practice:
    """Everyone of the training patients, prepared in every regime.

    Attributes:
        of: all training patients in each regime.
        train: rows of each split's training patients.
        validation: rows of each split's validation patients.
    """

    of: dict[Regime, Prepared]
    train: tuple[Rows, ...]
    validation: tuple[Rows, ...]

    def training(self, split: int) -> list[Prepared]:
        """Return a split's training patients in each regime, whole first."""
        return [one.take(self.train[split]) for one in self.of.values()]

    def held(self, split: int) -> list[Prepared]:
        """Return a split's validation patients in each regime, whole first."""
        return [one.take(self.validation[split]) for one in self.of.values()]

    def all_held(self, regime: Regime) -> Prepared:
        """Return the validation patients of all splits in one regime, split after split."""
        return self.of[regime].take(np.concatenate(self.validation))


def practised_regimes(uses: frozenset[Modality], recipe: Recipe) -> tuple[Regime, ...]:
    """Return the regimes in which a model of these modalities practises."""
    return regimes_of(uses) if recipe.training.damage > 0 else (Regime.WHOLE,)


def make_practice(
    splits: Sequence[Split],
    preparation: Preparation,
    starts: Sequence[LinearStart] | None,
    regimes: Sequence[Regime],
    recipe: Recipe,
) -> Practice:
    """Damage the training patients in every regime, and find where each starts.

    A patient's starting logits come from the line of the split that held him out. Damage depends
    on the seed and the patients alone, so that all models practise on the same.

    Args:
        splits: of the training patients.
        preparation: fitted on them.
        starts: each split's line; None: networks start from 0.
        regimes: those to practise in.
        recipe: seed, unit and settings.
    """
    everyone = together(*splits[0].everybody)
    place = {patient: row for row, patient in enumerate(everyone.ids)}
    held = [_rows(place, together(*split.held)) for split in splits]
    of = {}
    for number, regime in enumerate(regimes):
        chance = np.random.default_rng([*recipe.seed, number])
        patients = damaged(everyone, regime, recipe.preparing.unit, chance)
        start = None
        if starts is not None:
            said = [
                line.logits(patients.take(rows), preparation)
                for line, rows in zip(starts, held, strict=True)
            ]
            start = np.zeros((len(everyone), said[0].shape[1]))
            start[np.concatenate(held)] = np.concatenate(said)
        of[regime] = Prepared(
            patients, preparation, start, imputed=recipe.preparing.protocol.published_training
        )
    return Practice(
        of,
        tuple(_rows(place, split.train) for split in splits),
        tuple(_rows(place, split.validation) for split in splits),
    )


def _rows(place: dict[str, int], patients: Patients) -> Rows:
    return np.array([place[one] for one in patients.ids], dtype=np.int64)


def trusted(
    start: Float[Tensor, "patients logits"],
    said: Float[Tensor, "patients logits"],
    trust: Float[Tensor, "patients 1"] | float,
) -> Float[Tensor, "patients logits"]:
    """Return the starting logits plus the trusted share of the correction."""
    found: Tensor = start + trust * (said - start)
    return found
