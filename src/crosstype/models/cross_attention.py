"""cross_attention: tile tokens and gene tokens look at each other, in both directions."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crosstype.models.branches import GeneBranch, ImageBranch, joined
from crosstype.models.interface import Batch, Network, Output, Sizes
from crosstype.models.layers import Head, MultiHeadAttention
from crosstype.models.spec import ModelSpec
from crosstype.terms import Modality


class CrossBlock(nn.Module):
    """One round: gene tokens gather from tiles, tiles gather from gene tokens; residual."""

    def __init__(self, spec: ModelSpec) -> None:
        """Make the block."""
        super().__init__()
        self.gene_norm = nn.LayerNorm(spec.width)
        self.tile_norm = nn.LayerNorm(spec.width)
        self.genes_from_tiles = MultiHeadAttention(spec.width, spec.n_heads)
        self.tiles_from_genes = MultiHeadAttention(spec.width, spec.n_heads)

    def forward(
        self,
        genes: Float[Tensor, "patients tokens width"],
        gene_mask: Bool[Tensor, "patients tokens"],
        tiles: Float[Tensor, "patients tiles width"],
        tile_mask: Bool[Tensor, "patients tiles"],
    ) -> tuple[
        Float[Tensor, "patients tokens width"],
        Float[Tensor, "patients tiles width"],
        Float[Tensor, "patients tokens tiles"],
    ]:
        """Return new gene tokens, new tile tokens, and where each gene token looked."""
        gene_view, tile_view = self.gene_norm(genes), self.tile_norm(tiles)
        from_tiles, attention = self.genes_from_tiles(gene_view, tile_view, tile_mask)
        from_genes, _ = self.tiles_from_genes(tile_view, gene_view, gene_mask)
        return genes + from_tiles, tiles + from_genes, attention


class CrossAttention(Network):
    """Bidirectional multi-head cross-attention between tiles and learned gene programs.

    Each gene token is a learned program: a non-linear summary of the genes through a narrow layer
    (a direct map from 20,000 genes to many tokens would cost more than all the rest). The fused
    vector corrects the sum of both modalities' own votes, so that a modality without a message
    costs nothing.

    Raises:
        ValueError: for fewer than two gene tokens: a softmax over one key is always 1, and the
            network could not see the image (the fault of the published code).
    """

    uses: ClassVar[frozenset[Modality]] = frozenset({Modality.IMAGE, Modality.GENES})

    def __init__(self, sizes: Sizes, spec: ModelSpec) -> None:
        """Make the network."""
        super().__init__(sizes)
        if spec.n_gene_tokens < 2:
            raise ValueError(
                f"cross_attention needs at least 2 gene tokens, found {spec.n_gene_tokens}: "
                "attention over one token ignores the image"
            )
        self.image = ImageBranch(sizes, spec)
        self.genes = GeneBranch(sizes, spec)
        self.programs = nn.Linear(spec.width, spec.n_gene_tokens * spec.width)
        self.program_names = nn.Parameter(torch.randn(spec.n_gene_tokens, spec.width) * 0.1)
        self.blocks = nn.ModuleList(CrossBlock(spec) for _ in range(spec.n_blocks))
        self.mix = nn.Sequential(nn.Linear(2 * spec.width, spec.width), nn.GELU())
        self.head = Head(spec.width, sizes.n_logits, spec.dropout)

    def forward(self, batch: Batch) -> Output:
        """Return logits, tile attention, attention per gene token, and both votes."""
        tiles, kept = self.image.tokens(batch.tiles, batch.tile_mask)
        vector, gene_vote = self.genes(batch.genes, batch.gene_mask)
        tokens = self.programs(vector).view(len(vector), *self.program_names.shape)
        tokens = tokens + self.program_names
        token_mask = batch.gene_mask.any(dim=1, keepdim=True).expand(tokens.shape[:2])
        gene_attention = tokens.new_zeros(())
        for block in self.blocks:
            tokens, tiles, gene_attention = block(tokens, token_mask, tiles, kept)
        pooled, attention = self.image.pool(tiles, kept)
        image_vote = self.image.vote(pooled, kept)
        fused = self.head(self.mix(joined(pooled, tokens.mean(dim=1))))
        return Output(
            gene_vote + image_vote + fused,
            attention,
            gene_attention,
            votes={Modality.IMAGE: image_vote, Modality.GENES: gene_vote},
        )
