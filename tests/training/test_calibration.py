"""Temperatures and thresholds, against scikit-learn's and scipy's optimisation."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import expit, logit, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss, roc_auc_score

from crosstype.models.catalog import ALWAYS_RUN
from crosstype.training.calibration import (
    GAINS,
    LEAST_PATIENTS,
    Calibration,
    calibrate,
    choose_offsets,
    fit_temperature,
)
from crosstype.training.checkpoint import load_classifier, make_classifier, save_classifier
from crosstype.training.classifier import Split, TrainingRecipe
from crosstype.training.fit import probabilities_of
from crosstype.training.missingness import MissingnessPattern
from crosstype.training.patients import Patients
from crosstype.training.spec import TrainingSpec, published

Make = Callable[..., Patients]
Deal = Callable[..., list[Split]]
Cook = Callable[..., TrainingRecipe]


def drawn(n: int, n_classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw honest logits, one for two classes, and targets from their probabilities."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, 1 if n_classes == 2 else n_classes))
    shares = probabilities_of(torch.from_numpy(logits))
    targets = (rng.random((n, 1)) > shares.cumsum(axis=1)).sum(axis=1)
    return logits, np.minimum(targets, n_classes - 1).astype(np.int64)


def test_the_temperature_of_two_classes_is_scikit_learns_slope() -> None:
    logits, targets = drawn(400, 2)
    line = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10).fit(logits * 3, targets)
    found = fit_temperature(torch.from_numpy(logits * 3), targets)
    assert found == pytest.approx(1 / line.coef_[0, 0], rel=1e-3)


@pytest.mark.parametrize("n_classes", [3, 5])
def test_the_temperature_of_more_classes_is_scipys(n_classes: int) -> None:
    logits, targets = drawn(300, n_classes)
    wrong = logits / 4

    def loss(inverse: np.ndarray) -> float:
        return float(log_loss(targets, softmax(wrong * inverse[0], axis=1)))

    reference = minimize(loss, [1.0], method="Nelder-Mead", options={"xatol": 1e-7})
    found = fit_temperature(torch.from_numpy(wrong), targets)
    assert found == pytest.approx(1 / reference.x[0], rel=1e-3)
    assert found < 0.5  # logits that are too small ask for a temperature below 1


@pytest.mark.parametrize("right", [True, False])
def test_the_temperature_has_bounds(right: bool) -> None:
    targets = np.array([0, 1] * 20, dtype=np.int64)
    said = torch.from_numpy((targets[:, None] * 2.0 - 1.0) * (1 if right else -1))
    found = fit_temperature(said, targets)
    assert found == pytest.approx(math.exp(-3 if right else 3), rel=1e-3)


def test_youdens_threshold_of_honest_probabilities_is_the_prevalence() -> None:
    rng = np.random.default_rng(1)
    for prevalence in (0.2, 0.35):
        targets = (rng.random(20_000) < prevalence).astype(np.int64)
        seen = rng.normal(targets * 2.0, 1.0)  # the log likelihood ratio is 2 x - 2
        positive = expit(2 * seen - 2 + logit(prevalence))
        said = np.stack([1 - positive, positive], axis=1)
        offsets = choose_offsets(said, targets, GAINS["youden"])
        assert Calibration(offsets=offsets).threshold == pytest.approx(prevalence, abs=0.03)


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("kind", ["youden", "f1"])
def test_gains_are_scikit_learns_and_chosen_calls_gain(n_classes: int, kind: str) -> None:
    rng = np.random.default_rng(2)
    logits, targets = drawn(3000, n_classes)
    shift = np.linspace(0, -2, logits.shape[1]) if n_classes > 2 else -2.0
    said = probabilities_of(torch.from_numpy(logits + shift))  # shy of the last class

    def gain(calls: np.ndarray) -> float:
        if kind == "youden":
            return float(balanced_accuracy_score(targets, calls))
        return float(f1_score(targets, calls, average="macro"))

    matrix = np.zeros((1, n_classes, n_classes))
    np.add.at(matrix[0], (targets, said.argmax(axis=1)), 1)
    assert GAINS[kind](matrix)[0] == pytest.approx(gain(said.argmax(axis=1)))

    offsets = choose_offsets(said, targets, GAINS[kind])
    chosen = gain(Calibration(offsets=offsets).choose(said))
    assert chosen > gain(said.argmax(axis=1)) + 0.01
    others = rng.uniform(-3, 3, (300, n_classes))
    best = max(gain((np.log(said) + one).argmax(axis=1)) for one in others)
    assert chosen > best - 0.02
    assert sum(offsets) == pytest.approx(0) or n_classes == 2


def test_where_several_thresholds_are_best_the_middle_one_is_taken() -> None:
    positive = expit(np.array([-4.0] * 20 + [4.0] * 20))
    targets = np.repeat([0, 1], 20)
    offsets = choose_offsets(np.stack([1 - positive, positive], axis=1), targets, GAINS["f1"])
    assert offsets == pytest.approx((0, 0), abs=1e-9)


def test_calls_follow_the_offsets_and_ties_go_to_the_earlier_class() -> None:
    said = np.array([[0.5, 0.5], [0.7, 0.3], [0.9, 0.1], [0.0, 1.0]])
    assert Calibration().choose(said).tolist() == [0, 0, 0, 1]
    chosen = Calibration(offsets=(0.0, logit(0.8)))
    assert chosen.threshold == pytest.approx(0.2)
    assert chosen.choose(said).tolist() == [1, 1, 0, 1]
    assert Calibration().threshold == 0.5
    assert Calibration(offsets=(0.0, 0.1, 0.2)).threshold is None


def test_each_regime_has_its_own_temperature() -> None:
    logits = torch.tensor([[2.0], [2.0], [2.0]])
    known = Calibration({MissingnessPattern.WHOLE: 2.0, MissingnessPattern.BARE: 4.0})
    patterns = [MissingnessPattern.WHOLE, MissingnessPattern.BARE, MissingnessPattern.THIN]
    assert known.apply(logits, patterns)[:, 0].tolist() == [1.0, 0.5, 2.0]
    assert Calibration().apply(logits, patterns) is logits


def test_too_few_patients_give_no_calibration() -> None:
    spec = TrainingSpec(calibration="temperature", threshold="f1")
    logits, targets = drawn(LEAST_PATIENTS, 2)
    assert calibrate({MissingnessPattern.WHOLE: torch.from_numpy(logits)}, targets, spec).n == len(
        targets
    )
    fewer = {MissingnessPattern.WHOLE: torch.from_numpy(logits[1:])}
    assert calibrate(fewer, targets[1:], spec) == Calibration()
    alike = np.zeros_like(targets)
    assert (
        calibrate({MissingnessPattern.WHOLE: torch.from_numpy(logits)}, alike, spec)
        == Calibration()
    )


def test_the_published_training_learns_nothing_from_its_test_patients() -> None:
    spec = published(TrainingSpec(calibration="temperature", threshold="youden"))
    assert (spec.calibration, spec.threshold) == ("none", "argmax")


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("name", ["gene_only", "late", "cross_attention"])
def test_probabilities_keep_their_order_and_a_checkpoint_its_calls(
    name: str,
    n_classes: int,
    tmp_path: Path,
    make_patients: Make,
    make_splits: Deal,
    make_recipe: Cook,
) -> None:
    patients = make_patients(48, n_classes, signal=0.7)
    splits, test = make_splits(patients, range(36)), patients.take(np.arange(36, 48))
    said, calls = {}, {}
    for key, settings in {
        "plain": {},
        "warm": {"calibration": "temperature"},
        "both": {"calibration": "temperature", "threshold": "youden"},
    }.items():
        recipe = make_recipe(**settings)
        one = make_classifier(name)
        one.fit(splits, recipe)
        said[key], calls[key] = one.predict(test), one.calibration.choose(one.predict(test))
    assert one.calibration.n == 36
    assert one.calibration.temperature != 1.0
    assert set(one.calibration.temperatures) >= {MissingnessPattern.WHOLE, MissingnessPattern.BARE}
    np.testing.assert_array_equal(said["warm"], said["both"])
    np.testing.assert_array_equal(calls["plain"], calls["warm"])
    assert np.abs(said["plain"] - said["warm"]).max() > 1e-4
    if n_classes == 2:
        auroc = [roc_auc_score(test.targets, one[:, 1]) for one in said.values()]
        assert len(set(auroc)) == 1
    save_classifier(one, tmp_path / "kept", recipe.model)
    loaded = load_classifier(tmp_path / "kept")
    assert loaded.calibration == one.calibration
    np.testing.assert_array_equal(loaded.predict(test), said["both"])


@pytest.mark.parametrize("name", ALWAYS_RUN)
def test_baselines_stay_as_they_are(
    name: str, make_patients: Make, make_splits: Deal, make_recipe: Cook
) -> None:
    one = make_classifier(name)
    recipe = make_recipe(calibration="temperature", threshold="f1")
    one.fit(make_splits(make_patients(24)), recipe)
    assert one.calibration == Calibration()
