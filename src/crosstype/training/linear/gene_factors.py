"""Probabilistic principal components of expression, for inference of unmeasured genes.

A few factors (oestrogen response, proliferation, ...) explain most of the variance of a thousand
genes. The factor model (probabilistic PCA, Tipping and Bishop 1999) is fitted on training patients
without labels. A patient's factors have a posterior mean and covariance given the measured genes;
their prior mean is 0, or a ridge regression on the image. So as genes go missing, the image
gradually replaces them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

MAX_FACTORS = 32
PATIENTS_PER_FACTOR = 10
LEAST_NOISE = 0.05
"""Lowest noise variance of a gene, as a share of the mean noise variance."""
RIDGES = (0.3, 1.0, 3.0, 10.0, 30.0)
N_PARTS = 5

Genes = Float[np.ndarray, "patients genes"]
Factors = Float[np.ndarray, "patients factors"]
Covariance = Float[np.ndarray, "patients factors factors"]
Summary = Float[np.ndarray, "patients columns"]


@dataclass(frozen=True)
class GeneFactors:
    """Factor model of gene expression, fitted on training patients.

    Attributes:
        weight: (genes, factors), loadings.
        noise: (genes,), residual variance of each gene.
        from_image: (columns, factors), slopes of the factors on the image summary; no columns
            without an image.
        offset: (factors,), intercepts of the same.
        prior: (factors, factors), prior precision of the factors.
    """

    weight: Float[np.ndarray, "genes factors"]
    noise: Float[np.ndarray, " genes"]
    from_image: Float[np.ndarray, "columns factors"]
    offset: Float[np.ndarray, " factors"]
    prior: Float[np.ndarray, "factors factors"]

    def infer(self, genes: Genes, images: Summary) -> tuple[Factors, Covariance]:
        """Return posterior mean and covariance of the patients' factors, given the measured genes.

        Args:
            genes: centred expression; NaN where not measured.
            images: summaries of the images; no columns if the model was fitted without.
        """
        measured = (~np.isnan(genes)).astype(np.float64)
        scaled = self.weight / self.noise[:, None]
        outer = scaled[:, :, None] * self.weight[:, None, :]
        precision = self.prior + np.tensordot(measured, outer, axes=1)
        covariance = np.linalg.inv(precision)
        prior_mean = self.offset + images @ self.from_image
        evidence = np.nan_to_num(genes) @ scaled + prior_mean @ self.prior
        return np.einsum("pij,pj->pi", covariance, evidence), covariance

    def logits(
        self,
        coefficients: Float[np.ndarray, "logits genes"],
        genes: Genes,
        images: Summary,
    ) -> tuple[Float[np.ndarray, "patients logits"], Float[np.ndarray, "patients logits"]]:
        """Return posterior mean and variance of the logits of a linear model on genes.

        Measured genes enter with their values, unmeasured genes with their posterior means.
        """
        factors, covariance = self.infer(genes, images)
        missing = np.isnan(genes)
        imputed = np.where(missing, factors @ self.weight.T, np.nan_to_num(genes))
        expected = imputed @ coefficients.T
        # Variance of the factors, projected through missing genes, and those genes' noise.
        slopes = np.einsum("pg,lg,gk->plk", missing.astype(np.float64), coefficients, self.weight)
        variance = np.einsum("plk,pkj,plj->pl", slopes, covariance, slopes)
        return expected, variance + missing @ (coefficients**2 * self.noise).T

    def arrays(self) -> dict[str, np.ndarray]:
        """Return arrays for `from_arrays`."""
        return dict(vars(self))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> GeneFactors:
        """Return the model that `arrays` was called on."""
        return cls(**arrays)


def fit_gene_factors(genes: Genes, images: Summary) -> GeneFactors:
    """Fit the factor model, and the regression of its factors on images, on training patients.

    Args:
        genes: centred expression; NaN where not measured, which counts as the mean.
        images: summaries of the images; no columns: without images.
    """
    weight, noise = _components(np.nan_to_num(genes))
    n_factors = weight.shape[1]
    plain = GeneFactors(
        weight, noise, np.zeros((0, n_factors)), np.zeros(n_factors), np.eye(n_factors)
    )
    if not images.shape[1]:
        return plain
    factors, covariance = plain.infer(genes, np.zeros((len(genes), 0)))
    ridge = min(RIDGES, key=lambda one: float((_residuals(images, factors, one) ** 2).mean()))
    from_image, offset = _regress(images, factors, ridge)
    residual = _residuals(images, factors, ridge)
    spread = np.cov(residual, rowvar=False) + covariance.mean(axis=0)
    return GeneFactors(weight, noise, from_image, offset, np.linalg.inv(spread))


def _components(centred: Genes) -> tuple[np.ndarray, np.ndarray]:
    """Return loadings and noise variances (closed form, noise per gene)."""
    n_patients, n_genes = centred.shape
    limit = min(n_patients - 2, n_genes - 1)
    n_factors = max(1, min(MAX_FACTORS, n_patients // PATIENTS_PER_FACTOR, limit))
    # The smaller of the two Gram matrices would do; an SVD of patients x genes is as cheap.
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    variances = singular**2 / n_patients
    remaining = float(variances[n_factors:].sum()) / max(1, n_genes - n_factors)
    kept = axes[:n_factors].T
    weight = kept * np.sqrt(np.maximum(variances[:n_factors] - remaining, 1e-12))
    residual = (centred - centred @ kept @ kept.T).var(axis=0)
    return weight, np.maximum(residual, max(LEAST_NOISE * remaining, 1e-12))


def _regress(images: Summary, factors: Factors, ridge: float) -> tuple[np.ndarray, np.ndarray]:
    """Return slopes and intercepts of a ridge regression of factors on images.

    Solved over patients or over columns, whichever are fewer: 4,096 columns of 70 patients take 70
    equations (the push-through identity).
    """
    mean, centre = images.mean(axis=0), factors.mean(axis=0)
    centred, centred_factors = images - mean, factors - centre
    n_patients, n_columns = centred.shape
    if n_patients < n_columns:
        gram = centred @ centred.T + ridge * np.eye(n_patients)
        slopes = centred.T @ np.linalg.solve(gram, centred_factors)
    else:
        gram = centred.T @ centred + ridge * np.eye(n_columns)
        slopes = np.linalg.solve(gram, centred.T @ centred_factors)
    return slopes, centre - mean @ slopes


def _residuals(images: Summary, factors: Factors, ridge: float) -> Factors:
    """Return cross-validated residuals of the factors."""
    part = np.arange(len(images)) % N_PARTS
    residual = np.empty_like(factors)
    for number in range(N_PARTS):
        inside = part == number
        if inside.any() and not inside.all():
            slopes, offset = _regress(images[~inside], factors[~inside], ridge)
            residual[inside] = factors[inside] - offset - images[inside] @ slopes
    return residual
