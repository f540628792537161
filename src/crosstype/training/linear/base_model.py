"""A linear model on all modalities, from which the networks start.

On cohorts of a hundred patients and thousands of genes a ridge-penalised line is hard to beat, and
a network that has to find it by gradient descent finds it badly. So the line is fitted first, and
the networks learn what it leaves unexplained. They see honest errors: the line's logits of a
training patient come from a line fitted on the other inner folds (cross-fitting). How far the
networks' correction is then trusted is decided on the same inner folds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from crosstype.training.classifier import below
from crosstype.training.fit import class_weights
from crosstype.training.linear.gene_factors import GeneFactors, fit_gene_factors
from crosstype.training.linear.logistic import (
    Line,
    fit_image_ridge,
    fit_joint_logistic,
    fit_logistic,
    grade_labels,
)
from crosstype.training.patients import Patients
from crosstype.training.preprocessing import Preparation
from crosstype.training.spec import TrainingSpec
from crosstype.types import Modality

# Chosen on patients of other sites than A2; see docs/decisions/0003-linear-start.md.
STRENGTH = {Modality.GENES: 20.0, Modality.IMAGE: 5.0}
GENE_POWER = 0.75
"""Genes that vary more say more: each counts by this power of its spread."""
IMAGE_WEIGHT_BESIDE_GENES = 0.25
CLINICAL_WEIGHT = 0.25
"""As the image's beside genes; not tuned, for want of clinical covariates to tune it on."""
SPREAD_WEIGHT = 0.5
IMAGE_ALONE_WEIGHT = 0.75
"""Weight of what the image says by itself where no gene was measured; decisions 0005, 0006."""
RESIDUAL_WEIGHTS = (0.25, 0.5, 0.75, 1.0)
N_STANDARD_ERRORS = 2.0

IMAGE, GENES = frozenset({Modality.IMAGE}), frozenset({Modality.GENES})

Logits = Float[np.ndarray, "patients logits"]
Inputs = Float[np.ndarray, "patients columns"]


@dataclass(frozen=True)
class RidgeBaseModel:
    """A fitted line.

    Attributes:
        uses: modalities it sees; the same as its network's.
        weight: logits x columns, genes first, then image, then clinical covariates.
        bias: logits.
        programs: what it goes by where genes were not measured; None if it sees no genes.
        image_alone: a line over the image, heard as far as genes are missing; None if it does not
            see both.
        genes_alone: a line over the genes, which speaks for patients without an image; the same.
    """

    uses: frozenset[Modality]
    weight: Float[np.ndarray, "logits columns"]
    bias: Float[np.ndarray, " logits"]
    programs: GeneFactors | None = None
    image_alone: RidgeBaseModel | None = None
    genes_alone: RidgeBaseModel | None = None

    def logits(self, patients: Patients, preparation: Preparation) -> Logits:
        """Return the line's logits; one per patient for two classes, else one per class.

        For a patient with unmeasured genes: what the line is expected to say given the measured
        genes and the image, drawn towards 0 as far as that is uncertain (MacKay 1992, The evidence
        framework applied to classification networks: logit / sqrt(1 + pi variance / 8)). To that
        is added what the image says by itself, weighted by the share of the line that the
        measured genes leave open. For a patient without an image: what the genes say alone.
        """
        genes, images = base_model_inputs(patients, preparation, self.uses)
        blind = np.isnan(images).any(axis=1)
        images = np.nan_to_num(images)
        others = _with_clinical(images, patients, preparation, self.uses)
        inputs = np.concatenate([np.nan_to_num(genes), others], axis=1)
        logits: Logits = inputs @ self.weight.T + self.bias
        self._infer(logits, (genes, images, others), patients, preparation)
        if self.genes_alone is not None and blind.any():
            rows = np.flatnonzero(blind)
            logits[rows] = self.genes_alone.logits(patients.take(rows), preparation)
        return logits

    def _infer(
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
        """Put in what the line is expected to say of patients with unmeasured genes."""
        genes, images, others = inputs
        lacking = np.isnan(genes).any(axis=1)
        if self.programs is None or not lacking.any():
            return
        n_genes = genes.shape[1]
        line = self.weight[:, :n_genes]
        expected, variance = self.programs.logits(line, genes[lacking], images[lacking])
        seen = expected + others[lacking] @ self.weight[:, n_genes:].T + self.bias
        logits[lacking] = seen / np.sqrt(1 + np.pi * variance / 8)
        if self.image_alone is not None:
            nothing = np.full((1, n_genes), np.nan)
            _, most = self.programs.logits(line, nothing, images[:1])
            alone = self.image_alone.logits(patients.take(np.flatnonzero(lacking)), preparation)
            left_open = variance / np.maximum(most, 1e-12)
            logits[lacking] += IMAGE_ALONE_WEIGHT * left_open * alone

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what `from_arrays` understands."""
        parts = {
            "programs": self.programs,
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
        """Return what `arrays` gave."""
        programs = below(arrays, "programs.")
        image, genes = (below(arrays, f"{name}_alone.") for name in ("image", "genes"))
        return cls(
            uses,
            arrays["weight"],
            arrays["bias"],
            GeneFactors.from_arrays(programs) if programs else None,
            cls.from_arrays(IMAGE, image) if image else None,
            cls.from_arrays(GENES, genes) if genes else None,
        )


def fit_base_model(
    patients: Patients, preparation: Preparation, uses: Collection[Modality], spec: TrainingSpec
) -> RidgeBaseModel:
    """Fit the line, and what it goes by where data are missing, on training patients.

    Each part is taught by those who have what it sees: a patient without an image teaches the line
    over the genes, and one without expression that over the image.
    """
    kept = frozenset(uses)
    everyone = patients
    genes, images = base_model_inputs(patients, preparation, kept)
    whole = _has_any(genes) & _has_any(images)
    if not whole.all():
        patients, genes, images = patients.take(np.flatnonzero(whole)), genes[whole], images[whole]
    if Modality.GENES not in kept:
        return RidgeBaseModel(kept, *_image_model(patients, preparation, images, spec))
    filled, targets = np.nan_to_num(genes), patients.targets
    weights = class_weights(targets, len(patients.classes), spec)
    strength, programs = STRENGTH[Modality.GENES], fit_gene_factors(genes, images)
    if kept == GENES:
        return RidgeBaseModel(kept, *fit_logistic(filled, targets, strength, weights), programs)
    others = _with_clinical(images, patients, preparation, kept)
    weight, bias = fit_joint_logistic(filled, others, targets, strength, weights)
    alone = (fit_base_model(everyone, preparation, one, spec) for one in (IMAGE, GENES))
    return RidgeBaseModel(kept, weight, bias, programs, *alone)


def _has_any(inputs: Inputs) -> Bool[np.ndarray, " patients"]:
    """Return who has something of a modality; everyone, where it is not used."""
    if not inputs.shape[1]:
        return np.ones(len(inputs), dtype=bool)
    found: np.ndarray = ~np.isnan(inputs).all(axis=1)
    return found


def _image_model(
    patients: Patients, preparation: Preparation, images: Inputs, spec: TrainingSpec
) -> Line:
    """Return the line over the image, which learns from graded labels unless told otherwise."""
    targets = patients.targets
    weights = class_weights(targets, len(patients.classes), spec)
    if spec.image_labels == "graded":
        genes, _ = base_model_inputs(patients, preparation, GENES)
        graded = grade_labels(genes, targets, weights)
        if graded is not None:
            return fit_image_ridge(images, graded, targets, weights)
    return fit_logistic(images, targets, STRENGTH[Modality.IMAGE], weights)


def choose_residual_weight(
    start: Float[Tensor, "patients logits"],
    correction: Float[Tensor, "patients logits"],
    losses_of: Callable[[Tensor], Float[Tensor, " patients"]],
) -> float:
    """Return which share of the networks' correction to keep, 0 to 1.

    The share with the lowest loss on patients that neither line nor network was fitted on, if it
    lowers the loss by more than two standard errors of the paired differences, else 0 (after the
    standard error rule of Breiman et al. 1984): without evidence the simpler model stays. Both
    sides are judged at their best temperature, so that mere confidence earns no trust.
    """
    plain = losses_of(_at_best_temperature(start, losses_of))
    best, residual_weight = 0.0, 0.0
    for share in RESIDUAL_WEIGHTS:
        corrected = start + share * correction
        gain = plain - losses_of(_at_best_temperature(corrected, losses_of))
        error = N_STANDARD_ERRORS * float(gain.std(unbiased=True)) / len(gain) ** 0.5
        if float(gain.mean()) > max(best, error):
            best, residual_weight = float(gain.mean()), share
    return residual_weight


def _at_best_temperature(
    logits: Float[Tensor, "patients logits"], losses_of: Callable[[Tensor], Tensor]
) -> Float[Tensor, "patients logits"]:
    """Return the logits times the factor, 1/20 to 20, that makes them fit best.

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
    """Return centred log expression, and tile means and spreads; each block of unit variance.

    Unmeasured genes are NaN, and so is an image that is not there; a modality that is not used has
    no columns.
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
    """Return the image block with the clinical one beside it, if it is used and there is any."""
    if Modality.CLINICAL not in uses or preparation.covariates is None:
        return images
    columns = preparation.clinical(patients).astype(np.float64)
    return np.concatenate(
        [images, columns * (CLINICAL_WEIGHT / preparation.covariates.spread)], axis=1
    )
