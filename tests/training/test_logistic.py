"""The image-only base model and its graded labels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from crosstype.training.linear.base_model import fit_base_model
from crosstype.training.linear.logistic import (
    fit_image_ridge,
    fit_joint_logistic,
    fit_logistic,
    grade_labels,
)
from crosstype.training.spec import TrainingSpec
from crosstype.types import Modality

IMAGE = frozenset({Modality.IMAGE})


@pytest.mark.parametrize("n_columns", [4, 90])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_line_is_scikit_learns(n_columns: int, n_classes: int) -> None:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(40, n_columns))
    targets = np.arange(40) % n_classes
    weights = np.arange(1.0, n_classes + 1)
    weight, bias = fit_logistic(inputs, targets, 0.5, weights)
    reference = LogisticRegression(
        C=0.5, class_weight=dict(enumerate(weights)), max_iter=5000, tol=1e-10
    ).fit(inputs, targets)
    expected = reference.decision_function(inputs).reshape(40, -1)
    np.testing.assert_allclose(inputs @ weight.T + bias, expected, atol=2e-3)


def test_a_graded_label_is_cross_fitted() -> None:
    rng = np.random.default_rng(1)
    targets = np.arange(60) % 2
    signal = rng.normal(size=(60, 300)) / 10
    noise = signal.copy()
    signal[:, 0] += targets
    told = grade_labels(signal, targets, np.ones(2))
    guessed = grade_labels(noise, targets, np.ones(2))
    assert told is not None
    assert guessed is not None
    assert roc_auc_score(targets, told[:, 0]) > 0.9
    # 300 genes of noise fit 60 labels perfectly; a line fitted on others knows nothing of them.
    assert 0.25 < roc_auc_score(targets, guessed[:, 0]) < 0.75
    assert abs(told).max() <= 3


def test_without_expression_a_patient_gets_their_class_mean() -> None:
    rng = np.random.default_rng(2)
    genes, targets = rng.normal(size=(30, 5)), np.arange(30) % 3
    genes[:3] = np.nan
    graded = grade_labels(genes, targets, np.ones(3))
    assert graded is not None
    for one in range(3):
        np.testing.assert_allclose(graded[one], graded[3:][targets[3:] == one].mean(axis=0))
    assert grade_labels(genes[:4], targets[:4], np.ones(3)) is None


def test_graded_labels_improve_on_labels_where_expression_has_the_degree() -> None:
    """Planted: images follow the degree of a tumour, of which the label is a coarse reading."""
    rng = np.random.default_rng(3)
    strengths, teach, test = (0.1, 1.0, 5.0), slice(0, 60), slice(60, None)
    found = []
    for _ in range(40):
        degree = rng.normal(size=400)
        targets = (degree > 0).astype(np.int64)
        genes = (degree[:, None] + 0.3 * rng.normal(size=(400, 10))) / 3
        tissue = np.c_[degree + rng.normal(size=400), rng.normal(size=(400, 7))]
        images = tissue @ rng.normal(size=(8, 60)) / 8**0.5 + 0.3 * rng.normal(size=(400, 60))
        images /= 60**0.5
        graded = grade_labels(genes[teach], targets[teach], np.ones(2))
        assert graded is not None
        lines = [fit_image_ridge(images[teach], graded, targets[teach], np.ones(2))]
        lines += [fit_logistic(images[teach], targets[teach], c, np.ones(2)) for c in strengths]
        said = [(images[test] @ weight.T + bias)[:, 0] for weight, bias in lines]
        found.append([np.corrcoef(one, degree[test])[0, 1] for one in said])
    by_grade, *by_label = np.mean(found, axis=0)
    assert by_grade > max(by_label)


def test_an_uninformative_image_is_not_reversed() -> None:
    rng = np.random.default_rng(5)
    targets = np.arange(40) % 2
    for _ in range(20):
        images = rng.normal(size=(40, 6))
        graded = (targets - 0.5)[:, None] + 0.1 * rng.normal(size=(40, 1))
        weight, _ = fit_image_ridge(images, graded, targets, np.ones(2))
        follows = np.corrcoef(images @ weight[0], graded[:, 0])[0, 1]
        assert follows > 0


def test_the_setting_is_obeyed(make_patients: Any, make_recipe: Any) -> None:
    patients = make_patients(40)
    preparation = make_recipe().preparing.fit(patients)
    given = TrainingSpec(image_labels="given")
    plain = fit_base_model(patients, preparation, IMAGE, given)
    graded = fit_base_model(patients, preparation, IMAGE, TrainingSpec())
    assert not np.allclose(plain.weight, graded.weight)
    # Labels alone: expression can be anything.
    other = replace(patients, genes=patients.genes[::-1].copy())
    np.testing.assert_array_equal(
        fit_base_model(other, preparation, IMAGE, given).weight, plain.weight
    )


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_image_speaks_louder_where_genes_say_nothing(n_classes: int) -> None:
    rng = np.random.default_rng(7)
    targets = np.arange(120) % n_classes
    noise = rng.normal(size=(120, 80)) / 80**0.5
    shown = (np.eye(n_classes)[targets] * 3 + rng.normal(size=(120, n_classes))) / 20
    blank = rng.normal(size=(120, n_classes)) / 20
    telling = noise.copy()
    telling[:, :n_classes] += np.eye(n_classes)[targets]
    one = np.ones(n_classes)
    weight, _ = fit_joint_logistic(noise, shown, targets, 20.0, one)
    usual, _ = fit_logistic(np.c_[noise, shown], targets, 20.0, one)
    assert np.abs(weight[:, 80:]).max() > 1.5 * np.abs(usual[:, 80:]).max()
    # Where the image says nothing it is the plain line.
    weight, _ = fit_joint_logistic(telling, blank, targets, 20.0, one)
    usual, _ = fit_logistic(np.c_[telling, blank], targets, 20.0, one)
    np.testing.assert_array_equal(weight, usual)
