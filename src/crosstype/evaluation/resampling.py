"""Metrics of a model on the cohort and on every resample of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from crosstype.evaluation.metrics import (
    OVER_ALL,
    OVER_PAIRS,
    ClassMetric,
    MetricKey,
    headline_key,
    measure,
    metric_keys,
)
from crosstype.evaluation.predictions import ModelPredictions, Predictions

FoldValues = Mapping[tuple[int, int], Mapping[MetricKey, float]]
"""By repeat and fold: the metrics that the fold's test patients have."""


@dataclass(frozen=True)
class FoldSummary:
    """A metric over the test sets of all folds of all repeats.

    Attributes:
        mean: mean over the folds; None without a fold that holds the class.
        sd: standard deviation over the folds (n - 1); None with fewer than two.
        n: folds behind them.
        n_skipped: folds left out because a class has no patient there.
    """

    mean: float | None
    sd: float | None
    n: int
    n_skipped: int


def resampled_metrics(
    predictions: Predictions,
    model: ModelPredictions,
    weight_blocks: Sequence[Float[np.ndarray, "n_patients _"]],
) -> dict[MetricKey, Float[np.ndarray, " n_resamples"]]:
    """Return each metric of the pooled out-of-fold predictions, averaged over repeats.

    All repeats of a patient are resampled together: repeats are no new patients.
    """
    keys = metric_keys(predictions.classes)
    places = [key.among(predictions.classes) for key in keys]
    return dict(
        zip(
            keys,
            _per_repeat(predictions, model, places, weight_blocks).mean(0),
            strict=True,
        )
    )


def headline_per_repeat(
    predictions: Predictions,
    model: ModelPredictions,
    metrics: Sequence[str],
    weight_blocks: Sequence[Float[np.ndarray, "n_patients _"]],
) -> Float[np.ndarray, "n_repeats n_metrics n_resamples"]:
    """Return the headline row of each metric, repeat by repeat and resample by resample."""
    keys = [headline_key(metric, predictions.classes) for metric in metrics]
    places = [key.among(predictions.classes) for key in keys]
    return _per_repeat(predictions, model, places, weight_blocks)


def _per_repeat(
    predictions: Predictions,
    model: ModelPredictions,
    places: Sequence[ClassMetric],
    weight_blocks: Sequence[Float[np.ndarray, "n_patients _"]],
) -> Float[np.ndarray, "n_repeats n_places n_resamples"]:
    repeats = []
    for predicted, probability in zip(model.predicted, model.probability, strict=True):
        parts = [
            measure(predictions.labels, predicted, probability, weights, places)
            for weights in weight_blocks
        ]
        repeats.append(np.concatenate(parts, axis=1))
    return np.stack(repeats)


def fold_values(predictions: Predictions, model: ModelPredictions) -> FoldValues:
    """Return each metric on the test patients of each fold of each repeat.

    A fold without a patient of a class has no value for that class, nor any over all classes.
    """
    found = {}
    for repeat, folds in enumerate(model.fold):
        for fold in np.unique(folds).tolist():
            found[repeat, fold] = _fold_values(predictions, model, repeat, folds == fold)
    return found


def fold_summaries(values: FoldValues, classes: Sequence[str]) -> dict[MetricKey, FoldSummary]:
    """Return each metric's mean and standard deviation over test folds, as papers quote them.

    A fold without a patient of a class is counted as skipped.
    """
    return {
        key: _summary([one[key] for one in values.values() if key in one], len(values))
        for key in metric_keys(classes)
    }


def _fold_values(
    predictions: Predictions, model: ModelPredictions, repeat: int, members: np.ndarray
) -> dict[MetricKey, float]:
    labels = predictions.labels[members]
    n_classes = len(predictions.classes)
    counts = np.bincount(labels, minlength=n_classes)
    usable = {index for index in range(n_classes) if 0 < counts[index] < len(labels)}
    if len(usable) == n_classes:
        usable |= {OVER_ALL, OVER_PAIRS}
    keys = [
        key
        for key in metric_keys(predictions.classes)
        if key.among(predictions.classes).class_index in usable
    ]
    if not keys:
        return {}
    values = measure(
        labels,
        model.predicted[repeat, members],
        model.probability[repeat, members],
        np.ones((len(labels), 1)),
        [key.among(predictions.classes) for key in keys],
    )
    return dict(zip(keys, values[:, 0].tolist(), strict=True))


def _summary(values: Sequence[float], n_folds: int) -> FoldSummary:
    mean = float(np.mean(values)) if values else None
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return FoldSummary(mean, spread, len(values), n_folds - len(values))
