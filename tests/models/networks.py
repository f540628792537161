"""Networks and batches for the tests of all models: every network, and every option of one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from crosstype.models.catalog import NETWORKS, make_network
from crosstype.models.network import Batch, Network, Output, Sizes
from crosstype.models.spec import ModelSpec
from crosstype.types import Modality

N, TILES, FEATURES, GENES = 5, 6, 4, 12
COVARIATES = 3
SMALL = ModelSpec(width=8, n_gene_tokens=3, n_heads=2)
LENGTHS = (6, 3, 1, 4, 2)
GENES_OF_SETS = ((0, 1, 2, 3), (2, 7), (1, 4, 5, 6, 8))
"""Sets that share genes, one that the second patient lacks in part; genes 9 to 11 are in none."""


@dataclass(frozen=True)
class Variant:
    """A network with its options.

    Attributes:
        kind: its name in the catalog.
        spec: its options.
        sets: whether its gene tokens are the gene sets above.
        clinical: whether it sees clinical covariates.
    """

    kind: str
    spec: ModelSpec = SMALL
    sets: bool = False
    clinical: bool = False

    def can_see(self, modality: Modality) -> bool:
        """Return whether the modality can change the network's logits."""
        return modality in NETWORKS[self.kind].uses and (
            modality != Modality.CLINICAL or self.clinical
        )


def make_variants() -> dict[str, Variant]:
    """Return every network, and cross_attention with every combination of its options."""
    variants = {name: Variant(name) for name in NETWORKS}
    blocks = {
        "both": SMALL,
        "genes_from_tiles": replace(SMALL, direction="genes_from_tiles"),
        "tiles_from_genes": replace(SMALL, direction="tiles_from_genes"),
        "transformer": replace(SMALL, block="transformer"),
    }
    for (name, spec), fusion, sets, n in product(blocks.items(), ("vote", "gated"), (0, 1), (1, 2)):
        title = f"{name}, {fusion}, {'gene sets' if sets else 'programs'}, {n} blocks"
        chosen = replace(spec, fusion=fusion, n_blocks=n)
        variants[title] = Variant("cross_attention", chosen, bool(sets))
    del variants["both, vote, programs, 1 blocks"]  # the default, which stands under its own name
    outside = Variant("cross_attention", replace(SMALL, n_outside_tokens=2), sets=True)
    gated = replace(SMALL, fusion="gated")
    return variants | {
        "both, vote, gene sets and outside genes, 1 blocks": outside,
        "concat, clinical": Variant("concat", clinical=True),
        "cross_attention, clinical": Variant("cross_attention", clinical=True),
        "gated, clinical": Variant("cross_attention", gated, clinical=True),
    }


VARIANTS = make_variants()
PAIRED = {
    "both, gated, gene sets, 2 blocks",
    "genes_from_tiles, vote, gene sets, 2 blocks",
    "genes_from_tiles, gated, programs, 1 blocks",
    "tiles_from_genes, vote, gene sets, 1 blocks",
    "tiles_from_genes, gated, programs, 2 blocks",
    "transformer, vote, programs, 1 blocks",
    "transformer, gated, gene sets, 2 blocks",
}
"""With the default, each pair of values of two options once; other combinations are long."""


def each_of(names: Iterable[str]) -> pytest.MarkDecorator:
    """Run a test for each of these variants, for those that repeat pairs with `make long` only."""
    found = [
        pytest.param(name, marks=[pytest.mark.long] if _repeats(name) else []) for name in names
    ]
    return pytest.mark.parametrize("name", found)


def _repeats(name: str) -> bool:
    return name.endswith(" blocks") and "outside" not in name and name not in PAIRED


def make_membership(n_genes: int = GENES) -> Tensor:
    membership = torch.zeros(len(GENES_OF_SETS), n_genes, dtype=torch.bool)
    for row, genes in enumerate(GENES_OF_SETS):
        membership[row, list(genes)] = True
    return membership


def make(name: str, n_classes: int = 2, n_genes: int = GENES) -> Network:
    one = VARIANTS[name]
    membership = make_membership(n_genes) if one.sets else None
    n_covariates = COVARIATES if one.clinical else 0
    sizes = Sizes(FEATURES, n_genes, n_classes, membership, n_covariates)
    return make_network(one.kind, sizes, one.spec)


def make_batch(n: int = N, genes: int = GENES) -> Batch:
    lengths = torch.tensor([LENGTHS[i % len(LENGTHS)] for i in range(n)])
    mask = torch.arange(TILES)[None, :] < lengths[:, None]
    measured = torch.ones(n, genes, dtype=torch.bool)
    measured[1, :3] = False
    tiles = torch.randn(n, TILES, FEATURES)
    # Without chance, so that what networks without covariates are tested with stays the same.
    clinical = torch.sin(7.0 * torch.arange(n * COVARIATES)).view(n, COVARIATES)
    recorded = torch.ones(n, COVARIATES, dtype=torch.bool)
    recorded[2, :2] = False
    recorded[3] = False
    return Batch(
        tiles,
        mask,
        torch.randn(n, genes) * measured,
        measured,
        clinical * recorded,
        recorded,
    )


def patient_of(batch: Batch, row: int) -> Batch:
    """Return a batch of this patient alone."""
    return Batch(*(getattr(batch, field.name)[row : row + 1] for field in fields(batch)))


def make_moved(name: str, n_classes: int = 2, n_genes: int = GENES) -> Network:
    """Return a network in its prediction mode whose heads no longer stand at their start of 0."""
    torch.manual_seed(17)
    network = make(name, n_classes, n_genes)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)
    return network.eval()


def said(network: Network, batch: Batch) -> Output:
    with torch.no_grad():
        return network(batch)


def same(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-4, atol=1e-5)


def loss_of(network: Network, batch: Batch, targets: Tensor) -> Tensor:
    logits = network(batch).logits[:, 0]
    return nn.functional.binary_cross_entropy_with_logits(logits, targets)


def train(network: Network, batch: Batch, targets: Tensor, steps: int) -> float:
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    network.train()
    for _ in range(steps):
        optimiser.zero_grad()
        loss_of(network, batch, targets).backward()
        optimiser.step()
    network.eval()
    with torch.no_grad():
        return float(loss_of(network, batch, targets))


def make_gappy_batch() -> Batch:
    """Return a batch whose patients 0, 1 and 2 lack tiles, genes and both; the others have both."""
    batch = make_batch()
    tile_mask, gene_mask = batch.tile_mask.clone(), batch.gene_mask.clone()
    tile_mask[[0, 2]] = False
    gene_mask[[1, 2]] = False
    return replace(batch, tile_mask=tile_mask, gene_mask=gene_mask)
