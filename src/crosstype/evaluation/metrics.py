"""Metrics from weighted counts, so that one pass gives a value and all its resamples.

Every function takes `weights`, (n_patients, n_resamples): how often each patient counts in each
resample. A column of ones is the cohort as it is. Results have one number per resample.

    metric              what it says                                            range, best
    f1                  found and rightly found, of one class, in one number    0..1, 1
    mcc                 agreement of calls and labels; 0 is guessing            -1..1, 1
    pr_auc              precision averaged over recall; prevalence is guessing  0..1, 1
    auroc               chance that a case ranks above a non-case; 0.5 guesses  0..1, 1
    accuracy            share of right calls; compare with the largest class    0..1, 1
    balanced_accuracy   mean over classes of the share found                    0..1, 1
    brier               mean squared error of the probability; lower is better  0..1, 0
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

METRICS = ("f1", "mcc", "pr_auc", "auroc", "accuracy", "balanced_accuracy", "brier")
MACRO, ALL = "macro", "all"
MACRO_METRICS = ("f1", "pr_auc", "auroc", "brier")
ALL_METRICS = ("mcc", "accuracy", "balanced_accuracy")


OVER_ALL = -1
"""Stands for the index of a class where a metric is about all classes."""


class ClassMetric(NamedTuple):
    """A metric and the index of the class that it is about, or `OVER_ALL`."""

    metric: str
    class_index: int


class MetricKey(NamedTuple):
    """A metric, and the class that it is about.

    Attributes:
        metric: one of `METRICS`.
        of: a class name (that class against the rest), `macro` (mean over classes) or `all` (one
            number over all classes).
    """

    metric: str
    of: str

    def among(self, classes: Sequence[str]) -> ClassMetric:
        """Return the metric with the index of its class."""
        return ClassMetric(
            self.metric, list(classes).index(self.of) if self.of in classes else OVER_ALL
        )


def metric_keys(classes: Sequence[str]) -> tuple[MetricKey, ...]:
    """Return every row of metrics.csv: each class against the rest, then macro, then all."""
    per_class = [MetricKey(metric, name) for name in classes for metric in METRICS]
    macro = [MetricKey(metric, MACRO) for metric in MACRO_METRICS]
    return (*per_class, *macro, *(MetricKey(metric, ALL) for metric in ALL_METRICS))


def headline_key(metric: str, classes: Sequence[str]) -> MetricKey:
    """Return the row meant by the metric's bare name.

    With two classes the second one's, the positive class; with more, `macro` or `all`.
    """
    if len(classes) == 2:
        return MetricKey(metric, classes[1])
    return MetricKey(metric, MACRO if metric in MACRO_METRICS else ALL)


def confusion_matrix(
    labels: Int[np.ndarray, " n_patients"],
    predicted: Int[np.ndarray, " n_patients"],
    n_classes: int,
    weights: Float[np.ndarray, "n_patients n_resamples"] | None = None,
) -> Float[np.ndarray, "n_resamples n_classes n_classes"]:
    """Count who was called what: rows are the true classes, columns the called ones.

    Args:
        labels: index of each patient's class.
        predicted: index of the class each patient was called.
        n_classes: number of classes.
        weights: how often each patient counts; None: once.

    Returns:
        One matrix per resample (one in all without weights).
    """
    if weights is None:
        weights = np.ones((len(labels), 1))
    cells = np.eye(n_classes * n_classes)[labels * n_classes + predicted]
    counts = np.asarray(weights.T @ cells)
    return counts.reshape(-1, n_classes, n_classes)


def f1(
    matrix: Float[np.ndarray, "n_resamples c c"], index: int
) -> Float[np.ndarray, " n_resamples"]:
    """Return F1 of a class: the harmonic mean of how many are found and how many calls are right.

    From 0 to 1, higher is better; true negatives do not count (van Rijsbergen 1979).
    """
    hits = matrix[:, index, index]
    return _ratio(2 * hits, matrix[:, index].sum(axis=1) + matrix[:, :, index].sum(axis=1))


def mcc(matrix: Float[np.ndarray, "n_resamples c c"]) -> Float[np.ndarray, " n_resamples"]:
    """Return Matthews' correlation of labels and calls; 0 is guessing, 1 is perfect, -1 reversed.

    Matthews 1975; for more than two classes Gorodkin 2004. 0 where all calls are one class.
    """
    total = matrix.sum(axis=(1, 2))
    truth, calls = matrix.sum(axis=2), matrix.sum(axis=1)
    hits = np.trace(matrix, axis1=1, axis2=2)
    covariance = hits * total - (truth * calls).sum(axis=1)
    spread = (total**2 - (truth**2).sum(axis=1)) * (total**2 - (calls**2).sum(axis=1))
    return _ratio(covariance, np.sqrt(spread))


def accuracy(matrix: Float[np.ndarray, "n_resamples c c"]) -> Float[np.ndarray, " n_resamples"]:
    """Return the share of right calls, 0 to 1; always calling the largest class gets its share."""
    return _ratio(np.trace(matrix, axis1=1, axis2=2), matrix.sum(axis=(1, 2)))


def balanced_accuracy(
    matrix: Float[np.ndarray, "n_resamples c c"],
) -> Float[np.ndarray, " n_resamples"]:
    """Return the mean over classes of the share found, 0 to 1; 1 / n_classes is guessing."""
    found = _ratio(np.diagonal(matrix, axis1=1, axis2=2), matrix.sum(axis=2))
    return np.asarray(found.mean(axis=1))


class RankingMetrics(NamedTuple):
    """Metrics that ask only who ranks above whom, one number per resample."""

    auroc: Float[np.ndarray, " n_resamples"]
    pr_auc: Float[np.ndarray, " n_resamples"]


def ranking_metrics(
    positive: Bool[np.ndarray, " n_patients"],
    probability: Float[np.ndarray, " n_patients"],
    weights: Float[np.ndarray, "n_patients n_resamples"],
) -> RankingMetrics:
    """Return AUROC and average precision of a class's probability, higher is better.

    AUROC is the chance that a patient of the class ranks above one who is not; ties count half
    (Hanley & McNeil 1982). Average precision is the step-wise area under the precision-recall
    curve, without interpolation, which flatters (Davis & Goadrich 2006); patients of equal
    probability enter together.

    Args:
        positive: who belongs to the class.
        probability: each patient's probability of the class.
        weights: how often each patient counts; both kinds must be there in every resample.
    """
    order = np.argsort(-probability, kind="stable")
    ranked, is_case = probability[order], positive[order]
    first = np.searchsorted(-ranked, -ranked[is_case], side="left")
    last = np.searchsorted(-ranked, -ranked[is_case], side="right")
    # Row i: how many patients, and how many cases, stand among the i highest.
    called = _running_sum(weights[order])
    new_cases = weights[order[is_case]]
    cases = _running_sum(new_cases)[np.cumsum(is_case)[last - 1]]
    above, called = (called[first] + called[last]) / 2, called[last]
    n_cases = new_cases.sum(axis=0)
    n_others = weights.sum(axis=0) - n_cases
    # Where nobody was called yet, nobody is new either: any divisor does.
    precision = cases / np.where(called > 0, called, 1.0)
    # Ranks of cases among all, less those of cases among cases, leave the others above each case.
    others_above = np.einsum("ij,ij->j", new_cases, above) - n_cases**2 / 2
    return RankingMetrics(
        auroc=1.0 - _ratio(others_above, n_cases * n_others),
        pr_auc=_ratio(np.einsum("ij,ij->j", precision, new_cases), n_cases),
    )


def _running_sum(rows: Float[np.ndarray, "n b"]) -> Float[np.ndarray, "n+1 b"]:
    """Return sums of the first 0, 1, 2, ... rows.

    Row by row, since `numpy.cumsum` goes down each column in turn and is ten times slower here.
    """
    sums = np.zeros((len(rows) + 1, rows.shape[1]))
    for index, row in enumerate(rows):
        np.add(sums[index], row, out=sums[index + 1])
    return sums


def brier(
    positive: Bool[np.ndarray, " n_patients"],
    probability: Float[np.ndarray, " n_patients"],
    weights: Float[np.ndarray, "n_patients n_resamples"],
) -> Float[np.ndarray, " n_resamples"]:
    """Return the mean squared error of a class's probability (Brier 1950); lower is better."""
    errors = (probability - positive) ** 2
    return _ratio(errors @ weights, weights.sum(axis=0))


def measure(
    labels: Int[np.ndarray, " n_patients"],
    predicted: Int[np.ndarray, " n_patients"],
    probability: Float[np.ndarray, "n_patients n_classes"],
    weights: Float[np.ndarray, "n_patients n_resamples"],
    keys: Sequence[ClassMetric],
) -> Float[np.ndarray, "n_keys n_resamples"]:
    """Return metrics, each of a class against the rest or over all classes.

    Args:
        labels: index of each patient's class; every resample must hold every class.
        predicted: index of the class each patient was called.
        probability: probability of each class.
        weights: how often each patient counts in each resample.
        keys: what to measure; nothing else is computed.

    Returns:
        A row per key.
    """
    n_classes = probability.shape[1]
    values = _call_metrics(confusion_matrix(labels, predicted, n_classes, weights))
    asked = {key.metric for key in keys}
    indices = {key.class_index for key in keys}
    for index in range(n_classes) if OVER_ALL in indices else sorted(indices):
        positive, said = labels == index, probability[:, index]
        if asked & {"auroc", "pr_auc"}:
            auroc, pr_auc = ranking_metrics(positive, said, weights)
            values[ClassMetric("auroc", index)] = auroc
            values[ClassMetric("pr_auc", index)] = pr_auc
        if "brier" in asked:
            values[ClassMetric("brier", index)] = brier(positive, said, weights)
    if OVER_ALL in indices:
        for metric in asked & set(MACRO_METRICS):
            of_classes = [values[ClassMetric(metric, index)] for index in range(n_classes)]
            values[ClassMetric(metric, OVER_ALL)] = np.mean(of_classes, axis=0)
    return np.stack([values[key] for key in keys])


def _call_metrics(
    matrix: Float[np.ndarray, "n_resamples c c"],
) -> dict[ClassMetric, Float[np.ndarray, " n_resamples"]]:
    values = {
        ClassMetric("mcc", OVER_ALL): mcc(matrix),
        ClassMetric("accuracy", OVER_ALL): accuracy(matrix),
        ClassMetric("balanced_accuracy", OVER_ALL): balanced_accuracy(matrix),
    }
    for index in range(matrix.shape[1]):
        against_rest = _against_rest(matrix, index)
        values[ClassMetric("f1", index)] = f1(matrix, index)
        values[ClassMetric("mcc", index)] = mcc(against_rest)
        values[ClassMetric("accuracy", index)] = accuracy(against_rest)
        values[ClassMetric("balanced_accuracy", index)] = balanced_accuracy(against_rest)
    return values


def _against_rest(
    matrix: Float[np.ndarray, "n_resamples c c"], index: int
) -> Float[np.ndarray, "n_resamples 2 2"]:
    hits = matrix[:, index, index]
    missed = matrix[:, index].sum(axis=1) - hits
    wrong = matrix[:, :, index].sum(axis=1) - hits
    rest = matrix.sum(axis=(1, 2)) - hits - missed - wrong
    return np.stack([np.stack([rest, wrong], axis=1), np.stack([missed, hits], axis=1)], axis=1)


def _ratio(
    above: Float[np.ndarray, "..."], below: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    """Divide; 0 where there is nothing to divide by."""
    quotient = np.zeros(np.shape(above))
    np.divide(above, below, out=quotient, where=below > 0)
    return quotient
