"""Swapping two models' outputs patient by patient: what differences chance alone would show.

If two models are as good as each other, it does not matter whose output is whose. In each
permutation every patient's outputs, of all repeats together, are swapped or not, by a fair coin.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from scipy.stats import rankdata

from crosstype.evaluation.calls import confusion_matrix
from crosstype.evaluation.metrics import call_metrics, headline_key
from crosstype.evaluation.predictions import ModelPredictions

PERMUTED = ("f1", "mcc", "accuracy")
N_PERMUTATIONS = 1000
"""The smallest p is then 1/1001; Monte-Carlo error at p = 0.05 is 0.007."""

Swaps = Float32[np.ndarray, "n_patients n_permutations"]


def draw_swaps(n_patients: int, seed: int, n_permutations: int = N_PERMUTATIONS) -> Swaps:
    """Draw whose outputs are swapped (1) in each permutation; in the first nobody's are."""
    drawn = np.random.default_rng([seed, 7]).random((n_patients, n_permutations + 1)) < 0.5
    drawn[:, 0] = False
    return drawn.astype(np.float32)


def permutation_p(differences: Float[np.ndarray, " n_permutations"]) -> float:
    """Return the share of permutations that differ as much as the first, which swaps nobody.

    (k + 1) / (n + 1) over the others, both sides together (Davison & Hinkley 1997).
    """
    observed, others = abs(differences[0]), np.abs(differences[1:])
    return float((np.sum(others >= observed - 1e-6) + 1) / (len(others) + 1))


def swapped_differences(
    labels: Int[np.ndarray, " n_patients"],
    models: tuple[ModelPredictions, ModelPredictions],
    classes: Sequence[str],
    swaps: Swaps,
) -> dict[str, Float[np.ndarray, " n_permutations"]]:
    """Return the first model's metrics less the second's in each permutation, repeats averaged.

    Of the headline rows of F1, MCC, accuracy and PR-AUC. Calls are swapped as they are. Before
    probabilities are swapped each is replaced by its rank among its model's, since models of equal
    order may differ in scale (Venkatraman & Begg 1996, Biometrika 83:835); no ranking changes.
    """
    places = {name: headline_key(name, classes).among(classes) for name in (*PERMUTED, "pr_auc")}
    indices = [places["pr_auc"].class_index]
    if len(classes) > 2:
        indices = list(range(len(classes)))
    found: dict[str, list[Float[np.ndarray, " n_permutations"]]] = {name: [] for name in places}
    for repeat in range(len(models[0].predicted)):
        calls = (models[0].predicted[repeat], models[1].predicted[repeat])
        one, other = (
            call_metrics(m) for m in _swapped_matrices(labels, calls, len(classes), swaps)
        )
        for name in PERMUTED:
            found[name].append(one[places[name]] - other[places[name]])
        apart = [
            _swapped_precision(
                labels == index,
                (models[0].probability[repeat, :, index], models[1].probability[repeat, :, index]),
                swaps,
            )
            for index in indices
        ]
        found["pr_auc"].append(np.mean(apart, axis=0))
    return {name: np.mean(values, axis=0) for name, values in found.items()}


def _swapped_matrices(
    labels: Int[np.ndarray, " n_patients"],
    calls: tuple[Int[np.ndarray, " n_patients"], Int[np.ndarray, " n_patients"]],
    n_classes: int,
    swaps: Swaps,
) -> tuple[Float[np.ndarray, "n_permutations c c"], Float[np.ndarray, "n_permutations c c"]]:
    apart = np.flatnonzero(calls[0] != calls[1])
    moved = swaps[apart].astype(np.float64)
    taken, given = (confusion_matrix(labels[apart], one[apart], n_classes, moved) for one in calls)
    first, second = (confusion_matrix(labels, one, n_classes) for one in calls)
    return first - taken + given, second + taken - given


def _swapped_precision(
    positive: Bool[np.ndarray, " n_patients"],
    said: tuple[Float[np.ndarray, " n_patients"], Float[np.ndarray, " n_patients"]],
    swaps: Swaps,
) -> Float[np.ndarray, " n_permutations"]:
    """Return the difference in average precision in each permutation."""
    ranks = np.stack([rankdata(one) for one in said])
    if np.array_equal(*ranks):
        return np.zeros(swaps.shape[1])
    limits = np.concatenate(ranks[:, positive])
    n_cases = int(positive.sum())
    reached = (ranks[:, None] >= limits[:, None]).astype(np.float32)
    moved = reached[1] - reached[0]
    # Who reaches each case's rank: what the first model called less what swaps took and gave.
    shifts = [moved @ swaps, moved[:, positive] @ swaps[positive]]
    whole = [reached.sum(axis=2), reached[:, :, positive].sum(axis=2)]
    precisions = []
    for model, sign in ((0, 1), (1, -1)):
        called, hits = (a[model][:, None] + sign * b for a, b in zip(whole, shifts, strict=True))
        # Where nobody is called, nobody is counted below either.
        precisions.append(hits / np.maximum(called, 1))
    swapped = np.concatenate([swaps[positive], 1 - swaps[positive]])
    # A case stands at its first rank with the first model unless it was swapped.
    gained = precisions[0] * (1 - swapped) - precisions[1] * swapped
    return np.asarray(gained.sum(axis=0, dtype=np.float64) / n_cases)
