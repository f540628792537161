"""Cohorts whose truth is known: how often intervals hold it, how often tests see what is not there.

A few cohorts with wide limits always; 2,000 cohorts and the limits that docs/statistics.md states
with `make long`.
"""

from __future__ import annotations

import pytest

from .simulated import auroc_coverage, bootstrap_coverage, type_one_errors

FEW, MANY = 60, 2000
LEVELS = [(auroc, sizes) for auroc in (0.75, 0.8, 0.85, 0.9) for sizes in ((52, 148), (100, 100))]
NEAR_ONE = [(0.97, (28, 63)), (0.99, (28, 63)), (0.995, (28, 63)), (0.99, (52, 148))]
NULLS = [
    (0.85, (28, 63), 1),
    (0.97, (28, 63), 1),
    (0.85, (28, 63), 3),
    (0.85, (52, 148), 1),
]
BOOTSTRAPPED = ("f1", "mcc", "pr_auc")


def test_auroc_intervals_roughly_hold_their_level():
    assert 0.90 <= auroc_coverage(*LEVELS[0], FEW) <= 0.99


def test_auroc_intervals_do_not_collapse_near_one():
    assert auroc_coverage(*NEAR_ONE[2], FEW) >= 0.92


def test_bootstrap_intervals_roughly_hold_their_level():
    found = bootstrap_coverage(0.9, (52, 148), (*BOOTSTRAPPED, "brier", "ece"), FEW, 100)
    assert all(0.88 <= share <= 1.0 for share in found.values()), found


def test_tests_seldom_see_what_is_not_there():
    found = type_one_errors(0.85, (28, 63), FEW // 2, n_drawn=100)
    assert all(share <= 0.2 for share in found.values()), found


@pytest.mark.long
@pytest.mark.parametrize(("auroc", "sizes"), [*LEVELS, (0.8, (206, 585)), (0.9, (206, 585))])
def test_auroc_intervals_hold_their_level(auroc, sizes):
    assert 0.93 <= auroc_coverage(auroc, sizes, MANY) <= 0.97


@pytest.mark.long
@pytest.mark.parametrize(("auroc", "sizes"), NEAR_ONE)
def test_auroc_intervals_hold_their_level_near_one(auroc, sizes):
    assert auroc_coverage(auroc, sizes, MANY) >= 0.92


@pytest.mark.long
@pytest.mark.parametrize("sizes", [(28, 63), (52, 148)])
def test_bootstrap_intervals_hold_what_the_docs_say(sizes):
    found = bootstrap_coverage(0.9, sizes, (*BOOTSTRAPPED, "brier", "ece"), MANY)
    assert all(share >= 0.91 for share in found.values()), found


@pytest.mark.long
@pytest.mark.parametrize(("auroc", "sizes", "n_repeats"), NULLS)
def test_type_i_errors_are_at_most_nominal(auroc, sizes, n_repeats):
    found = type_one_errors(auroc, sizes, MANY, n_repeats)
    assert all(share <= 0.065 for share in found.values()), found
