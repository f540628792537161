"""Every test of every compared pair of models; tests.csv.

    metric              tests (the first one's p stands in comparisons.csv)
    auroc               delong, bootstrap, nadeau_bengio
    pr_auc, f1, mcc     permutation, bootstrap, nadeau_bengio
    accuracy            mcnemar, permutation, bootstrap, nadeau_bengio

Measured without any difference (docs/statistics.md), none is below 0.05 in more than 6.5% of
cohorts. The percentile bootstrap's p was, which is why permutation stands in its place; the
bootstrap keeps the intervals, and its p in tests.csv is a more cautious one (`bootstrap_p`).

Tests of two models that need counts or values of folds only.

Swapping two models' outputs patient by patient: what differences chance alone would show.

If two models are as good as each other, it does not matter whose output is whose. In each
permutation every patient's outputs, of all repeats together, are swapped or not, by a fair coin.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from scipy.special import stdtr
from scipy.stats import binom, rankdata

from crosstype.evaluation.inference.bootstrap import FoldValues, bootstrap_p
from crosstype.evaluation.inference.delong import Auroc, auroc_difference
from crosstype.evaluation.metrics.confusion import confusion_matrix
from crosstype.evaluation.metrics.metrics import headline_key, prediction_metrics
from crosstype.evaluation.predictions import ModelPredictions


class TestResult(NamedTuple):
    """A test's statistic and its two-sided p."""

    statistic: float
    p: float


def majority_right(
    labels: Int[np.ndarray, " n_patients"], model: ModelPredictions
) -> Bool[np.ndarray, " n_patients"]:
    """Return whose majority of calls over the repeats is right.

    Where two classes were called equally often, the one of the higher mean probability counts.
    """
    n_classes = model.probability.shape[2]
    votes = np.eye(n_classes)[model.predicted].sum(axis=0)
    # Mean probabilities are within 0 and 1: half of them never outweighs a vote.
    called = (votes + model.probability.mean(axis=0) / 2).argmax(axis=1)
    return np.asarray(called == labels)


def mcnemar(
    right_a: Bool[np.ndarray, " n_patients"], right_b: Bool[np.ndarray, " n_patients"]
) -> TestResult:
    """Compare two models' right calls by McNemar's test with the mid-p value.

    The mid-p counts half of the observed split: not as cautious as the exact test, and its type-I
    error hardly ever passes the level (Fagerland, Lydersen & Laake 2013, BMC Med Res Methodol
    13:91). The statistic is (b - c) / sqrt(b + c) for b patients that only the first gets right
    and c that only the second does; 0 and p 1 without such patients.
    """
    only_a = int((right_a & ~right_b).sum())
    only_b = int((right_b & ~right_a).sum())
    n = only_a + only_b
    if not n:
        return TestResult(0.0, 1.0)
    fewer = min(only_a, only_b)
    p = 2 * float(binom.cdf(fewer, n, 0.5)) - float(binom.pmf(fewer, n, 0.5))
    return TestResult((only_a - only_b) / math.sqrt(n), min(1.0, p))


def corrected_resampled_t(
    differences: Float[np.ndarray, " n_folds"], test_to_train: float
) -> TestResult | None:
    """Compare two models over folds, whose training patients overlap.

    Student's t over folds and repeats with the variance of the mean taken as
    (1 / n_folds + test_to_train) times that of the folds (Nadeau & Bengio 2003, Machine Learning
    52:239), n_folds - 1 degrees of freedom.

    Args:
        differences: of a metric in each fold of each repeat.
        test_to_train: patients tested by patients trained on, in a fold.

    Returns:
        t and p; None with fewer than two folds.
    """
    n_folds = len(differences)
    if n_folds < 2:
        return None
    mean, variance = float(differences.mean()), float(differences.var(ddof=1))
    error = math.sqrt((1 / n_folds + test_to_train) * variance)
    if error < 1e-12:
        return (
            TestResult(0.0, 1.0)
            if abs(mean) < 1e-12
            else TestResult(math.copysign(math.inf, mean), 0.0)
        )
    return TestResult(mean / error, 2 * float(stdtr(n_folds - 1, -abs(mean) / error)))


PERMUTED = ("f1", "mcc", "accuracy")
N_PERMUTATIONS = 1000
"""The smallest p is then 1/1001; Monte-Carlo error at p = 0.05 is 0.007."""

Swaps = Float32[np.ndarray, "n_patients n_permutations"]


def draw_swaps(n_patients: int, seed: int, n_permutations: int = N_PERMUTATIONS) -> Swaps:
    """Draw the patients whose outputs are swapped (1) in each permutation; none in the first."""
    drawn = np.random.default_rng([seed, 7]).random((n_patients, n_permutations + 1)) < 0.5
    drawn[:, 0] = False
    return drawn.astype(np.float32)


def permutation_p(differences: Float[np.ndarray, " n_permutations"]) -> float:
    """Return the share of permutations that differ as much as the first, without swaps.

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
            prediction_metrics(m) for m in _swapped_matrices(labels, calls, len(classes), swaps)
        )
        for name in PERMUTED:
            found[name].append(one[places[name]] - other[places[name]])
        pr_auc_differences = [
            _swapped_precision(
                labels == index,
                (models[0].probability[repeat, :, index], models[1].probability[repeat, :, index]),
                swaps,
            )
            for index in indices
        ]
        found["pr_auc"].append(np.mean(pr_auc_differences, axis=0))
    return {name: np.mean(values, axis=0) for name, values in found.items()}


def _swapped_matrices(
    labels: Int[np.ndarray, " n_patients"],
    calls: tuple[Int[np.ndarray, " n_patients"], Int[np.ndarray, " n_patients"]],
    n_classes: int,
    swaps: Swaps,
) -> tuple[Float[np.ndarray, "n_permutations c c"], Float[np.ndarray, "n_permutations c c"]]:
    discordant = np.flatnonzero(calls[0] != calls[1])
    moved = swaps[discordant].astype(np.float64)
    taken, given = (
        confusion_matrix(labels[discordant], one[discordant], n_classes, moved) for one in calls
    )
    first, second = (confusion_matrix(labels, one, n_classes) for one in calls)
    return first - taken + given, second + taken - given


def _swapped_precision(
    positive: Bool[np.ndarray, " n_patients"],
    outputs: tuple[Float[np.ndarray, " n_patients"], Float[np.ndarray, " n_patients"]],
    swaps: Swaps,
) -> Float[np.ndarray, " n_permutations"]:
    """Return the difference in average precision in each permutation."""
    ranks = np.stack([rankdata(one) for one in outputs])
    if np.array_equal(*ranks):
        return np.zeros(swaps.shape[1])
    limits = np.concatenate(ranks[:, positive])
    n_cases = int(positive.sum())
    reached = (ranks[:, None] >= limits[:, None]).astype(np.float32)
    moved = reached[1] - reached[0]
    # Patients at or above each case's rank: the first model's, corrected for the swaps.
    shifts = [moved @ swaps, moved[:, positive] @ swaps[positive]]
    whole = [reached.sum(axis=2), reached[:, :, positive].sum(axis=2)]
    precisions = []
    for model, sign in ((0, 1), (1, -1)):
        called, hits = (a[model][:, None] + sign * b for a, b in zip(whole, shifts, strict=True))
        # Without predicted patients the numerator is 0 too.
        precisions.append(hits / np.maximum(called, 1))
    swapped = np.concatenate([swaps[positive], 1 - swaps[positive]])
    # A case stands at its first rank with the first model unless it was swapped.
    gained = precisions[0] * (1 - swapped) - precisions[1] * swapped
    return np.asarray(gained.sum(axis=0, dtype=np.float64) / n_cases)


COMPARED = ("auroc", "pr_auc", "f1", "mcc", "accuracy")
SHOWN = {
    "auroc": "delong",
    "pr_auc": "permutation",
    "f1": "permutation",
    "mcc": "permutation",
    "accuracy": "mcnemar",
}
"""The test whose p stands in comparisons.csv, by metric."""


@dataclass(frozen=True)
class ResampledModel:
    """Resampled metrics of a model, for comparisons.

    Attributes:
        predictions: of the model.
        headlines: by metric of `COMPARED`, the headline value and then its resamples.
        auroc: the headline AUROC with each patient's influence.
        folds: metrics by repeat and fold.
    """

    predictions: ModelPredictions
    headlines: Mapping[str, Float[np.ndarray, " n_resamples"]]
    auroc: Auroc
    folds: FoldValues


@dataclass(frozen=True)
class PairTest:
    """A test of no difference between two models.

    Attributes:
        model_a: the model in question.
        model_b: the reference.
        metric: the metric's bare name.
        test: `delong`, `mcnemar`, `permutation`, `bootstrap` or `nadeau_bengio`.
        statistic: z of delong and mcnemar, t of nadeau_bengio, else the difference; positive where
            `model_a` is better.
        p: two-sided.
        p_adjusted: the same after Holm's correction among all models compared with this reference
            in this metric by this test.
        n: patients.
    """

    model_a: str
    model_b: str
    metric: str
    test: str
    statistic: float
    p: float
    p_adjusted: float
    n: int


def pair_tests(
    labels: Int[np.ndarray, " n_patients"],
    classes: Sequence[str],
    evaluated: Mapping[str, ResampledModel],
    pairs: Sequence[tuple[str, str]],
    swaps: Swaps,
) -> list[PairTest]:
    """Test every pair in every metric in every way.

    Args:
        labels: index of each patient's class.
        classes: class names; of two, the second is the positive one.
        evaluated: all models, by name.
        pairs: model and reference.
        swaps: whose outputs are swapped in each permutation.

    Returns:
        Rows in the order of `pairs`; a test that is impossible (nadeau_bengio on one fold, or on
        folds that are not the same) has none.
    """
    rows = [
        PairTest(*pair, metric, test, found.statistic, found.p, 1.0, len(labels))
        for pair in pairs
        for metric, test, found in _tests_of(
            labels, classes, (evaluated[pair[0]], evaluated[pair[1]]), swaps
        )
    ]
    families: dict[tuple[str, str, str], list[int]] = {}
    for place, row in enumerate(rows):
        families.setdefault((row.model_b, row.metric, row.test), []).append(place)
    for places in families.values():
        adjusted = holm([rows[place].p for place in places])
        for place, p in zip(places, adjusted, strict=True):
            rows[place] = replace(rows[place], p_adjusted=p)
    return rows


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for how many there are, by Holm's step-down rule (Holm 1979).

    The smallest is multiplied by how many there are, the next by one less, and so on; never below
    a smaller one's, never above 1. One false alarm among all then stays as rare as stated.
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def _tests_of(
    labels: Int[np.ndarray, " n_patients"],
    classes: Sequence[str],
    pair: tuple[ResampledModel, ResampledModel],
    swaps: Swaps,
) -> Iterator[tuple[str, str, TestResult]]:
    """Give metric, test and what it found."""
    one, other = pair
    swapped = swapped_differences(labels, (one.predictions, other.predictions), classes, swaps)
    for metric in COMPARED:
        resampled_differences = one.headlines[metric] - other.headlines[metric]
        difference = float(resampled_differences[0])
        if metric == "auroc":
            delong = auroc_difference(one.auroc, other.auroc, 0.95)
            yield metric, "delong", TestResult(delong.statistic, delong.p)
        if metric == "accuracy":
            right = [majority_right(labels, each.predictions) for each in pair]
            yield metric, "mcnemar", mcnemar(*right)
        if metric in swapped:
            yield metric, "permutation", TestResult(difference, permutation_p(swapped[metric]))
        yield metric, "bootstrap", TestResult(difference, bootstrap_p(resampled_differences))
        resampled_t = _over_folds(metric, classes, pair)
        if resampled_t is not None:
            yield metric, "nadeau_bengio", resampled_t


def _over_folds(
    metric: str, classes: Sequence[str], pair: tuple[ResampledModel, ResampledModel]
) -> TestResult | None:
    one, other = pair
    if not np.array_equal(one.predictions.fold, other.predictions.fold):
        return None
    key = headline_key(metric, classes)
    fold_differences = [
        values[key] - other.folds[fold][key] for fold, values in one.folds.items() if key in values
    ]
    n_folds_each = len(one.folds) / len(one.predictions.fold)
    if n_folds_each < 2:
        return None
    return corrected_resampled_t(np.array(fold_differences), 1 / (n_folds_each - 1))
