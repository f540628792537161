"""Gene tokens from named gene sets: each token is computed from the genes of one set."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from crosstype.models.layers import rescaled
from crosstype.models.spec import ModelSpec

N_HIDDEN = 8
"""Hidden units per gene set. A dense layer from 20,000 genes to 50 tokens of width 64 would have 64
million weights; 50 sets of 150 genes through 8 hidden units have 89,000."""


class GeneSetTokens(nn.Module):
    """One token per gene set: a two-layer perceptron on the genes of each set.

    A set's token is embedding + linear(GELU(linear(genes of the set))). Unmeasured genes are set to
    the training mean and the others rescaled within each set; a set without any measured gene is
    masked.
    """

    places: Int[Tensor, "sets longest"]
    inside: Bool[Tensor, "sets longest"]

    def __init__(self, membership: Bool[Tensor, "sets genes"], spec: ModelSpec) -> None:
        """Make the layers.

        Args:
            membership: sets x genes.
            spec: width and dropout.

        Raises:
            ValueError: a set has no gene.
        """
        super().__init__()
        sizes = membership.sum(dim=1)
        if len(sizes) and int(sizes.min()) == 0:
            raise ValueError("a gene set without genes makes no token")
        n_sets, longest = len(sizes), int(sizes.max()) if len(sizes) else 0
        # Genes of the set first, in the genes' order; the rest of a row is padding.
        places = torch.argsort((~membership).to(torch.int8), dim=1, stable=True)[:, :longest]
        # Checkpoints store membership once for all networks, so these buffers are not persistent.
        self.register_buffer("places", places, persistent=False)
        self.register_buffer("inside", membership.gather(1, places), persistent=False)
        bound = sizes.clamp(min=1).to(torch.float32).rsqrt()[:, None, None]
        drawn = (torch.rand(n_sets, longest, N_HIDDEN) * 2 - 1) * bound
        self.first = nn.Parameter(drawn * self.inside[:, :, None])
        self.first_bias = nn.Parameter(torch.zeros(n_sets, N_HIDDEN))
        drawn = (torch.rand(n_sets, N_HIDDEN, spec.width) * 2 - 1) * N_HIDDEN**-0.5
        self.second = nn.Parameter(drawn)
        self.names = nn.Parameter(torch.randn(n_sets, spec.width) * 0.1)
        self.dropout = nn.Dropout(spec.dropout)

    def forward(
        self, genes: Float[Tensor, "patients genes"], shown: Bool[Tensor, "patients genes"]
    ) -> tuple[Float[Tensor, "patients sets width"], Bool[Tensor, "patients sets"]]:
        """Return one token per set, and the mask of sets with a measured gene."""
        size = (len(genes), *self.places.shape)
        flat = self.places.reshape(-1)
        values = genes.index_select(1, flat).view(size)
        seen = shown.index_select(1, flat).view(size) & self.inside
        measured = seen.any(dim=2)
        # Padding is not counted as missing genes.
        padding = (self.places.shape[1] / self.inside.sum(dim=1).to(genes.dtype)).rsqrt()
        values = rescaled(values, seen) * padding[:, None]
        # One small matrix product per set: sets x patients x genes of the set.
        hidden = torch.baddbmm(self.first_bias[:, None], values.transpose(0, 1), self.first)
        hidden = self.dropout(nn.functional.gelu(hidden))
        tokens = torch.baddbmm(self.names[:, None], hidden, self.second)
        return tokens.transpose(0, 1), measured


def n_outside_tokens(membership: Bool[Tensor, "sets genes"], spec: ModelSpec) -> int:
    """Return the number of learned tokens of genes in no set; 0 if every gene is in a set."""
    return 0 if bool(membership.any(dim=0).all()) else spec.n_outside_tokens


class OutsidePrograms(nn.Module):
    """Learned gene tokens of the genes that are in no set."""

    outside: Int[Tensor, " outside"]

    def __init__(self, membership: Bool[Tensor, "sets genes"], spec: ModelSpec) -> None:
        """Make the layers; at least one gene must be in no set."""
        super().__init__()
        outside = torch.nonzero(~membership.any(dim=0)).view(-1)
        self.register_buffer("outside", outside, persistent=False)
        self.encoder = nn.Sequential(
            nn.Linear(len(outside), spec.width), nn.GELU(), nn.Dropout(spec.dropout)
        )
        self.programs = nn.Linear(spec.width, spec.n_outside_tokens * spec.width)
        self.names = nn.Parameter(torch.randn(spec.n_outside_tokens, spec.width) * 0.1)

    def forward(
        self, genes: Float[Tensor, "patients genes"], shown: Bool[Tensor, "patients genes"]
    ) -> tuple[Float[Tensor, "patients tokens width"], Bool[Tensor, "patients tokens"]]:
        """Return the tokens, and their mask: whether any of the genes was measured."""
        seen = shown.index_select(1, self.outside)
        vector = self.encoder(rescaled(genes.index_select(1, self.outside), seen))
        tokens = self.programs(vector).view(len(genes), *self.names.shape) + self.names
        return tokens, seen.any(dim=1, keepdim=True).expand(tokens.shape[:2])
