"""Baselines: logistic regression on one vector per patient, the best single gene, the majority.

Inputs are preprocessed genes, the mean tile feature, or both; for logistic_clinical the clinical
covariates. All others always run.
"""

import numpy as np
from jaxtyping import Float, Int

from crosstype.models.catalog import BEST_GENE, MODELS

Matrix = Float[np.ndarray, "patients columns"]
Targets = Int[np.ndarray, " patients"]


def fit_baseline(
    name: str, inputs: Matrix, targets: Targets, n_classes: int
) -> dict[str, np.ndarray]:
    """Fit a baseline; return its parameters.

    Args:
        name: one of `catalog.BASELINES`.
        inputs: standardised inputs of the training patients, patients x columns.
        targets: class numbers, 0 to n_classes - 1.
        n_classes: number of classes.

    Returns:
        `columns` (indices of the inputs), `weight` (logits x columns) and `bias` (logits).
        The majority class has no columns; its bias is the logarithm of the class frequencies.
    """
    strength = MODELS[name].strength
    if strength is None:
        return _majority(targets, n_classes)
    columns = np.arange(inputs.shape[1])
    if name == BEST_GENE:
        columns = _best_column(inputs, targets, n_classes)
    weight, bias = _logistic(inputs[:, columns], targets, strength)
    return {"columns": columns.astype(np.int64), "weight": weight, "bias": bias}


def predict_baseline(
    parameters: dict[str, np.ndarray], inputs: Matrix, n_classes: int
) -> Float[np.ndarray, "patients classes"]:
    """Return probabilities, patients x classes; each row sums to 1."""
    selected = inputs[:, parameters["columns"]].astype(np.float64)
    logits = selected @ parameters["weight"].T + parameters["bias"]
    if logits.shape[1] == 1 and n_classes == 2:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: np.ndarray = shifted / shifted.sum(axis=1, keepdims=True)
    return probabilities


def _majority(targets: Targets, n_classes: int) -> dict[str, np.ndarray]:
    shares = np.bincount(targets, minlength=n_classes) / len(targets)
    return {
        "columns": np.zeros(0, dtype=np.int64),
        "weight": np.zeros((n_classes, 0)),
        "bias": np.log(np.maximum(shares, 1e-12)),
    }


def _logistic(inputs: Matrix, targets: Targets, strength: float) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, class_weight="balanced", max_iter=5000)
    model.fit(inputs.astype(np.float64), targets)
    return model.coef_, model.intercept_


def _best_column(inputs: Matrix, targets: Targets, n_classes: int) -> Int[np.ndarray, " selected"]:
    """Return the column with the highest sum over classes of |one-vs-rest AUROC - 0.5|."""
    from scipy.stats import rankdata

    ranks = rankdata(inputs, axis=0)
    merit = np.zeros(inputs.shape[1])
    for one in range(n_classes):
        inside = targets == one
        n, n_other = int(inside.sum()), int((~inside).sum())
        if n and n_other:
            wins = ranks[inside].sum(axis=0) - n * (n + 1) / 2
            merit += np.abs(wins / (n * n_other) - 0.5)
    return np.array([int(np.argmax(merit))])
