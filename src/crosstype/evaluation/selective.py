"""Selective prediction: accuracy on the patients of highest confidence.

A patient's confidence is the highest of their probabilities. Everything is computed from the
predictions alone.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from crosstype.evaluation.inference.bootstrap import percentile_interval
from crosstype.evaluation.metrics.confusion import confusion_matrix, f1
from crosstype.evaluation.metrics.ranking import running_sum
from crosstype.evaluation.predictions import Predictions
from crosstype.evaluation.spec import EvaluationSpec
from crosstype.io import schema

COVERAGES = tuple(share / 100 for share in range(100, 45, -5))
"""Shares of the patients for whom a class is predicted, the most confident first."""


Weights = Float[np.ndarray, "n_patients n_resamples"]
Resampled = Float[np.ndarray, " n_resamples"]


class Called(NamedTuple):
    """Predicted classes of a model in one repeat, the most confident patient first.

    Attributes:
        labels: true classes.
        predicted: predicted classes, by the fitted thresholds.
        confidence: highest probability of each patient, falling.
        order: positions of the patients in the predictions.
        group: number of each group of equally confident patients, from 0.
    """

    labels: Int[np.ndarray, " n_patients"]
    predicted: Int[np.ndarray, " n_patients"]
    confidence: Float[np.ndarray, " n_patients"]
    order: Int[np.ndarray, " n_patients"]
    group: Int[np.ndarray, " n_patients"]


def coverage_rows(
    predictions: Predictions,
    weight_blocks: Sequence[Float[np.ndarray, "n_patients _"]],
    spec: EvaluationSpec,
) -> pl.DataFrame:
    """Return the coverage-accuracy curve of every model, with intervals, as coverage.csv has it.

    Rows of rule `share` cover that share of the patients; the row of rule `confidence` covers those
    of at least `abstain_below`, unless that is 0. The area under the risk-coverage curve (`aurc`)
    is the same in every row of a model. Values are means over repeats.

    Args:
        predictions: of all models.
        weight_blocks: how often each patient counts in each resample; the first column is ones.
        spec: level of the intervals and `abstain_below`.
    """
    rows: list[tuple[Any, ...]] = []
    n_classes = len(predictions.classes)
    for name, model in predictions.of_model.items():
        repeats = [
            called_by_confidence(predictions.labels, predicted, probability)
            for predicted, probability in zip(model.predicted, model.probability, strict=True)
        ]
        found: list[Float[np.ndarray, "n_values n_resamples"]] = [
            np.concatenate(
                [_values(one, weights, n_classes, spec.abstain_below) for weights in weight_blocks],
                axis=1,
            )
            for one in repeats
        ]
        known = [_with_interval(one, spec.confidence) for one in np.mean(found, axis=0)]
        for place, about in enumerate(_abouts(repeats, spec.abstain_below)):
            accuracy, macro_f1 = known[1 + 2 * place : 3 + 2 * place]
            rule, coverage, threshold, *counts = about
            row = (name, rule, coverage, threshold, *accuracy, *counts, *macro_f1, *known[0])
            rows.append(row)
    return schema.COVERAGE.frame(rows)


def called_by_confidence(
    labels: Int[np.ndarray, " n_patients"],
    predicted: Int[np.ndarray, " n_patients"],
    probability: Float[np.ndarray, "n_patients n_classes"],
) -> Called:
    """Return the calls of one repeat, the surest first."""
    confidence = probability.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    falls = np.diff(confidence[order]) != 0
    group = np.concatenate([[0], np.cumsum(falls)])
    return Called(labels[order], predicted[order], confidence[order], order, group)


def covered(called: Called, weights: Weights, counts: Sequence[int]) -> Iterator[Weights]:
    """Give how much each patient counts if only the surest `n` of each resample are covered.

    Equally confident patients are covered alike, in part if not all of them fit in.

    Args:
        called: the most confident patient first.
        weights: how often each counts, in that order.
        counts: patients to cover; one array is given for each.
    """
    ends = running_sum(weights)[_group_ends(called)]
    sizes = np.diff(ends, axis=0)
    for n in counts:
        room = n - ends[:-1]
        share = np.clip(room / np.maximum(sizes, 1e-9), 0.0, 1.0)
        yield np.asarray(weights * share[called.group])


def risk_coverage_area(called: Called, weights: Weights) -> Resampled:
    """Return the mean over k of the share of wrong calls among the k surest; lower is better.

    The area under the risk-coverage curve (Geifman & El-Yaniv 2017, arXiv 1705.08500). Among
    equally confident patients errors are spread evenly.
    """
    wrong = weights * (called.labels != called.predicted)[:, None]
    seen, errors = (running_sum(one)[_group_ends(called)] for one in (weights, wrong))
    counts = np.arange(1, len(called.labels) + 1)
    each = [
        (np.interp(counts, *pair) / counts).mean() for pair in zip(seen.T, errors.T, strict=True)
    ]
    return np.array(each)


def _group_ends(called: Called) -> Int[np.ndarray, " n_ends"]:
    """Return how many patients stand before each group, and then all of them."""
    return np.append(0, np.flatnonzero(np.append(np.diff(called.group) > 0, True)) + 1)


def _values(
    called: Called, weights: Weights, n_classes: int, least: float
) -> Float[np.ndarray, "n_values n_resamples"]:
    """Return the area, then accuracy and macro F1 at each coverage, then those above `least`."""
    own = weights[called.order]
    found = [risk_coverage_area(called, own)]
    kept = covered(called, own, [_n_covered(share, len(own)) for share in COVERAGES])
    sure = [own * (called.confidence >= least)[:, None]] if least else []
    for one in chain(kept, sure):
        found += _accuracy_and_macro_f1(
            confusion_matrix(called.labels, called.predicted, n_classes, one)
        )
    return np.stack(found)


def _accuracy_and_macro_f1(
    matrix: Float[np.ndarray, "n_resamples c c"],
) -> tuple[Resampled, Resampled]:
    """Return both, NaN without covered patients; classes without patients are not counted."""
    total = matrix.sum(axis=(1, 2))
    nobody = total <= 0
    accuracy = np.trace(matrix, axis1=1, axis2=2) / np.where(nobody, np.nan, total)
    present = (matrix.sum(axis=1) + matrix.sum(axis=2)) > 0
    each = np.stack([f1(matrix, index) for index in range(matrix.shape[1])], axis=1)
    n_present = np.where(nobody, np.nan, present.sum(axis=1))
    return accuracy, (each * present).sum(axis=1) / n_present


def _abouts(repeats: Sequence[Called], least: float) -> list[tuple[str, float, float, int, int]]:
    """Return rule, coverage, lowest confidence, number covered and abstained, in rows' order."""
    n_patients = len(repeats[0].labels)
    found = []
    for share in COVERAGES:
        n = _n_covered(share, n_patients)
        lowest = float(np.mean([one.confidence[n - 1] for one in repeats]))
        found.append(("share", share, lowest, n, n_patients - n))
    if least:
        sure = float(np.mean([(one.confidence >= least).sum() for one in repeats]))
        n = round(sure)
        found.append(("confidence", sure / n_patients, least, n, n_patients - n))
    return found


def _n_covered(share: float, n_patients: int) -> int:
    return math.ceil(share * n_patients - 1e-9)


def _with_interval(values: Resampled, confidence: float) -> tuple[float | None, ...]:
    """Return the value and the ends of its interval, over the resamples that have one."""
    known = values[1:][~np.isnan(values[1:])]
    if np.isnan(values[0]) or not len(known):
        return (None, None, None)
    return (float(values[0]), *percentile_interval(known, confidence))
