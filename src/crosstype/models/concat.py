"""Fusion by concatenation of the pooled image vector and the gene vector (model `concat`)."""

from torch import nn

from crosstype.models import branches
from crosstype.models.layers import Head
from crosstype.models.network import Batch, Network, Output, Sizes
from crosstype.models.spec import ModelSpec
from crosstype.types import Modality


class Concat(Network):
    """Sum of the unimodal logits and of a head on both branches' concatenated vectors."""

    def __init__(self, sizes: Sizes, spec: ModelSpec) -> None:
        """Make the network."""
        super().__init__(sizes)
        self.image = branches.ImageBranch(sizes, spec)
        self.genes = branches.GeneBranch(sizes, spec)
        self.mix = nn.Sequential(nn.Linear(2 * spec.width, spec.width), nn.GELU())
        self.head = Head(spec.width, sizes.n_logits, spec.dropout)
        self.clinical = branches.clinical_branch(sizes, spec)

    def forward(self, batch: Batch) -> Output:
        """Return logits, tile attention and unimodal logits."""
        tokens, kept = self.image.tokens(batch.tiles, batch.tile_mask)
        pooled, attention = self.image.pool(tokens, kept)
        vector, gene_vote = self.genes(batch.genes, batch.gene_mask)
        image_vote = self.image.vote(pooled, kept)
        logits = gene_vote + image_vote + self.head(self.mix(branches.joined(pooled, vector)))
        votes = {Modality.IMAGE: image_vote, Modality.GENES: gene_vote}
        return branches.with_clinical(Output(logits, attention, votes=votes), self.clinical, batch)
