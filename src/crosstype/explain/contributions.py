"""Decomposition of a classifier's logit into contributions of genes, image and covariates.

The logit is the ridge base model's plus the weighted mean residual of the networks. The base
model's part is exact. The networks' genes are integrated gradients (Sundararajan et al. 2017, arXiv
1703.01365) along the straight path from the training mean of every gene to the patient, which is 0
once genes are standardised. The baseline of the image is one tile with every feature at its
training mean.

Contributions to the ridge base model are exact.

Where all genes were measured, the ridge base model is a sum of weight times input. Where some were
not, its logit is the expected one given the others (`training/linear/base_model.py`), which for a
given pattern of missing genes is a sum of weight times input too, with weights of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from crosstype.models.catalog import MODELS
from crosstype.models.network import Batch, Network, Output
from crosstype.training.fit import Prepared
from crosstype.training.linear import base_model
from crosstype.training.network_classifier import NetworkClassifier
from crosstype.training.patients import Patients
from crosstype.training.preprocessing import Preparation
from crosstype.types import Modality


@dataclass(frozen=True)
class BaseModelContributions:
    """Contributions to the logits of the ridge base model, in logits.

    Attributes:
        genes: of each kept gene, against its mean in training; 0 where it was not measured.
        gene_weight: of each gene input of the model; 0 where it was not measured.
        image_weight: of each column of the standardised image summary (tile means, then tile
            spreads); no columns if the model does not use images.
        image: of the image, against the mean image in training; 0 without an image.
        bias: logits of a patient whose genes and image are the training mean.
        rest: of clinical covariates.
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


def base_model_contributions(
    model: base_model.RidgeBaseModel, patients: Patients, preparation: Preparation
) -> BaseModelContributions:
    """Return the contributions to a ridge base model's logits; they sum to `model.logits`."""
    genes, images = base_model.base_model_inputs(patients, preparation, model.uses)
    blind = np.isnan(images).any(axis=1)
    images = np.nan_to_num(images)
    n_patients, n_genes, n_images = len(patients), genes.shape[1], images.shape[1]
    weight = np.tile(model.weight[None].astype(np.float64), (n_patients, 1, 1))
    bias = np.tile(model.bias[None].astype(np.float64), (n_patients, 1))
    others = weight[:, :, n_genes + n_images :]
    rest = np.zeros_like(bias)
    if others.shape[2]:
        assert preparation.covariates is not None
        columns = preparation.clinical(patients).astype(np.float64)
        columns *= base_model.CLINICAL_WEIGHT / preparation.covariates.spread
        rest = np.einsum("plc,pc->pl", others, columns)
    lacking = np.flatnonzero(np.isnan(genes).any(axis=1))
    if model.gene_factors is not None and len(lacking):
        found = _inferred(model, genes[lacking], images[lacking])
        weight[lacking, :, : n_genes + n_images], bias[lacking], shrinkage = found
        rest[lacking] *= shrinkage
    own = weight[:, :, n_genes : n_genes + n_images]
    terms = BaseModelContributions(
        weight[:, :, :n_genes] * np.nan_to_num(genes)[:, None, :],
        weight[:, :, :n_genes],
        own * _column_sizes(n_images, beside_genes=Modality.GENES in model.uses),
        np.einsum("plc,pc->pl", own, images),
        bias,
        rest,
    )
    return _of_blind(terms, np.flatnonzero(blind), model, (patients, preparation))


def _inferred(
    model: base_model.RidgeBaseModel,
    genes: Float[np.ndarray, "patients genes"],
    images: Float[np.ndarray, "patients columns"],
) -> tuple[Float[np.ndarray, "patients logits inputs"], Logits, Logits]:
    """Return weights, bias and shrinkage of the model for patients with missing genes."""
    factors = model.gene_factors
    assert factors is not None
    n_genes, n_images = genes.shape[1], images.shape[1]
    over_genes, over_images = model.weight[:, :n_genes], model.weight[:, n_genes:][:, :n_images]
    measured = (~np.isnan(genes)).astype(np.float64)
    _, covariance = factors.infer(genes, images)
    _, variance = factors.logits(over_genes, genes, images)
    # How far the factors reach each logit, through the genes that are missing.
    reach = np.einsum("pg,lg,gk->plk", 1 - measured, over_genes, factors.weight)
    reach = np.einsum("plk,pkj->plj", reach, covariance)
    evidence = np.einsum("plk,gk->plg", reach, factors.weight / factors.noise[:, None])
    gene_weight = (over_genes[None] + evidence) * measured[:, None, :]
    before = np.einsum("plk,kj->plj", reach, factors.prior)
    image_weight = np.tile(over_images[None], (len(genes), 1, 1))
    if len(factors.from_image):
        image_weight = image_weight + np.einsum("plk,ck->plc", before, factors.from_image)
    bias = model.bias + before @ factors.offset
    shrinkage = 1 / np.sqrt(1 + np.pi * variance / 8)
    weight = np.concatenate([gene_weight, image_weight], axis=2) * shrinkage[:, :, None]
    bias = bias * shrinkage
    if model.image_alone is not None:
        nothing = np.full((1, n_genes), np.nan)
        _, most = factors.logits(over_genes, nothing, images[:1])
        share = base_model.IMAGE_ALONE_WEIGHT * variance / np.maximum(most, 1e-12)
        alone = model.image_alone.weight / base_model.IMAGE_WEIGHT_BESIDE_GENES
        weight[:, :, n_genes:] += share[:, :, None] * alone[None]
        bias = bias + share * model.image_alone.bias
    return weight, bias, shrinkage


def _column_sizes(n_columns: int, *, beside_genes: bool) -> Float[np.ndarray, " columns"]:
    """Return the model's scale of each column of the standardised summary."""
    n_features = n_columns // 2
    sizes = np.ones(n_columns)
    sizes[n_features:] = base_model.SPREAD_WEIGHT
    weight = base_model.IMAGE_WEIGHT_BESIDE_GENES if beside_genes else 1.0
    sizes *= weight / np.sqrt(max(1, n_features))
    return sizes


def _of_blind(
    terms: BaseModelContributions,
    rows: np.ndarray,
    model: base_model.RidgeBaseModel,
    seen: tuple[Patients, Preparation],
) -> BaseModelContributions:
    """Use the genes-only model for patients without an image."""
    if model.genes_alone is None or not len(rows):
        return terms
    patients, preparation = seen
    alone = base_model_contributions(model.genes_alone, patients.take(rows), preparation)
    parts: dict[str, np.ndarray] = {}
    for name in ("genes", "gene_weight", "bias"):
        parts[name] = getattr(terms, name).copy()
        parts[name][rows] = getattr(alone, name)
    zeroed = {"image_weight": terms.image_weight, "image": terms.image, "rest": terms.rest}
    for name, values in zeroed.items():
        parts[name] = values.copy()
        parts[name][rows] = 0.0
    return replace(terms, **parts)


N_STEPS = 32
"""Points of the Gauss-Legendre rule along the way, and along each part of it that is halved."""
MOST_GAP = 1e-4
"""Most by which the gradients along a stretch may miss the rise of a logit."""
SHORTEST = 2.0**-20
"""Share of the way that is not halved any more."""
BATCH_BYTES = 1 << 25
"""Tile features of a batch of patients; a larger bag is a batch of its own."""
VALUES_AT_ONCE = 1 << 24
"""Tile features, over all points of the path, in one batch of a network."""

Logits = Float[np.ndarray, "patients logits"]
PerGene = Float[np.ndarray, "patients logits genes"]


@dataclass(frozen=True)
class PredictedLogits:
    """Logits of a classifier, before temperature and threshold.

    Attributes:
        logits: of each patient.
        residual_weight: weight of the networks' residual logits in each patient's logits.
        base_model: contributions to the ridge base model; None if there is none.
    """

    logits: Logits
    residual_weight: Float[np.ndarray, " patients"]
    base_model: BaseModelContributions | None


@dataclass(frozen=True)
class Contributions:
    """Contributions to a classifier's logits, in logits.

    Attributes:
        predicted: the logits.
        baseline: logits of a patient whose genes and image are the training mean.
        genes: of each kept gene.
        image: of the image, all genes at their mean.
        rest: of clinical covariates.
    """

    predicted: PredictedLogits
    baseline: Logits
    genes: PerGene
    image: Logits
    rest: Logits

    @property
    def gap(self) -> Float[np.ndarray, " patients"]:
        """Return by how much the parts miss each patient's logits: 0 if they are complete."""
        total = self.baseline + self.genes.sum(axis=2) + self.image + self.rest
        found: np.ndarray = np.abs(self.predicted.logits - total).max(axis=1)
        return found


def predicted_logits(classifier: NetworkClassifier, patients: Patients) -> PredictedLogits:
    """Return a classifier's logits and residual weights for patients."""
    prepared = Prepared(patients, classifier.preparation, imputed=classifier.imputed)
    if classifier.base_model is None:
        logits = classifier.logits(patients).numpy().astype(np.float64)
        return PredictedLogits(logits, np.ones(len(patients)), None)
    residual_weight = np.array(
        [classifier.residual_weights[one] for one in classifier.pattern_of(prepared)]
    )
    base_model = base_model_contributions(classifier.base_model, patients, classifier.preparation)
    if residual_weight.any():
        logits = classifier.logits(patients).numpy().astype(np.float64)
    else:  # the same in double precision
        logits = classifier.base_model.logits(patients, classifier.preparation)
    return PredictedLogits(logits, residual_weight, base_model)


def contributions_of(classifier: NetworkClassifier, patients: Patients) -> Contributions:
    """Return the contributions to a classifier's logits for patients."""
    predicted = predicted_logits(classifier, patients)
    prepared = Prepared(patients, classifier.preparation, imputed=classifier.imputed)
    genes = np.zeros((*predicted.logits.shape, prepared.genes.shape[1]))
    base, image, rest = (np.zeros_like(predicted.logits) for _ in range(3))
    if predicted.base_model is not None:
        base, image, rest = (
            predicted.base_model.bias.copy(),
            predicted.base_model.image.copy(),
            predicted.base_model.rest.copy(),
        )
        genes = predicted.base_model.genes.copy() if predicted.base_model.genes.shape[2] else genes
    weighted = np.flatnonzero(predicted.residual_weight > 0)
    if len(weighted):
        shares = predicted.residual_weight[weighted][:, None]
        added = _of_networks(classifier, prepared, weighted)
        genes[weighted] += shares[:, :, None] * added[1]
        for held, one in ((base, added[0]), (image, added[2]), (rest, added[3])):
            held[weighted] += shares * one
    return Contributions(predicted, base, genes, image, rest)


def _of_networks(
    classifier: NetworkClassifier, prepared: Prepared, rows: np.ndarray
) -> tuple[Logits, PerGene, Logits, Logits]:
    """Return baseline, genes, image and rest of the networks' mean, for these patients."""
    n_logits = classifier.networks[0].sizes.n_logits
    uses_genes = Modality.GENES in MODELS[classifier.name].uses
    genes = np.zeros((len(rows), n_logits, prepared.genes.shape[1]))
    base, image, rest = (np.zeros((len(rows), n_logits)) for _ in range(3))
    at = {row: place for place, row in enumerate(rows.tolist())}
    for part in prepared.batches(rows, BATCH_BYTES):
        places = [at[row] for row in part.tolist()]
        batch = prepared.batch(part)
        for network in classifier.networks:
            share = 1 / len(classifier.networks)
            if uses_genes:
                genes[places] += share * integrated_gradients(network, batch)
            for held, added in zip((base, image, rest), _others(network, batch), strict=True):
                held[places] += share * added
    return base, genes, image, rest


def integrated_gradients(network: Network, batch: Batch) -> PerGene:
    """Return integrated gradients of a network's logits with respect to the genes.

    The way starts where every gene is at its training mean; which genes were measured, the tiles
    and the covariates stay as they are. A stretch of the way on which the gradients do not add up
    to the rise of the logits is halved: a layer that normalises jumps near the start.
    """
    network.eval()
    found = np.zeros((len(batch.genes), network.sizes.n_logits, batch.genes.shape[1]))
    stretches = [(0.0, 1.0)]
    while stretches:
        low, high = stretches.pop()
        added, gap = _along(network, batch, low, high)
        if gap > MOST_GAP and high - low > SHORTEST:
            middle = (low + high) / 2
            stretches += [(middle, high), (low, middle)]
        else:
            found += added
    return found


def _along(network: Network, batch: Batch, low: float, high: float) -> tuple[PerGene, float]:
    """Return integrated gradients over a stretch of the way, and by how much they miss its rise."""
    from captum.attr import IntegratedGradients

    logits = with_genes(network, batch)
    method = IntegratedGradients(logits)
    points = max(1, VALUES_AT_ONCE // batch.tiles.numel())
    first, last = low * batch.genes, high * batch.genes
    each = [
        method.attribute(
            last,
            baselines=first,
            target=number,
            n_steps=N_STEPS,
            internal_batch_size=points * len(batch.genes),
        )
        for number in range(network.sizes.n_logits)
    ]
    found: np.ndarray = torch.stack(each, dim=1).detach().double().numpy()
    with torch.no_grad():
        rise = (logits(last).double() - logits(first).double()).numpy()
    return found, float(np.abs(found.sum(axis=2) - rise).max())


def with_genes(network: Network, batch: Batch) -> Callable[[Tensor], Tensor]:
    """Return the network as a function of the genes; the others are repeated as often as needed."""

    def logits(genes: Tensor) -> Tensor:
        output: Output = network(_repeated(batch, genes))
        return output.logits

    return logits


def _repeated(batch: Batch, genes: Tensor) -> Batch:
    """Return a batch with these genes, step by step of the way, each time with all patients."""
    times = len(genes) // len(batch.genes)

    def again(one: Tensor) -> Tensor:
        return one.repeat(times, *([1] * (one.dim() - 1)))

    covariates = batch.covariates
    covariate_mask = batch.covariate_mask
    return Batch(
        again(batch.tiles),
        again(batch.tile_mask),
        genes,
        again(batch.gene_mask),
        None if covariates is None else again(covariates),
        None if covariate_mask is None else again(covariate_mask),
    )


def _others(network: Network, batch: Batch) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return baseline, image and rest of one network."""
    shown = batch.tile_mask.any(dim=1, keepdim=True)
    plain = replace(
        batch,
        genes=torch.zeros_like(batch.genes),
        tiles=torch.zeros_like(batch.tiles[:, :1]),
        tile_mask=shown,
    )
    silent = plain
    if batch.covariates is not None and batch.covariate_mask is not None:
        silent = replace(
            plain,
            covariates=torch.zeros_like(batch.covariates),
            covariate_mask=torch.zeros_like(batch.covariate_mask),
        )
    seen = replace(batch, genes=plain.genes)
    with torch.no_grad():
        predicted = [network(one).logits.double().numpy() for one in (silent, plain, seen)]
    return predicted[0], predicted[2] - predicted[1], predicted[1] - predicted[0]
