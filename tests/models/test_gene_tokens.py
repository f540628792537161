"""Gene tokens of named sets: each sees its own genes, absent ones are no evidence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from crosstype.models.catalog import make_network
from crosstype.models.gene_tokens import GeneSetTokens
from crosstype.models.network import Batch, Sizes
from crosstype.models.spec import ModelSpec

SPEC = ModelSpec(width=8, n_gene_tokens=3, n_heads=2)
SETS = ((0, 1, 2, 3), (3, 7), (5,))
N, GENES = 4, 9


@pytest.fixture(autouse=True)
def _kept_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(8)
        yield


def membership(sets: tuple[tuple[int, ...], ...] = SETS, n_genes: int = GENES) -> Tensor:
    made = torch.zeros(len(sets), n_genes, dtype=torch.bool)
    for row, genes in enumerate(sets):
        made[row, list(genes)] = True
    return made


def tokens_of(layer: GeneSetTokens, genes: Tensor, shown: Tensor) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        return layer.eval()(genes, shown)


def test_a_token_is_the_map_of_its_own_genes_as_numpy_computes_it() -> None:
    layer = GeneSetTokens(membership(), SPEC)
    genes = torch.randn(N, GENES)
    shown = torch.ones(N, GENES, dtype=torch.bool)
    shown[0, [0, 2]] = False
    tokens, measured = tokens_of(layer, genes, shown)
    assert measured.all()
    weights = {key: value.detach().double().numpy() for key, value in layer.named_parameters()}
    for patient in range(N):
        for row, members in enumerate(SETS):
            there = [(slot, g) for slot, g in enumerate(members) if shown[patient, g]]
            scale = np.sqrt(len(members) / len(there))
            sums = weights["first_bias"][row] + sum(
                float(genes[patient, g]) * scale * weights["first"][row, slot] for slot, g in there
            )
            hidden = torch.nn.functional.gelu(torch.from_numpy(sums)).numpy()
            wanted = weights["names"][row] + hidden @ weights["second"][row]
            np.testing.assert_allclose(tokens[patient, row].numpy(), wanted, atol=1e-5)


@pytest.mark.parametrize("gene", range(GENES))
def test_a_gene_changes_the_tokens_of_its_sets_and_no_other(gene: int) -> None:
    layer = GeneSetTokens(membership(), SPEC)
    genes, shown = torch.randn(N, GENES), torch.ones(N, GENES, dtype=torch.bool)
    before, _ = tokens_of(layer, genes, shown)
    genes[:, gene] += 1
    after, _ = tokens_of(layer, genes, shown)
    for row, members in enumerate(SETS):
        assert torch.equal(before[:, row], after[:, row]) == (gene not in members)


def test_a_set_without_a_measured_gene_is_masked_and_weighs_nothing() -> None:
    network = make_network("cross_attention", Sizes(4, GENES, 2, membership()), SPEC).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)
    measured = torch.ones(N, GENES, dtype=torch.bool)
    measured[:, 5] = False  # all of the third set
    tiles = torch.randn(N, 3, 4)
    batch = Batch(tiles, torch.ones(N, 3, dtype=torch.bool), torch.randn(N, GENES), measured)
    with torch.no_grad():
        before = network(batch).logits
        network.sets.names[2] += 100
        assert torch.equal(before, network(batch).logits)
        everything = replace(batch, gene_mask=torch.ones_like(measured))
        assert not torch.equal(before, network(everything).logits)


def test_fewer_than_two_tokens_and_empty_sets_are_refused() -> None:
    one = Sizes(4, GENES, 2, membership(SETS[:1]))
    with pytest.raises(ValueError, match="at least 2 gene tokens, found 1"):
        make_network("cross_attention", one, SPEC)
    make_network("cross_attention", one, replace(SPEC, n_outside_tokens=1))
    everywhere = Sizes(4, 4, 2, membership(SETS[:1], 4))
    with pytest.raises(ValueError, match="found 1"):
        make_network("cross_attention", everywhere, replace(SPEC, n_outside_tokens=5))
    with pytest.raises(ValueError, match="without genes"):
        GeneSetTokens(membership(((0,), ())), SPEC)


def test_fifty_sets_of_twenty_thousand_genes_stay_affordable() -> None:
    rng = np.random.default_rng(0)
    sets = tuple(tuple(rng.choice(20_000, 200, replace=False)) for _ in range(50))
    layer = GeneSetTokens(membership(sets, 20_000), ModelSpec())
    assert sum(one.numel() for one in layer.parameters()) < 120_000


def test_without_gene_sets_the_network_is_what_it_was() -> None:
    """Names, order and forward pass of the learned tokens as they were before gene sets came."""
    network = make_network("cross_attention", Sizes(4, GENES, 2), SPEC)
    keys = list(network.state_dict())
    assert keys.index("program_names") < keys.index("programs.weight")
    assert not [key for key in keys if key.startswith(("sets", "outside"))]
    torch.manual_seed(3)
    one = make_network("cross_attention", Sizes(4, GENES, 2), SPEC).train()
    mask = torch.ones(N, GENES, dtype=torch.bool)
    genes, tiles = torch.randn(N, GENES), torch.randn(N, 3, 4)
    batch = Batch(tiles, torch.ones(N, 3, dtype=torch.bool), genes, mask)
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)
        torch.manual_seed(4)
        found = one(batch).logits
        torch.manual_seed(4)
        shown_tiles, kept = one.image.tokens(tiles, batch.tile_mask)
        vector, vote = one.genes(genes, mask)
        programs = one.programs(vector).view(N, 3, 8) + one.program_names
        programs, shown_tiles, _ = one.blocks[0](
            programs, torch.ones(N, 3, dtype=torch.bool), shown_tiles, kept
        )
        pooled, _ = one.image.pool(shown_tiles, kept)
        image_vote = one.image.vote(pooled, kept)
        mixed = one.mix(torch.cat([pooled, programs.mean(dim=1)], dim=1))
        assert torch.equal(found, vote + image_vote + one.head(mixed))
