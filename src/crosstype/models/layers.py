"""Building blocks that more than one network uses. All respect masks."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


def masked_softmax(
    weights: Float[Tensor, "*batch items"], mask: Bool[Tensor, "*#batch items"]
) -> Float[Tensor, "*batch items"]:
    """Return a softmax over the items that the mask keeps; 0 elsewhere, all 0 if it keeps none."""
    lowest = torch.finfo(weights.dtype).min
    kept = torch.softmax(weights.masked_fill(~mask, lowest), dim=-1)
    return kept * mask


def masked_mean(
    items: Float[Tensor, "patients items width"], mask: Bool[Tensor, "patients items"]
) -> Float[Tensor, "patients width"]:
    """Return the mean over the items that the mask keeps; 0 if it keeps none."""
    weights = mask.to(items.dtype)
    weights = weights / weights.sum(dim=1, keepdim=True).clamp(min=1.0)
    return torch.bmm(weights.unsqueeze(1), items).squeeze(1)


def hide(mask: Bool[Tensor, "patients items"], share: float) -> Bool[Tensor, "patients items"]:
    """Return the mask with a random share of its items hidden; a patient keeps at least one.

    One draw among the kept items is never hidden, so that hiding cannot make a modality absent.
    """
    draws = torch.rand(mask.shape).masked_fill(~mask, -1.0)
    spared = draws >= draws.amax(dim=1, keepdim=True)
    return mask & ((draws >= share) | spared)


class GatedAttentionPool(nn.Module):
    """Gated attention pooling of a bag (Ilse, Tomczak and Welling 2018, arXiv 1802.04712)."""

    def __init__(self, width: int) -> None:
        """Make the layer for tokens of this width."""
        super().__init__()
        self.content = nn.Linear(width, width)
        self.gate = nn.Linear(width, width)
        self.weight = nn.Linear(width, 1)

    def forward(
        self, tokens: Float[Tensor, "patients tiles width"], mask: Bool[Tensor, "patients tiles"]
    ) -> tuple[Float[Tensor, "patients width"], Float[Tensor, "patients tiles"]]:
        """Return the attention-weighted mean of each bag, and the attention."""
        gated = torch.tanh(self.content(tokens)) * torch.sigmoid(self.gate(tokens))
        attention = masked_softmax(self.weight(gated).squeeze(-1), mask)
        return torch.bmm(attention.unsqueeze(1), tokens).squeeze(1), attention


def head_width(width: int, n_heads: int) -> int:
    """Return the width of each of so many heads; raises ValueError if they do not divide it."""
    if width % n_heads:
        raise ValueError(f"width {width} is not a multiple of n_heads {n_heads}")
    return width // n_heads


class MultiHeadAttention(nn.Module):
    """Multi-head attention from queries to keys (Vaswani et al. 2017) that gives its weights."""

    def __init__(self, width: int, n_heads: int, each: int | None = None) -> None:
        """Make the layer; each head has `each` numbers, or its part of `width`, a multiple."""
        super().__init__()
        self.n_heads = n_heads
        self.head_width = head_width(width, n_heads) if each is None else each
        inside = n_heads * self.head_width
        self.query = nn.Linear(width, inside)
        self.key_value = nn.Linear(width, 2 * inside)
        self.out = nn.Linear(inside, width, bias=False)

    def forward(
        self,
        queries: Float[Tensor, "patients queries width"],
        keys: Float[Tensor, "patients keys width"],
        key_mask: Bool[Tensor, "patients keys"],
    ) -> tuple[Float[Tensor, "patients queries width"], Float[Tensor, "patients queries keys"]]:
        """Return what each query gathered (exactly 0 where no key is real), and mean weights."""
        n, n_queries, _ = queries.shape
        size = (n, -1, self.n_heads, self.head_width)
        query = self.query(queries).view(size).transpose(1, 2)
        key, value = (
            part.view(size).transpose(1, 2) for part in self.key_value(keys).chunk(2, dim=-1)
        )
        weights = query @ key.transpose(2, 3) / self.head_width**0.5
        attention = masked_softmax(weights, key_mask[:, None, None, :])
        gathered = (attention @ value).transpose(1, 2).reshape(n, n_queries, -1)
        return self.out(gathered), attention.mean(dim=1)


class TileProjection(nn.Module):
    """Tile features to tokens; hides a share of the tiles while training."""

    def __init__(self, n_features: int, width: int, dropout: float, tile_dropout: float) -> None:
        """Make the layer."""
        super().__init__()
        self.tile_dropout = tile_dropout
        self.project = nn.Sequential(
            nn.Linear(n_features, width), nn.GELU(), nn.LayerNorm(width), nn.Dropout(dropout)
        )

    def forward(
        self, tiles: Float[Tensor, "patients tiles features"], mask: Bool[Tensor, "patients tiles"]
    ) -> tuple[Float[Tensor, "patients tiles width"], Bool[Tensor, "patients tiles"]]:
        """Return the tokens and which of them to look at."""
        if self.training and self.tile_dropout > 0:
            mask = hide(mask, self.tile_dropout)
        return self.project(tiles), mask


class MaskedGenes(nn.Module):
    """Masked expression, rescaled by the share that is left; hides genes while training."""

    def __init__(self, gene_dropout: float) -> None:
        """Make the layer."""
        super().__init__()
        self.gene_dropout = gene_dropout

    def forward(
        self, genes: Float[Tensor, "patients genes"], mask: Bool[Tensor, "patients genes"]
    ) -> Float[Tensor, "patients genes"]:
        """Return the expression with unmeasured genes at 0 (the training mean), rescaled.

        The rescaling by sqrt(genes / measured genes) keeps the spread of a weighted sum of genes.
        """
        return rescaled(genes, self.shown(mask))

    def shown(self, mask: Bool[Tensor, "patients genes"]) -> Bool[Tensor, "patients genes"]:
        """Return which genes to look at; while training a share of the measured ones is hidden."""
        return hide(mask, self.gene_dropout) if self.training and self.gene_dropout > 0 else mask


def rescaled(
    genes: Float[Tensor, "*batch genes"], mask: Bool[Tensor, "*batch genes"]
) -> Float[Tensor, "*batch genes"]:
    """Return the genes with those under the mask at 0, times sqrt(genes / genes that are left)."""
    kept = mask.to(genes.dtype)
    left = kept.mean(dim=-1, keepdim=True).clamp(min=1.0 / genes.shape[-1])
    return genes * kept * left.rsqrt()


class Head(nn.Module):
    """A vector to logits; starts at exactly 0, so that training begins from what is known."""

    def __init__(self, width: int, n_logits: int, dropout: float) -> None:
        """Make the layer."""
        super().__init__()
        last = nn.Linear(width, n_logits)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(nn.LayerNorm(width), nn.Dropout(dropout), last)

    def forward(self, vector: Float[Tensor, "patients width"]) -> Float[Tensor, "patients logits"]:
        """Return the logits."""
        logits: Tensor = self.layers(vector)
        return logits


class Silent(nn.Module):
    """In place of a head where nobody votes: logits of 0, and no weights."""

    def __init__(self, n_logits: int) -> None:
        """Make the layer."""
        super().__init__()
        self.n_logits = n_logits

    def forward(self, vector: Float[Tensor, "patients width"]) -> Float[Tensor, "patients logits"]:
        """Return zeros."""
        return vector.new_zeros(len(vector), self.n_logits)
