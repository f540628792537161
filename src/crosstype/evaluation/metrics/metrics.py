"""Metrics from weighted counts, so that one pass gives a value and all its resamples.

Every function takes `weights`, (n_patients, n_resamples): how often each patient counts in each
resample. A column of ones is the cohort as it is. Results have one number per resample.

    metric              definition                                              range, best
    f1                  harmonic mean of precision and recall of one class      0..1, 1
    mcc                 correlation of predictions and labels; 0 by chance      -1..1, 1
    pr_auc              precision averaged over recall; prevalence by chance    0..1, 1
    auroc               probability that a case ranks above a non-case          0..1, 1
    accuracy            share of correct predictions                            0..1, 1
    balanced_accuracy   mean recall over classes                                0..1, 1
    brier               mean squared error of the probability; lower is better  0..1, 0
    precision           share of a class's predictions that are correct         0..1, 1
    recall              share of a class that is found (sensitivity)            0..1, 1
    specificity         share of the others not predicted as the class          0..1, 1
    log_loss            mean -log of the truth's probability; lower is better   0.., 0
    ece                 mean distance of probabilities and shares, in bins      0..1, 0
    brier_...           parts of brier, which is reliability - resolution + uncertainty + within
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from crosstype.evaluation.metrics import confusion
from crosstype.evaluation.metrics.probability import BINNED, binned_metrics, brier, log_loss
from crosstype.evaluation.metrics.ranking import ranking_metrics
from crosstype.types import OVER_CLASSES

COUNTED = ("precision", "recall", "specificity")
METRICS = (
    *("f1", "mcc", "pr_auc", "auroc", "accuracy", "balanced_accuracy", "brier"),
    *(*COUNTED, "log_loss", *BINNED),
)
MACRO, MICRO, ALL = OVER_CLASSES
MACRO_METRICS = ("f1", "pr_auc", "auroc", "brier", *COUNTED, *BINNED)
MICRO_METRICS = ("f1", "pr_auc", "auroc", *COUNTED)
"""Of more than two classes only: of two, f1 is the accuracy and the others are redundant."""
ALL_METRICS = ("mcc", "accuracy", "balanced_accuracy", "log_loss")
RANKING = frozenset({"auroc", "pr_auc"})

OVER_ALL, OVER_PAIRS = -1, -2
"""Stand for the index of a class where a metric is about all classes (macro, all), or about all
pairs of patient and class (micro)."""

Values = dict["ClassMetric", Float[np.ndarray, " n_resamples"]]


class ClassMetric(NamedTuple):
    """A metric and the index of the class that it is about, `OVER_ALL` or `OVER_PAIRS`."""

    metric: str
    class_index: int


class MetricKey(NamedTuple):
    """A metric, and the class that it is about.

    Attributes:
        metric: one of `METRICS`.
        of: a class name (that class against the rest), `macro` (mean over classes), `micro` (all
            pairs of patient and class together) or `all` (one number over all classes).
    """

    metric: str
    of: str

    def among(self, classes: Sequence[str]) -> ClassMetric:
        """Return the metric with the index of its class."""
        if self.of in classes:
            return ClassMetric(self.metric, list(classes).index(self.of))
        return ClassMetric(self.metric, OVER_PAIRS if self.of == MICRO else OVER_ALL)


def metric_keys(classes: Sequence[str]) -> tuple[MetricKey, ...]:
    """Return every row of metrics.csv: each class against the rest, then macro, micro, all."""
    keys = [MetricKey(metric, name) for name in classes for metric in METRICS]
    keys += [MetricKey(metric, MACRO) for metric in MACRO_METRICS]
    if len(classes) > 2:
        keys += [MetricKey(metric, MICRO) for metric in MICRO_METRICS]
    return (*keys, *(MetricKey(metric, ALL) for metric in ALL_METRICS))


def headline_key(metric: str, classes: Sequence[str]) -> MetricKey:
    """Return the row meant by the metric's bare name.

    With two classes the second one's, the positive class; with more, `macro` or `all`.
    """
    if len(classes) == 2:
        return MetricKey(metric, classes[1])
    return MetricKey(metric, MACRO if metric in MACRO_METRICS else ALL)


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
        predicted: index of the predicted class of each patient.
        probability: probability of each class.
        weights: how often each patient counts in each resample.
        keys: what to measure; nothing else that takes long is computed.

    Returns:
        A row per key.
    """
    n_classes = probability.shape[1]
    values = prediction_metrics(confusion.confusion_matrix(labels, predicted, n_classes, weights))
    requested = {key.metric for key in keys}
    indices = {key.class_index for key in keys}
    for index in range(n_classes) if OVER_ALL in indices else sorted(indices - {OVER_PAIRS}):
        of_class = _probability_metrics(labels == index, probability[:, index], weights, requested)
        values |= {ClassMetric(metric, index): one for metric, one in of_class.items()}
    if ClassMetric("log_loss", OVER_ALL) in keys:
        of_truth = probability[np.arange(len(labels)), labels]
        values[ClassMetric("log_loss", OVER_ALL)] = log_loss(of_truth, weights)
    if OVER_PAIRS in indices and requested & RANKING:
        each = np.repeat(weights, n_classes, axis=0)
        own = np.eye(n_classes, dtype=bool)[labels].ravel()
        auroc, pr_auc = ranking_metrics(own, probability.ravel(), each)
        values[ClassMetric("auroc", OVER_PAIRS)] = auroc
        values[ClassMetric("pr_auc", OVER_PAIRS)] = pr_auc
    if OVER_ALL in indices:
        values |= _macro(values, [one for one in MACRO_METRICS if one in requested], n_classes)
    return np.stack([values[key] for key in keys])


def _probability_metrics(
    positive: np.ndarray, probability: np.ndarray, weights: np.ndarray, requested: set[str]
) -> dict[str, Float[np.ndarray, " n_resamples"]]:
    """Return the requested metrics of a class that need probabilities."""
    values: dict[str, Float[np.ndarray, " n_resamples"]] = {}
    if requested & RANKING:
        values |= ranking_metrics(positive, probability, weights)._asdict()
    if "brier" in requested:
        values["brier"] = brier(positive, probability, weights)
    if "log_loss" in requested:
        values["log_loss"] = log_loss(np.where(positive, probability, 1 - probability), weights)
    if requested & set(BINNED):
        values |= binned_metrics(positive, probability, weights)
    return values


def prediction_metrics(matrix: Float[np.ndarray, "n_resamples c c"]) -> Values:
    """Return every metric of predicted classes."""
    n_classes = matrix.shape[1]
    values = {
        ClassMetric("mcc", OVER_ALL): confusion.mcc(matrix),
        ClassMetric("accuracy", OVER_ALL): confusion.accuracy(matrix),
        ClassMetric("balanced_accuracy", OVER_ALL): confusion.balanced_accuracy(matrix),
    }
    pooled = confusion.micro_matrix(matrix)
    for name, metric in zip(
        ("f1", *COUNTED),
        (confusion.f1, confusion.precision, confusion.recall, confusion.specificity),
        strict=True,
    ):
        for index in range(n_classes):
            values[ClassMetric(name, index)] = metric(matrix, index)
        values[ClassMetric(name, OVER_PAIRS)] = metric(pooled, 1)
    for index in range(n_classes):
        one = confusion.against_rest(matrix, index)
        values[ClassMetric("mcc", index)] = confusion.mcc(one)
        values[ClassMetric("accuracy", index)] = confusion.accuracy(one)
        values[ClassMetric("balanced_accuracy", index)] = confusion.balanced_accuracy(one)
    return values | _macro(values, ("f1", *COUNTED), n_classes)


def _macro(values: Values, metrics: Sequence[str], n_classes: int) -> Values:
    return {
        ClassMetric(metric, OVER_ALL): np.mean(
            [values[ClassMetric(metric, index)] for index in range(n_classes)], axis=0
        )
        for metric in metrics
    }
