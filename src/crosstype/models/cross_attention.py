"""Attention between tile tokens and gene tokens (model `cross_attention`).

Blocks of cross-attention, in one direction or both, or of joint self-attention; fusion by unimodal
logits and a common head, or by a gated multimodal unit.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crosstype.models import branches, layers
from crosstype.models.gene_tokens import GeneSetTokens, OutsidePrograms, n_outside_tokens
from crosstype.models.network import Batch, Network, Output, Sizes
from crosstype.models.spec import ModelSpec
from crosstype.types import Modality


class GatedFusion(nn.Module):
    """Gated multimodal unit (Arevalo et al. 2017, arXiv 1702.01992).

    fused = z * tanh(linear(image)) + (1 - z) * tanh(linear(genes)), with z = sigmoid(linear(image,
    genes)) per patient and hidden unit. Where a modality is absent the other's weight is exactly 1;
    where both are absent the fused vector is 0.
    """

    def __init__(self, width: int) -> None:
        """Make the layers for vectors of this width."""
        super().__init__()
        self.image = nn.Linear(width, width)
        self.genes = nn.Linear(width, width)
        self.share = nn.Linear(2 * width, width)

    def forward(
        self,
        image: Float[Tensor, "patients width"],
        genes: Float[Tensor, "patients width"],
        has_image: Bool[Tensor, "patients 1"],
        has_genes: Bool[Tensor, "patients 1"],
    ) -> Float[Tensor, "patients width"]:
        """Return the fused vector."""
        image_share, gene_share = self.shares(branches.joined(image, genes), has_image, has_genes)
        return image_share * torch.tanh(self.image(image)) + gene_share * torch.tanh(
            self.genes(genes)
        )

    def shares(
        self,
        both: Float[Tensor, "patients twice"],
        has_image: Bool[Tensor, "patients 1"],
        has_genes: Bool[Tensor, "patients 1"],
    ) -> tuple[Float[Tensor, "patients width"], Float[Tensor, "patients width"]]:
        """Return the image's and the genes' gate weights, from both vectors concatenated."""
        share = torch.sigmoid(self.share(both))
        image_share = torch.where(has_genes, share, 1.0) * has_image
        gene_share = torch.where(has_image, 1 - share, 1.0) * has_genes
        return image_share, gene_share


GeneTokens = Float[Tensor, "patients tokens width"]
TileTokens = Float[Tensor, "patients tiles width"]


class TokenTypes(nn.Module):
    """Token type embedding: a learned vector per modality, added to its tokens."""

    def __init__(self, width: int) -> None:
        """Make the embeddings."""
        super().__init__()
        self.genes = nn.Parameter(torch.randn(width) * 0.1)
        self.tiles = nn.Parameter(torch.randn(width) * 0.1)

    def forward(self, genes: GeneTokens, tiles: TileTokens) -> tuple[GeneTokens, TileTokens]:
        """Return gene tokens and tile tokens with their type embedding added."""
        return genes + self.genes, tiles + self.tiles


class JointAttention(nn.Module):
    """Multi-head self-attention over the tokens of both modalities, gene tokens first.

    With `scaled_dot_product_attention`, memory is linear in the number of tiles; time is quadratic.
    """

    def __init__(self, width: int, n_heads: int) -> None:
        """Make the layer; `width` must be a multiple of `n_heads`."""
        super().__init__()
        self.n_heads, self.head_width = n_heads, layers.head_width(width, n_heads)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width, bias=False)

    def forward(
        self,
        tokens: Float[Tensor, "patients items width"],
        gene_mask: Bool[Tensor, "patients tokens"],
        tile_mask: Bool[Tensor, "patients tiles"],
    ) -> tuple[Float[Tensor, "patients items width"], Float[Tensor, "patients tokens tiles"]]:
        """Return the output per token, and each gene token's attention over tiles.

        The attention is renormalised: each head's attention to tiles divided by its sum over tiles,
        then the mean over heads. Attention to gene tokens is left out.
        """
        n, n_items, width = tokens.shape
        size = (n, n_items, self.n_heads, self.head_width)
        query, key, value = (
            part.view(size).transpose(1, 2)
            for part in self.query_key_value(tokens).chunk(3, dim=-1)
        )
        mask = torch.cat([gene_mask, tile_mask], dim=1)
        # A softmax over no item is NaN: a patient without tokens gets no mask and an output of 0.
        some = mask.any(dim=1)[:, None, None]
        allowed = (mask | ~some[:, 0])[:, None, None, :]
        gathered = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        gathered = gathered.transpose(1, 2).reshape(n, n_items, width) * some
        n_genes = gene_mask.shape[1]
        weights = query[:, :, :n_genes] @ key[:, :, n_genes:].transpose(2, 3) / self.head_width**0.5
        # Dividing by the sum over tiles is the softmax over tiles alone, without underflow.
        attention = layers.masked_softmax(weights, tile_mask[:, None, None, :]).mean(dim=1)
        return self.out(gathered), attention


class TransformerBlock(nn.Module):
    """Pre-norm transformer block: self-attention over all tokens, then a feed-forward layer.

    After Vaswani et al. 2017, with pre-norm as in Xiong et al. 2020 (arXiv 2002.04745). Without
    position embeddings, since tiles are a set.
    """

    def __init__(self, spec: ModelSpec) -> None:
        """Make the block."""
        super().__init__()
        self.norm = nn.LayerNorm(spec.width)
        self.attention = JointAttention(spec.width, spec.n_heads)
        self.dropout = nn.Dropout(spec.dropout)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(spec.width),
            nn.Linear(spec.width, 4 * spec.width),
            nn.GELU(),
            nn.Linear(4 * spec.width, spec.width),
            nn.Dropout(spec.dropout),
        )

    def forward(
        self,
        genes: GeneTokens,
        gene_mask: Bool[Tensor, "patients tokens"],
        tiles: TileTokens,
        tile_mask: Bool[Tensor, "patients tiles"],
    ) -> tuple[GeneTokens, TileTokens, Float[Tensor, "patients tokens tiles"]]:
        """Return new gene tokens, new tile tokens, and each gene token's attention over tiles."""
        tokens = torch.cat([genes, tiles], dim=1)
        gathered, attention = self.attention(self.norm(tokens), gene_mask, tile_mask)
        tokens = tokens + self.dropout(gathered)
        tokens = tokens + self.feed_forward(tokens)
        n_genes = genes.shape[1]
        return tokens[:, :n_genes], tokens[:, n_genes:], attention


class CrossBlock(nn.Module):
    """Residual cross-attention block: gene tokens attend to tiles, and tiles to gene tokens.

    With one `direction` only one side attends, and the other's tokens are unchanged.
    """

    def __init__(self, spec: ModelSpec) -> None:
        """Make the block."""
        super().__init__()
        self.gene_norm = nn.LayerNorm(spec.width)
        self.tile_norm = nn.LayerNorm(spec.width)
        self.genes_from_tiles = self.tiles_from_genes = None
        if spec.direction != "tiles_from_genes":
            self.genes_from_tiles = layers.MultiHeadAttention(spec.width, spec.n_heads)
        if spec.direction != "genes_from_tiles":
            self.tiles_from_genes = layers.MultiHeadAttention(spec.width, spec.n_heads)

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
        """Return new gene tokens, new tile tokens, and gene tokens' attention over tiles if any."""
        gene_norm, tile_norm = self.gene_norm(genes), self.tile_norm(tiles)
        attention = None
        if self.genes_from_tiles is not None:
            from_tiles, attention = self.genes_from_tiles(gene_norm, tile_norm, tile_mask)
            genes = genes + from_tiles
        if self.tiles_from_genes is not None:
            from_genes, _ = self.tiles_from_genes(tile_norm, gene_norm, gene_mask)
            tiles = tiles + from_genes
        return genes, tiles, attention


class CrossAttention(Network):
    """Fusion by multi-head attention between tiles and gene tokens.

    Without gene sets the gene tokens are learned: linear maps of the gene branch's hidden vector.
    With gene sets each token is computed from the genes of one set, in the order of the sets;
    learned tokens of the genes in no set may follow. The logits are the sum of both unimodal logits
    and of a head on both vectors; with `fusion = "gated"` those of a head on a gated multimodal
    unit. Logits of clinical covariates, if any, are added in both cases.

    Raises:
        ValueError: for fewer than two gene tokens, since a softmax over one key is always 1 and the
            output would not depend on the image (the fault of the published code); for a direction
            in transformer blocks, where all tokens attend to each other.
    """

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
        self.image = branches.ImageBranch(sizes, spec, votes=votes)
        self.genes = branches.GeneBranch(sizes, spec, votes=votes)
        if membership is None:
            self.programs = nn.Linear(spec.width, n_tokens * spec.width)
            self.program_names = nn.Parameter(torch.randn(n_tokens, spec.width) * 0.1)
        else:
            self.sets = GeneSetTokens(membership, spec)
            self.outside = OutsidePrograms(membership, spec) if n_outside else None
        self.types, self.blocks = _make_blocks(spec)
        self.gate = None if votes else GatedFusion(spec.width)
        if votes:
            self.mix = nn.Sequential(nn.Linear(2 * spec.width, spec.width), nn.GELU())
        self.head = layers.Head(spec.width, sizes.n_logits, spec.dropout)
        self.clinical = branches.clinical_branch(sizes, spec)

    def forward(self, batch: Batch) -> Output:
        """Return logits, tile attention, attention per gene token and unimodal logits, if any."""
        return branches.with_clinical(self._fused(batch), self.clinical, batch)

    def _fused(self, batch: Batch) -> Output:
        """Return the output of image and genes."""
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
        gathered = layers.masked_mean(tokens, token_mask) if named else tokens.mean(dim=1)
        if self.gate is not None:
            has_image, has_genes = (one.any(dim=1, keepdim=True) for one in (kept, batch.gene_mask))
            fused = self.gate(pooled, vector + gathered, has_image, has_genes)
            return Output(self.head(fused), attention, gene_attention)
        image_vote = self.image.vote(pooled, kept)
        fused = self.head(self.mix(branches.joined(pooled, gathered)))
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
        """Return the gene tokens and their mask: whether any of their genes was measured."""
        if self.sizes.membership is None:
            learned = self.programs(vector).view(len(vector), *self.program_names.shape)
            learned = learned + self.program_names
            present = batch.gene_mask.any(dim=1, keepdim=True)
            return learned, present.expand(learned.shape[:2])
        tokens, measured = self.sets(batch.genes, shown)
        if self.outside is not None:
            others, mask = self.outside(batch.genes, shown)
            tokens, measured = torch.cat([tokens, others], 1), torch.cat([measured, mask], 1)
        return tokens, measured


def _make_blocks(spec: ModelSpec) -> tuple[TokenTypes | None, nn.ModuleList]:
    """Return the token type embedding, if the blocks need one, and the blocks."""
    if spec.block == "cross":
        return None, nn.ModuleList(CrossBlock(spec) for _ in range(spec.n_blocks))
    if spec.direction != "both":
        raise ValueError(
            f"block 'transformer' has no direction {spec.direction!r}: all tokens see each other"
        )
    types = TokenTypes(spec.width)
    return types, nn.ModuleList(TransformerBlock(spec) for _ in range(spec.n_blocks))
