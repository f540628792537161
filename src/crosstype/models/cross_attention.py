"""cross_attention: tile tokens and gene tokens look at each other, in one direction or both."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crosstype.models.branches import (
    GeneBranch,
    ImageBranch,
    clinical_branch,
    joined,
    with_clinical,
)
from crosstype.models.gated_fusion import GatedFusion
from crosstype.models.gene_tokens import GeneSetTokens, OutsidePrograms, n_outside_tokens
from crosstype.models.interface import Batch, Network, Output, Sizes
from crosstype.models.layers import Head, MultiHeadAttention, masked_mean
from crosstype.models.spec import ModelSpec
from crosstype.models.transformer import TokenTypes, TransformerBlock
from crosstype.terms import Modality


class CrossBlock(nn.Module):
    """One round: gene tokens gather from tiles, tiles gather from gene tokens; residual.

    With one `direction` only the named side gathers and the other stays as it was.
    """

    def __init__(self, spec: ModelSpec) -> None:
        """Make the block."""
        super().__init__()
        self.gene_norm = nn.LayerNorm(spec.width)
        self.tile_norm = nn.LayerNorm(spec.width)
        self.genes_from_tiles = self.tiles_from_genes = None
        if spec.direction != "tiles_from_genes":
            self.genes_from_tiles = MultiHeadAttention(spec.width, spec.n_heads)
        if spec.direction != "genes_from_tiles":
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
        Float[Tensor, "patients tokens tiles"] | None,
    ]:
        """Return new gene tokens, new tile tokens, and where each gene token looked, if it did."""
        gene_view, tile_view = self.gene_norm(genes), self.tile_norm(tiles)
        attention = None
        if self.genes_from_tiles is not None:
            from_tiles, attention = self.genes_from_tiles(gene_view, tile_view, tile_mask)
            genes = genes + from_tiles
        if self.tiles_from_genes is not None:
            from_genes, _ = self.tiles_from_genes(tile_view, gene_view, gene_mask)
            tiles = tiles + from_genes
        return genes, tiles, attention


class CrossAttention(Network):
    """Multi-head attention between tiles and gene tokens.

    Without gene sets each gene token is a learned program: a non-linear summary of the genes
    through a narrow layer (a direct map from 20,000 genes to many tokens would cost more than all
    the rest). With gene sets each token is made from one set's genes only, in the order of the
    sets; learned programs over the genes in no set may follow them. The fused vector corrects the
    sum of both modalities' own votes, so that a modality without a message costs nothing; with
    `fusion = "gated"` neither votes, and a gate weighs one modality's vector against the other's.
    Clinical covariates, where there are some, vote under both.

    Raises:
        ValueError: for fewer than two gene tokens: a softmax over one key is always 1, and the
            network could not see the image (the fault of the published code); for a direction in a
            transformer, where all tokens see each other.
    """

    uses: ClassVar[frozenset[Modality]] = frozenset(Modality)
    sees_gene_sets: ClassVar[bool] = True

    def __init__(self, sizes: Sizes, spec: ModelSpec) -> None:
        """Make the network."""
        super().__init__(sizes)
        membership = sizes.membership
        n_outside = 0 if membership is None else n_outside_tokens(membership, spec)
        n_tokens = spec.n_gene_tokens if membership is None else len(membership) + n_outside
        if n_tokens < 2:
            raise ValueError(
                f"cross_attention needs at least 2 gene tokens, found {n_tokens}: "
                "attention over one token ignores the image"
            )
        votes = spec.fusion == "vote"
        self.image = ImageBranch(sizes, spec, votes=votes)
        self.genes = GeneBranch(sizes, spec, votes=votes)
        if membership is None:
            self.programs = nn.Linear(spec.width, n_tokens * spec.width)
            self.program_names = nn.Parameter(torch.randn(n_tokens, spec.width) * 0.1)
        else:
            self.sets = GeneSetTokens(membership, spec)
            self.outside = OutsidePrograms(membership, spec) if n_outside else None
        self.types, self.blocks = _rounds(spec)
        self.gate = None if votes else GatedFusion(spec.width)
        if votes:
            self.mix = nn.Sequential(nn.Linear(2 * spec.width, spec.width), nn.GELU())
        self.head = Head(spec.width, sizes.n_logits, spec.dropout)
        self.clinical = clinical_branch(sizes, spec)

    def forward(self, batch: Batch) -> Output:
        """Return logits, tile attention, attention per gene token and votes, if any."""
        return with_clinical(self._fused(batch), self.clinical, batch)

    def _fused(self, batch: Batch) -> Output:
        """Return what image and genes say."""
        tiles, kept = self.image.tokens(batch.tiles, batch.tile_mask)
        shown = self.genes.input.shown(batch.gene_mask)
        vector, gene_vote = self.genes.encode(batch.genes, shown, batch.gene_mask)
        tokens, token_mask = self._tokens(batch, vector, shown)
        if self.types is not None:
            tokens, tiles = self.types(tokens, tiles)
        gene_attention = None
        for block in self.blocks:
            tokens, tiles, gene_attention = block(tokens, token_mask, tiles, kept)
        pooled, attention = self.image.pool(tiles, kept)
        named = self.sizes.membership is not None
        gathered = masked_mean(tokens, token_mask) if named else tokens.mean(dim=1)
        if self.gate is not None:
            has_image, has_genes = (one.any(dim=1, keepdim=True) for one in (kept, batch.gene_mask))
            fused = self.gate(pooled, vector + gathered, has_image, has_genes)
            return Output(self.head(fused), attention, gene_attention)
        image_vote = self.image.vote(pooled, kept)
        fused = self.head(self.mix(joined(pooled, gathered)))
        return Output(
            gene_vote + image_vote + fused,
            attention,
            gene_attention,
            votes={Modality.IMAGE: image_vote, Modality.GENES: gene_vote},
        )

    def _tokens(
        self,
        batch: Batch,
        vector: Float[Tensor, "patients width"],
        shown: Bool[Tensor, "patients genes"],
    ) -> tuple[Float[Tensor, "patients tokens width"], Bool[Tensor, "patients tokens"]]:
        """Return the gene tokens, and which of them rest on any gene."""
        if self.sizes.membership is None:
            learned = self.programs(vector).view(len(vector), *self.program_names.shape)
            learned = learned + self.program_names
            present = batch.gene_mask.any(dim=1, keepdim=True)
            return learned, present.expand(learned.shape[:2])
        tokens, measured = self.sets(batch.genes, shown)
        if self.outside is not None:
            more, there = self.outside(batch.genes, shown)
            tokens, measured = torch.cat([tokens, more], 1), torch.cat([measured, there], 1)
        return tokens, measured


def _rounds(spec: ModelSpec) -> tuple[TokenTypes | None, nn.ModuleList]:
    """Return what tells the modalities apart, if the rounds do not, and the rounds."""
    if spec.block == "cross":
        return None, nn.ModuleList(CrossBlock(spec) for _ in range(spec.n_blocks))
    if spec.direction != "both":
        raise ValueError(
            f"block 'transformer' has no direction {spec.direction!r}: all tokens see each other"
        )
    types = TokenTypes(spec.width)
    return types, nn.ModuleList(TransformerBlock(spec) for _ in range(spec.n_blocks))
