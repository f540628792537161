"""Metrics against scikit-learn, weights and ties included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from crosstype.evaluation.calls import balanced_accuracy, confusion_matrix, mcc
from crosstype.evaluation.metrics import headline_key, measure, metric_keys
from crosstype.evaluation.probabilities import brier
from crosstype.evaluation.ranking import ranking_metrics

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


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), n_classes=st.integers(2, 4), levels=st.sampled_from([0, 2, 5]))
def test_all_metrics_equal_scikit_learn(seed, n_classes, levels):
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
        truth, score, call = labels == index, probability[:, index], predicted == index
        values["f1", name] = reference.f1_score(truth, call, **w)
        values["mcc", name] = reference.matthews_corrcoef(truth, call, **w)
        values["pr_auc", name] = reference.average_precision_score(truth, score, **w)
        values["auroc", name] = reference.roc_auc_score(truth, score, **w)
        values["accuracy", name] = reference.accuracy_score(truth, call, **w)
        values["balanced_accuracy", name] = reference.balanced_accuracy_score(truth, call, **w)
        values["brier", name] = reference.brier_score_loss(truth, score, **w)
    for metric in ("f1", "pr_auc", "auroc", "brier"):
        values[metric, "macro"] = np.mean([values[metric, name] for name in classes])
    values["mcc", "all"] = reference.matthews_corrcoef(labels, predicted, **w)
    values["accuracy", "all"] = reference.accuracy_score(labels, predicted, **w)
    values["balanced_accuracy", "all"] = reference.balanced_accuracy_score(labels, predicted, **w)
    return values


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
