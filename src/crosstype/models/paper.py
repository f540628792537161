"""The published models as in their public code, and with its fault mended.

Source: A. Honarmandi Shandiz, arXiv 2503.02849, and its public notebook. They reproduce the
published results.
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from crosstype.models.layers import MultiHeadAttention, masked_mean
from crosstype.models.network import Batch, Network, Output, Sizes
from crosstype.models.spec import ModelSpec

WIDTH = 512
KERNEL = 3
N_HEADS = 8
KEY_SIZE = 512
"""Width of each head: the notebook's `key_dim`, which Keras does not divide by the heads."""
DROPOUT = 0.5
N_TOKENS = 8
"""Gene tokens of the mended cross-attention."""


class PaperHead(nn.Module):
    """Dense 512, dropout, batch norm, dense 256, dropout, logits."""

    def __init__(self, n_inputs: int, n_logits: int) -> None:
        """Make the layers."""
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_inputs, WIDTH),
            nn.ReLU(),
            nn.Dropout(DROPOUT),
            nn.BatchNorm1d(WIDTH),
            nn.Linear(WIDTH, 256),
            nn.ReLU(),
            nn.Dropout(DROPOUT),
            nn.Linear(256, n_logits),
        )

    def forward(self, vector: Float[Tensor, "patients width"]) -> Float[Tensor, "patients logits"]:
        """Return the logits."""
        logits: Tensor = self.layers(vector)
        return logits


class PaperNetwork(Network):
    """Layers of both published models: genes, tiles and head."""

    n_inputs: ClassVar[int] = WIDTH
    kernel: ClassVar[int] = KERNEL

    def __init__(self, sizes: Sizes, spec: ModelSpec) -> None:  # noqa: ARG002  sizes are published
        """Make the network with the published sizes; `spec` is not used."""
        super().__init__(sizes)
        self.genes = nn.Sequential(nn.Linear(sizes.n_genes, WIDTH), nn.ReLU())
        self.tiles = nn.Conv1d(sizes.n_features, WIDTH, self.kernel, padding=self.kernel // 2)
        self.head = PaperHead(self.n_inputs, sizes.n_logits)

    def gene_vector(self, batch: Batch) -> Float[Tensor, "patients width"]:
        """Return the gene vector: one dense layer."""
        vector: Tensor = self.genes(batch.genes * batch.gene_mask)
        return vector

    def image_vector(self, batch: Batch) -> Float[Tensor, "patients width"]:
        """Return the image vector: convolution over tiles, then their mean."""
        tiles = batch.tiles * batch.tile_mask.unsqueeze(-1)
        padding = self.kernel // 2
        # The convolution as one matrix product over each tile and its neighbours: its gradient is
        # a product too, in half the time of torch's.
        windows = nn.functional.pad(tiles, (0, 0, padding, padding))
        windows = windows.unfold(1, self.kernel, 1).flatten(2)
        convolved = nn.functional.linear(windows, self.tiles.weight.flatten(1), self.tiles.bias)
        return masked_mean(torch.relu(convolved), batch.tile_mask)


class PaperConcat(PaperNetwork):
    """The published concatenation: the concatenated tensor is overwritten by the gene branch.

    So the logits do not depend on the image.
    """

    def forward(self, batch: Batch) -> Output:
        """Return logits, which depend on the genes alone."""
        return Output(self.head(self.gene_vector(batch)))


class MendedConcat(PaperNetwork):
    """The published concatenation as described: the head takes both vectors.

    Tiles have no order, so the convolution has a kernel of 1.
    """

    n_inputs: ClassVar[int] = 2 * WIDTH
    kernel: ClassVar[int] = 1

    def forward(self, batch: Batch) -> Output:
        """Return logits of the concatenated image and gene vectors."""
        both = torch.cat([self.image_vector(batch), self.gene_vector(batch)], dim=1)
        return Output(self.head(both))


class PaperCrossAttention(PaperNetwork):
    """The published cross-attention: one gene token is the only key and value.

    A softmax over one key is always 1, so the output does not depend on the image.
    """

    def __init__(self, sizes: Sizes, spec: ModelSpec) -> None:
        """Make the network."""
        super().__init__(sizes, spec)
        self.attention = MultiHeadAttention(WIDTH, N_HEADS, KEY_SIZE)

    def forward(self, batch: Batch) -> Output:
        """Return logits, which depend on the genes alone."""
        # The image is the query of an attention over one key.
        key = self.gene_vector(batch).unsqueeze(1)
        query = self.image_vector(batch).unsqueeze(1)
        key_mask = torch.ones(key.shape[:2], dtype=torch.bool)
        gathered, _ = self.attention(query, key, key_mask)
        return Output(self.head(gathered.squeeze(1)))


class MendedCrossAttention(PaperCrossAttention):
    """The published cross-attention over several gene tokens, so that the image has an effect.

    The gene vector is split into chunks of equal length, each with its own linear layer. Tiles have
    no order, so the convolution has a kernel of 1.
    """

    kernel: ClassVar[int] = 1

    def __init__(self, sizes: Sizes, spec: ModelSpec) -> None:
        """Make the network."""
        super().__init__(sizes, spec)
        self.tokens = nn.ModuleList(nn.Linear(WIDTH // N_TOKENS, WIDTH) for _ in range(N_TOKENS))

    def forward(self, batch: Batch) -> Output:
        """Return logits of the image's attention over gene tokens."""
        pieces = self.gene_vector(batch).chunk(N_TOKENS, dim=1)
        pairs = zip(self.tokens, pieces, strict=True)
        keys = torch.stack([token(piece) for token, piece in pairs], dim=1)
        query = self.image_vector(batch).unsqueeze(1)
        gathered, _ = self.attention(query, keys, torch.ones(keys.shape[:2], dtype=torch.bool))
        return Output(self.head(gathered.squeeze(1)))
