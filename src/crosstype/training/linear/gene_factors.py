"""What the measured genes, and the image, say of the genes that were not measured.

Genes move together: a few programs (oestrogen response, proliferation, ...) explain most of what
a thousand genes do. Probabilistic principal components (Tipping and Bishop 1999) learn the programs
from training patients. A patient's programs are then inferred from the genes that were measured,
and how uncertain they are is part of the answer. Without any gene they are what is usual; with an
image they are what such images usually go with (a ridge regression), to which measured genes are
then added as evidence. So RNA that fails gene by gene hands over to the image by degrees.

Nothing here knows a label.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

MOST_PROGRAMS = 32
PATIENTS_PER_PROGRAM = 10
LEAST_NOISE = 0.05
"""Least noise of a gene, as a share of the mean noise: no gene is beyond doubt."""
RIDGES = (0.3, 1.0, 3.0, 10.0, 30.0)
N_PARTS = 5

Genes = Float[np.ndarray, "patients genes"]
Programs = Float[np.ndarray, "patients programs"]
Covariance = Float[np.ndarray, "patients programs programs"]
Summary = Float[np.ndarray, "patients columns"]


@dataclass(frozen=True)
class GeneFactors:
    """Programs of genes that were learned from training patients.

    Attributes:
        weight: (genes, programs), how each gene follows each program.
        noise: (genes,), variance of what no program explains.
        from_image: (columns, programs), what an image summary says of the programs; no columns
            if there is no image.
        offset: (programs,), of the same.
        prior: (programs, programs), precision of the programs before any gene is measured.
    """

    weight: Float[np.ndarray, "genes programs"]
    noise: Float[np.ndarray, " genes"]
    from_image: Float[np.ndarray, "columns programs"]
    offset: Float[np.ndarray, " programs"]
    prior: Float[np.ndarray, "programs programs"]

    def infer(self, genes: Genes, images: Summary) -> tuple[Programs, Covariance]:
        """Return the programs of patients and their covariance, given what was measured.

        Args:
            genes: centred expression; NaN where not measured.
            images: summaries of the images; no columns if the programs were learned without.
        """
        measured = (~np.isnan(genes)).astype(np.float64)
        certain = self.weight / self.noise[:, None]
        outer = certain[:, :, None] * self.weight[:, None, :]
        precision = self.prior + np.tensordot(measured, outer, axes=1)
        covariance = np.linalg.inv(precision)
        before = self.offset + images @ self.from_image
        evidence = np.nan_to_num(genes) @ certain + before @ self.prior
        return np.einsum("pij,pj->pi", covariance, evidence), covariance

    def logits(
        self,
        line: Float[np.ndarray, "logits genes"],
        genes: Genes,
        images: Summary,
    ) -> tuple[Float[np.ndarray, "patients logits"], Float[np.ndarray, "patients logits"]]:
        """Return what a line over genes is expected to say, and the variance of that.

        Measured genes count as they are, the others as the programs predict them.
        """
        programs, covariance = self.infer(genes, images)
        missing = np.isnan(genes)
        expected = np.where(missing, programs @ self.weight.T, np.nan_to_num(genes)) @ line.T
        # Uncertainty of the programs, as far as it reaches the line through missing genes, and
        # each missing gene's own noise.
        reach = np.einsum("pg,lg,gk->plk", missing.astype(np.float64), line, self.weight)
        variance = np.einsum("plk,pkj,plj->pl", reach, covariance, reach)
        return expected, variance + missing @ (line**2 * self.noise).T

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what `from_arrays` understands."""
        return dict(vars(self))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> GeneFactors:
        """Return what `arrays` gave."""
        return cls(**arrays)


def fit_gene_factors(genes: Genes, images: Summary) -> GeneFactors:
    """Learn programs, and what images say of them, from training patients.

    Args:
        genes: centred expression; NaN where not measured, which counts as the mean.
        images: summaries of the images; no columns: without images.
    """
    weight, noise = _components(np.nan_to_num(genes))
    n_programs = weight.shape[1]
    plain = GeneFactors(
        weight, noise, np.zeros((0, n_programs)), np.zeros(n_programs), np.eye(n_programs)
    )
    if not images.shape[1]:
        return plain
    programs, covariance = plain.infer(genes, np.zeros((len(genes), 0)))
    ridge = min(RIDGES, key=lambda one: float((_residuals(images, programs, one) ** 2).mean()))
    from_image, offset = _regress(images, programs, ridge)
    left = _residuals(images, programs, ridge)
    spread = np.cov(left, rowvar=False) + covariance.mean(axis=0)
    return GeneFactors(weight, noise, from_image, offset, np.linalg.inv(spread))


def _components(centred: Genes) -> tuple[np.ndarray, np.ndarray]:
    """Return the programs' weights and each gene's noise (closed form, noise per gene)."""
    n_patients, n_genes = centred.shape
    most = min(n_patients - 2, n_genes - 1)
    n_programs = max(1, min(MOST_PROGRAMS, n_patients // PATIENTS_PER_PROGRAM, most))
    # The small one of the two Gram matrices would do; an SVD of patients x genes is as cheap.
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    variances = singular**2 / n_patients
    beyond = float(variances[n_programs:].sum()) / max(1, n_genes - n_programs)
    kept = axes[:n_programs].T
    weight = kept * np.sqrt(np.maximum(variances[:n_programs] - beyond, 1e-12))
    left = (centred - centred @ kept @ kept.T).var(axis=0)
    return weight, np.maximum(left, max(LEAST_NOISE * beyond, 1e-12))


def _regress(images: Summary, programs: Programs, ridge: float) -> tuple[np.ndarray, np.ndarray]:
    """Return slopes and offset of a ridge regression.

    Solved over patients or over columns, whichever are fewer: 4,096 columns of 70 patients take 70
    equations (the push-through identity).
    """
    mean, centre = images.mean(axis=0), programs.mean(axis=0)
    centred, wanted = images - mean, programs - centre
    n_patients, n_columns = centred.shape
    if n_patients < n_columns:
        gram = centred @ centred.T + ridge * np.eye(n_patients)
        slopes = centred.T @ np.linalg.solve(gram, wanted)
    else:
        gram = centred.T @ centred + ridge * np.eye(n_columns)
        slopes = np.linalg.solve(gram, centred.T @ wanted)
    return slopes, centre - mean @ slopes


def _residuals(images: Summary, programs: Programs, ridge: float) -> Programs:
    """Return what is left of each patient's programs by a regression on the others."""
    part = np.arange(len(images)) % N_PARTS
    left = np.empty_like(programs)
    for number in range(N_PARTS):
        inside = part == number
        if inside.any() and not inside.all():
            slopes, offset = _regress(images[~inside], programs[~inside], ridge)
            left[inside] = programs[inside] - offset - images[inside] @ slopes
    return left
