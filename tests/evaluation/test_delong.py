"""DeLong against brute force over all pairs of patients, and against MLstatkit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, norm
from sklearn.metrics import roc_auc_score
from statsmodels.stats.proportion import proportion_confint

from crosstype.evaluation.inference.delong import (
    LEAST_SHARE,
    auroc_difference,
    auroc_interval,
    class_auroc,
    macro_auroc,
    micro_auroc,
    newcombe_variance,
)

REFERENCE = Path(__file__).parent / "reference" / "paired.npz"


def kernel(cases: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return 1, a half or 0 for every pair of a case and another."""
    return (cases[:, None] > others) + 0.5 * (cases[:, None] == others)


def brute_covariance(positive: np.ndarray, models: list[np.ndarray]) -> np.ndarray:
    """Return DeLong's covariance from the matrices of all pairs, repeats averaged pair by pair."""
    pairs = [np.mean([kernel(r[positive], r[~positive]) for r in model], 0) for model in models]
    of_cases = np.cov([matrix.mean(axis=1) for matrix in pairs])
    of_others = np.cov([matrix.mean(axis=0) for matrix in pairs])
    return of_cases / positive.sum() + of_others / (~positive).sum()


def drawn(seed: int, n: int, n_repeats: int, levels: int):
    generator = np.random.default_rng(seed)
    positive = np.append([True, True, False, False], generator.random(n) < 0.4)
    models = [generator.normal(size=(n_repeats, n + 4)) + 0.7 * positive for _ in range(2)]
    if levels:
        models = [np.round(one * levels) for one in models]
    return positive, models


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(2, 60),
    n_repeats=st.integers(1, 3),
    levels=st.sampled_from([0, 1, 3]),
)
def test_variance_and_covariance_equal_brute_force(seed, n, n_repeats, levels):
    positive, models = drawn(seed, n, n_repeats, levels)
    first, second = (class_auroc(positive, one) for one in models)
    expected = brute_covariance(positive, models)
    assert first.variance == pytest.approx(expected[0, 0], abs=1e-9)
    assert (first.influence * second.influence).sum() == pytest.approx(expected[0, 1], abs=1e-9)
    values = [roc_auc_score(positive, one) for one in models[0]]
    assert first.value == pytest.approx(np.mean(values), abs=1e-9)
    u = mannwhitneyu(models[0][0][positive], models[0][0][~positive]).statistic
    assert values[0] == pytest.approx(u / positive.sum() / (~positive).sum(), abs=1e-9)


def test_values_are_mlstatkits():
    held = np.load(REFERENCE)
    positive = held["label"] == 1
    first, second = (class_auroc(positive, held[name][None]) for name in ("a", "b"))
    assert [first.value, second.value] == pytest.approx(held["delong_auroc"], abs=1e-9)
    assert [first.variance, second.variance] == pytest.approx(held["delong_variance"], abs=1e-9)
    found = auroc_difference(first, second, 0.95)
    # MLstatkit subtracts the first from the second.
    assert found.statistic == pytest.approx(-held["delong_z"], abs=1e-9)
    assert found.p == pytest.approx(float(held["delong_p"]), abs=1e-9)
    error = found.difference / found.statistic
    assert found.interval.high - found.difference == pytest.approx(norm.ppf(0.975) * error)


def test_where_pairs_in_the_wrong_order_abound_the_interval_is_delongs_on_the_logit_scale():
    positive, (one, _) = drawn(0, 400, 1, 0)
    auroc = class_auroc(positive, one)
    low, high = auroc_interval(auroc, 0.95)
    logit = np.log(auroc.value / (1 - auroc.value))
    reach = norm.ppf(0.975) * np.sqrt(auroc.variance) / (auroc.value * (1 - auroc.value))
    ends = 1 / (1 + np.exp(-logit - np.array([-reach, reach])))
    assert (low, high) == pytest.approx(tuple(ends), abs=1e-9)


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("sizes", [(28, 63), (1, 1), (3, 400)])
def test_at_the_ends_the_interval_is_one_sided_and_not_empty(value, sizes):
    positive = np.repeat([True, False], sizes)
    auroc = class_auroc(positive, (positive == bool(value))[None].astype(float))
    assert auroc.value == value
    assert auroc.variance == 0.0
    low, high = auroc_interval(auroc, 0.95)
    assert 0.0 <= low < high <= 1.0
    assert value in (low, high)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(0, 40), shift=st.floats(-4, 4))
def test_intervals_hold_the_value_mirror_and_widen_with_the_level(seed, n, shift):
    generator = np.random.default_rng(seed)
    positive = np.append([True, False], generator.random(n) < 0.4)
    said = generator.normal(size=(1, n + 2)) + shift * positive
    auroc, mirrored = class_auroc(positive, said), class_auroc(positive, -said)
    narrow, wide = auroc_interval(auroc, 0.8), auroc_interval(auroc, 0.99)
    assert 0 <= wide.low <= narrow.low <= auroc.value <= narrow.high <= wide.high <= 1
    other = auroc_interval(mirrored, 0.8)
    assert (1 - other.high, 1 - other.low) == pytest.approx(tuple(narrow), abs=1e-6)


def test_newcombes_variance_by_hand_and_against_a_share():
    # Newcombe 2006, method 5, written out for 3 cases and 5 others at 0.8: N* = 3.
    by_hand = 0.8 * 0.2 * (1 + 3 * 0.2 / 1.2 + 3 * 0.8 / 1.8) / 15
    assert newcombe_variance(0.8, [(3, 5)]) == pytest.approx(by_hand, abs=1e-12)
    # With one case and one other patient an AUROC is a share of one pair.
    auroc = class_auroc(np.array([True, False]), np.array([[1.0, 0.0]]))
    assert newcombe_variance(0.3, [(1, 1)]) == pytest.approx(0.3 * 0.7)
    # Wilson's interval of 1 of 1, with z^2 times LEAST_SHARE.
    level = 2 * norm.cdf(np.sqrt(LEAST_SHARE) * norm.ppf(0.975)) - 1
    low, high = proportion_confint(1, 1, alpha=1 - level, method="wilson")
    assert auroc_interval(auroc, 0.95) == pytest.approx((low, high), abs=1e-9)


def test_macro_of_two_classes_is_either_class():
    positive, (one, _) = drawn(3, 50, 2, 0)
    classes = [class_auroc(positive, one), class_auroc(~positive, -one)]
    macro = macro_auroc(classes)
    assert macro.value == pytest.approx(classes[0].value)
    assert macro.variance == pytest.approx(classes[0].variance)
    assert auroc_interval(macro, 0.95) == pytest.approx(auroc_interval(classes[0], 0.95))


def test_macro_and_micro_are_scikit_learns_and_their_variances_the_jackknifes():
    generator = np.random.default_rng(4)
    labels = np.arange(240) % 3
    raw = generator.random((1, 240, 3)) + 0.5 * np.eye(3)[labels]
    said = raw / raw.sum(axis=2, keepdims=True)
    found = {
        "macro": macro_auroc([class_auroc(labels == k, said[:, :, k]) for k in range(3)]),
        "micro": micro_auroc(labels, said),
    }
    for average, auroc in found.items():
        own = np.eye(3)[labels]
        value = roc_auc_score(own, said[0], average=average)
        assert auroc.value == pytest.approx(value, abs=1e-9)
        without = [
            roc_auc_score(np.delete(own, i, 0), np.delete(said[0], i, 0), average=average)
            for i in range(240)
        ]
        jackknife = 239 / 240 * np.sum((without - np.mean(without)) ** 2)
        assert auroc.variance == pytest.approx(jackknife, rel=0.03)


def test_no_difference_and_a_difference_without_spread():
    positive = np.repeat([True, False], [5, 7])
    perfect, reversed_ = (class_auroc(positive, s * positive[None].astype(float)) for s in (1, -1))
    same = auroc_difference(perfect, perfect, 0.95)
    assert (same.difference, same.statistic, same.p, *same.interval) == (0, 0, 1, 0, 0)
    unlabelled = auroc_difference(perfect, reversed_, 0.95)
    assert unlabelled.difference == 1.0
    assert 0 < unlabelled.p < 0.01
    assert unlabelled.interval.low > 0
    assert unlabelled.interval.high == 1.0
