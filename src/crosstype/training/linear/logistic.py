"""Ridge-penalised logistic regression on one modality or two, exact also for columns > patients.

The model on the image can be fitted to graded labels: each training patient's logits from a model
on genes that was fitted on other patients. Soft targets carry more information than classes, which
helps where patients are few (learning with privileged information, Vapnik and Vashist 2009;
distillation, Lopez-Paz et al. 2016, arXiv 1511.03643). The image is the only input at prediction.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.special import log_softmax

Inputs = Float[np.ndarray, "patients columns"]
Coefficients = tuple[Float[np.ndarray, "logits columns"], Float[np.ndarray, " logits"]]

LEAST_SHARE = 1e-10
"""Eigenvalues below this share of the largest are rounding errors."""


def fit_logistic(
    inputs: Inputs,
    targets: Int[np.ndarray, " patients"],
    strength: float,
    weights: Float[np.ndarray, " classes"],
) -> Coefficients:
    """Fit ridge-penalised logistic regression; return weight (logits x columns) and bias.

    One row for two classes (the positive class), else one per class. With more columns than
    patients it is solved in the span of the patients (representer theorem), which is faster.

    Args:
        inputs: patients x columns, nothing missing.
        targets: class numbers.
        strength: inverse of the L2 penalty (scikit-learn's C).
        weights: class weights.
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
    """Return coordinates in the patients' span, and the map from its weights to column weights."""
    values, vectors = np.linalg.eigh(inputs @ inputs.T)
    kept = values > values[-1] * LEAST_SHARE
    sizes = np.sqrt(values[kept])
    directions: np.ndarray = (vectors[:, kept] / sizes).T @ inputs
    return vectors[:, kept] * sizes, directions


# Chosen on training patients; see docs/decisions/0006-graded-labels.md.
GENE_STRENGTH = 10.0
N_GRADING_PARTS = 5
FURTHEST = 3.0
"""Graded labels are clipped at this logit."""
RIDGE = 2.0
N_PARTS = 10
MAP_STRENGTH = 3.0
LEAST_SLOPE = 0.1

Targets = Int[np.ndarray, " patients"]
Graded = Float[np.ndarray, "patients logits"]
Weights = Float[np.ndarray, " classes"]


def grade_labels(genes: Inputs, targets: Targets, weights: Weights) -> Graded | None:
    """Return cross-fitted logits of each patient by logistic regression on genes.

    Args:
        genes: centred expression; NaN where not measured, which counts as the mean. Patients
            without any get the mean of their class.
        targets: class numbers.
        weights: class weights.

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


def fit_image_ridge(
    images: Inputs, graded: Graded, targets: Targets, weights: Weights
) -> Coefficients:
    """Fit ridge regression of graded labels on the image; return weight and bias of class logits.

    A logistic regression on its cross-fitted predictions maps them to logits of the classes; the
    composition of both is linear.
    """
    from sklearn.linear_model import Ridge

    predicted = np.zeros_like(graded)
    part = assign_parts(targets, N_PARTS, np.ones(len(targets), dtype=bool))
    for number in range(part.max() + 1):
        inside = part == number
        if inside.any() and not inside.all():
            model = Ridge(alpha=RIDGE).fit(images[~inside], graded[~inside])
            predicted[inside] = model.predict(images[inside]).reshape(-1, graded.shape[1])
    size = float(predicted.std(axis=0).mean()) or 1.0
    onto, bias = fit_logistic(predicted / size, targets, MAP_STRENGTH, weights)
    if len(onto) == 1:  # noise must not reverse the sign of an uninformative image
        onto = np.maximum(onto, LEAST_SLOPE)
    model = Ridge(alpha=RIDGE).fit(images, graded)
    slopes = np.atleast_2d(model.coef_)
    start = np.atleast_1d(model.intercept_)
    return onto @ slopes / size, bias + onto @ start / size


def assign_parts(
    targets: Targets, n_parts: int, counted: np.ndarray
) -> Int[np.ndarray, " patients"]:
    """Assign patients to parts, stratified by class; those not counted are assigned last."""
    part = np.empty(len(targets), dtype=np.int64)
    order = np.lexsort((np.arange(len(targets)), targets, ~counted))
    part[order] = np.arange(len(targets)) % n_parts
    return part


RAISED_IMAGE_SCALE = 4.0
"""Factor on the image block, used if it lowers the cross-validated loss."""
N_JOINT_PARTS = 4
N_STANDARD_ERRORS = 2.0


def fit_joint_logistic(
    genes: Float[np.ndarray, "patients genes"],
    images: Float[np.ndarray, "patients image_columns"],
    targets: Targets,
    strength: float,
    weights: Weights,
) -> Coefficients:
    """Fit ridge-penalised logistic regression on genes and image; return weight and bias.

    Columns of weight: genes first. Where genes carry little signal, an image block of the usual
    scale is lost in their noise. So a larger scale is used if it lowers the cross-validated loss by
    more than two standard errors.
    """
    raised = _raised_scale_helps(genes, images, targets, strength, weights)
    scale = RAISED_IMAGE_SCALE if raised else 1.0
    inputs = np.concatenate([genes, scale * images], axis=1)
    weight, bias = fit_logistic(inputs, targets, strength, weights)
    weight[:, genes.shape[1] :] *= scale
    return weight, bias


def _raised_scale_helps(
    genes: Float[np.ndarray, "patients genes"],
    images: Float[np.ndarray, "patients image_columns"],
    targets: Targets,
    strength: float,
    weights: Weights,
) -> bool:
    """Return whether a larger image scale lowers the loss; False where a class is too small."""
    if np.bincount(targets, minlength=len(weights)).min() < N_JOINT_PARTS:
        return False
    part = assign_parts(targets, N_JOINT_PARTS, np.ones(len(targets), dtype=bool))
    losses = np.zeros((2, len(targets)))
    for row, scale in enumerate((1.0, RAISED_IMAGE_SCALE)):
        inputs = np.concatenate([genes, scale * images], axis=1)
        for number in range(N_JOINT_PARTS):
            out = part == number
            weight, bias = fit_logistic(inputs[~out], targets[~out], strength, weights)
            losses[row, out] = _loss(inputs[out] @ weight.T + bias, targets[out])
    gain = (losses[0] - losses[1]) * weights[targets]
    error = float(gain.std(ddof=1)) / len(gain) ** 0.5
    return bool(float(gain.mean()) > N_STANDARD_ERRORS * error)


def _loss(
    logits: Float[np.ndarray, "patients logits"], targets: Targets
) -> Float[np.ndarray, " patients"]:
    both = np.concatenate([np.zeros_like(logits), logits], axis=1)
    log_probabilities = log_softmax(both if logits.shape[1] == 1 else logits, axis=1)
    losses: np.ndarray = -log_probabilities[np.arange(len(targets)), targets]
    return losses
