from __future__ import annotations

import torch

from crosstype.models.network import Batch, Sizes
from crosstype.models.paper import PaperCrossAttention
from crosstype.models.spec import ModelSpec


def test_the_published_convolution_is_torchs_and_so_are_its_gradients() -> None:
    torch.manual_seed(2)
    network = PaperCrossAttention(Sizes(10, 7, 2), ModelSpec())
    mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2, [True] + [False] * 5])
    batch = Batch(torch.randn(3, 6, 10), mask, torch.randn(3, 7), torch.ones(3, 7, dtype=bool))

    def by_torch() -> torch.Tensor:
        rows = []
        for tiles, real in zip(batch.tiles, mask, strict=True):
            # The padding after a bag's last tile is zeros, and so is the convolution's own.
            out = torch.relu(network.tiles(tiles[real].T[None]))
            rows.append(out.mean(dim=2))
        return torch.cat(rows)

    found = {}
    for name, vector in (("own", network.image_vector(batch)), ("torch", by_torch())):
        network.zero_grad()
        (vector**2).sum().backward()
        found[name] = (vector.detach(), network.tiles.weight.grad, network.tiles.bias.grad)
    for own, wanted in zip(found["own"], found["torch"], strict=True):
        torch.testing.assert_close(own, wanted, rtol=1e-5, atol=1e-6)


def test_each_published_head_has_512_numbers_as_keras_gives_it() -> None:
    network = PaperCrossAttention(Sizes(10, 7, 2), ModelSpec())
    shapes = {name: tuple(one.shape) for name, one in network.attention.named_parameters()}
    assert shapes["query.weight"] == (8 * 512, 512)
    assert shapes["key_value.weight"] == (2 * 8 * 512, 512)
    assert shapes["out.weight"] == (512, 8 * 512)
