"""Resampling, p-values and their correction."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from crosstype.evaluation.inference.bootstrap import (
    blocks,
    draw_weights,
    percentile_interval,
    two_sided_p,
)
from crosstype.evaluation.inference.compare import best_baseline, compare_models, compared_pairs
from crosstype.evaluation.inference.paired_tests import draw_swaps, holm, pair_tests
from crosstype.evaluation.predictions import ModelPredictions, Predictions
from crosstype.evaluation.spec import EvaluationSpec

from .simulated import evaluated_models

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


def compared(shifts, spec=EvaluationSpec()):  # noqa: B008
    """Compare models of a common logit, independent noise, and a shift for cases."""
    generator = np.random.default_rng(1)
    labels = np.arange(60) % 2
    common = generator.normal(size=(2, 60))
    of_model = {}
    for name, shift in shifts.items():
        noise = np.random.default_rng(int(10 * shift)).normal(size=(2, 60))
        said = 1 / (1 + np.exp(-(common + noise + shift * (2 * labels - 1))))
        both = np.stack([1 - said, said], axis=2)
        fold = np.stack([np.arange(60) // 2 % 5] * 2)
        of_model[name] = ModelPredictions(fold, both.argmax(axis=2), both)
    ids = tuple(f"P{index:02d}" for index in range(60))
    predictions = Predictions(("other", "case"), ids, (0, 1), labels, of_model)
    evaluated = evaluated_models(predictions, draw_weights(labels, 200, 0))
    pairs = compared_pairs(evaluated)
    tests = pair_tests(labels, predictions.classes, evaluated, pairs, draw_swaps(60, 0, 200))
    return evaluated, tests, compare_models(evaluated, tests, spec)


def test_identical_models_differ_by_exactly_zero():
    _, tests, rows = compared({"gene_only": 1.5, "late": 1.5, "majority": 0.0})
    twins = [row for row in rows if (row.model_a, row.model_b) == ("late", "gene_only")]
    assert len(twins) == 5
    for row in twins:
        assert (row.difference, row.low, row.high, row.p) == (0.0, 0.0, 0.0, 1.0)
    also = [row for row in tests if (row.model_a, row.model_b) == ("late", "gene_only")]
    assert len(also) == 3 + 3 * 3 + 4
    assert all((row.statistic, row.p) == (0.0, 1.0) for row in also)


def test_references_are_gene_only_and_the_best_baseline():
    evaluated, _, rows = compared({"gene_only": 1.5, "logistic_image": 0.3, "best_gene": 0.9})
    assert best_baseline(evaluated) == "best_gene"
    assert {row.model_b for row in rows} == {"gene_only", "best_gene"}
    assert all(row.model_a != row.model_b for row in rows)
    for row in rows:
        values = [evaluated[name].headlines[row.metric][0] for name in (row.model_a, row.model_b)]
        assert row.difference == pytest.approx(values[0] - values[1])
        assert row.low <= row.difference <= row.high
        assert row.p <= row.p_adjusted
    shown = {row.metric: row.test for row in rows}
    assert shown == {
        "auroc": "delong",
        "pr_auc": "permutation",
        "f1": "permutation",
        "mcc": "permutation",
        "accuracy": "mcnemar",
    }


def test_a_network_is_also_compared_with_the_line_over_its_own_inputs():
    strengths = {"gene_only": 1.5, "image_only": 0.4, "logistic_image": 0.3, "logistic_genes": 1.2}
    _, _, rows = compared(strengths)
    pairs = {(row.model_a, row.model_b) for row in rows}
    assert ("image_only", "logistic_image") in pairs
    assert ("gene_only", "logistic_image") not in pairs
    # The best baseline is here the line over genes, and no pair stands there twice.
    assert len(rows) == len({(row.model_a, row.model_b, row.metric) for row in rows})


def test_a_much_worse_model_is_found_by_every_test():
    _, tests, _ = compared({"gene_only": 2.5, "late": 0.1})
    assert {row.test for row in tests} == {
        *("delong", "bootstrap", "permutation", "mcnemar", "nadeau_bengio")
    }
    assert all(row.p < 0.05 and row.statistic < 0 for row in tests)


def test_holm_holds_among_models_of_one_reference_metric_and_test():
    _, tests, _ = compared({"gene_only": 1.5, "late": 0.9, "concat": 0.5})
    families: dict[tuple[str, str, str], list[Any]] = {}
    for row in tests:
        families.setdefault((row.model_b, row.metric, row.test), []).append(row)
    assert max(map(len, families.values())) > 1
    for family in families.values():
        raw = [row.p for row in family]
        expected = multipletests(raw, method="holm")[1]
        assert [row.p_adjusted for row in family] == pytest.approx(expected, abs=1e-12)


def test_the_interval_of_auroc_is_the_configured_one():
    plain = EvaluationSpec(auroc_interval="bootstrap")
    evaluated, _, rows = compared({"gene_only": 1.5, "late": 0.5}, plain)
    unlabelled = evaluated["late"].headlines["auroc"] - evaluated["gene_only"].headlines["auroc"]
    assert (rows[0].low, rows[0].high) == percentile_interval(unlabelled[1:], 0.95)
    assert rows[0].test == "delong"


def test_without_references_nothing_is_compared():
    assert compared({"late": 0.9})[1:] == ([], [])
