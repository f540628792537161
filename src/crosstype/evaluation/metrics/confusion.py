"""Metrics of predicted classes, from weighted counts; one number per resample."""

import numpy as np
from jaxtyping import Float, Int


def confusion_matrix(
    labels: Int[np.ndarray, " n_patients"],
    predicted: Int[np.ndarray, " n_patients"],
    n_classes: int,
    weights: Float[np.ndarray, "n_patients n_resamples"] | None = None,
) -> Float[np.ndarray, "n_resamples n_classes n_classes"]:
    """Return the confusion matrix: rows are the true classes, columns the predicted ones.

    Args:
        labels: index of each patient's class.
        predicted: index of the class each patient was called.
        n_classes: number of classes.
        weights: how often each patient counts; None: once.

    Returns:
        One matrix per resample (one in all without weights).
    """
    if weights is None:
        weights = np.ones((len(labels), 1))
    cells = np.eye(n_classes * n_classes)[labels * n_classes + predicted]
    counts = np.asarray(weights.T @ cells)
    return counts.reshape(-1, n_classes, n_classes)


def f1(
    matrix: Float[np.ndarray, "n_resamples c c"], index: int
) -> Float[np.ndarray, " n_resamples"]:
    """Return F1 of a class: the harmonic mean of how many are found and how many calls are right.

    From 0 to 1, higher is better; true negatives do not count (van Rijsbergen 1979).
    """
    hits = matrix[:, index, index]
    return ratio(2 * hits, matrix[:, index].sum(axis=1) + matrix[:, :, index].sum(axis=1))


def precision(
    matrix: Float[np.ndarray, "n_resamples c c"], index: int
) -> Float[np.ndarray, " n_resamples"]:
    """Return the share of a class's calls that are right, 0 to 1; 0 if it is never called."""
    return ratio(matrix[:, index, index], matrix[:, :, index].sum(axis=1))


def recall(
    matrix: Float[np.ndarray, "n_resamples c c"], index: int
) -> Float[np.ndarray, " n_resamples"]:
    """Return the share of a class's patients that are found (sensitivity), 0 to 1."""
    return ratio(matrix[:, index, index], matrix[:, index].sum(axis=1))


def specificity(
    matrix: Float[np.ndarray, "n_resamples c c"], index: int
) -> Float[np.ndarray, " n_resamples"]:
    """Return the share of the other patients not predicted as the class, 0 to 1."""
    return recall(against_rest(matrix, index), 0)


def mcc(matrix: Float[np.ndarray, "n_resamples c c"]) -> Float[np.ndarray, " n_resamples"]:
    """Return Matthews' correlation of labels and calls; 0 is guessing, 1 is perfect, -1 reversed.

    Matthews 1975; for more than two classes Gorodkin 2004. 0 where all calls are one class.
    """
    total = matrix.sum(axis=(1, 2))
    truth, calls = matrix.sum(axis=2), matrix.sum(axis=1)
    hits = np.trace(matrix, axis1=1, axis2=2)
    covariance = hits * total - (truth * calls).sum(axis=1)
    spread = (total**2 - (truth**2).sum(axis=1)) * (total**2 - (calls**2).sum(axis=1))
    return ratio(covariance, np.sqrt(spread))


def accuracy(matrix: Float[np.ndarray, "n_resamples c c"]) -> Float[np.ndarray, " n_resamples"]:
    """Return the share of right calls, 0 to 1; always calling the largest class gets its share."""
    return ratio(np.trace(matrix, axis1=1, axis2=2), matrix.sum(axis=(1, 2)))


def balanced_accuracy(
    matrix: Float[np.ndarray, "n_resamples c c"],
) -> Float[np.ndarray, " n_resamples"]:
    """Return the mean over classes of the share found, 0 to 1; 1 / n_classes is guessing."""
    found = ratio(np.diagonal(matrix, axis1=1, axis2=2), matrix.sum(axis=2))
    return np.asarray(found.mean(axis=1))


def micro_matrix(
    matrix: Float[np.ndarray, "n_resamples c c"],
) -> Float[np.ndarray, "n_resamples 2 2"]:
    """Add up the matrices of each class against the rest."""
    each = [against_rest(matrix, index) for index in range(matrix.shape[1])]
    return np.asarray(np.sum(each, axis=0))


def against_rest(
    matrix: Float[np.ndarray, "n_resamples c c"], index: int
) -> Float[np.ndarray, "n_resamples 2 2"]:
    """Return the matrix of a class, in second place, against the rest."""
    hits = matrix[:, index, index]
    missed = matrix[:, index].sum(axis=1) - hits
    wrong = matrix[:, :, index].sum(axis=1) - hits
    rest = matrix.sum(axis=(1, 2)) - hits - missed - wrong
    return np.stack([np.stack([rest, wrong], axis=1), np.stack([missed, hits], axis=1)], axis=1)


def ratio(
    above: Float[np.ndarray, "..."], below: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    """Divide; 0 where there is nothing to divide by."""
    quotient = np.zeros(np.shape(above))
    np.divide(above, below, out=quotient, where=below > 0)
    return quotient
