from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from crosstype.models.baselines import fit_baseline, predict_baseline
from crosstype.models.catalog import BASELINES


def made_up(n_classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return standard normal inputs in which column 7 follows the class, downwards."""
    rng = np.random.default_rng(seed)
    targets = np.arange(60) % n_classes
    inputs = rng.normal(size=(60, 12)).astype(np.float32)
    inputs[:, 7] -= 4 * (targets == n_classes - 1)
    return inputs, targets


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("name", ["logistic_genes", "logistic_image", "logistic_both"])
def test_logistic_regression_is_scikit_learns(name: str, n_classes: int) -> None:
    inputs, targets = made_up(n_classes)
    found = predict_baseline(fit_baseline(name, inputs, targets, n_classes), inputs, n_classes)
    strength = BASELINES[name].strength
    reference = LogisticRegression(C=strength, class_weight="balanced", max_iter=5000)
    reference.fit(inputs.astype(np.float64), targets)
    np.testing.assert_allclose(found, reference.predict_proba(inputs.astype(float)), atol=1e-12)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_best_gene_finds_the_planted_column_even_if_it_is_low(n_classes: int) -> None:
    inputs, targets = made_up(n_classes)
    parameters = fit_baseline("best_gene", inputs, targets, n_classes)
    assert parameters["columns"].tolist() == [7]
    found = predict_baseline(parameters, inputs, n_classes)
    assert roc_auc_score(targets == n_classes - 1, found[:, -1]) > 0.95


def test_best_gene_ranks_by_the_auroc_of_scikit_learn() -> None:
    inputs, targets = made_up(2)
    inputs[:, 7] = np.round(inputs[:, 8])  # ties count half
    merits = [abs(roc_auc_score(targets, column) - 0.5) for column in inputs.T]
    assert fit_baseline("best_gene", inputs, targets, 2)["columns"][0] == int(np.argmax(merits))


def test_majority_predicts_the_training_shares_for_everyone() -> None:
    targets = np.array([0, 0, 0, 1])
    parameters = fit_baseline("majority", np.zeros((4, 3), dtype=np.float32), targets, 2)
    found = predict_baseline(parameters, np.ones((2, 3), dtype=np.float32), 2)
    np.testing.assert_allclose(found, [[0.75, 0.25]] * 2)


def test_majority_of_a_class_without_patients_stays_finite() -> None:
    targets = np.array([0, 1, 1])
    parameters = fit_baseline("majority", np.zeros((3, 0), dtype=np.float32), targets, 3)
    found = predict_baseline(parameters, np.zeros((1, 0), dtype=np.float32), 3)
    assert np.isfinite(found).all()
    assert found[0, 2] < 1e-9
