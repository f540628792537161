"""Abstention: a curve by hand, and scikit-learn on the patients who are covered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import accuracy_score, f1_score

from crosstype.evaluation.inference.bootstrap import blocks, draw_weights
from crosstype.evaluation.predictions import ModelPredictions, Predictions
from crosstype.evaluation.selective import (
    COVERAGES,
    called_by_confidence,
    coverage_rows,
    covered,
    risk_coverage_area,
)
from crosstype.evaluation.spec import EvaluationSpec
from crosstype.io.schema import COVERAGE

SPEC = EvaluationSpec(n_bootstrap=100, abstain_below=0.6)


def drawn(n: int, n_classes: int, n_repeats: int = 1) -> Predictions:
    """Make predictions that are right more often where they are sure."""
    rng = np.random.default_rng(3)
    labels = np.arange(n) % n_classes
    raw = rng.normal(0, 2, (n_repeats, n, n_classes)) + 1.5 * np.eye(n_classes)[labels]
    probability = np.exp(raw) / np.exp(raw).sum(axis=2, keepdims=True)
    model = ModelPredictions(
        np.zeros((n_repeats, n), dtype=int), probability.argmax(axis=2), probability
    )
    ids = tuple(f"P{i:03d}" for i in range(n))
    names = tuple("abcde"[:n_classes])
    return Predictions(names, ids, tuple(range(n_repeats)), labels, {"late": model})


def rows_of(predictions: Predictions, spec: EvaluationSpec = SPEC) -> pl.DataFrame:
    weights = blocks(draw_weights(predictions.labels, spec.n_bootstrap, seed=0))
    return coverage_rows(predictions, weights, spec)


def test_a_curve_by_hand() -> None:
    labels, predicted = np.array([0, 1, 1, 0]), np.array([0, 0, 1, 1])
    confidence = np.array([0.9, 0.8, 0.7, 0.6])
    said = np.where(
        np.arange(2) == predicted[:, None], confidence[:, None], 1 - confidence[:, None]
    )
    one = called_by_confidence(labels, predicted, said)
    # Wrong among the 1, 2, 3, 4 surest: 0, 1, 1, 2.
    area = risk_coverage_area(one, np.ones((4, 1)))
    assert area[0] == pytest.approx((0 / 1 + 1 / 2 + 1 / 3 + 2 / 4) / 4)
    assert next(covered(one, np.ones((4, 1)), [3]))[:, 0].tolist() == [1, 1, 1, 0]


def test_patients_who_are_equally_sure_are_covered_alike() -> None:
    labels, predicted = np.array([0, 1, 1, 1]), np.array([0, 0, 1, 0])
    same = np.full((4, 2), 0.5)
    one = called_by_confidence(labels, predicted, same)
    np.testing.assert_allclose(next(covered(one, np.ones((4, 1)), [2])), 0.5)
    assert risk_coverage_area(one, np.ones((4, 1)))[0] == pytest.approx(0.5)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_values_are_scikit_learns_on_the_patients_covered(n_classes: int) -> None:
    predictions = drawn(60, n_classes, n_repeats=2)
    table = rows_of(predictions)
    assert dict(table.schema) == COVERAGE.polars()
    model = predictions.of_model["late"]
    for row in table.iter_rows(named=True):
        accuracy, f1 = [], []
        for predicted, probability in zip(model.predicted, model.probability, strict=True):
            confidence = probability.max(axis=1)
            kept = np.argsort(-confidence)[: row["n"]]
            if row["rule"] == "confidence":
                kept = np.flatnonzero(confidence >= 0.6)
            accuracy.append(accuracy_score(predictions.labels[kept], predicted[kept]))
            f1.append(f1_score(predictions.labels[kept], predicted[kept], average="macro"))
        assert row["accuracy"] == pytest.approx(np.mean(accuracy))
        assert row["macro_f1"] == pytest.approx(np.mean(f1))
        assert row["low"] <= row["accuracy"] <= row["high"]
        assert row["n"] + row["n_abstained"] == 60
    shares = table.filter(pl.col("rule") == "share")
    assert shares["coverage"].to_list() == list(COVERAGES)
    assert shares["accuracy"][-1] > shares["accuracy"][0]
    assert table["aurc"].n_unique() == 1


def test_a_resample_counts_as_if_patients_stood_there_several_times() -> None:
    predictions = drawn(30, 2)
    model = predictions.of_model["late"]
    counts = np.random.default_rng(0).multinomial(30, np.full(30, 1 / 30))
    repeated = np.repeat(np.arange(30), counts)
    args = (predictions.labels, model.predicted[0], model.probability[0])
    one = called_by_confidence(*args)
    many = called_by_confidence(*(each[repeated] for each in args))
    weights = counts[one.order][:, None].astype(float)
    area = risk_coverage_area(many, np.ones((30, 1)))
    np.testing.assert_allclose(risk_coverage_area(one, weights), area)
    right = (one.labels == one.predicted)[:, None]
    also = (many.labels == many.predicted)[:, None]
    for n in (10, 17, 30):
        found = (next(covered(one, weights, [n])) * right).sum()
        assert found == pytest.approx((next(covered(many, np.ones((30, 1)), [n])) * also).sum())


def test_without_a_least_confidence_nobody_abstains_and_with_too_high_a_one_all() -> None:
    predictions = drawn(30, 2)
    plain = rows_of(predictions, EvaluationSpec(n_bootstrap=100))
    assert plain["rule"].unique().to_list() == ["share"]
    certain = rows_of(predictions, EvaluationSpec(n_bootstrap=100, abstain_below=1.0))
    last = certain.filter(pl.col("rule") == "confidence").to_dicts()[0]
    assert (last["n"], last["n_abstained"], last["accuracy"]) == (0, 30, None)


def test_the_table_is_the_same_from_the_same_seed(tmp_path: Path) -> None:
    assert rows_of(drawn(40, 3)).equals(rows_of(drawn(40, 3)))
