"""A line taken apart: what each gene and the image adds to a patient's logits, exactly.

Where all genes were measured a line is a sum of weight times input. Where some were not, the line
says what it is expected to say given the others (`training/linear_start.py`); for a given pattern
of missing genes that too is a sum of weight times input, with weights of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from crosstype.terms import Modality
from crosstype.training.bags import Patients
from crosstype.training.linear_start import (
    CLINICAL_WEIGHT,
    IMAGE_ALONE_WEIGHT,
    IMAGE_WEIGHT_BESIDE_GENES,
    SPREAD_WEIGHT,
    LinearStart,
    line_inputs,
)
from crosstype.training.preparation import Preparation

Logits = Float[np.ndarray, "patients logits"]


@dataclass(frozen=True)
class LineTerms:
    """What a line says of patients, as sums. All in logits.

    Attributes:
        genes: of each kept gene, against its mean in training; 0 where it was not measured.
        gene_weight: of each of the line's inputs from genes; 0 where it was not measured.
        image_weight: of each column of the standardised image summary (tile means, then tile
            spreads); no columns if the line sees no image.
        image: what the image adds, against the mean image in training; 0 without an image.
        bias: what the line says of a patient whose genes and image are the training mean.
        rest: what clinical covariates add.
    """

    genes: Float[np.ndarray, "patients logits genes"]
    gene_weight: Float[np.ndarray, "patients logits genes"]
    image_weight: Float[np.ndarray, "patients logits columns"]
    image: Logits
    bias: Logits
    rest: Logits

    @property
    def logits(self) -> Logits:
        """Return the sum of all terms."""
        total: Logits = self.genes.sum(axis=2) + self.image + self.bias + self.rest
        return total


def line_terms(line: LinearStart, patients: Patients, preparation: Preparation) -> LineTerms:
    """Take apart what a line says of patients; `logits` is then what `line.logits` returns."""
    genes, images = line_inputs(patients, preparation, line.uses)
    blind = np.isnan(images).any(axis=1)
    images = np.nan_to_num(images)
    n_patients, n_genes, n_images = len(patients), genes.shape[1], images.shape[1]
    weight = np.tile(line.weight[None].astype(np.float64), (n_patients, 1, 1))
    bias = np.tile(line.bias[None].astype(np.float64), (n_patients, 1))
    others = weight[:, :, n_genes + n_images :]
    rest = np.zeros_like(bias)
    if others.shape[2]:
        assert preparation.covariates is not None
        columns = preparation.clinical(patients).astype(np.float64)
        columns *= CLINICAL_WEIGHT / preparation.covariates.spread
        rest = np.einsum("plc,pc->pl", others, columns)
    lacking = np.flatnonzero(np.isnan(genes).any(axis=1))
    if line.programs is not None and len(lacking):
        found = _inferred(line, genes[lacking], images[lacking])
        weight[lacking, :, : n_genes + n_images], bias[lacking], shrinkage = found
        rest[lacking] *= shrinkage
    own = weight[:, :, n_genes : n_genes + n_images]
    terms = LineTerms(
        weight[:, :, :n_genes] * np.nan_to_num(genes)[:, None, :],
        weight[:, :, :n_genes],
        own * _column_sizes(n_images, beside_genes=Modality.GENES in line.uses),
        np.einsum("plc,pc->pl", own, images),
        bias,
        rest,
    )
    return _of_blind(terms, np.flatnonzero(blind), line, (patients, preparation))


def _inferred(
    line: LinearStart,
    genes: Float[np.ndarray, "patients genes"],
    images: Float[np.ndarray, "patients columns"],
) -> tuple[Float[np.ndarray, "patients logits inputs"], Logits, Logits]:
    """Return weights, bias and shrinkage of a line for patients with missing genes."""
    programs = line.programs
    assert programs is not None
    n_genes, n_images = genes.shape[1], images.shape[1]
    over_genes, over_images = line.weight[:, :n_genes], line.weight[:, n_genes:][:, :n_images]
    measured = (~np.isnan(genes)).astype(np.float64)
    _, covariance = programs.infer(genes, images)
    _, variance = programs.logits(over_genes, genes, images)
    # How far the programs reach each logit, through the genes that are missing.
    reach = np.einsum("pg,lg,gk->plk", 1 - measured, over_genes, programs.weight)
    reach = np.einsum("plk,pkj->plj", reach, covariance)
    evidence = np.einsum("plk,gk->plg", reach, programs.weight / programs.noise[:, None])
    gene_weight = (over_genes[None] + evidence) * measured[:, None, :]
    before = np.einsum("plk,kj->plj", reach, programs.prior)
    image_weight = np.tile(over_images[None], (len(genes), 1, 1))
    if len(programs.from_image):
        image_weight = image_weight + np.einsum("plk,ck->plc", before, programs.from_image)
    bias = line.bias + before @ programs.offset
    shrinkage = 1 / np.sqrt(1 + np.pi * variance / 8)
    weight = np.concatenate([gene_weight, image_weight], axis=2) * shrinkage[:, :, None]
    bias = bias * shrinkage
    if line.image_alone is not None:
        nothing = np.full((1, n_genes), np.nan)
        _, most = programs.logits(over_genes, nothing, images[:1])
        heard = IMAGE_ALONE_WEIGHT * variance / np.maximum(most, 1e-12)
        alone = line.image_alone.weight / IMAGE_WEIGHT_BESIDE_GENES
        weight[:, :, n_genes:] += heard[:, :, None] * alone[None]
        bias = bias + heard * line.image_alone.bias
    return weight, bias, shrinkage


def _column_sizes(n_columns: int, *, beside_genes: bool) -> Float[np.ndarray, " columns"]:
    """Return what a line's input is of each column of the standardised summary."""
    n_features = n_columns // 2
    sizes = np.ones(n_columns)
    sizes[n_features:] = SPREAD_WEIGHT
    weight = IMAGE_WEIGHT_BESIDE_GENES if beside_genes else 1.0
    sizes *= weight / np.sqrt(max(1, n_features))
    return sizes


def _of_blind(
    terms: LineTerms,
    rows: np.ndarray,
    line: LinearStart,
    seen: tuple[Patients, Preparation],
) -> LineTerms:
    """Put in what the genes say alone of patients without an image."""
    if line.genes_alone is None or not len(rows):
        return terms
    patients, preparation = seen
    alone = line_terms(line.genes_alone, patients.take(rows), preparation)
    parts: dict[str, np.ndarray] = {}
    for name in ("genes", "gene_weight", "bias"):
        parts[name] = getattr(terms, name).copy()
        parts[name][rows] = getattr(alone, name)
    zeroed = {"image_weight": terms.image_weight, "image": terms.image, "rest": terms.rest}
    for name, values in zeroed.items():
        parts[name] = values.copy()
        parts[name][rows] = 0.0
    return replace(terms, **parts)
