"""How sure an AUROC is, from each patient's share in it; nothing is drawn.

A case's placement is the share of other patients below it, another patient's the share of cases
above it (ties count half). The AUROC is the mean of the cases' placements, and the spread of both
kinds of placements is its variance (DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44:837).

Over repeats a patient's placements are averaged: the mean AUROC over repeats of the same patients
is a mean of U-statistics over the same patients, whose influence values are the averages.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from crosstype.evaluation.inference.bootstrap import Interval

LEAST_SHARE = 0.7
"""Share of Newcombe's variance below which an AUROC's variance is not believed. Measured: with all
of it, intervals cover 97% and more at 0.9 already; with half of it, 90% where few cases lie low."""


@dataclass(frozen=True)
class Auroc:
    """An AUROC, mean over repeats, and what each patient contributes to its chance.

    Attributes:
        value: 0 to 1; 0.5 is guessing, higher is better.
        influence: of each patient, (n_patients,); their squares sum to the variance, and the
            products of two models' sum to the covariance.
        sizes: cases and others of each class behind it.
    """

    value: float
    influence: Float[np.ndarray, " n_patients"]
    sizes: tuple[tuple[int, int], ...]

    @property
    def variance(self) -> float:
        """DeLong's variance; 0 where no case ranks below another patient."""
        return float((self.influence**2).sum())


@dataclass(frozen=True)
class AurocDifference:
    """A paired difference of two AUROCs on the same patients.

    Attributes:
        difference: the first minus the second.
        interval: of the difference, from the same covariance as the test.
        statistic: the difference by its standard error; 0 without a difference.
        p: two-sided.
    """

    difference: float
    interval: Interval
    statistic: float
    p: float


def placements(
    positive: Bool[np.ndarray, " n_patients"],
    probability: Float[np.ndarray, "n_repeats n_patients"],
) -> Float[np.ndarray, "n_repeats n_patients"]:
    """Return each patient's placement among those of the other kind, ties counted half.

    Args:
        positive: whether each patient belongs to the class; both kinds must be there.
        probability: of the class.
    """
    n_cases = int(positive.sum())
    among_all = rankdata(probability, axis=1)
    found = np.empty(probability.shape)
    own = rankdata(probability[:, positive], axis=1)
    found[:, positive] = (among_all[:, positive] - own) / (len(positive) - n_cases)
    own = rankdata(probability[:, ~positive], axis=1)
    found[:, ~positive] = 1 - (among_all[:, ~positive] - own) / n_cases
    return found


def class_auroc(
    positive: Bool[np.ndarray, " n_patients"],
    probability: Float[np.ndarray, "n_repeats n_patients"],
) -> Auroc:
    """Return the AUROC of a class against the rest, mean over repeats."""
    placed = placements(positive, probability).mean(axis=0)
    value = float(placed[positive].mean())
    influence = np.zeros(len(positive))
    for kind in (positive, ~positive):
        n = int(kind.sum())
        # A single patient of a kind shows no spread of it.
        influence[kind] = (placed[kind] - value) / math.sqrt(n * max(n - 1, 1))
    n_cases = int(positive.sum())
    return Auroc(value, influence, ((n_cases, len(positive) - n_cases),))


def macro_auroc(of_classes: Sequence[Auroc]) -> Auroc:
    """Return the mean AUROC of several classes: values and influences are averaged."""
    return Auroc(
        float(np.mean([one.value for one in of_classes])),
        np.mean([one.influence for one in of_classes], axis=0),
        tuple(size for one in of_classes for size in one.sizes),
    )


def micro_auroc(
    labels: Int[np.ndarray, " n_patients"],
    probability: Float[np.ndarray, "n_repeats n_patients n_classes"],
) -> Auroc:
    """Return the AUROC of all pairs of patient and class, ranked together.

    A patient is a case in its own class and another in the others; its placements are summed, as
    for clustered data (Obuchowski 1997, Biometrics 53:567).
    """
    n_patients, n_classes = probability.shape[1:]
    own = np.eye(n_classes, dtype=bool)[labels]
    flat = probability.reshape(len(probability), -1)
    placed = placements(own.ravel(), flat).mean(axis=0).reshape(own.shape)
    value = float(placed[own].mean())
    together = placed[own] - value + (placed - value).sum(axis=1, where=~own) / (n_classes - 1)
    influence = together / math.sqrt(n_patients * (n_patients - 1))
    return Auroc(value, influence, ((n_patients, n_patients * (n_classes - 1)),))


def newcombe_variance(value: float, sizes: Sequence[tuple[int, int]]) -> float:
    """Return the variance that an AUROC of this value has by Newcombe's rule.

    Hanley & McNeil's variance with both kinds' numbers made alike (Newcombe 2006, Statistics in
    Medicine 25:559, method 5). Of several classes: their mean standard error, squared, which is
    what it would be if they rose and fell together.
    """
    errors = []
    for n_cases, n_others in sizes:
        more = (n_cases + n_others) / 2 - 1
        spread = 1 + more * (1 - value) / (2 - value) + more * value / (1 + value)
        errors.append(math.sqrt(max(value * (1 - value) * spread / (n_cases * n_others), 0.0)))
    return float(np.mean(errors)) ** 2


def auroc_interval(auroc: Auroc, confidence: float) -> Interval:
    """Return an interval that holds its level up to an AUROC of 1.

    The wider end, on each side, of two: DeLong's variance on the logit scale (Pepe 2003, section
    5.2), and Newcombe's method 5 solved for the AUROC, as Wilson solves for a share, with
    `LEAST_SHARE` of its variance. The first holds its level where many pairs of patients are in
    the wrong order; near 1 it collapses (to nothing at 1), and there the second is the wider.
    """
    z = float(ndtri(1 - (1 - confidence) / 2))
    low, high = _newcombe_ends(auroc, z)
    value = auroc.value
    if 0 < value < 1:
        logit = math.log(value / (1 - value))
        reach = z * math.sqrt(auroc.variance) / (value * (1 - value))
        low = min(low, 1 / (1 + math.exp(min(reach - logit, 700.0))))
        high = max(high, 1 / (1 + math.exp(-reach - logit)))
    return Interval(low, high)


def _newcombe_ends(auroc: Auroc, z: float) -> tuple[float, float]:
    """Return the AUROCs on both sides from which this one is just z standard errors away."""
    near = 1e-12

    def excess(other: float) -> float:
        variance = LEAST_SHARE * newcombe_variance(other, auroc.sizes)
        return abs(auroc.value - other) - z * math.sqrt(variance)

    inside = min(max(auroc.value, near), 1 - near)
    low = 0.0 if auroc.value <= near else float(brentq(excess, 0.0, inside))
    high = 1.0 if auroc.value >= 1 - near else float(brentq(excess, inside, 1.0))
    return low, high


def auroc_difference(first: Auroc, second: Auroc, confidence: float) -> AurocDifference:
    """Compare two models' AUROCs on the same patients (DeLong 1988).

    Where every placement differs by the same number DeLong's variance is 0: without a difference
    p is 1; with one, the variance is that of two independent AUROCs by Newcombe's rule.
    """
    gap = first.value - second.value
    variance = float(((first.influence - second.influence) ** 2).sum())
    if variance < 1e-24:
        if abs(gap) < 1e-12:
            return AurocDifference(0.0, Interval(0.0, 0.0), 0.0, 1.0)
        inner = [1 / (a * b + 1) for one in (first, second) for a, b in one.sizes]
        middle = min(max((first.value + second.value) / 2, min(inner)), 1 - min(inner))
        variance = sum(newcombe_variance(middle, one.sizes) for one in (first, second))
    error = math.sqrt(variance)
    reach = float(ndtri(1 - (1 - confidence) / 2)) * error
    ends = Interval(max(-1.0, gap - reach), min(1.0, gap + reach))
    return AurocDifference(gap, ends, gap / error, 2 * float(ndtr(-abs(gap) / error)))
