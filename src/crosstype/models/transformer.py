"""One transformer over tile tokens and gene tokens together."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crosstype.models.layers import head_width, masked_softmax
from crosstype.models.spec import ModelSpec

GeneTokens = Float[Tensor, "patients tokens width"]
TileTokens = Float[Tensor, "patients tiles width"]


class TokenTypes(nn.Module):
    """A learned vector per modality, added to its tokens so that a transformer knows them apart."""

    def __init__(self, width: int) -> None:
        """Make the vectors."""
        super().__init__()
        self.genes = nn.Parameter(torch.randn(width) * 0.1)
        self.tiles = nn.Parameter(torch.randn(width) * 0.1)

    def forward(self, genes: GeneTokens, tiles: TileTokens) -> tuple[GeneTokens, TileTokens]:
        """Return gene tokens and tile tokens with their modality's vector added."""
        return genes + self.genes, tiles + self.tiles


class JointAttention(nn.Module):
    """Multi-head self-attention over the tokens of both modalities; the gene tokens stand first.

    Every token sees every real token, tiles see tiles too. The weights of all pairs are never held
    at once (`scaled_dot_product_attention`), so memory grows with the tiles and not with their
    square; time grows with the square.
    """

    def __init__(self, width: int, n_heads: int) -> None:
        """Make the layer; `width` must be a multiple of `n_heads`."""
        super().__init__()
        self.n_heads, self.head_width = n_heads, head_width(width, n_heads)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width, bias=False)

    def forward(
        self,
        tokens: Float[Tensor, "patients items width"],
        gene_mask: Bool[Tensor, "patients tokens"],
        tile_mask: Bool[Tensor, "patients tiles"],
    ) -> tuple[Float[Tensor, "patients items width"], Float[Tensor, "patients tokens tiles"]]:
        """Return what each token gathered, and where each gene token looked among the tiles.

        The attention returned is not all that a gene token attends to: it attends to gene tokens as
        well. It is each head's attention to the tiles divided by its sum over the tiles, then the
        mean over heads. How much of a gene token's attention falls on tiles at all it does not say.
        """
        n, n_items, width = tokens.shape
        size = (n, n_items, self.n_heads, self.head_width)
        query, key, value = (
            part.view(size).transpose(1, 2)
            for part in self.query_key_value(tokens).chunk(3, dim=-1)
        )
        mask = torch.cat([gene_mask, tile_mask], dim=1)
        # A softmax over nothing is no number: a patient without any token sees all and keeps none.
        some = mask.any(dim=1)[:, None, None]
        seen = (mask | ~some[:, 0])[:, None, None, :]
        gathered = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        gathered = gathered.transpose(1, 2).reshape(n, n_items, width) * some
        n_genes = gene_mask.shape[1]
        looks = query[:, :, :n_genes] @ key[:, :, n_genes:].transpose(2, 3) / self.head_width**0.5
        # Dividing by the sum over tiles is the softmax over tiles alone, without underflow.
        attention = masked_softmax(looks, tile_mask[:, None, None, :]).mean(dim=1)
        return self.out(gathered), attention


class TransformerBlock(nn.Module):
    """One round: self-attention over all tokens, then a feed-forward layer; pre-norm, residual.

    After Vaswani et al. 2017, with the norms first as in Xiong et al. 2020 (arXiv 2002.04745).
    Tiles have no position: their order changes nothing.
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
        """Return new gene tokens, new tile tokens, and where each gene token looked among tiles."""
        tokens = torch.cat([genes, tiles], dim=1)
        gathered, attention = self.attention(self.norm(tokens), gene_mask, tile_mask)
        tokens = tokens + self.dropout(gathered)
        tokens = tokens + self.feed_forward(tokens)
        n_genes = genes.shape[1]
        return tokens[:, :n_genes], tokens[:, n_genes:], attention
