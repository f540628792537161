"""Unimodal networks: attention pooling over tiles (image_only), dense layers on genes."""

from crosstype.models.branches import GeneBranch, ImageBranch
from crosstype.models.network import Batch, Network, Output, Sizes
from crosstype.models.spec import ModelSpec


class ImageOnly(Network):
    """Attention-based multiple-instance learning on a patient's tiles."""

    def __init__(self, sizes: Sizes, spec: ModelSpec) -> None:
        """Make the network."""
        super().__init__(sizes)
        self.image = ImageBranch(sizes, spec)

    def forward(self, batch: Batch) -> Output:
        """Return logits and tile attention."""
        tokens, kept = self.image.tokens(batch.tiles, batch.tile_mask)
        pooled, attention = self.image.pool(tokens, kept)
        return Output(self.image.vote(pooled, kept), attention)


class GeneOnly(Network):
    """Fully connected network on expression."""

    def __init__(self, sizes: Sizes, spec: ModelSpec) -> None:
        """Make the network."""
        super().__init__(sizes)
        self.genes = GeneBranch(sizes, spec)

    def forward(self, batch: Batch) -> Output:
        """Return logits."""
        _, logits = self.genes(batch.genes, batch.gene_mask)
        return Output(logits)
