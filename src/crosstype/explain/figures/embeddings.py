"""Patient embeddings of a model, of image, genes and both, and their two-dimensional maps.

Vectors of two models do not share a space, so each fold is a map of its own; a fold's vectors are
those of its networks end to end. A map shows only the fold's test patients.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Float
from torch import Tensor, nn

from crosstype.explain.out_of_fold import HeldOut
from crosstype.io.schema import VECTOR_MAPS
from crosstype.models.catalog import MODELS
from crosstype.models.network import Batch, Network
from crosstype.models.paper import PaperNetwork
from crosstype.training.fit import Prepared
from crosstype.training.network_classifier import NetworkClassifier
from crosstype.training.patients import Patients
from crosstype.types import Modality

IMAGE, GENES, FUSED = "image", "genes", "fused"
LEAST_PATIENTS = 10
"""With fewer, neighbours mean little, and a map is the first two principal components."""
MOST_PERPLEXITY = 30.0
BATCH_BYTES = 1 << 25
"""Tile features of a batch of patients; a larger bag is a batch of its own."""

Vectors = Float[np.ndarray, "patients numbers"]
Flat = Float[np.ndarray, "patients 2"]


def vector_maps(held: HeldOut, seed: int) -> pl.DataFrame:
    """Return the places of a fold's test patients on a flat map of each space of its model."""
    n = len(held.patients)
    frames = [VECTOR_MAPS.frame()]
    for space, vectors in vectors_of(held.classifier, held.patients).items():
        places, method = flat_map(vectors, seed)
        columns = (
            [held.job.model] * n,
            [held.job.repeat] * n,
            [held.job.fold] * n,
            held.patients.ids,
            [held.patients.classes[own] for own in held.patients.targets],
            [space] * n,
            *places.T,
            [method] * n,
        )
        frames.append(VECTOR_MAPS.frame(list(zip(*columns, strict=True))))
    return pl.concat(frames)


def vectors_of(classifier: NetworkClassifier, patients: Patients) -> dict[str, Vectors]:
    """Return the patients' vectors in each space that the model has, in the patients' order.

    `image` and `genes` are what the model makes of each alone, the other being absent; `fused` is
    what its head sees of both. A model of one modality has that one's only.
    """
    prepared = Prepared(patients, classifier.preparation, imputed=classifier.imputed)
    parts = prepared.batches(np.arange(len(patients)), BATCH_BYTES)
    found: dict[str, list[list[np.ndarray]]] = {}
    uses = MODELS[classifier.name].uses
    with torch.no_grad():
        for network in classifier.networks:
            network.eval()
            vectors = [network_vectors(network, uses, prepared.batch(part)) for part in parts]
            for space in vectors[0]:
                rows = [one[space].double().numpy() for one in vectors]
                found.setdefault(space, []).append(rows)
    order = np.argsort(np.concatenate(parts))
    return {
        space: np.concatenate([np.concatenate(rows) for rows in each], axis=1)[order]
        for space, each in found.items()
    }


def network_vectors(
    network: Network, uses: Collection[Modality], batch: Batch
) -> Mapping[str, Tensor]:
    """Return one network's vectors of the patients of a batch, patients x width, by space."""
    found: dict[str, Tensor] = {}
    sees = {IMAGE: Modality.IMAGE in uses, GENES: Modality.GENES in uses}
    if isinstance(network, PaperNetwork):
        made = {IMAGE: network.image_vector, GENES: network.gene_vector}
        found = {space: make(batch) for space, make in made.items() if sees[space]}
    else:
        no_genes = replace(batch, gene_mask=torch.zeros_like(batch.gene_mask))
        no_image = replace(batch, tile_mask=torch.zeros_like(batch.tile_mask))
        if sees[IMAGE]:
            found[IMAGE] = _out_of(network, "image.pool", no_genes)
        if sees[GENES]:
            found[GENES] = _out_of(network, "genes.encoder", no_image)
    if len(found) > 1:
        found[FUSED] = _into(network, "head", batch)
    return found


def flat_map(vectors: Vectors, seed: int) -> tuple[Flat, str]:
    """Return a flat map of vectors, and how it was made; the same vectors give the same map.

    t-SNE (van der Maaten and Hinton 2008) from the principal components on; of fewer than
    `LEAST_PATIENTS`, or of vectors that hardly differ, the principal components themselves.
    """
    centred = vectors - vectors.mean(axis=0)
    scale = float(np.abs(centred).max()) or 1.0
    left, spread, _ = np.linalg.svd(centred / scale, full_matrices=False)
    components = np.zeros((len(vectors), 2))
    n_there = min(2, len(spread))
    components[:, :n_there] = (left * spread)[:, :n_there]
    # The sign of a component is chance: the entry of largest size points up.
    largest = components[np.abs(components).argmax(axis=0), [0, 1]]
    components *= np.where(largest < 0, -1.0, 1.0)
    if len(vectors) < LEAST_PATIENTS or spread[1] < 1e-6:
        return components, "principal components"
    from sklearn.manifold import TSNE

    perplexity = min(MOST_PERPLEXITY, (len(vectors) - 1) / 3)
    start = components / components[:, 0].std() * 1e-4
    made = TSNE(perplexity=perplexity, init=start, random_state=seed)
    places: Flat = made.fit_transform(centred / scale).astype(np.float64)
    return places, f"t-SNE, perplexity {perplexity:.0f}"


def _out_of(network: Network, name: str, batch: Batch) -> Tensor:
    """Return what comes out of a module when the network is shown a batch."""
    kept: list[Tensor] = []

    def keep(_: nn.Module, __: Any, output: Any) -> None:
        kept.append(output[0] if isinstance(output, tuple) else output)

    return _heard(network, batch, network.get_submodule(name).register_forward_hook(keep), kept)


def _into(network: Network, name: str, batch: Batch) -> Tensor:
    """Return what goes into a module when the network is shown a batch."""
    kept: list[Tensor] = []

    def keep(_: nn.Module, given: tuple[Any, ...]) -> None:
        kept.append(given[0])

    return _heard(network, batch, network.get_submodule(name).register_forward_pre_hook(keep), kept)


def _heard(network: Network, batch: Batch, hook: Any, kept: list[Tensor]) -> Tensor:
    try:
        network(batch)
    finally:
        hook.remove()
    return kept[-1]
