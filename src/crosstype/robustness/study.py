"""Robustness study: predictions for test patients with perturbed expression.

Patterns of perturbation, their levels, and which of them the tables allow; the same for all models.
"""

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
    FoldData,
    Perturbation,
    PerturbationTables,
    Seed,
    add_noise,
    exclude_pam50,
    keep_panel,
    lose_each,
    lose_same,
    mix_normal_like,
    take_other_assay,
    take_other_assay_scaled,
)
from crosstype.training.classifier import Classifier
from crosstype.training.patients import Patients

SHARES = (0.0, 0.5, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0)
"""Shares of the genes that are removed."""
NOISE = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Standard deviations of the noise, in means of the gene."""
MIXED = (0.0, 0.25, 0.5, 0.75, 0.9)
"""Shares of the sample that are normal-like."""
EXCLUDED = (0.0, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9)
"""Shares of the genes that are excluded, the most informative first."""
ONE = (1.0,)
"""Level of patterns without levels."""


@dataclass(frozen=True)
class Feasibility:
    """Whether the tables allow a pattern.

    Attributes:
        note: how it is made, or why it is not.
        is_possible: whether it is made.
        is_random: whether it is random, so that several draws differ.
        is_requested: whether its absence is reported; False where an optional input is not set.
    """

    note: str
    is_possible: bool = True
    is_random: bool = False
    is_requested: bool = True


@dataclass(frozen=True)
class Pattern:
    """A type of perturbation.

    Attributes:
        perturb: its function in `perturbations`.
        levels: its strengths.
        fixed_levels: levels at which all draws are the same.
        feasibility: whether the tables allow it.
    """

    perturb: Callable[[Patients, Perturbation, FoldData, Seed], Patients]
    levels: tuple[float, ...]
    fixed_levels: tuple[float, ...]
    feasibility: Callable[[PerturbationTables], Feasibility]


@dataclass(frozen=True)
class RobustnessStudy:
    """The perturbations of a run.

    Attributes:
        ways: every perturbation, in order.
        notes: by pattern, how it is made.
        left_out: messages: patterns that are not made, and why.
        inputs: hash of the tables.
    """

    ways: tuple[Perturbation, ...]
    notes: dict[str, str]
    left_out: tuple[str, ...]
    inputs: str

    @property
    def fingerprint(self) -> str:
        """Return a hash of all that the perturbations depend on, except the patients."""
        return hash_of([self.ways, self.inputs])


def make_study(tables: PerturbationTables, n_draws: int, inputs: str) -> RobustnessStudy:
    """Return every perturbation that these tables allow.

    Args:
        tables: genes, unit and expression tables.
        n_draws: draws at each level of random patterns; others have one.
        inputs: hash of the tables.
    """
    found = {name: pattern.feasibility(tables) for name, pattern in PATTERNS.items()}
    ways = [
        Perturbation(name, level, draw)
        for name, pattern in PATTERNS.items()
        if found[name].is_possible
        for level in pattern.levels
        for draw in range(
            n_draws if found[name].is_random and level not in pattern.fixed_levels else 1
        )
    ]
    left_out = [
        f"rna_loss: pattern {name} is left out: {one.note}"
        for name, one in found.items()
        if not one.is_possible and one.is_requested
    ]
    notes = {name: one.note for name, one in found.items() if one.is_possible}
    return RobustnessStudy(tuple(ways), notes, tuple(left_out), inputs)


def lose(patients: Patients, loss: Perturbation, known: FoldData, seed: Seed) -> Patients:
    """Return the perturbed test patients; patients that cannot be perturbed are left out.

    Args:
        patients: test patients with raw expression.
        loss: the perturbation.
        known: training patients and tables.
        seed: the run's seed, repeat and fold; draws are the same for all models.
    """
    return PATTERNS[loss.pattern].perturb(patients, loss, known, seed)


NO_GENES = "representation = spectrum has gene sets instead of genes"


def _always(tables: PerturbationTables) -> Feasibility:  # noqa: ARG001
    return Feasibility("", is_random=True)


def _noise(tables: PerturbationTables) -> Feasibility:
    why = _no_amounts(tables)
    if why:
        return Feasibility(why, is_possible=False)
    return Feasibility(
        "the standard deviation is so many times the gene's mean over training patients; amounts "
        "below 0 become 0",
        is_random=True,
    )


def _normal_like(tables: PerturbationTables) -> Feasibility:
    samples = tables.normal_like.patient_ids if tables.normal_like is not None else ()
    why = _no_amounts(tables)
    if not samples and not why:
        why = (
            "the expression table has no patient outside the cohort who is labelled normal-like, "
            "and no normal tissue"
        )
    return Feasibility(why, is_possible=False) if why else Feasibility(normal_like_words(samples))


def _panel(tables: PerturbationTables) -> Feasibility:
    if tables.is_spectrum:
        return Feasibility(NO_GENES, is_possible=False)
    if tables.panel is not None:
        return Feasibility(f"{int(tables.panel.sum())} of the {PANEL_SIZE} genes are in the table")
    n_genes = min(PANEL_SIZE, len(tables.genes))
    return Feasibility(
        f"stand-in: the table does not have the {PANEL_SIZE} genes of the panel, so {n_genes} "
        "genes are drawn at random, the same for all patients",
        is_random=True,
    )


def _pam50_excluded(tables: PerturbationTables) -> Feasibility:
    if tables.is_spectrum:
        return Feasibility(NO_GENES, is_possible=False)
    if tables.pam50 is not None:
        n_found = int(tables.pam50.sum())
        return Feasibility(f"{n_found} PAM50 genes, then those most correlated with any of them")
    return Feasibility(
        "stand-in: the table does not have the PAM50 genes, so the genes most correlated with the "
        "label in training patients are excluded, the most informative first"
    )


def _other_assay(tables: PerturbationTables) -> Feasibility:
    if tables.other is None:
        return Feasibility("other_expression is not set", is_possible=False, is_requested=False)
    return Feasibility(_measured(tables.other))


def _other_assay_scaled(tables: PerturbationTables) -> Feasibility:
    if tables.other is None:
        return Feasibility("other_expression is not set", is_possible=False, is_requested=False)
    why = _no_amounts(tables)
    if why:
        return Feasibility(why, is_possible=False)
    scaling = "each multiplied by one number, to the level of the training patients"
    return Feasibility(f"{_measured(tables.other)}; {scaling}")


def _measured(other: AlignedExpression) -> str:
    """Return the numbers of patients and genes that another assay measured, as text."""
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
    "pam50_withheld": Pattern(exclude_pam50, EXCLUDED, (), _pam50_excluded),
    "other_assay": Pattern(take_other_assay, ONE, (), _other_assay),
    "other_assay_scaled": Pattern(take_other_assay_scaled, ONE, (), _other_assay_scaled),
}
"""Patterns by name, in the order of `perturbations.ORDER`."""


def predict_perturbed(
    classifier: Classifier, test: Patients, study: RobustnessStudy, known: FoldData, seed: Seed
) -> Float32[np.ndarray, "losses patients classes"]:
    """Return probabilities of the test patients under every perturbation, in the study's order.

    NaN where a patient cannot be perturbed, also for models without genes, so that all models are
    evaluated on the same patients.
    """
    row_of = {patient: row for row, patient in enumerate(test.ids)}
    shape = (len(study.ways), len(test), len(test.classes))
    predicted = np.full(shape, np.nan, dtype=np.float32)
    plain = None if classifier.uses_genes else classifier.predict(test)
    for number, one in enumerate(study.ways):
        perturbed = lose(test, one, known, seed)
        rows = [row_of[patient] for patient in perturbed.ids]
        if rows:
            found = classifier.predict(perturbed) if plain is None else plain[rows]
            predicted[number, rows] = found
    return predicted


def save_perturbed(
    path: Path, probabilities: Float32[np.ndarray, "losses patients classes"]
) -> None:
    """Write the probabilities atomically."""
    with replacing(path) as temporary, temporary.open("wb") as handle:
        np.save(handle, probabilities)


def join_perturbed(
    folds: Sequence[tuple[str, int, Sequence[str], Path]],
    patients: Sequence[str],
    labels: Sequence[int],
    study: RobustnessStudy,
) -> dict[str, np.ndarray]:
    """Join the saved probabilities of all jobs to one array per model, with its axes.

    Args:
        folds: model, repeat, test patients and file of probabilities of each job.
        patients: all patients, in order.
        labels: class number of each.
        study: the perturbations.

    Returns:
        `model.<name>`: float32 (n_perturbations, n_repeats, n_patients, n_classes); `patient_id`
        and `label` per patient; `pattern`, `level`, `draw` and `note` per perturbation.
    """
    row_of = {patient: row for row, patient in enumerate(patients)}
    n_repeats = 1 + max(repeat for _, repeat, _, _ in folds)
    joined: dict[str, np.ndarray] = {}
    for model, repeat, tested, path in folds:
        saved = np.load(path, allow_pickle=False)
        shape = (len(saved), n_repeats, len(patients), saved.shape[2])
        own = joined.setdefault(f"model.{model}", np.full(shape, np.nan, dtype=np.float32))
        own[:, repeat, [row_of[patient] for patient in tested]] = saved
    return joined | {
        "patient_id": np.array(patients, dtype=np.str_),
        "label": np.array(labels, dtype=np.int64),
        "pattern": np.array([one.pattern for one in study.ways], dtype=np.str_),
        "level": np.array([one.level for one in study.ways]),
        "draw": np.array([one.draw for one in study.ways], dtype=np.int64),
        "note": np.array([study.notes[one.pattern] for one in study.ways], dtype=np.str_),
    }
