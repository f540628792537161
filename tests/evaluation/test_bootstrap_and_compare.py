"""Resampling, p-values and their correction."""

from __future__ import annotations

import numpy as np
import pytest

from crosstype.evaluation.bootstrap import blocks, draw_weights, percentile_interval, two_sided_p
from crosstype.evaluation.compare import best_baseline, compare_models, holm

LABELS = np.array([0] * 20 + [1])


def test_same_seed_same_resamples_and_first_is_the_cohort():
    weights = draw_weights(LABELS, 50, seed=7)
    assert np.array_equal(weights, draw_weights(LABELS, 50, seed=7))
    assert not np.array_equal(weights, draw_weights(LABELS, 50, seed=8))
    assert weights.shape == (21, 51)
    assert (weights[:, 0] == 1).all()
    assert (weights.sum(axis=0) == 21).all()


def test_a_resample_without_a_class_is_drawn_again():
    weights = draw_weights(LABELS, 400, seed=0)
    assert (weights[LABELS == 1].sum(axis=0) > 0).all()


def test_blocks_keep_every_column():
    weights = draw_weights(LABELS, 2100, seed=0)
    assert np.array_equal(np.concatenate(blocks(weights), axis=1), weights)


def test_p_is_never_zero_and_one_without_difference():
    assert two_sided_p(np.zeros(99)) == 1.0
    assert two_sided_p(np.ones(99)) == pytest.approx(2 / 100)
    assert two_sided_p(np.append(np.ones(98), -1.0)) == pytest.approx(4 / 100)


def test_percentile_interval_holds_the_level():
    low, high = percentile_interval(np.arange(1001.0), 0.95)
    assert (low, high) == pytest.approx((25.0, 975.0))


def test_holm_by_hand():
    # Holm 1979: 3 x 0.01, 2 x 0.02, and 0.03 raised to the smaller one's.
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def values(level: float):
    generator = np.random.default_rng(1)
    sample = level + 0.01 * generator.normal(size=200)
    return {metric: sample.copy() for metric in ("auroc", "pr_auc", "f1", "mcc")}


def test_identical_models_differ_by_exactly_zero():
    resampled = {"gene_only": values(0.9), "late": values(0.9), "majority": values(0.5)}
    rows = compare_models(resampled, 30, 0.95)
    twins = [row for row in rows if (row.model_a, row.model_b) == ("late", "gene_only")]
    assert len(twins) == 4
    for row in twins:
        assert (row.difference, row.low, row.high, row.p) == (0.0, 0.0, 0.0, 1.0)


def test_references_are_gene_only_and_the_best_baseline():
    resampled = {
        "gene_only": values(0.9),
        "logistic_genes": values(0.8),
        "best_gene": values(0.85),
    }
    rows = compare_models(resampled, 30, 0.95)
    assert best_baseline(resampled) == "best_gene"
    assert {row.model_b for row in rows} == {"gene_only", "best_gene"}
    assert all(row.model_a != row.model_b for row in rows)
    against = next(row for row in rows if (row.model_a, row.model_b) == ("best_gene", "gene_only"))
    assert against.difference == pytest.approx(-0.05)
    assert against.p <= against.p_adjusted


def test_without_references_nothing_is_compared():
    assert compare_models({"late": values(0.9)}, 30, 0.95) == []
