"""A network from the bytes of tiles to features, whatever it is run by."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise

import torch


class TileNetwork(torch.nn.Module):
    """A network from bytes to features: normalisation, the network itself, pooling.

    Args:
        network: takes float (n, 3, size, size); gives (n, n_features), or tokens (n, 1 + n_prefix
            + n_patches, width) where the pooling is `cls+mean`.
        mean: per channel, of values between 0 and 1.
        std: the same.
        pools_tokens: whether the class token and the mean patch token are to be joined.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        pools_tokens: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.pools_tokens = pools_tokens
        self.n_prefix = int(getattr(network, "num_prefix_tokens", 1))
        self.dtype = torch.float32
        self.shift: torch.Tensor
        self.scale: torch.Tensor
        self.register_buffer("shift", 255.0 * torch.tensor(mean).reshape(1, 3, 1, 1))
        self.register_buffer("scale", 1.0 / (255.0 * torch.tensor(std)).reshape(1, 3, 1, 1))

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        """Return (n, n_features) of uint8 (n, size, size, 3) tiles."""
        # The permutation alone makes a channels_last image: nothing is copied for it.
        image = (tiles.permute(0, 3, 1, 2).to(torch.float32) - self.shift) * self.scale
        output: torch.Tensor = self.network(image.to(self.dtype))
        if not self.pools_tokens:
            return output
        return torch.cat([output[:, 0], output[:, self.n_prefix :].mean(dim=1)], dim=-1)

    def reduced(self, dtype: torch.dtype) -> TileNetwork:
        """Return a copy whose network computes in `dtype`; normalisation stays in float32."""
        other = copy.deepcopy(self)
        other.network.to(dtype)
        other.dtype = dtype
        return other


def folded(network: TileNetwork) -> TileNetwork:
    """Return the network with each batch norm folded into the convolution registered before it.

    That they follow one another in use, too, is for the check of the runtime to confirm.
    A network without batch norms is returned itself.
    """
    if not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules()):
        return network
    network = copy.deepcopy(network)
    for parent in list(network.modules()):
        children = list(parent.named_children())
        for (name, first), (next_name, second) in pairwise(children):
            if isinstance(first, torch.nn.Conv2d) and isinstance(second, torch.nn.BatchNorm2d):
                setattr(parent, name, torch.nn.utils.fusion.fuse_conv_bn_eval(first, second))
                setattr(parent, next_name, torch.nn.Identity())
    return network
