"""McNemar, the corrected t and permutations against published numbers and outside functions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, ttest_1samp
from scipy.stats import t as student
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, matthews_corrcoef
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from crosstype.evaluation.inference.bootstrap import bootstrap_p, two_sided_p
from crosstype.evaluation.inference.paired_tests import (
    corrected_resampled_t,
    draw_swaps,
    majority_right,
    mcnemar,
    permutation_p,
    swapped_differences,
)
from crosstype.evaluation.predictions import ModelPredictions


def split(only_a: int, only_b: int, both: int = 3):
    right_a = np.repeat([True, False, True], [only_a, only_b, both])
    right_b = np.repeat([False, True, True], [only_a, only_b, both])
    return right_a, right_b


def test_mcnemar_mid_p_is_the_published_one():
    # Fagerland, Lydersen & Laake 2013, airway hyper-responsiveness: 1 and 7 changed, mid-p 0.039.
    found = mcnemar(*split(1, 7))
    assert found.p == pytest.approx(0.0390625, abs=1e-12)
    assert found.statistic == pytest.approx(-6 / np.sqrt(8))


@given(only_a=st.integers(0, 40), only_b=st.integers(0, 40))
def test_mcnemar_against_statsmodels(only_a, only_b):
    found = mcnemar(*split(only_a, only_b))
    table = [[3, only_a], [only_b, 0]]
    n = only_a + only_b
    if not n:
        assert found == (0.0, 1.0)
        return
    exact = statsmodels_mcnemar(table, exact=True).pvalue
    if only_a != only_b:
        expected = exact - binom.pmf(min(only_a, only_b), n, 0.5)
        assert found.p == pytest.approx(expected, abs=1e-9)
    else:
        assert found.p == pytest.approx(1.0)
    plain = statsmodels_mcnemar(table, exact=False, correction=False).statistic
    assert found.statistic**2 == pytest.approx(plain, abs=1e-9)


def test_a_majority_of_calls_counts_and_probability_where_there_is_none():
    predicted = np.array([[0, 0, 1], [1, 0, 0]])
    said = np.array([[[0.9, 0.1], [0.6, 0.4], [0.4, 0.6]], [[0.4, 0.6], [0.7, 0.3], [0.7, 0.3]]])
    model = ModelPredictions(np.zeros((2, 3), dtype=int), predicted, said)
    # Patients 0 and 2 were called either once; their mean probabilities say 0.
    assert majority_right(np.array([0, 0, 1]), model).tolist() == [True, True, False]


def test_corrected_t_against_scipys_t():
    differences = np.random.default_rng(0).normal(0.02, 0.03, 15)
    plain = corrected_resampled_t(differences, 0.0)
    expected = ttest_1samp(differences, 0.0)
    assert (plain.statistic, plain.p) == pytest.approx((expected.statistic, expected.pvalue))
    # scikit-learn, "Statistical comparison of models using grid search": corrected_std and
    # compute_corrected_ttest with 4 training patients for each test patient.
    corrected = corrected_resampled_t(differences, 1 / 4)
    deviation = np.sqrt(np.var(differences, ddof=1) * (1 / 15 + 1 / 4))
    statistic = np.mean(differences) / deviation
    assert corrected.statistic == pytest.approx(statistic, abs=1e-9)
    assert corrected.p == pytest.approx(2 * student.sf(abs(statistic), 14), abs=1e-9)


def test_corrected_t_without_spread_or_folds():
    assert corrected_resampled_t(np.array([0.1]), 0.25) is None
    assert corrected_resampled_t(np.zeros(5), 0.25) == (0.0, 1.0)
    assert corrected_resampled_t(np.full(5, 0.5), 0.25).p == 0.0


def models(seed: int, n: int, n_classes: int, n_repeats: int):
    generator = np.random.default_rng(seed)
    labels = np.append(np.arange(n_classes), generator.integers(n_classes, size=n - n_classes))
    found = []
    for _ in range(2):
        raw = generator.random((n_repeats, n, n_classes)) + 0.4 * np.eye(n_classes)[labels]
        said = np.round(raw / raw.sum(axis=2, keepdims=True), 1)
        fold = np.zeros((n_repeats, n), dtype=int)
        found.append(ModelPredictions(fold, raw.argmax(axis=2), said))
    return labels, (found[0], found[1])


def ranks(values: np.ndarray) -> np.ndarray:
    """Return mean ranks, written out."""
    below = (values[:, None] > values).sum(axis=1)
    return below + ((values[:, None] == values).sum(axis=1) + 1) / 2


@pytest.mark.parametrize("n_classes", [2, 3])
def test_swapped_differences_are_scikit_learns_on_swapped_outputs(n_classes):
    labels, pair = models(n_classes, 40, n_classes, 2)
    swaps = draw_swaps(40, seed=1, n_permutations=5)
    classes = tuple("abc"[:n_classes])
    found = swapped_differences(labels, pair, classes, swaps)
    shown = [1] if n_classes == 2 else [0, 1, 2]
    average = {"average": "binary"} if n_classes == 2 else {"average": "macro"}
    for place in range(6):
        swapped = swaps[:, place] == 1
        expected = {name: [] for name in found}
        for repeat in range(2):
            calls = [one.predicted[repeat] for one in pair]
            said = [
                np.stack([ranks(one.probability[repeat, :, k]) for k in shown], 1) for one in pair
            ]
            if n_classes == 2 or place >= 0:
                calls = [np.where(swapped, calls[1 - k], calls[k]) for k in range(2)]
                said = [np.where(swapped[:, None], said[1 - k], said[k]) for k in range(2)]
            own = np.eye(n_classes)[labels][:, shown]
            each = {
                "f1": [f1_score(labels, one, **average) for one in calls],
                "mcc": [matthews_corrcoef(labels, one) for one in calls],
                "accuracy": [accuracy_score(labels, one) for one in calls],
                "pr_auc": [average_precision_score(own, one, average="macro") for one in said],
            }
            for name, (first, second) in each.items():
                expected[name].append(first - second)
        for name, values in expected.items():
            tolerance = 1e-6 if name == "pr_auc" else 1e-9  # the former is in single precision
            assert found[name][place] == pytest.approx(np.mean(values), abs=tolerance), name


def test_permutation_p_of_all_permutations_is_mcnemars_exact_one():
    # 2 and 6 patients only one model gets right: all 2^8 swaps, counted.
    values = [sum(signs) for signs in itertools.product([-1, 1], repeat=8)]
    found = permutation_p(np.array([4.0, *values]))
    exact = statsmodels_mcnemar([[0, 2], [6, 0]], exact=True).pvalue
    assert found == pytest.approx((exact * 256 + 1) / 257, abs=1e-12)


def test_nobody_is_swapped_first_and_half_are_in_the_others():
    swaps = draw_swaps(500, seed=3, n_permutations=40)
    assert not swaps[:, 0].any()
    assert swaps[:, 1:].mean() == pytest.approx(0.5, abs=0.02)
    assert np.array_equal(swaps, draw_swaps(500, seed=3, n_permutations=40))


def test_bootstrap_p_is_never_below_the_percentile_one():
    draws = np.random.default_rng(0).normal(0.1, 0.05, 999)
    assert bootstrap_p(np.append(0.1, draws)) >= two_sided_p(draws)
    assert bootstrap_p(np.zeros(100)) == 1.0
