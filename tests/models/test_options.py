"""What the options of cross_attention mean: who looks at whom, what a gate does, what is absent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from crosstype.config.read import read_config
from crosstype.errors import ConfigError
from crosstype.models.catalog import make_network
from crosstype.models.cross_attention import CrossBlock, GatedFusion, TransformerBlock
from crosstype.models.network import Sizes

from .networks import (
    SMALL,
    VARIANTS,
    N,
    each_of,
    make_batch,
    make_gappy_batch,
    make_moved,
    patient_of,
    said,
    same,
)

OPTIONS = [name for name, one in VARIANTS.items() if one.kind == "cross_attention"]
GATED = [name for name in OPTIONS if VARIANTS[name].spec.fusion == "gated"]
WIDTH, TOKENS, TILES = 8, 3, 5
NO_TILES, NO_GENES, NOTHING = 0, 1, 2
"""Patients of the gappy batch; the others have both."""

each_option = each_of(OPTIONS)
each_gated_option = each_of(GATED)


@pytest.fixture(autouse=True)
def _kept_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(12)
        yield


def move(layer: nn.Module) -> None:
    """Take a layer away from where it starts, and into its prediction mode."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.3)
    layer.eval()


@each_option
@pytest.mark.parametrize("training", [False, True])
def test_patients_without_tiles_or_genes_have_finite_logits_and_no_attention(
    name: str, training: bool
) -> None:
    batch = make_gappy_batch()
    output = said(make_moved(name).train(training), batch)
    assert output.logits.isfinite().all()
    tiles = batch.tile_mask.any(dim=1).float()
    assert output.tile_attention is not None
    for attention in (output.tile_attention[:, None], output.gene_attention):
        if attention is not None:
            total = attention.sum(dim=2)
            assert torch.allclose(total, tiles[:, None].expand(total.shape), atol=1e-6)
            assert (attention >= 0).all()
            hidden = ~batch.tile_mask[:, None].expand(attention.shape)
            assert (attention[hidden] == 0).all()


@each_option
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("patient", "from_tiles", "from_genes"),
    [(NO_TILES, False, True), (NO_GENES, True, False), (NOTHING, False, False), (4, True, True)],
)
def test_gradients_reach_only_the_modality_that_a_patient_has(
    name: str, training: bool, patient: int, from_tiles: bool, from_genes: bool
) -> None:
    network, batch = make_moved(name).train(training), make_gappy_batch()
    tiles, genes = batch.tiles.requires_grad_(), batch.genes.requires_grad_()
    network(batch).logits[patient].sum().backward()
    for leaf, wanted in ((tiles, from_tiles), (genes, from_genes)):
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()
        assert bool((leaf.grad[patient] != 0).any()) == wanted
        others = torch.arange(N) != patient
        assert (leaf.grad[others] == 0).all()
    assert all(one.grad is None or one.grad.isfinite().all() for one in network.parameters())


@each_option
def test_a_patient_without_a_modality_is_predicted_independently_too(name: str) -> None:
    network, batch = make_moved(name), make_gappy_batch()
    together = said(network, batch).logits
    for row in range(N):
        one = patient_of(batch, row)
        assert same(said(network, one).logits, together[row : row + 1])


@each_option
def test_every_weight_is_used(name: str) -> None:
    network = make_moved(name)
    network(make_batch()).logits.sum().backward()
    assert not [key for key, one in network.named_parameters() if one.grad is None]


@each_option
def test_tiles_hear_of_genes_unless_the_direction_forbids_it(name: str) -> None:
    network, batch = make_moved(name), make_batch()
    before = said(network, batch)
    after = said(network, replace(batch, genes=torch.randn(batch.genes.shape)))
    assert before.tile_attention is not None
    assert after.tile_attention is not None
    deaf = VARIANTS[name].spec.direction == "genes_from_tiles"
    assert torch.equal(before.tile_attention, after.tile_attention) == deaf


@pytest.mark.parametrize("direction", ["both", "genes_from_tiles", "tiles_from_genes"])
def test_one_direction_is_half_of_both(direction: str) -> None:
    """The side that gathers gathers what it would in both directions; the other stays."""
    whole, part = CrossBlock(SMALL), CrossBlock(replace(SMALL, direction=direction))
    move(whole)
    part.load_state_dict(
        {key: one for key, one in whole.state_dict().items() if key in part.state_dict()}
    )
    genes, tiles = torch.randn(2, TOKENS, WIDTH), torch.randn(2, TILES, WIDTH)
    gene_mask, tile_mask = torch.rand(2, TOKENS) < 0.7, torch.rand(2, TILES) < 0.7
    with torch.no_grad():
        both = whole(genes, gene_mask, tiles, tile_mask)
        found = part(genes, gene_mask, tiles, tile_mask)
    assert torch.equal(found[0], genes if direction == "tiles_from_genes" else both[0])
    assert torch.equal(found[1], tiles if direction == "genes_from_tiles" else both[1])
    assert (found[2] is None) == (direction == "tiles_from_genes")
    assert found[2] is None or torch.equal(found[2], both[2])


def test_a_transformer_block_is_torchs_encoder_layer() -> None:
    block = TransformerBlock(SMALL)
    move(block)
    ours = block.state_dict()
    layer = nn.TransformerEncoderLayer(
        WIDTH, SMALL.n_heads, 4 * WIDTH, 0.0, "gelu", batch_first=True, norm_first=True
    )
    layer.load_state_dict(
        {
            "self_attn.in_proj_weight": ours["attention.query_key_value.weight"],
            "self_attn.in_proj_bias": ours["attention.query_key_value.bias"],
            "self_attn.out_proj.weight": ours["attention.out.weight"],
            "self_attn.out_proj.bias": torch.zeros(WIDTH),
            "norm1.weight": ours["norm.weight"],
            "norm1.bias": ours["norm.bias"],
            "norm2.weight": ours["feed_forward.0.weight"],
            "norm2.bias": ours["feed_forward.0.bias"],
            "linear1.weight": ours["feed_forward.1.weight"],
            "linear1.bias": ours["feed_forward.1.bias"],
            "linear2.weight": ours["feed_forward.3.weight"],
            "linear2.bias": ours["feed_forward.3.bias"],
        }
    )
    genes, tiles = torch.randn(3, TOKENS, WIDTH), torch.randn(3, TILES, WIDTH)
    gene_mask = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 0, 0]]).bool()
    tile_mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0]]).bool()
    absent = ~torch.cat([gene_mask, tile_mask], dim=1)
    tokens = torch.cat([genes, tiles], dim=1)
    with torch.no_grad():
        found = block(genes, gene_mask, tiles, tile_mask)
        wanted = layer(tokens, src_key_padding_mask=absent)
        view = layer.norm1(tokens)
        _, weights = layer.self_attn(
            view, view, view, key_padding_mask=absent, average_attn_weights=False
        )
    assert same(torch.cat(found[:2], dim=1), wanted)
    looks = weights[:, :, :TOKENS, TOKENS:].double()
    assert same(found[2].double(), (looks / looks.sum(dim=3, keepdim=True)).mean(dim=1))


def test_a_transformer_distinguishes_gene_tokens_from_tiles_by_type() -> None:
    network, batch = make_moved("transformer, vote, programs, 1 blocks"), make_batch()
    before = said(network, batch).logits
    types = network.types
    with torch.no_grad():
        types.genes.data, types.tiles.data = types.tiles.data, types.genes.data
    assert not torch.allclose(before, said(network, batch).logits)


def test_the_gate_is_the_published_unit_as_numpy_computes_it() -> None:
    gate = GatedFusion(WIDTH)
    move(gate)
    image, genes, there = torch.randn(4, WIDTH), torch.randn(4, WIDTH), torch.ones(4, 1).bool()
    weights = {key: value.double().numpy() for key, value in gate.state_dict().items()}
    x, y = image.double().numpy(), genes.double().numpy()

    def mapped(name: str, values: np.ndarray) -> np.ndarray:
        return values @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    z = 1 / (1 + np.exp(-mapped("share", np.concatenate([x, y], axis=1))))
    wanted = z * np.tanh(mapped("image", x)) + (1 - z) * np.tanh(mapped("genes", y))
    with torch.no_grad():
        found = gate(image, genes, there, there).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_the_gate_is_one_sided_where_a_modality_is_absent() -> None:
    gate = GatedFusion(WIDTH)
    move(gate)
    image, genes = torch.randn(4, WIDTH), torch.randn(4, WIDTH)
    has_image = torch.tensor([[True], [False], [True], [False]])
    has_genes = torch.tensor([[True], [True], [False], [False]])
    with torch.no_grad():
        fused = gate(image, genes, has_image, has_genes)
        assert torch.equal(fused[1], torch.tanh(gate.genes(genes))[1])
        assert torch.equal(fused[2], torch.tanh(gate.image(image))[2])
        assert (fused[3] == 0).all()
        shares = gate.shares(torch.cat([image, genes], dim=1), has_image, has_genes)
        assert torch.allclose(sum(shares)[:3], torch.ones(3, WIDTH))


@each_gated_option
def test_no_weight_of_an_absent_modality_moves_a_gated_network(name: str) -> None:
    network, batch = make_moved(name), make_gappy_batch()
    for patient, layer in ((NO_TILES, network.gate.image), (NO_GENES, network.gate.genes)):
        before = said(network, batch).logits
        move(layer)
        move(network.gate.share)
        after = said(network, batch).logits
        assert torch.equal(before[patient], after[patient])
        assert not torch.equal(before[3:], after[3:])


def test_a_transformer_has_no_direction(tmp_path: Path) -> None:
    for direction in ("genes_from_tiles", "tiles_from_genes"):
        spec = replace(SMALL, block="transformer", direction=direction)
        with pytest.raises(ValueError, match=direction):
            make_network("cross_attention", Sizes(4, 12, 2), spec)
        config = tmp_path / "my.toml"
        config.write_text(f'[models]\nblock = "transformer"\ndirection = "{direction}"\n')
        with pytest.raises(ConfigError) as raised:
            read_config(config)
        assert str(raised.value).startswith(f"my.toml: models.direction: found '{direction}'")
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("block", ["cross", "transformer"])
def test_heads_must_divide_the_width_in_every_block(block: str) -> None:
    with pytest.raises(ValueError, match="multiple"):
        make_network("cross_attention", Sizes(4, 12, 2), replace(SMALL, block=block, n_heads=3))


@pytest.mark.parametrize("key", ["block", "direction", "fusion"])
def test_an_unknown_option_is_refused(tmp_path: Path, key: str) -> None:
    config = tmp_path / "my.toml"
    config.write_text(f'[models]\n{key} = "sideways"\n')
    with pytest.raises(ConfigError, match=f"my.toml: models.{key}: found 'sideways', expected one"):
        read_config(config)
