"""Gated fusion: a gate weighs the image's vector against the genes', patient by patient."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crosstype.models.branches import joined


class GatedFusion(nn.Module):
    """Gated multimodal unit (Arevalo et al. 2017, arXiv 1702.01992).

    fused = z * tanh(map(image)) + (1 - z) * tanh(map(genes)), with z = sigmoid(map[image, genes]),
    one share per patient and hidden value. Where a modality is absent the other's share is exactly
    1; where both are absent the fused vector is 0.
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
        image_share, gene_share = self.shares(joined(image, genes), has_image, has_genes)
        return image_share * torch.tanh(self.image(image)) + gene_share * torch.tanh(
            self.genes(genes)
        )

    def shares(
        self,
        both: Float[Tensor, "patients twice"],
        has_image: Bool[Tensor, "patients 1"],
        has_genes: Bool[Tensor, "patients 1"],
    ) -> tuple[Float[Tensor, "patients width"], Float[Tensor, "patients width"]]:
        """Return the image's and the genes' share of each hidden value, from both end to end."""
        share = torch.sigmoid(self.share(both))
        image_share = torch.where(has_genes, share, 1.0) * has_image
        gene_share = torch.where(has_image, 1 - share, 1.0) * has_genes
        return image_share, gene_share
