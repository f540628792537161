"""Made-up cohorts whose truth is known, and how often intervals and tests are right about it.

Shared by test_simulations.py and benchmarks/coverage.py. A cohort is binormal: a case's number is
normal around d, another patient's around 0, both with variance 1, so that the AUROC is
Phi(d / sqrt 2); the probability is the true one, given the number.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import norm

from crosstype.evaluation.inference.bootstrap import (
    draw_weights,
    fold_values,
    percentile_interval,
    reflected_interval,
    resampled_metrics,
)
from crosstype.evaluation.inference.compare import compared_pairs
from crosstype.evaluation.inference.delong import auroc_interval, class_auroc
from crosstype.evaluation.inference.paired_tests import (
    COMPARED,
    ResampledModel,
    draw_swaps,
    pair_tests,
)
from crosstype.evaluation.metrics.metrics import MetricKey, headline_key, measure
from crosstype.evaluation.metrics.probability import BIASED_UPWARDS, calibrated_error
from crosstype.evaluation.predictions import ModelPredictions, Predictions

CLASSES = ("other", "case")


def probability_of(raw: np.ndarray, auroc: float, share: float) -> np.ndarray:
    """Return the true probability of a case, given its number."""
    unlabelled = math.sqrt(2) * norm.ppf(auroc)
    return 1 / (1 + np.exp(-(unlabelled * raw - unlabelled**2 / 2 + math.log(share / (1 - share)))))


def binormal(
    generator: np.random.Generator, auroc: float, n_cases: int, n_others: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw labels (1: case) and true probabilities."""
    labels = np.repeat([1, 0], [n_cases, n_others])
    raw = generator.normal(size=len(labels)) + labels * math.sqrt(2) * norm.ppf(auroc)
    return labels, probability_of(raw, auroc, n_cases / len(labels))


def auroc_coverage(auroc: float, sizes: tuple[int, int], n_cohorts: int, seed: int = 0) -> float:
    """Return how often the default 95% interval of an AUROC holds the true one."""
    generator = np.random.default_rng(seed)
    held = 0
    for _ in range(n_cohorts):
        labels, said = binormal(generator, auroc, *sizes)
        low, high = auroc_interval(class_auroc(labels == 1, said[None]), 0.95)
        held += low <= auroc <= high
    return held / n_cohorts


def bootstrap_coverage(
    auroc: float,
    sizes: tuple[int, int],
    metrics: tuple[str, ...],
    n_cohorts: int,
    n_bootstrap: int = 500,
) -> dict[str, float]:
    """Return how often the 95% bootstrap interval of each metric holds its true value.

    The truth is that of half a million patients, but 0 for the calibration error and reliability.
    """
    generator = np.random.default_rng(1)
    keys = [MetricKey(metric, "case").among(CLASSES) for metric in metrics]
    scale = 500_000 // sum(sizes)
    labels, said = binormal(generator, auroc, sizes[0] * scale, sizes[1] * scale)
    truth = _measured(labels, said, np.ones((len(labels), 1)), keys)[:, 0]
    truth[[metric in {"ece", "brier_reliability"} for metric in metrics]] = 0.0
    held = np.zeros(len(metrics))
    for cohort in range(n_cohorts):
        labels, said = binormal(generator, auroc, *sizes)
        values = _measured(labels, said, draw_weights(labels, n_bootstrap, cohort), keys)
        for place, metric in enumerate(metrics):
            if metric in BIASED_UPWARDS:
                low, high = reflected_interval(values[place], 0.95)
                if metric == "ece" and values[place, 0] <= calibrated_error(said[None], 0.95):
                    low = 0.0
            else:
                low, high = percentile_interval(values[place, 1:], 0.95)
            held[place] += low <= truth[place] <= high
    return dict(zip(metrics, (held / n_cohorts).tolist(), strict=True))


def _measured(labels, said, weights, keys):
    both = np.stack([1 - said, said], axis=1)
    return measure(labels, (said > 0.5).astype(int), both, weights, keys)


def two_models(
    generator: np.random.Generator, auroc: float, sizes: tuple[int, int], n_repeats: int
) -> Predictions:
    """Draw two models as good as each other: half of their spread is the patients' own.

    With several repeats, a sixth of the spread is drawn anew in each.
    """
    labels = np.repeat([1, 0], sizes)
    n = len(labels)
    anew = 1 / 6 if n_repeats > 1 else 0.0
    shared = generator.normal(size=n) * math.sqrt(0.5)
    of_model = {}
    fold = np.stack([generator.permutation(n) % 5 for _ in range(n_repeats)])
    for name in ("gene_only", "late"):
        own = shared + generator.normal(size=n) * math.sqrt(0.5 - anew)
        raw = own + generator.normal(size=(n_repeats, n)) * math.sqrt(anew)
        raw += labels * math.sqrt(2) * norm.ppf(auroc)
        said = probability_of(raw, auroc, sizes[0] / n)
        both = np.stack([1 - said, said], axis=2)
        of_model[name] = ModelPredictions(fold, (said > 0.5).astype(int), both)
    ids = tuple(f"P{index:04d}" for index in range(n))
    return Predictions(CLASSES, ids, tuple(range(n_repeats)), labels, of_model)


def evaluated_models(predictions: Predictions, weights: np.ndarray) -> dict[str, ResampledModel]:
    """Return what the tests of pairs need of each model."""
    evaluated = {}
    for name, model in predictions.of_model.items():
        resampled = resampled_metrics(predictions, model, [weights])
        evaluated[name] = ResampledModel(
            model,
            {metric: resampled[headline_key(metric, CLASSES)] for metric in COMPARED},
            class_auroc(predictions.labels == 1, np.ascontiguousarray(model.probability[:, :, 1])),
            fold_values(predictions, model),
        )
    return evaluated


def type_one_errors(
    auroc: float,
    sizes: tuple[int, int],
    n_cohorts: int,
    n_repeats: int = 1,
    n_drawn: int = 400,
) -> dict[tuple[str, str], float]:
    """Return how often each test's p is at most 0.05, by metric and test, without a difference."""
    generator = np.random.default_rng(2)
    found: dict[tuple[str, str], int] = {}
    for cohort in range(n_cohorts):
        predictions = two_models(generator, auroc, sizes, n_repeats)
        evaluated = evaluated_models(predictions, draw_weights(predictions.labels, n_drawn, cohort))
        swaps = draw_swaps(len(predictions.labels), cohort, n_drawn)
        pairs = compared_pairs(evaluated)
        for row in pair_tests(predictions.labels, CLASSES, evaluated, pairs, swaps):
            key = (row.metric, row.test)
            found[key] = found.get(key, 0) + (row.p <= 0.05)
    return {key: count / n_cohorts for key, count in found.items()}
