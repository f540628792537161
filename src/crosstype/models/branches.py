"""The two unimodal branches that every network of ours is made of."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crosstype.models.interface import Sizes
from crosstype.models.layers import (
    GatedAttentionPool,
    GeneInput,
    Head,
    Silent,
    TileEncoder,
    rescaled,
)
from crosstype.models.spec import ModelSpec


class ImageBranch(nn.Module):
    """Tiles to tokens, a pooled vector, its attention and a vote."""

    def __init__(self, sizes: Sizes, spec: ModelSpec, *, votes: bool = True) -> None:
        """Make the branch; without `votes` its vote is 0 and has no weights."""
        super().__init__()
        self.encoder = TileEncoder(sizes.n_features, spec.width, spec.dropout, spec.tile_dropout)
        self.pool = GatedAttentionPool(spec.width)
        self.head = _vote_head(sizes, spec) if votes else Silent(sizes.n_logits)

    def tokens(
        self, tiles: Float[Tensor, "patients tiles features"], mask: Bool[Tensor, "patients tiles"]
    ) -> tuple[Float[Tensor, "patients tiles width"], Bool[Tensor, "patients tiles"]]:
        """Return tile tokens and which of them to look at."""
        tokens, kept = self.encoder(tiles, mask)
        return tokens, kept

    def vote(
        self, pooled: Float[Tensor, "patients width"], kept: Bool[Tensor, "patients tiles"]
    ) -> Float[Tensor, "patients logits"]:
        """Return the image's own logits; exactly 0, no opinion, for a patient without tiles."""
        logits: Tensor = self.head(pooled)
        return logits * kept.any(dim=1, keepdim=True)


class GeneBranch(nn.Module):
    """Expression to a vector and a vote; a narrow layer keeps 20,000 genes affordable."""

    def __init__(self, sizes: Sizes, spec: ModelSpec, *, votes: bool = True) -> None:
        """Make the branch; without `votes` its vote is 0 and has no weights."""
        super().__init__()
        self.input = GeneInput(spec.gene_dropout)
        self.encoder = nn.Sequential(
            nn.Linear(sizes.n_genes, spec.width), nn.GELU(), nn.Dropout(spec.dropout)
        )
        self.head = _vote_head(sizes, spec) if votes else Silent(sizes.n_logits)

    def forward(
        self, genes: Float[Tensor, "patients genes"], mask: Bool[Tensor, "patients genes"]
    ) -> tuple[Float[Tensor, "patients width"], Float[Tensor, "patients logits"]]:
        """Return the encoded vector and the genes' own logits (0 for a patient without genes)."""
        return self.encode(genes, self.input.shown(mask), mask)

    def encode(
        self,
        genes: Float[Tensor, "patients genes"],
        shown: Bool[Tensor, "patients genes"],
        mask: Bool[Tensor, "patients genes"],
    ) -> tuple[Float[Tensor, "patients width"], Float[Tensor, "patients logits"]]:
        """Return the same for the genes to look at (`shown`) of those measured (`mask`)."""
        present = mask.any(dim=1, keepdim=True)
        vector = self.encoder(rescaled(genes, shown)) * present
        logits: Tensor = self.head(vector)
        return vector, logits * present


def _vote_head(sizes: Sizes, spec: ModelSpec) -> Head | Silent:
    return Head(spec.width, sizes.n_logits, spec.dropout)


def joined(*vectors: Tensor) -> Tensor:
    """Return the vectors of each patient end to end."""
    return torch.cat(vectors, dim=1)
