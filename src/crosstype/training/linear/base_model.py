"""Ridge base model: penalised linear classifier on all modalities, to which networks add residuals.

On cohorts of a hundred patients and thousands of genes a ridge-penalised linear model is hard to
beat, and gradient descent finds it badly. So it is fitted first, and the networks are trained on
its residual. The base logits of a training patient are cross-fitted: they come from a base model
fitted on the other inner folds. The residual weight is chosen on the same inner folds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from crosstype.training.classifier import with_prefix
from crosstype.training.fit import class_weights
from crosstype.training.linear import logistic
from crosstype.training.linear.gene_factors import GeneFactors, fit_gene_factors
from crosstype.training.patients import Patients
from crosstype.training.preprocessing import Preparation
from crosstype.training.spec import TrainingSpec
from crosstype.types import Modality

# Chosen on patients of other sites than A2; see docs/decisions/0003-linear-start.md.
STRENGTH = {Modality.GENES: 20.0, Modality.IMAGE: 5.0}
GENE_POWER = 0.75
"""Genes are scaled by this power of their standard deviation."""
IMAGE_WEIGHT_BESIDE_GENES = 0.25
CLINICAL_WEIGHT = 0.25
"""Equal to the image's weight beside genes; not tuned, for lack of clinical covariates."""
SPREAD_WEIGHT = 0.5
IMAGE_ALONE_WEIGHT = 0.75
"""Weight of the image-only logits where no gene was measured; decisions 0005, 0006."""
RESIDUAL_WEIGHTS = (0.25, 0.5, 0.75, 1.0)
N_STANDARD_ERRORS = 2.0

IMAGE, GENES = frozenset({Modality.IMAGE}), frozenset({Modality.GENES})

Logits = Float[np.ndarray, "patients logits"]
Inputs = Float[np.ndarray, "patients columns"]


@dataclass(frozen=True)
class RidgeBaseModel:
    """Fitted ridge base model.

    Attributes:
        uses: its modalities; the same as its network's.
        weight: logits x columns, genes first, then image, then clinical covariates.
        bias: logits.
        gene_factors: gene factors that impute unmeasured genes; None without genes.
        image_alone: model on the image alone, used in proportion to the variance that the measured
            genes leave unexplained; None unless both modalities are used.
        genes_alone: model on genes alone, for patients without an image; the same.
    """

    uses: frozenset[Modality]
    weight: Float[np.ndarray, "logits columns"]
    bias: Float[np.ndarray, " logits"]
    gene_factors: GeneFactors | None = None
    image_alone: RidgeBaseModel | None = None
    genes_alone: RidgeBaseModel | None = None

    def logits(self, patients: Patients, preparation: Preparation) -> Logits:
        """Return logits; one per patient for two classes, else one per class.

        With unmeasured genes: the expected logit given the measured genes and the image, shrunk by
        its variance (MacKay 1992, The evidence framework applied to classification networks:
        logit / sqrt(1 + pi variance / 8)), plus the image-only logit weighted by the share of the
        variance that the measured genes leave unexplained. Without an image: the genes-only logit.
        """
        genes, images = base_model_inputs(patients, preparation, self.uses)
        no_image = np.isnan(images).any(axis=1)
        images = np.nan_to_num(images)
        others = _with_clinical(images, patients, preparation, self.uses)
        inputs = np.concatenate([np.nan_to_num(genes), others], axis=1)
        logits: Logits = inputs @ self.weight.T + self.bias
        self._marginalise(logits, (genes, images, others), patients, preparation)
        if self.genes_alone is not None and no_image.any():
            rows = np.flatnonzero(no_image)
            logits[rows] = self.genes_alone.logits(patients.take(rows), preparation)
        return logits

    def _marginalise(
        self,
        logits: Logits,
        inputs: tuple[
            Float[np.ndarray, "patients genes"],
            Float[np.ndarray, "patients image_columns"],
            Float[np.ndarray, "patients others"],
        ],
        patients: Patients,
        preparation: Preparation,
    ) -> None:
        """Replace the logits of patients with unmeasured genes by their expectation, in place."""
        genes, images, others = inputs
        incomplete = np.isnan(genes).any(axis=1)
        if self.gene_factors is None or not incomplete.any():
            return
        n_genes = genes.shape[1]
        weight = self.weight[:, :n_genes]
        expected, variance = self.gene_factors.logits(weight, genes[incomplete], images[incomplete])
        mean = expected + others[incomplete] @ self.weight[:, n_genes:].T + self.bias
        logits[incomplete] = mean / np.sqrt(1 + np.pi * variance / 8)
        if self.image_alone is not None:
            unmeasured = np.full((1, n_genes), np.nan)
            _, largest = self.gene_factors.logits(weight, unmeasured, images[:1])
            alone = self.image_alone.logits(patients.take(np.flatnonzero(incomplete)), preparation)
            unexplained = variance / np.maximum(largest, 1e-12)
            logits[incomplete] += IMAGE_ALONE_WEIGHT * unexplained * alone

    def arrays(self) -> dict[str, np.ndarray]:
        """Return arrays for `from_arrays`."""
        parts = {
            "programs": self.gene_factors,
            "image_alone": self.image_alone,
            "genes_alone": self.genes_alone,
        }
        named = {
            f"{name}.{key}": value
            for name, part in parts.items()
            if part is not None
            for key, value in part.arrays().items()
        }
        return {"weight": self.weight, "bias": self.bias, **named}

    @classmethod
    def from_arrays(
        cls, uses: frozenset[Modality], arrays: dict[str, np.ndarray]
    ) -> RidgeBaseModel:
        """Return the model that `arrays` was called on."""
        factors = with_prefix(arrays, "programs.")
        image, genes = (with_prefix(arrays, f"{name}_alone.") for name in ("image", "genes"))
        return cls(
            uses,
            arrays["weight"],
            arrays["bias"],
            GeneFactors.from_arrays(factors) if factors else None,
            cls.from_arrays(IMAGE, image) if image else None,
            cls.from_arrays(GENES, genes) if genes else None,
        )


def fit_base_model(
    patients: Patients, preparation: Preparation, uses: Collection[Modality], spec: TrainingSpec
) -> RidgeBaseModel:
    """Fit the base model, and its models for missing data, on training patients.

    Each part is fitted on the patients with its inputs: patients without an image are used for the
    model on genes, and patients without expression for the model on the image.
    """
    kept = frozenset(uses)
    everyone = patients
    genes, images = base_model_inputs(patients, preparation, kept)
    paired = _has_any(genes) & _has_any(images)
    if not paired.all():
        rows = np.flatnonzero(paired)
        patients, genes, images = patients.take(rows), genes[rows], images[rows]
    if Modality.GENES not in kept:
        return RidgeBaseModel(kept, *_image_model(patients, preparation, images, spec))
    filled, targets = np.nan_to_num(genes), patients.targets
    weights = class_weights(targets, len(patients.classes), spec)
    strength, factors = STRENGTH[Modality.GENES], fit_gene_factors(genes, images)
    if kept == GENES:
        return RidgeBaseModel(
            kept, *logistic.fit_logistic(filled, targets, strength, weights), factors
        )
    others = _with_clinical(images, patients, preparation, kept)
    weight, bias = logistic.fit_joint_logistic(filled, others, targets, strength, weights)
    alone = (fit_base_model(everyone, preparation, one, spec) for one in (IMAGE, GENES))
    return RidgeBaseModel(kept, weight, bias, factors, *alone)


def _has_any(inputs: Inputs) -> Bool[np.ndarray, " patients"]:
    """Return which patients have any value of a modality; all, if it is not used."""
    if not inputs.shape[1]:
        return np.ones(len(inputs), dtype=bool)
    found: np.ndarray = ~np.isnan(inputs).all(axis=1)
    return found


def _image_model(
    patients: Patients, preparation: Preparation, images: Inputs, spec: TrainingSpec
) -> logistic.Coefficients:
    """Fit the model on the image, to graded labels if set and possible."""
    targets = patients.targets
    weights = class_weights(targets, len(patients.classes), spec)
    if spec.image_labels == "graded":
        genes, _ = base_model_inputs(patients, preparation, GENES)
        graded = logistic.grade_labels(genes, targets, weights)
        if graded is not None:
            return logistic.fit_image_ridge(images, graded, targets, weights)
    return logistic.fit_logistic(images, targets, STRENGTH[Modality.IMAGE], weights)


def choose_residual_weight(
    base_logits: Float[Tensor, "patients logits"],
    residual: Float[Tensor, "patients logits"],
    losses_of: Callable[[Tensor], Float[Tensor, " patients"]],
) -> float:
    """Choose the weight of the networks' residual logits, 0 to 1, on held-out patients.

    The weight with the lowest loss, if it lowers the loss by more than two standard errors of the
    paired differences, else 0 (after the standard error rule of Breiman et al. 1984). Losses are
    compared at the best temperature of each, so that a change of scale alone does not count.
    """
    plain = losses_of(_at_best_temperature(base_logits, losses_of))
    best, residual_weight = 0.0, 0.0
    for weight in RESIDUAL_WEIGHTS:
        total = base_logits + weight * residual
        gain = plain - losses_of(_at_best_temperature(total, losses_of))
        error = N_STANDARD_ERRORS * float(gain.std(unbiased=True)) / len(gain) ** 0.5
        if float(gain.mean()) > max(best, error):
            best, residual_weight = float(gain.mean()), weight
    return residual_weight


def _at_best_temperature(
    logits: Float[Tensor, "patients logits"], losses_of: Callable[[Tensor], Tensor]
) -> Float[Tensor, "patients logits"]:
    """Return the logits times the factor, 1/20 to 20, of lowest mean loss.

    Temperature scaling (Guo et al. 2017, arXiv 1706.04599); a ridge penalty shrinks logits.
    """
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda power: float(losses_of(logits * math.exp(power)).mean()),
        bounds=(-3.0, 3.0),
        method="bounded",
    )
    return logits * math.exp(float(found.x))


def base_model_inputs(
    patients: Patients, preparation: Preparation, uses: frozenset[Modality]
) -> tuple[Float[np.ndarray, "patients genes"], Float[np.ndarray, "patients columns"]]:
    """Return the gene block and the image block, each of unit variance before its weight.

    Genes: centred log expression, NaN where not measured. Image: mean and standard deviation of
    tile features, NaN without an image. A modality that is not used has no columns.
    """
    genes = images = np.zeros((len(patients), 0))
    if Modality.GENES in uses:
        spread = preparation.gene_spread.astype(np.float64) ** GENE_POWER
        size = np.sqrt((spread**2).sum()) or 1.0
        genes = preparation.measured_genes(patients.genes) * (spread / size)
    if Modality.IMAGE in uses:
        summary = preparation.bag_summary(patients).astype(np.float64)
        n_features = summary.shape[1] // 2
        summary[:, n_features:] *= SPREAD_WEIGHT
        weight = IMAGE_WEIGHT_BESIDE_GENES if Modality.GENES in uses else 1.0
        images = summary * (weight / np.sqrt(n_features))
    return genes, images


def _with_clinical(
    images: Inputs, patients: Patients, preparation: Preparation, uses: frozenset[Modality]
) -> Float[np.ndarray, "patients others"]:
    """Return the image block and, if used and present, the clinical block."""
    if Modality.CLINICAL not in uses or preparation.covariates is None:
        return images
    columns = preparation.clinical(patients).astype(np.float64)
    return np.concatenate(
        [images, columns * (CLINICAL_WEIGHT / preparation.covariates.spread)], axis=1
    )
