"""Settings of the networks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from crosstype.types import Between


@dataclass(frozen=True)
class ModelSpec:
    """Architecture of the networks, the same for all."""

    width: Annotated[int, Between(4, 4096)] = 64
    """Width of every token and hidden vector."""

    n_gene_tokens: Annotated[int, Between(2, 1024)] = 16
    """Number of learned gene tokens of cross_attention without `gene_sets`; at least 2."""

    n_heads: Annotated[int, Between(1, 64)] = 4
    """Attention heads; `width` must be a multiple of it."""

    n_blocks: Annotated[int, Between(1, 12)] = 1
    """Number of attention blocks of cross_attention."""

    block: Literal["cross", "transformer"] = "cross"
    """Type of the attention blocks. cross: cross-attention between tile tokens and gene tokens.
    transformer: self-attention over the tokens of both modalities, then a feed-forward layer."""

    direction: Literal["both", "genes_from_tiles", "tiles_from_genes"] = "both"
    """Direction of cross-attention in a `cross` block. genes_from_tiles: only gene tokens attend to
    tiles; tiles_from_genes: only tiles attend to gene tokens; both."""

    fusion: Literal["vote", "gated"] = "vote"
    """Fusion of the modalities in cross_attention. vote: the sum of both unimodal logits and of a
    head on both vectors. gated: a gated multimodal unit on both vectors, without unimodal
    logits."""

    dropout: Annotated[float, Between(0, 0.95)] = 0.25
    """Share of hidden units dropped in training, 0 to 1."""

    gene_dropout: Annotated[float, Between(0, 0.99)] = 0.3
    """Share of each patient's genes dropped in training, 0 to 1."""

    tile_dropout: Annotated[float, Between(0, 0.99)] = 0.3
    """Share of each patient's tiles dropped in training, 0 to 1."""

    gene_sets: Path | None = None
    """GMT file (gz or not): each gene set is one token of cross_attention, computed from that set's
    genes, in place of learned gene tokens."""

    least_genes: Annotated[int, Between(1, 100_000)] = 5
    """Gene sets with fewer genes than this, among those that a fold selects, are dropped."""

    n_outside_tokens: Annotated[int, Between(0, 1024)] = 0
    """With `gene_sets`: number of learned tokens of the genes that are in no set."""
