"""Tests of two models that need counts or values of folds only."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import stdtr
from scipy.stats import binom

from crosstype.evaluation.predictions import ModelPredictions


class Tested(NamedTuple):
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
    # Mean probabilities lie within 0 and 1: half of them never outweighs a vote.
    called = (votes + model.probability.mean(axis=0) / 2).argmax(axis=1)
    return np.asarray(called == labels)


def mcnemar(
    right_a: Bool[np.ndarray, " n_patients"], right_b: Bool[np.ndarray, " n_patients"]
) -> Tested:
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
        return Tested(0.0, 1.0)
    fewer = min(only_a, only_b)
    p = 2 * float(binom.cdf(fewer, n, 0.5)) - float(binom.pmf(fewer, n, 0.5))
    return Tested((only_a - only_b) / math.sqrt(n), min(1.0, p))


def corrected_resampled_t(
    differences: Float[np.ndarray, " n_folds"], test_to_train: float
) -> Tested | None:
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
        return Tested(0.0, 1.0) if abs(mean) < 1e-12 else Tested(math.copysign(math.inf, mean), 0.0)
    return Tested(mean / error, 2 * float(stdtr(n_folds - 1, -abs(mean) / error)))
