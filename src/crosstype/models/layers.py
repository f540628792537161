"""Layers that several networks share. All apply masks."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


def masked_softmax(
    weights: Float[Tensor, "*batch items"], mask: Bool[Tensor, "*#batch items"]
) -> Float[Tensor, "*batch items"]:
    """Return the softmax over unmasked items; 0 for masked ones, all 0 if all are masked."""
    lowest = torch.finfo(weights.dtype).min
    kept = torch.softmax(weights.masked_fill(~mask, lowest), dim=-1)
    return kept * mask


def masked_mean(
    items: Float[Tensor, "patients items width"], mask: Bool[Tensor, "patients items"]
) -> Float[Tensor, "patients width"]:
    """Return the mean over unmasked items; 0 if all are masked."""
    weights = mask.to(items.dtype)
    weights = weights / weights.sum(dim=1, keepdim=True).clamp(min=1.0)
    return torch.bmm(weights.unsqueeze(1), items).squeeze(1)


def hide(mask: Bool[Tensor, "patients items"], share: float) -> Bool[Tensor, "patients items"]:
    """Return the mask with a random share of its items dropped; a patient keeps at least one.

    So dropout never removes a modality entirely.
    """
    draws = torch.rand(mask.shape).masked_fill(~mask, -1.0)
    highest = draws >= draws.amax(dim=1, keepdim=True)
    return mask & ((draws >= share) | highest)


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
    """Return the width of one head; raises ValueError if `n_heads` does not divide `width`."""
    if width % n_heads:
        raise ValueError(f"width {width} is not a multiple of n_heads {n_heads}")
    return width // n_heads


class MultiHeadAttention(nn.Module):
    """Multi-head attention from queries to keys (Vaswani et al. 2017), with its weights."""

    def __init__(self, width: int, n_heads: int, each: int | None = None) -> None:
        """Make the layer; each head has width `each`, or `width / n_heads`."""
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
        """Return the output per query (exactly 0 without unmasked keys), and mean weights."""
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
    """Linear projection of tile features to tokens, with tile dropout in training."""

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
        """Return the tokens and their mask."""
        if self.training and self.tile_dropout > 0:
            mask = hide(mask, self.tile_dropout)
        return self.project(tiles), mask


class MaskedGenes(nn.Module):
    """Masked expression, rescaled by the share of unmasked genes; gene dropout in training."""

    def __init__(self, gene_dropout: float) -> None:
        """Make the layer."""
        super().__init__()
        self.gene_dropout = gene_dropout

    def forward(
        self, genes: Float[Tensor, "patients genes"], mask: Bool[Tensor, "patients genes"]
    ) -> Float[Tensor, "patients genes"]:
        """Return the expression with unmeasured genes at 0 (the training mean), rescaled.

        Rescaling by sqrt(genes / measured genes) preserves the variance of weighted sums of genes.
        """
        return rescaled(genes, self.shown(mask))

    def shown(self, mask: Bool[Tensor, "patients genes"]) -> Bool[Tensor, "patients genes"]:
        """Return the mask of measured genes, with gene dropout in training."""
        return hide(mask, self.gene_dropout) if self.training and self.gene_dropout > 0 else mask


def rescaled(
    genes: Float[Tensor, "*batch genes"], mask: Bool[Tensor, "*batch genes"]
) -> Float[Tensor, "*batch genes"]:
    """Return masked genes as 0 and the others times sqrt(genes / unmasked genes)."""
    kept = mask.to(genes.dtype)
    share = kept.mean(dim=-1, keepdim=True).clamp(min=1.0 / genes.shape[-1])
    return genes * kept * share.rsqrt()


class Head(nn.Module):
    """Linear head from a vector to logits, initialised to exactly 0."""

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


class ZeroHead(nn.Module):
    """Head without weights whose logits are 0, for branches without a vote."""

    def __init__(self, n_logits: int) -> None:
        """Make the layer."""
        super().__init__()
        self.n_logits = n_logits

    def forward(self, vector: Float[Tensor, "patients width"]) -> Float[Tensor, "patients logits"]:
        """Return zeros."""
        return vector.new_zeros(len(vector), self.n_logits)
