"""The line over the image: it learns from graded labels.

A label says on which side of a boundary a tumour lies; a training patient's expression says how
far. So each training patient gets a graded label, the logits of a line over the genes that was
fitted on other patients, and the image learns those: more of a teacher than yes or no, which counts
where patients are few (learning with privileged information, Vapnik and Vashist 2009; distillation,
Lopez-Paz et al. 2016, arXiv 1511.03643). At prediction nothing but the image is seen.

Ridge-penalised logistic regression, exact and quick where columns outnumber patients.

The line over both modalities, and how loudly the image speaks in it.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.special import log_softmax

Inputs = Float[np.ndarray, "patients columns"]
Line = tuple[Float[np.ndarray, "logits columns"], Float[np.ndarray, " logits"]]

LEAST_SHARE = 1e-10
"""Directions in which patients vary less than this share of the most are rounding."""


def fit_logistic(
    inputs: Inputs,
    targets: Int[np.ndarray, " patients"],
    strength: float,
    weights: Float[np.ndarray, " classes"],
) -> Line:
    """Return weight and bias: one row for two classes, the positive one's, else one per class.

    The solution lies in the span of the patients (representer theorem), so with more columns than
    patients it is sought there: the same line in a fraction of the time.

    Args:
        inputs: patients x columns, nothing missing.
        targets: class numbers.
        strength: inverse of the L2 penalty (scikit-learn's C).
        weights: of the classes.
    """
    from sklearn.linear_model import LogisticRegression

    few, back = _spanned(inputs) if inputs.shape[1] > len(inputs) else (inputs, None)
    model = LogisticRegression(
        C=strength, class_weight=dict(enumerate(weights)), max_iter=5000, tol=1e-6
    )
    model.fit(few, targets)
    weight = model.coef_ if back is None else model.coef_ @ back
    return weight, model.intercept_


def _spanned(
    inputs: Inputs,
) -> tuple[Float[np.ndarray, "patients directions"], Float[np.ndarray, "directions columns"]]:
    """Return coordinates in the patients' span, and the map from its weights to the columns'."""
    values, vectors = np.linalg.eigh(inputs @ inputs.T)
    kept = values > values[-1] * LEAST_SHARE
    sizes = np.sqrt(values[kept])
    directions: np.ndarray = (vectors[:, kept] / sizes).T @ inputs
    return vectors[:, kept] * sizes, directions


# Chosen on training patients; see docs/decisions/0006-graded-labels.md.
GENE_STRENGTH = 10.0
N_GRADING_PARTS = 5
FURTHEST = 3.0
"""Graded labels are cut at this logit: beyond it a tumour is plainly of its class."""
RIDGE = 2.0
N_PARTS = 10
MAP_STRENGTH = 3.0
LEAST_SLOPE = 0.1

Targets = Int[np.ndarray, " patients"]
Graded = Float[np.ndarray, "patients logits"]
Weights = Float[np.ndarray, " classes"]


def grade_labels(genes: Inputs, targets: Targets, weights: Weights) -> Graded | None:
    """Return each patient's logits by a line over genes that was fitted on other patients.

    Args:
        genes: centred expression; NaN where not measured, which counts as the mean. Patients
            without any get the mean of their class.
        targets: class numbers.
        weights: of the classes.

    Returns:
        One column for two classes, else one per class, centred; None where a class has fewer than
        two patients with expression.
    """
    known = ~np.isnan(genes).all(axis=1)
    counts = np.bincount(targets[known], minlength=len(weights))
    if not genes.shape[1] or counts.min() < 2:
        return None
    filled = np.nan_to_num(genes)
    part = assign_parts(targets, min(N_GRADING_PARTS, int(counts.min())), known)
    graded = np.zeros((len(targets), 1 if len(weights) == 2 else len(weights)))
    for number in range(part.max() + 1):
        inside, others = part == number, known & (part != number)
        weight, bias = fit_logistic(filled[others], targets[others], GENE_STRENGTH, weights)
        graded[inside] = filled[inside] @ weight.T + bias
    if len(weights) > 2:
        graded -= graded.mean(axis=1, keepdims=True)
    graded = np.clip(graded, -FURTHEST, FURTHEST)
    for one in np.unique(targets[~known]):
        graded[~known & (targets == one)] = graded[known & (targets == one)].mean(axis=0)
    return graded


def fit_image_ridge(images: Inputs, graded: Graded, targets: Targets, weights: Weights) -> Line:
    """Return weight and bias of a line over images that follows graded labels.

    A ridge regression gives the graded labels; a small logistic regression over what it says of
    patients it was not fitted on turns that into logits of the classes. Both are linear, and so is
    their sequence.
    """
    from sklearn.linear_model import Ridge

    heard = np.zeros_like(graded)
    part = assign_parts(targets, N_PARTS, np.ones(len(targets), dtype=bool))
    for number in range(part.max() + 1):
        inside = part == number
        if inside.any() and not inside.all():
            model = Ridge(alpha=RIDGE).fit(images[~inside], graded[~inside])
            heard[inside] = model.predict(images[inside]).reshape(-1, graded.shape[1])
    size = float(heard.std(axis=0).mean()) or 1.0
    onto, bias = fit_logistic(heard / size, targets, MAP_STRENGTH, weights)
    if len(onto) == 1:  # where the image says next to nothing, chance must not turn it round
        onto = np.maximum(onto, LEAST_SLOPE)
    model = Ridge(alpha=RIDGE).fit(images, graded)
    slopes = np.atleast_2d(model.coef_)
    start = np.atleast_1d(model.intercept_)
    return onto @ slopes / size, bias + onto @ start / size


def assign_parts(
    targets: Targets, n_parts: int, counted: np.ndarray
) -> Int[np.ndarray, " patients"]:
    """Deal patients into parts, class by class in their order; those not counted come last."""
    part = np.empty(len(targets), dtype=np.int64)
    order = np.lexsort((np.arange(len(targets)), targets, ~counted))
    part[order] = np.arange(len(targets)) % n_parts
    return part


LOUDER = 4.0
"""How much more the image may count than usual, where that is proven."""
N_JOINT_PARTS = 4
N_STANDARD_ERRORS = 2.0


def fit_joint_logistic(
    genes: Float[np.ndarray, "patients genes"],
    images: Float[np.ndarray, "patients image_columns"],
    targets: Targets,
    strength: float,
    weights: Weights,
) -> Line:
    """Return weight and bias of a line over genes and images, genes first.

    Where genes say little, an image that speaks as softly as usual is lost in their noise. So a
    louder image is tried on parts of the patients that the line was not fitted on, and taken if it
    lowers their loss by more than two standard errors.
    """
    loudness = LOUDER if _louder_is_proven(genes, images, targets, strength, weights) else 1.0
    inputs = np.concatenate([genes, loudness * images], axis=1)
    weight, bias = fit_logistic(inputs, targets, strength, weights)
    weight[:, genes.shape[1] :] *= loudness
    return weight, bias


def _louder_is_proven(
    genes: Float[np.ndarray, "patients genes"],
    images: Float[np.ndarray, "patients image_columns"],
    targets: Targets,
    strength: float,
    weights: Weights,
) -> bool:
    """Return whether a louder image helps; not where a class is too small to find out."""
    if np.bincount(targets, minlength=len(weights)).min() < N_JOINT_PARTS:
        return False
    part = assign_parts(targets, N_JOINT_PARTS, np.ones(len(targets), dtype=bool))
    losses = np.zeros((2, len(targets)))
    for place, loudness in enumerate((1.0, LOUDER)):
        inputs = np.concatenate([genes, loudness * images], axis=1)
        for number in range(N_JOINT_PARTS):
            out = part == number
            weight, bias = fit_logistic(inputs[~out], targets[~out], strength, weights)
            losses[place, out] = _loss(inputs[out] @ weight.T + bias, targets[out])
    gain = (losses[0] - losses[1]) * weights[targets]
    error = float(gain.std(ddof=1)) / len(gain) ** 0.5
    return bool(float(gain.mean()) > N_STANDARD_ERRORS * error)


def _loss(
    logits: Float[np.ndarray, "patients logits"], targets: Targets
) -> Float[np.ndarray, " patients"]:
    both = np.concatenate([np.zeros_like(logits), logits], axis=1)
    named = log_softmax(both if logits.shape[1] == 1 else logits, axis=1)
    found: np.ndarray = -named[np.arange(len(targets)), targets]
    return found
