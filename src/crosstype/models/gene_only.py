"""gene_only: a small fully connected encoder over the genes; no image."""

from __future__ import annotations

from typing import ClassVar

from crosstype.models.branches import GeneBranch
from crosstype.models.interface import Batch, Network, Output, Sizes
from crosstype.models.spec import ModelSpec
from crosstype.terms import Modality


class GeneOnly(Network):
    """The paper's fully connected gene encoder."""

    uses: ClassVar[frozenset[Modality]] = frozenset({Modality.GENES})

    def __init__(self, sizes: Sizes, spec: ModelSpec) -> None:
        """Make the network."""
        super().__init__(sizes)
        self.genes = GeneBranch(sizes, spec)

    def forward(self, batch: Batch) -> Output:
        """Return logits."""
        _, logits = self.genes(batch.genes, batch.gene_mask)
        return Output(logits)
