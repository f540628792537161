"""Calibration and decision curves, and honest probabilities, against outside functions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from statsmodels.stats.proportion import proportion_confint

from crosstype.evaluation.curves import calibration_rows, decision_rows, wilson_interval
from crosstype.evaluation.inference.bootstrap import draw_weights
from crosstype.evaluation.metrics.probability import binned_metrics, calibrated_error
from crosstype.evaluation.predictions import ModelPredictions, Predictions

REFERENCE = Path(__file__).parent / "reference" / "paired.npz"


def paired(*names: str, n: int = 91) -> Predictions:
    """Return the first reference patients; each name is a repeat of the one model."""
    held = np.load(REFERENCE)
    said = np.stack([held[name][:n] for name in names])
    both = np.stack([1 - said, said], axis=2)
    model = ModelPredictions(np.zeros(said.shape, dtype=int), both.argmax(axis=2), both)
    labels = held["label"][:n]
    ids = tuple(f"P{index:02d}" for index in range(len(labels)))
    repeats = tuple(range(len(names)))
    return Predictions(("other", "case"), ids, repeats, labels, {"late": model})


@given(right=st.integers(0, 60), wrong=st.integers(0, 60), level=st.sampled_from([0.8, 0.95]))
def test_wilson_is_statsmodels(right, wrong, level):
    n = right + wrong
    if n:
        expected = proportion_confint(right, n, alpha=1 - level, method="wilson")
        assert wilson_interval(right / n, n, level) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", ["a", "b"])
def test_calibration_curve_is_scikit_learns(name):
    # Of 88 no tenth falls on a patient, where scikit-learn's limits hang on the last digit.
    predictions = paired(name, n=88)
    rows = calibration_rows(predictions, 0.95).filter(pl.col("class") == "case")
    said = np.load(REFERENCE)[name][:88]
    seen, mean = calibration_curve(predictions.labels == 1, said, n_bins=10, strategy="quantile")
    assert rows["observed"].to_list() == pytest.approx(seen, abs=1e-9)
    assert rows["mean_probability"].to_list() == pytest.approx(mean, abs=1e-9)
    assert rows["n"].sum() == 88
    for row in rows.iter_rows(named=True):
        count = round(row["observed"] * row["n"])
        expected = proportion_confint(count, row["n"], method="wilson")
        assert (row["low"], row["high"]) == pytest.approx(expected, abs=1e-9)


def test_over_repeats_a_bin_is_the_mean_of_the_repeats():
    both = calibration_rows(paired("a", "b"), 0.95)
    first, second = (calibration_rows(paired(name), 0.95) for name in "ab")
    for column in ("mean_probability", "observed"):
        mean = (first[column] + second[column]) / 2
        assert both[column].to_list() == pytest.approx(mean.to_list(), abs=1e-12)


def test_equal_probabilities_share_a_bin():
    predictions = paired("a")
    said = np.full((1, 91, 2), 0.5)
    predictions.of_model["late"] = ModelPredictions(
        np.zeros((1, 91), dtype=int), np.zeros((1, 91), dtype=int), said
    )
    rows = calibration_rows(predictions, 0.95).filter(pl.col("class") == "case")
    assert rows.select("n", "observed").rows() == [(91, pytest.approx(28 / 91))]


@pytest.mark.parametrize("name", ["a", "b"])
def test_net_benefit_is_dcurves(name):
    predictions = paired(name)
    held = np.load(REFERENCE)
    weights = draw_weights(predictions.labels, 100, 0)
    rows = decision_rows(predictions, [weights], 0.95).filter(pl.col("class") == "case")
    np.testing.assert_allclose(rows["net_benefit"], held[f"net_benefit_{name}"], atol=1e-9)
    np.testing.assert_allclose(rows["treat_all"], held["treat_all"], atol=1e-9)
    assert (rows["treat_none"] == 0).all()
    assert (rows["low"] <= rows["high"]).all()


def test_net_benefit_over_repeats_is_the_mean_and_resamples_are_repeated_patients():
    weights = draw_weights(paired("a").labels, 100, 0)
    tables = [
        decision_rows(paired(*names), [weights], 0.95)["net_benefit"] for names in ("a", "b", "ab")
    ]
    np.testing.assert_allclose((tables[0] + tables[1]) / 2, tables[2], atol=1e-12)


def test_calibrated_error_is_what_drawn_outcomes_show():
    said = np.load(REFERENCE)["a"]
    generator = np.random.default_rng(0)
    ones = np.ones((91, 1))
    drawn = [binned_metrics(generator.random(91) < said, said, ones)["ece"][0] for _ in range(2000)]
    assert calibrated_error(said[None], 0.95) == pytest.approx(np.quantile(drawn, 0.975), rel=0.06)
