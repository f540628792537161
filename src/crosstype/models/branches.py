"""Branches of the networks: image, genes and clinical covariates."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crosstype.models import layers
from crosstype.models.layers import (
    GatedAttentionPool,
    Head,
    TileProjection,
    ZeroHead,
)
from crosstype.models.network import Batch, Output, Sizes
from crosstype.models.spec import ModelSpec
from crosstype.types import Modality


class ImageBranch(nn.Module):
    """Image branch: tile tokens, attention pooling and unimodal logits (the vote)."""

    def __init__(self, sizes: Sizes, spec: ModelSpec, *, votes: bool = True) -> None:
        """Make the branch; without `votes` its logits are 0 and it has no head."""
        super().__init__()
        self.encoder = TileProjection(sizes.n_features, spec.width, spec.dropout, spec.tile_dropout)
        self.pool = GatedAttentionPool(spec.width)
        self.head = _vote_head(sizes, spec) if votes else ZeroHead(sizes.n_logits)

    def tokens(
        self, tiles: Float[Tensor, "patients tiles features"], mask: Bool[Tensor, "patients tiles"]
    ) -> tuple[Float[Tensor, "patients tiles width"], Bool[Tensor, "patients tiles"]]:
        """Return tile tokens and their mask."""
        tokens, kept = self.encoder(tiles, mask)
        return tokens, kept

    def vote(
        self, pooled: Float[Tensor, "patients width"], kept: Bool[Tensor, "patients tiles"]
    ) -> Float[Tensor, "patients logits"]:
        """Return the image's logits; exactly 0 for a patient without tiles."""
        logits: Tensor = self.head(pooled)
        return logits * kept.any(dim=1, keepdim=True)


class GeneBranch(nn.Module):
    """Gene branch: one hidden layer on expression, and unimodal logits (the vote)."""

    def __init__(self, sizes: Sizes, spec: ModelSpec, *, votes: bool = True) -> None:
        """Make the branch; without `votes` its logits are 0 and it has no head."""
        super().__init__()
        self.input = layers.MaskedGenes(spec.gene_dropout)
        self.encoder = nn.Sequential(
            nn.Linear(sizes.n_genes, spec.width), nn.GELU(), nn.Dropout(spec.dropout)
        )
        self.head = _vote_head(sizes, spec) if votes else ZeroHead(sizes.n_logits)

    def forward(
        self, genes: Float[Tensor, "patients genes"], mask: Bool[Tensor, "patients genes"]
    ) -> tuple[Float[Tensor, "patients width"], Float[Tensor, "patients logits"]]:
        """Return the hidden vector and the genes' logits, 0 for a patient without genes."""
        return self.encode(genes, self.input.shown(mask), mask)

    def encode(
        self,
        genes: Float[Tensor, "patients genes"],
        shown: Bool[Tensor, "patients genes"],
        mask: Bool[Tensor, "patients genes"],
    ) -> tuple[Float[Tensor, "patients width"], Float[Tensor, "patients logits"]]:
        """Return the same for the genes left by dropout (`shown`) of those measured (`mask`)."""
        present = mask.any(dim=1, keepdim=True)
        vector = self.encoder(layers.rescaled(genes, shown)) * present
        logits: Tensor = self.head(vector)
        return vector, logits * present


class ClinicalBranch(nn.Module):
    """Clinical branch: logits of the clinical covariates, added to the other logits."""

    def __init__(self, sizes: Sizes, spec: ModelSpec) -> None:
        """Make the branch."""
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(sizes.n_covariates, spec.width), nn.GELU(), nn.Dropout(spec.dropout)
        )
        self.head = layers.Head(spec.width, sizes.n_logits, spec.dropout)

    def forward(
        self, values: Float[Tensor, "patients columns"], mask: Bool[Tensor, "patients columns"]
    ) -> Float[Tensor, "patients logits"]:
        """Return logits; exactly 0 for a patient without any covariate."""
        logits: Tensor = self.head(self.encoder(values * mask))
        return logits * mask.any(dim=1, keepdim=True)


def clinical_branch(sizes: Sizes, spec: ModelSpec) -> ClinicalBranch | None:
    """Return the branch if there are covariates, else None, without using the generator."""
    return ClinicalBranch(sizes, spec) if sizes.n_covariates else None


def with_clinical(output: Output, branch: ClinicalBranch | None, batch: Batch) -> Output:
    """Return the output with the clinical logits added, if there is a clinical branch."""
    if branch is None or batch.covariates is None or batch.covariate_mask is None:
        return output
    vote = branch(batch.covariates, batch.covariate_mask)
    votes = {**output.votes, Modality.CLINICAL: vote}
    return replace(output, logits=output.logits + vote, votes=votes)


def _vote_head(sizes: Sizes, spec: ModelSpec) -> Head | ZeroHead:
    return Head(spec.width, sizes.n_logits, spec.dropout)


def joined(*vectors: Tensor) -> Tensor:
    """Return the vectors of each patient concatenated."""
    return torch.cat(vectors, dim=1)
