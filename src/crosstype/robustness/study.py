"""The study of lost expression: its patterns, their levels, and which of them a run can make.

What each model says when expression is lost at test time: the same losses for every model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from crosstype.cohort.labels import normal_like_words
from crosstype.expression.matrix import AlignedExpression
from crosstype.io.files import hash_of, replacing
from crosstype.robustness.perturbations import (
    PANEL_SIZE,
    Known,
    Perturbation,
    PerturbationTables,
    Seed,
    add_noise,
    keep_panel,
    lose_each,
    lose_same,
    mix_normal_like,
    take_other_assay,
    take_other_assay_scaled,
    withhold_pam50,
)
from crosstype.training.classifier import Classifier
from crosstype.training.patients import Patients

SHARES = (0.0, 0.5, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0)
"""Shares of the genes that are lost."""
NOISE = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Standard deviations of the noise, in means of the gene."""
MIXED = (0.0, 0.25, 0.5, 0.75, 0.9)
"""Shares of the sample that are normal-like."""
WITHHELD = (0.0, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9)
"""Shares of the genes that are withheld, the most telling first."""
ONE = (1.0,)
"""Of what has no degrees."""


@dataclass(frozen=True)
class Feasibility:
    """Whether a pattern can be made from these tables.

    Attributes:
        note: how it is made, or why it is not.
        is_made: whether it is.
        is_chance: whether anything is drawn, so that several draws differ.
        is_asked: whether the user could expect it; what nobody asked for needs no note.
    """

    note: str
    is_made: bool = True
    is_chance: bool = False
    is_asked: bool = True


@dataclass(frozen=True)
class Pattern:
    """A way to lose expression.

    Attributes:
        lose: see `loss_patterns`.
        levels: how much is lost.
        certain: levels at which all draws are the same.
        offer: whether tables allow it, and how.
    """

    lose: Callable[[Patients, Perturbation, Known, Seed], Patients]
    levels: tuple[float, ...]
    certain: tuple[float, ...]
    offer: Callable[[PerturbationTables], Feasibility]


@dataclass(frozen=True)
class RobustnessStudy:
    """The losses that a run makes.

    Attributes:
        ways: every loss, in order.
        notes: by pattern, how it is made.
        left_out: in words, which patterns are not made and why.
        inputs: a hash over the tables that the losses draw on.
    """

    ways: tuple[Perturbation, ...]
    notes: dict[str, str]
    left_out: tuple[str, ...]
    inputs: str

    @property
    def fingerprint(self) -> str:
        """Return a hash over all that the losses depend on, the patients aside."""
        return hash_of([self.ways, self.inputs])


def make_study(tables: PerturbationTables, n_draws: int, inputs: str) -> RobustnessStudy:
    """Return every loss that these tables allow; where nothing is chance one draw is enough.

    Args:
        tables: genes, unit, and what else there is.
        n_draws: draws at each level of what is left to chance.
        inputs: a hash over the tables.
    """
    offers = {name: pattern.offer(tables) for name, pattern in PATTERNS.items()}
    ways = [
        Perturbation(name, level, draw)
        for name, pattern in PATTERNS.items()
        if offers[name].is_made
        for level in pattern.levels
        for draw in range(n_draws if offers[name].is_chance and level not in pattern.certain else 1)
    ]
    left_out = [
        f"rna_loss: pattern {name} is left out: {offer.note}"
        for name, offer in offers.items()
        if not offer.is_made and offer.is_asked
    ]
    notes = {name: offer.note for name, offer in offers.items() if offer.is_made}
    return RobustnessStudy(tuple(ways), notes, tuple(left_out), inputs)


def lose(patients: Patients, loss: Perturbation, known: Known, seed: Seed) -> Patients:
    """Return the test patients to whom this can be done, with expression lost.

    Args:
        patients: test patients with raw expression.
        loss: how much of what.
        known: of training patients and tables.
        seed: the run's seed, repeat and fold; what is drawn does not depend on the model.
    """
    return PATTERNS[loss.pattern].lose(patients, loss, known, seed)


NO_GENES = "representation = spectrum has gene sets instead of genes"


def _always(tables: PerturbationTables) -> Feasibility:  # noqa: ARG001
    return Feasibility("", is_chance=True)


def _noise(tables: PerturbationTables) -> Feasibility:
    why = _no_amounts(tables)
    if why:
        return Feasibility(why, is_made=False)
    return Feasibility(
        "the standard deviation is so many times the gene's mean over training patients; amounts "
        "below 0 become 0",
        is_chance=True,
    )


def _normal_like(tables: PerturbationTables) -> Feasibility:
    samples = tables.normal_like.patient_ids if tables.normal_like is not None else ()
    why = _no_amounts(tables)
    if not samples and not why:
        why = (
            "the expression table has no patient outside the cohort who is labelled normal-like, "
            "and no normal tissue"
        )
    return Feasibility(why, is_made=False) if why else Feasibility(normal_like_words(samples))


def _panel(tables: PerturbationTables) -> Feasibility:
    if tables.is_spectrum:
        return Feasibility(NO_GENES, is_made=False)
    if tables.panel is not None:
        return Feasibility(f"{int(tables.panel.sum())} of the {PANEL_SIZE} genes are in the table")
    n_genes = min(PANEL_SIZE, len(tables.genes))
    return Feasibility(
        f"stand-in: the table does not have the {PANEL_SIZE} genes of the panel, so {n_genes} "
        "genes are drawn at random, the same for all patients",
        is_chance=True,
    )


def _pam50_withheld(tables: PerturbationTables) -> Feasibility:
    if tables.is_spectrum:
        return Feasibility(NO_GENES, is_made=False)
    if tables.pam50 is not None:
        n_found = int(tables.pam50.sum())
        return Feasibility(f"{n_found} PAM50 genes, then those most correlated with any of them")
    return Feasibility(
        "stand-in: the table does not have the PAM50 genes, so the genes most correlated with the "
        "label in training patients are withheld (most telling genes withheld)"
    )


def _other_assay(tables: PerturbationTables) -> Feasibility:
    if tables.other is None:
        return Feasibility("other_expression is not set", is_made=False, is_asked=False)
    return Feasibility(_measured(tables.other))


def _other_assay_scaled(tables: PerturbationTables) -> Feasibility:
    if tables.other is None:
        return Feasibility("other_expression is not set", is_made=False, is_asked=False)
    why = _no_amounts(tables)
    if why:
        return Feasibility(why, is_made=False)
    how = "each multiplied by one number, to the level of the training patients"
    return Feasibility(f"{_measured(tables.other)}; {how}")


def _measured(other: AlignedExpression) -> str:
    """Return how much of the cohort another assay measured."""
    n_genes = int((~np.isnan(other.values)).any(axis=0).sum())
    n_patients = len(other.patient_ids)
    return f"{n_patients} patients and {n_genes} of the {len(other.genes)} genes measured"


def _no_amounts(tables: PerturbationTables) -> str:
    """Return why there is no linear scale; empty if there is."""
    if tables.is_spectrum:
        return NO_GENES
    return "z-scores have no linear scale" if tables.unit == "zscore" else ""


PATTERNS: dict[str, Pattern] = {
    "each": Pattern(lose_each, SHARES, (0.0, 1.0), _always),
    "same": Pattern(lose_same, SHARES, (0.0, 1.0), _always),
    "noise": Pattern(add_noise, NOISE, (0.0,), _noise),
    "normal_like": Pattern(mix_normal_like, MIXED, (), _normal_like),
    "panel": Pattern(keep_panel, ONE, (), _panel),
    "pam50_withheld": Pattern(withhold_pam50, WITHHELD, (), _pam50_withheld),
    "other_assay": Pattern(take_other_assay, ONE, (), _other_assay),
    "other_assay_scaled": Pattern(take_other_assay_scaled, ONE, (), _other_assay_scaled),
}
"""Every pattern by name, in the order of `perturbation_tables.ORDER`."""


def predict_perturbed(
    classifier: Classifier, test: Patients, study: RobustnessStudy, known: Known, seed: Seed
) -> Float32[np.ndarray, "losses patients classes"]:
    """Return probabilities of the test patients under every loss, in the study's order.

    NaN where a loss cannot be done to a patient, in models that do not see genes too: all models
    are to be judged on the same patients.
    """
    place = {patient: row for row, patient in enumerate(test.ids)}
    shape = (len(study.ways), len(test), len(test.classes))
    said = np.full(shape, np.nan, dtype=np.float32)
    plain = None if classifier.sees_genes else classifier.predict(test)
    for number, one in enumerate(study.ways):
        left = lose(test, one, known, seed)
        rows = [place[patient] for patient in left.ids]
        if rows:
            said[number, rows] = classifier.predict(left) if plain is None else plain[rows]
    return said


def save_perturbed(
    path: Path, probabilities: Float32[np.ndarray, "losses patients classes"]
) -> None:
    """Write the probabilities, whole or not at all."""
    with replacing(path) as temporary, temporary.open("wb") as handle:
        np.save(handle, probabilities)


def join_perturbed(
    folds: Sequence[tuple[str, int, Sequence[str], Path]],
    patients: Sequence[str],
    labels: Sequence[int],
    study: RobustnessStudy,
) -> dict[str, np.ndarray]:
    """Return what all jobs saved as one array per model, and what its axes are.

    Args:
        folds: model, repeat, test patients and saved probabilities of each job.
        patients: the order of the patients.
        labels: class number of each.
        study: as the probabilities were made with.

    Returns:
        `model.<name>`: float32 (n_perturbations, n_repeats, n_patients, n_classes); `patient_id`
        and `label` per patient; `pattern`, `level`, `draw` and `note` per perturbation.
    """
    place = {patient: row for row, patient in enumerate(patients)}
    n_repeats = 1 + max(repeat for _, repeat, _, _ in folds)
    joined: dict[str, np.ndarray] = {}
    for model, repeat, tested, path in folds:
        said = np.load(path, allow_pickle=False)
        shape = (len(said), n_repeats, len(patients), said.shape[2])
        own = joined.setdefault(f"model.{model}", np.full(shape, np.nan, dtype=np.float32))
        own[:, repeat, [place[patient] for patient in tested]] = said
    return joined | {
        "patient_id": np.array(patients, dtype=np.str_),
        "label": np.array(labels, dtype=np.int64),
        "pattern": np.array([one.pattern for one in study.ways], dtype=np.str_),
        "level": np.array([one.level for one in study.ways]),
        "draw": np.array([one.draw for one in study.ways], dtype=np.int64),
        "note": np.array([study.notes[one.pattern] for one in study.ways], dtype=np.str_),
    }
