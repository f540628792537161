"""Every test of every compared pair of models; tests.csv.

    metric              tests (the first one's p stands in comparisons.csv)
    auroc               delong, bootstrap, nadeau_bengio
    pr_auc, f1, mcc     permutation, bootstrap, nadeau_bengio
    accuracy            mcnemar, permutation, bootstrap, nadeau_bengio

Measured without any difference (docs/statistics.md), none is below 0.05 in more than 6.5% of
cohorts. The percentile bootstrap's p was, which is why permutation stands in its place; the
bootstrap keeps the intervals, and its p in tests.csv is a more cautious one (`bootstrap_p`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from crosstype.evaluation.bootstrap import bootstrap_p
from crosstype.evaluation.call_tests import (
    Tested,
    corrected_resampled_t,
    majority_right,
    mcnemar,
)
from crosstype.evaluation.delong import Auroc, auroc_difference
from crosstype.evaluation.metrics import headline_key
from crosstype.evaluation.permutation import Swaps, permutation_p, swapped_differences
from crosstype.evaluation.predictions import ModelPredictions
from crosstype.evaluation.resampling import FoldValues

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
class Judged:
    """What is known of a model before it is compared.

    Attributes:
        predictions: what it said.
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
    judged: Mapping[str, Judged],
    pairs: Sequence[tuple[str, str]],
    swaps: Swaps,
) -> list[PairTest]:
    """Test every pair in every metric in every way.

    Args:
        labels: index of each patient's class.
        classes: class names; of two, the second is the positive one.
        judged: all models, by name.
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
            labels, classes, (judged[pair[0]], judged[pair[1]]), swaps
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
    pair: tuple[Judged, Judged],
    swaps: Swaps,
) -> Iterator[tuple[str, str, Tested]]:
    """Give metric, test and what it found."""
    one, other = pair
    swapped = swapped_differences(labels, (one.predictions, other.predictions), classes, swaps)
    for metric in COMPARED:
        apart = one.headlines[metric] - other.headlines[metric]
        difference = float(apart[0])
        if metric == "auroc":
            delong = auroc_difference(one.auroc, other.auroc, 0.95)
            yield metric, "delong", Tested(delong.statistic, delong.p)
        if metric == "accuracy":
            right = [majority_right(labels, each.predictions) for each in pair]
            yield metric, "mcnemar", mcnemar(*right)
        if metric in swapped:
            yield metric, "permutation", Tested(difference, permutation_p(swapped[metric]))
        yield metric, "bootstrap", Tested(difference, bootstrap_p(apart))
        resampled_t = _over_folds(metric, classes, pair)
        if resampled_t is not None:
            yield metric, "nadeau_bengio", resampled_t


def _over_folds(metric: str, classes: Sequence[str], pair: tuple[Judged, Judged]) -> Tested | None:
    one, other = pair
    if not np.array_equal(one.predictions.fold, other.predictions.fold):
        return None
    key = headline_key(metric, classes)
    apart = [
        values[key] - other.folds[fold][key] for fold, values in one.folds.items() if key in values
    ]
    n_folds_each = len(one.folds) / len(one.predictions.fold)
    if n_folds_each < 2:
        return None
    return corrected_resampled_t(np.array(apart), 1 / (n_folds_each - 1))
