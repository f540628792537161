"""Calibration and proper scoring rules, from weighted counts; one number per resample.

Bins hold equally many patients: ten of them, cut at quantiles of the probabilities as they are, so
that no bin is empty; patients of equal probability share one. Equal-mass bins are less biased than
bins of equal width (Roelofs et al. 2022, AISTATS, arXiv 2012.08668). Resamples keep the bins.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import ndtri

from crosstype.evaluation.metrics.confusion import ratio

N_BINS = 10
BINNED = ("ece", "brier_reliability", "brier_resolution", "brier_uncertainty", "brier_within")
BIASED_UPWARDS = ("ece", "brier_reliability", "brier_resolution")
"""Noise in a bin's share adds to these, in the cohort and once more in each resample."""

Resampled = Float[np.ndarray, " n_resamples"]


def brier(
    positive: Bool[np.ndarray, " n_patients"],
    probability: Float[np.ndarray, " n_patients"],
    weights: Float[np.ndarray, "n_patients n_resamples"],
) -> Float[np.ndarray, " n_resamples"]:
    """Return the mean squared error of a class's probability (Brier 1950); lower is better."""
    errors = (probability - positive) ** 2
    return ratio(errors @ weights, weights.sum(axis=0))


def log_loss(
    of_truth: Float[np.ndarray, " n_patients"],
    weights: Float[np.ndarray, "n_patients n_resamples"],
) -> Float[np.ndarray, " n_resamples"]:
    """Return the mean of -log of the probability that was given to the truth; lower is better.

    Args:
        of_truth: probability of each patient's class; numbers below 2e-16 count as that.
        weights: how often each patient counts.
    """
    least = np.finfo(np.float64).eps
    return ratio(-np.log(np.clip(of_truth, least, 1 - least)) @ weights, weights.sum(axis=0))


def equal_mass_bins(
    probability: Float[np.ndarray, " n_patients"],
) -> Int[np.ndarray, " n_patients"]:
    """Return each patient's bin, 0 to `N_BINS` - 1; a bin may be empty where many are alike."""
    # Patients themselves are the limits: interpolated quantiles depend on the last digit.
    places = (len(probability) - 1) * np.arange(1, N_BINS) // N_BINS
    inner = np.sort(probability)[places]
    return np.searchsorted(inner, probability)


def binned_metrics(
    positive: Bool[np.ndarray, " n_patients"],
    probability: Float[np.ndarray, " n_patients"],
    weights: Float[np.ndarray, "n_patients n_resamples"],
) -> dict[str, Float[np.ndarray, " n_resamples"]]:
    """Return the expected calibration error and the parts of the Brier value, by name.

    The calibration error is the mean distance between a bin's mean probability and its share of the
    class, patients counted alike (Naeini et al. 2015); 0 is best. It is biased upwards.

    Brier = reliability - resolution + uncertainty (Murphy 1973) + within: the parts of bins, and
    what their width leaves, the variance of probabilities within bins less twice their covariance
    with the class (Stephenson, Coelho & Jolliffe 2008). Reliability: lower is better; resolution:
    higher is better; uncertainty: the class's share times the rest's, the same for all models.

    Args:
        positive: whether each patient belongs to the class.
        probability: of the class.
        weights: how often each patient counts.
    """
    member = np.eye(N_BINS)[equal_mass_bins(probability)]
    is_case = positive.astype(np.float64)
    columns = (np.ones(len(probability)), probability, is_case, probability**2)
    sums = [(member * one[:, None]).T @ weights for one in (*columns, probability * is_case)]
    counts, predicted, cases, squares, products = sums
    total = counts.sum(axis=0)
    mean, observed = ratio(predicted, counts), ratio(cases, counts)
    overall = ratio(cases.sum(axis=0), total)
    within = squares - counts * mean**2 - 2 * (products - counts * mean * observed)
    return {
        "ece": ratio((counts * np.abs(mean - observed)).sum(axis=0), total),
        "brier_reliability": ratio((counts * (mean - observed) ** 2).sum(axis=0), total),
        "brier_resolution": ratio((counts * (observed - overall) ** 2).sum(axis=0), total),
        "brier_uncertainty": overall * (1 - overall),
        "brier_within": ratio(within.sum(axis=0), total),
    }


def calibrated_error(
    probability: Float[np.ndarray, "n_repeats n_patients"], confidence: float
) -> float:
    """Return the calibration error that a model whose probabilities are true would seldom pass.

    Only noise then keeps shares from mean probabilities (Bröcker & Smith 2007, Weather and
    Forecasting 22:651). A bin's distance is about half-normal, with the variance of the bin's
    outcomes; the sum over bins is taken as normal. Mean over repeats.

    Args:
        probability: of the class.
        confidence: level of the two-sided interval to which this belongs.
    """
    z = float(ndtri(1 - (1 - confidence) / 2))
    limits = []
    for one in probability:
        spread = np.bincount(equal_mass_bins(one), one * (1 - one), N_BINS) / len(one) ** 2
        mean = np.sqrt(spread * 2 / np.pi).sum()
        limits.append(mean + z * np.sqrt((spread * (1 - 2 / np.pi)).sum()))
    return float(np.mean(limits))
