"""The contract of DESIGN section 4, over every network and every option of cross_attention."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load, save

from crosstype.models.catalog import MODEL_NAMES, NETWORKS, make_network
from crosstype.models.layers import hide
from crosstype.models.network import Sizes
from crosstype.models.spec import ModelSpec
from crosstype.types import Modality

from .networks import (
    COVARIATES,
    FEATURES,
    GENES_OF_SETS,
    SMALL,
    TILES,
    VARIANTS,
    N,
    each_of,
    make,
    make_batch,
    make_moved,
    patient_of,
    said,
    same,
    train,
)

PAPER = ("paper_concat", "paper_cross_attention")
WITH_TILE_ATTENTION = ("image_only", "concat", "cross_attention")

each_network = each_of(VARIANTS)
each_paper_network = pytest.mark.parametrize("name", PAPER)


@pytest.fixture(autouse=True)
def _kept_chance() -> Iterator[None]:
    """Tests seed torch's generator; what comes after them finds it as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        yield


@each_network
@pytest.mark.parametrize(("n_classes", "n_logits"), [(2, 1), (4, 4)])
def test_shapes(name: str, n_classes: int, n_logits: int) -> None:
    output = said(make_moved(name, n_classes), make_batch())
    assert output.logits.shape == (N, n_logits)
    assert output.logits.isfinite().all()
    assert all(vote.shape == (N, n_logits) for vote in output.votes.values())
    kind, spec = VARIANTS[name].kind, VARIANTS[name].spec
    assert set(output.votes) <= NETWORKS[kind].uses
    heard = {modality for modality in Modality if VARIANTS[name].can_see(modality)}
    assert set(output.votes) <= heard
    assert not (set(output.votes) - {Modality.CLINICAL} and spec.fusion == "gated")
    assert (Modality.CLINICAL in output.votes) == VARIANTS[name].clinical
    assert (output.tile_attention is not None) == (kind in WITH_TILE_ATTENTION)
    looks = kind == "cross_attention" and spec.direction != "tiles_from_genes"
    assert (output.gene_attention is not None) == looks
    if output.gene_attention is not None:
        n_programs, n_sets = spec.n_gene_tokens, len(GENES_OF_SETS) + spec.n_outside_tokens
        n_tokens = n_sets if VARIANTS[name].sets else n_programs
        assert output.gene_attention.shape == (N, n_tokens, TILES)


@each_network
def test_outputs_depend_on_each_used_modality_and_on_no_other(name: str) -> None:
    network, batch = make_moved(name), make_batch()
    before = said(network, batch).logits
    other = {
        Modality.IMAGE: replace(batch, tiles=torch.randn(batch.tiles.shape)),
        Modality.GENES: replace(batch, genes=torch.randn(batch.genes.shape)),
        Modality.CLINICAL: replace(batch, covariates=torch.randn(N, COVARIATES)),
    }
    for modality, changed in other.items():
        after = said(network, changed).logits
        assert torch.equal(before, after) != VARIANTS[name].can_see(modality)


@each_network
def test_padding_changes_nothing(name: str) -> None:
    network, batch = make_moved(name), make_batch()
    padding = torch.full((N, 3, FEATURES), 7.0)
    longer = replace(
        batch,
        tiles=torch.cat([batch.tiles, padding], dim=1),
        tile_mask=torch.cat([batch.tile_mask, torch.zeros(N, 3, dtype=torch.bool)], dim=1),
    )
    before, after = said(network, batch), said(network, longer)
    assert same(before.logits, after.logits)
    if before.tile_attention is not None and after.tile_attention is not None:
        assert same(before.tile_attention, after.tile_attention[:, :TILES])
    if before.gene_attention is not None and after.gene_attention is not None:
        assert same(before.gene_attention, after.gene_attention[:, :, :TILES])


@each_network
def test_values_under_the_masks_change_nothing(name: str) -> None:
    network, batch = make_moved(name), make_batch()
    poisoned = replace(
        batch,
        tiles=batch.tiles.masked_fill(~batch.tile_mask.unsqueeze(-1), 1e6),
        genes=batch.genes.masked_fill(~batch.gene_mask, 1e6),
        covariates=batch.covariates.masked_fill(~batch.covariate_mask, 1e6),
    )
    assert torch.equal(said(network, batch).logits, said(network, poisoned).logits)


@each_network
def test_each_patient_is_predicted_independently(name: str) -> None:
    network, batch = make_moved(name), make_batch()
    together = said(network, batch).logits
    for row in range(N):
        assert same(said(network, patient_of(batch, row)).logits, together[row : row + 1])


@each_network
def test_tile_order_changes_nothing(name: str) -> None:
    network, batch = make_moved(name), make_batch()
    order = torch.tensor([4, 1, 0, 5, 3, 2])
    turned = replace(batch, tiles=batch.tiles[:, order], tile_mask=batch.tile_mask[:, order])
    before, after = said(network, batch), said(network, turned)
    assert same(before.logits, after.logits)
    if before.tile_attention is not None and after.tile_attention is not None:
        assert same(before.tile_attention[:, order], after.tile_attention)
    if before.gene_attention is not None and after.gene_attention is not None:
        assert same(before.gene_attention[:, :, order], after.gene_attention)


@each_network
@pytest.mark.parametrize("training", [False, True])
def test_attention_is_a_share_of_the_real_tiles(name: str, training: bool) -> None:
    network, batch = make_moved(name).train(training), make_batch()
    output = said(network, batch)
    if output.tile_attention is not None:
        assert torch.allclose(output.tile_attention.sum(dim=1), torch.ones(N), atol=1e-6)
        assert (output.tile_attention >= 0).all()
        assert (output.tile_attention[~batch.tile_mask] == 0).all()
    if output.gene_attention is not None:
        every_token = output.gene_attention.sum(dim=2)
        assert torch.allclose(every_token, torch.ones_like(every_token), atol=1e-6)
        padding = ~batch.tile_mask.unsqueeze(1).expand(output.gene_attention.shape)
        assert (output.gene_attention[padding] == 0).all()


@each_network
def test_gradients_reach_each_used_modality_and_no_other(name: str) -> None:
    network, batch = make_moved(name), make_batch()
    tiles, genes = batch.tiles.requires_grad_(), batch.genes.requires_grad_()
    leaves = dict(zip(Modality, (tiles, genes, batch.covariates.requires_grad_()), strict=True))
    network(batch).logits.sum().backward()
    for modality, leaf in leaves.items():
        reached = leaf.grad is not None and bool((leaf.grad != 0).any())
        assert reached == VARIANTS[name].can_see(modality), modality
    assert tiles.grad is None or (tiles.grad[~batch.tile_mask] == 0).all()


@each_network
def test_same_seed_same_numbers(name: str) -> None:
    batch, targets = make_batch(), torch.tensor([0.0, 1, 0, 1, 1])
    outputs = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        network = make(name)
        train(network, batch, targets, 3)
        outputs.append(said(network, batch).logits)
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


@each_network
def test_saved_and_loaded_it_predicts_the_same(name: str) -> None:
    network, batch = make_moved(name), make_batch()
    other = make(name).eval()
    other.load_state_dict(load(save(network.state_dict())))
    assert torch.equal(said(network, batch).logits, said(other, batch).logits)


@each_network
def test_eight_patients_are_learned_by_heart(name: str) -> None:
    torch.manual_seed(1)
    network = make(name)
    batch, targets = make_batch(8), torch.tensor([0.0, 1, 1, 0, 1, 0, 0, 1])
    losses = (train(network, batch, targets, 10) for _ in range(20))
    assert any(loss < 0.05 for loss in losses)  # stops as soon as one is


@each_network
def test_an_absent_modality_is_a_mask(name: str) -> None:
    network, batch = make_moved(name), make_batch()
    without = {
        "image": replace(batch, tile_mask=torch.zeros_like(batch.tile_mask)),
        "genes": replace(batch, gene_mask=torch.zeros_like(batch.gene_mask)),
        "clinical": replace(batch, covariate_mask=torch.zeros_like(batch.covariate_mask)),
    }
    for modality, absent in without.items():
        output = said(network, absent)
        other = replace(
            absent,
            tiles=torch.randn(batch.tiles.shape) if modality == "image" else batch.tiles,
            genes=torch.randn(batch.genes.shape) if modality == "genes" else batch.genes,
            covariates=torch.randn(N, COVARIATES) if modality == "clinical" else batch.covariates,
        )
        assert output.logits.isfinite().all()
        assert torch.equal(output.logits, said(network, other).logits)
        vote = output.votes.get(Modality(modality))
        assert vote is None or (vote == 0).all()


def test_cross_attention_refuses_a_single_gene_token() -> None:
    for n in (0, 1):
        with pytest.raises(ValueError, match="at least 2 gene tokens"):
            make_network("cross_attention", Sizes(4, 12, 2), replace(SMALL, n_gene_tokens=n))


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple"):
        make_network("cross_attention", Sizes(4, 12, 2), replace(SMALL, n_heads=3))


@each_paper_network
@pytest.mark.parametrize("steps", [0, 5])
def test_the_published_models_cannot_see_the_image(name: str, steps: int) -> None:
    network, batch = make_moved(name), make_batch()
    train(network, batch, torch.tensor([0.0, 1, 0, 1, 1]), steps)
    replaced = replace(batch, tiles=torch.randn(batch.tiles.shape) * 100)
    assert torch.equal(said(network, batch).logits, said(network, replaced).logits)


def test_twenty_thousand_genes_stay_affordable() -> None:
    network = make_network("cross_attention", Sizes(1024, 20_000, 2), ModelSpec())
    assert sum(one.numel() for one in network.parameters()) < 3_000_000


def test_hiding_leaves_every_patient_something_and_shows_nothing_masked() -> None:
    mask = torch.rand(200, 5) < 0.5
    mask[:, 0] |= ~mask.any(dim=1)
    shown = hide(mask, 0.95)
    assert shown.any(dim=1).all()
    assert not (shown & ~mask).any()
    nothing = torch.zeros(3, 5, dtype=torch.bool)
    assert not hide(nothing, 0.5).any()


def test_the_names_a_user_may_set_are_the_catalog_and_late() -> None:
    assert set(MODEL_NAMES) == {*NETWORKS, "late"}
