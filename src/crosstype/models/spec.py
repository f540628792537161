"""What a user may set about the networks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from crosstype.types import Between


@dataclass(frozen=True)
class ModelSpec:
    """Sizes of the networks; the same for all, so that none is favoured."""

    width: Annotated[int, Between(4, 4096)] = 64
    """Length of every token and hidden vector."""

    n_gene_tokens: Annotated[int, Between(2, 1024)] = 16
    """Number of learned gene programs that cross-attention sees as tokens where no `gene_sets` are
    given; at least 2."""

    n_heads: Annotated[int, Between(1, 64)] = 4
    """Attention heads; `width` must be a multiple of it."""

    n_blocks: Annotated[int, Between(1, 12)] = 1
    """Rounds of cross_attention, one after the other; `block` says what a round is."""

    block: Literal["cross", "transformer"] = "cross"
    """What such a round is. cross: tile tokens and gene tokens gather from each other, never from
    their own kind. transformer: self-attention over all tokens of both kinds together, then a
    feed-forward layer."""

    direction: Literal["both", "genes_from_tiles", "tiles_from_genes"] = "both"
    """Who gathers from whom in a `cross` round: both, or only gene tokens from tiles, or only tiles
    from gene tokens."""

    fusion: Literal["vote", "gated"] = "vote"
    """How cross_attention comes to its logits. vote: the votes of both modalities, and a head over
    both vectors. gated: nobody votes; a gate weighs, patient by patient, the image's vector against
    the genes' (gated multimodal unit)."""

    dropout: Annotated[float, Between(0, 0.95)] = 0.25
    """Share of hidden values dropped while training, 0 to 1."""

    gene_dropout: Annotated[float, Between(0, 0.99)] = 0.3
    """Share of genes hidden from each patient while training, 0 to 1."""

    tile_dropout: Annotated[float, Between(0, 0.99)] = 0.3
    """Share of tiles hidden from each patient while training, 0 to 1."""

    gene_sets: Path | None = None
    """GMT file (gz or not): each gene set is then one token of cross-attention, made from that
    set's genes only, in place of learned programs."""

    least_genes: Annotated[int, Between(1, 100_000)] = 5
    """Gene sets with fewer genes than this, among those that a fold keeps, make no token."""

    n_outside_tokens: Annotated[int, Between(0, 1024)] = 0
    """With `gene_sets`: learned programs beside them, over the genes that stand in no set."""
