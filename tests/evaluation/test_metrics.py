"""Metrics against scikit-learn, weights and ties included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binned_statistic
from sklearn import metrics as reference
from sklearn.calibration import calibration_curve

from crosstype.evaluation.metrics.confusion import balanced_accuracy, confusion_matrix, mcc
from crosstype.evaluation.metrics.metrics import headline_key, measure, metric_keys
from crosstype.evaluation.metrics.probability import binned_metrics, brier, equal_mass_bins
from crosstype.evaluation.metrics.ranking import ranking_metrics

TOLERANCE = 1e-9


def cohort(seed: int, n_patients: int = 60, n_classes: int = 2, levels: int = 0):
    """Random labels, probabilities (tied if `levels`), calls and resampling counts."""
    generator = np.random.default_rng(seed)
    labels = np.append(np.arange(n_classes), generator.integers(n_classes, size=n_patients))
    raw = generator.random((len(labels), n_classes)) + np.eye(n_classes)[labels]
    if levels:
        raw = np.round(raw * levels) + 1
    probability = raw / raw.sum(axis=1, keepdims=True)
    weights = generator.integers(0, 4, size=(len(labels), 3)).astype(float)
    weights[:n_classes] = 1.0
    return labels, probability, probability.argmax(axis=1), weights


@pytest.mark.parametrize("n_classes", [2, 3, 4])
@pytest.mark.parametrize("levels", [0, 2, 5])
def test_all_metrics_equal_scikit_learn(n_classes, levels):
    check_metrics(n_classes, n_classes, levels)


@pytest.mark.long
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), n_classes=st.integers(2, 4), levels=st.sampled_from([0, 2, 5]))
def test_all_metrics_of_any_cohort_equal_scikit_learn(seed, n_classes, levels):
    check_metrics(seed, n_classes, levels)


def check_metrics(seed, n_classes, levels):
    labels, probability, predicted, weights = cohort(seed, 60, n_classes, levels)
    classes = [f"c{index}" for index in range(n_classes)]
    keys = metric_keys(classes)
    found = measure(labels, predicted, probability, weights, [key.among(classes) for key in keys])
    for column, sample_weight in enumerate(weights.T):
        values = {key: float(row[column]) for key, row in zip(keys, found, strict=True)}
        expected = sklearn_values(labels, probability, predicted, sample_weight, classes)
        assert set(expected) == {tuple(key) for key in keys}
        for key, value in expected.items():
            assert values[key] == pytest.approx(value, abs=TOLERANCE), key


def sklearn_values(labels, probability, predicted, sample_weight, classes):
    w = {"sample_weight": sample_weight}
    values = {}
    for index, name in enumerate(classes):
        truth, said, call = labels == index, probability[:, index], predicted == index
        values |= {(key, name): value for key, value in call_values(truth, call, w).items()}
        values["mcc", name] = reference.matthews_corrcoef(truth, call, **w)
        values["pr_auc", name] = reference.average_precision_score(truth, said, **w)
        values["auroc", name] = reference.roc_auc_score(truth, said, **w)
        values["accuracy", name] = reference.accuracy_score(truth, call, **w)
        values["balanced_accuracy", name] = reference.balanced_accuracy_score(truth, call, **w)
        values["brier", name] = reference.brier_score_loss(truth, said, **w)
        values["log_loss", name] = reference.log_loss(truth, said, **w)
        binned = binned_values(truth, said, sample_weight)
        values |= {(key, name): value for key, value in binned.items()}
    means = [key for key, name in values if name == classes[0]]
    for metric in set(means) - {"mcc", "accuracy", "balanced_accuracy", "log_loss"}:
        values[metric, "macro"] = np.mean([values[metric, name] for name in classes])
    if len(classes) > 2:
        own, called = np.eye(len(classes))[labels], np.eye(len(classes))[predicted]
        flat = {"sample_weight": np.repeat(sample_weight, len(classes))}
        pooled = call_values(own.ravel(), called.ravel(), flat)
        values |= {(key, "micro"): value for key, value in pooled.items()}
        values["auroc", "micro"] = reference.roc_auc_score(own, probability, average="micro", **w)
        values["pr_auc", "micro"] = reference.average_precision_score(
            own, probability, average="micro", **w
        )
        micro = reference.f1_score(labels, predicted, average="micro", **w)
        assert values["f1", "micro"] == pytest.approx(micro)
    values["mcc", "all"] = reference.matthews_corrcoef(labels, predicted, **w)
    values["accuracy", "all"] = reference.accuracy_score(labels, predicted, **w)
    values["balanced_accuracy", "all"] = reference.balanced_accuracy_score(labels, predicted, **w)
    values["log_loss", "all"] = reference.log_loss(labels, probability, **w)
    return values


def call_values(truth, call, w):
    return {
        "f1": reference.f1_score(truth, call, **w),
        "precision": reference.precision_score(truth, call, zero_division=0, **w),
        "recall": reference.recall_score(truth, call, **w),
        "specificity": reference.recall_score(truth, call, pos_label=0, **w),
    }


def binned_values(truth, said, sample_weight):
    """Murphy's parts and the calibration error from means that SciPy takes in NumPy's bins."""
    repeated = np.repeat(np.arange(len(truth)), sample_weight.astype(int))
    # Right-closed bins between quantiles, as `sklearn.calibration.calibration_curve` has them.
    edges = np.quantile(said, np.linspace(0, 1, 11))
    number = np.searchsorted(edges[1:-1], said)[repeated]
    y, p = truth[repeated].astype(float), said[repeated]

    def by_bin(values, statistic):
        return binned_statistic(number, values, statistic, bins=np.arange(11) - 0.5).statistic

    n = by_bin(y, "count")
    there = n > 0
    share = n[there] / len(y)
    said_mean, seen = (by_bin(values, "mean")[there] for values in (p, y))
    within = sum(
        share_of
        * (
            np.var(p[number == bin_])
            - 2 * np.cov(p[number == bin_], y[number == bin_], bias=True)[0, 1]
        )
        for share_of, bin_ in zip(share, np.flatnonzero(there), strict=True)
    )
    return {
        "ece": (share * np.abs(said_mean - seen)).sum(),
        "brier_reliability": (share * (said_mean - seen) ** 2).sum(),
        "brier_resolution": (share * (seen - y.mean()) ** 2).sum(),
        "brier_uncertainty": np.var(y),
        "brier_within": within,
    }


@pytest.mark.parametrize("levels", [0, 3])
def test_bins_are_scikit_learns_and_parts_sum_to_brier(levels):
    labels, probability, _, weights = cohort(5, 90, levels=levels)
    said, ones = probability[:, 1], np.ones((len(labels), 1))
    parts = binned_metrics(labels == 1, said, ones)
    seen, mean = calibration_curve(labels == 1, said, n_bins=10, strategy="quantile")
    bins = equal_mass_bins(said)
    n = np.bincount(bins)[np.unique(bins)]
    assert parts["ece"][0] == pytest.approx((n * np.abs(seen - mean)).sum() / n.sum(), abs=1e-9)
    for column in (ones, weights):
        parts = binned_metrics(labels == 1, said, column)
        total = parts["brier_reliability"] - parts["brier_resolution"]
        total += parts["brier_uncertainty"] + parts["brier_within"]
        expected = [
            reference.brier_score_loss(labels == 1, said, sample_weight=one) for one in column.T
        ]
        np.testing.assert_allclose(total, expected, rtol=0, atol=1e-12)


def test_integer_weights_are_repeated_patients():
    labels, probability, _, weights = cohort(3, levels=3)
    counts = weights[:, 0].astype(int)
    once = ranking_metrics(labels == 1, probability[:, 1], weights[:, :1])
    repeated = np.repeat(np.arange(len(labels)), counts)
    again = ranking_metrics(
        labels[repeated] == 1, probability[repeated, 1], np.ones((len(repeated), 1))
    )
    assert once.auroc[0] == pytest.approx(again.auroc[0], abs=TOLERANCE)
    assert once.pr_auc[0] == pytest.approx(again.pr_auc[0], abs=TOLERANCE)


def test_perfect_model_reaches_every_bound():
    labels = np.array([0, 0, 1, 1, 1])
    probability = np.eye(2)[labels]
    ones = np.ones((5, 1))
    ranking = ranking_metrics(labels == 1, probability[:, 1], ones)
    assert (ranking.auroc[0], ranking.pr_auc[0]) == (1.0, 1.0)
    assert brier(labels == 1, probability[:, 1], ones)[0] == 0.0
    assert mcc(confusion_matrix(labels, labels, 2))[0] == 1.0


def test_all_tied_model_guesses():
    labels = np.array([0, 0, 0, 1])
    ranking = ranking_metrics(labels == 1, np.full(4, 0.3), np.ones((4, 1)))
    assert (ranking.auroc[0], ranking.pr_auc[0]) == (0.5, 0.25)
    one_class = confusion_matrix(labels, np.zeros(4, dtype=int), 2)
    assert mcc(one_class)[0] == 0.0
    assert balanced_accuracy(one_class)[0] == 0.5


def test_confusion_matrix_has_truth_in_rows():
    matrix = confusion_matrix(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0]), 3)
    assert matrix[0].tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]


@pytest.mark.parametrize(("classes", "expected"), [(["a", "b"], "b"), (["a", "b", "c"], "macro")])
def test_headline_is_the_positive_class_or_macro(classes, expected):
    assert headline_key("f1", classes) == ("f1", expected)
    assert headline_key("accuracy", ["a", "b", "c"]) == ("accuracy", "all")
