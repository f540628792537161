"""Encoders: frozen networks from tiles to feature vectors."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch

from crosstype.errors import EncoderError
from crosstype.features.encoders.catalog import EncoderCard, encoder_card
from crosstype.features.encoders.runtime import Precision, TileNetwork, build_runtime
from crosstype.features.encoders.weights import (
    as_timm,
    download_weights,
    fill,
    import_timm,
    read_weights,
)
from crosstype.io.files import sha256_of

__all__ = ["Encoder", "Precision", "build_network", "load_encoder", "transform_of"]

USUAL_TILE_PX = 256
"""Tile size for which an encoder of any tile size is compiled."""

RESIZED_AT_ONCE = 64
"""Tiles per batch of resizing, to bound memory."""


class Encoder:
    """A frozen network that encodes tiles on this machine.

    Attributes:
        card: description and licence of the encoder.
        transform: preprocessing of tiles as JSON; written into feature files and compared at
            prediction.
        weights_sha256: of the file of the weights.
        runtime: name of the runtime, for example `openvino f32`.
        notes: faster runtimes that could not be used, and why.
    """

    def __init__(
        self,
        card: EncoderCard,
        network: TileNetwork,
        weights_sha256: str,
        precision: Precision,
        device: torch.device,
    ) -> None:
        """Select and check the runtime on this machine."""
        self.card = card
        self.transform = transform_of(card, precision)
        self.weights_sha256 = weights_sha256
        size_px = card.input_px or USUAL_TILE_PX
        self._runtime, self.notes = build_runtime(network.to(device), size_px, precision, device)

    @property
    def runtime(self) -> str:
        """Name of the runtime."""
        return self._runtime.name

    def encode(self, tiles: np.ndarray) -> np.ndarray:
        """Return the features of tiles, each independent of the others. Thread-safe.

        Args:
            tiles: uint8 (n, size, size, 3), red, green, blue; any n, also 0.

        Returns:
            float32 (n, n_features).

        Raises:
            ValueError: tiles of another type or shape.
            EncoderError: a feature is NaN or infinite.
        """
        square = tiles.ndim == 4 and tiles.shape[1] == tiles.shape[2] and tiles.shape[3] == 3
        if tiles.dtype != np.uint8 or not square:
            found = f"{tiles.dtype} {tiles.shape}"
            raise ValueError(f"tiles are {found}, expected uint8 (n, size, size, 3)")
        if not len(tiles):
            return np.zeros((0, self.card.n_features), dtype=np.float32)
        fitted = fitted_tiles(torch.from_numpy(np.ascontiguousarray(tiles)), self.card)
        features = self._runtime.run(fitted).numpy()
        if not np.isfinite(features).all():
            raise EncoderError(
                f"{self.card.name}: {self.runtime} gave NaN or infinite features. "
                'Set [features] precision = "fp32".'
            )
        return features


def load_encoder(
    name: str,
    weights: Path | None,
    precision: Precision,
    device: str = "auto",
    normalisation: Literal["encoder", "none"] = "encoder",
) -> Encoder:
    """Return an encoder, ready to run.

    Args:
        name: one of `encoder_cards.ENCODERS`.
        weights: safetensors or `.pth` file; None: from the Hugging Face hub or its local cache.
        precision: `fp32`, or `reduced` for 16-bit numbers (cosine to float32 at least 0.99).
        device: `auto` (a CUDA GPU if torch sees one), `cpu`, `cuda` or `cuda:1`.
        normalisation: `none` leaves colours between 0 and 1, as in the published code.

    Raises:
        ConfigError: there is no encoder of that name.
        EncoderError: weights are missing, damaged or another network's; no connection; a licence
            not accepted; no such device.
    """
    card = encoder_card(name)
    if normalisation == "none":
        card = replace(card, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    torch_device = _device(device)
    path = download_weights(card) if weights is None else weights
    state = as_timm(read_weights(path))
    network = build_network(card)
    fill(network.network, state, f"{card.name} from {path.name}")
    return Encoder(card, network, sha256_of(path), precision, torch_device)


def transform_of(card: EncoderCard, precision: Precision) -> str:
    """Return the preprocessing of tiles, as JSON with sorted keys."""
    content = {
        "resize_px": card.resize_px,
        "centre_crop_px": card.input_px,
        "interpolation": card.interpolation if card.resize_px else None,
        "mean": card.mean,
        "std": card.std,
        "pooling": card.pooling,
        "precision": precision,
    }
    return json.dumps(content, sort_keys=True)


def build_network(card: EncoderCard) -> TileNetwork:
    """Return an encoder's network with random weights, from uint8 tiles to features."""
    timm = import_timm()
    arguments: dict[str, Any] = dict(card.arguments)
    if "mlp_layer" in arguments:
        arguments |= {"mlp_layer": timm.layers.SwiGLUPacked, "act_layer": torch.nn.SiLU}
    stemmed = card.architecture == "ctranspath"
    architecture = "swin_tiny_patch4_window7_224" if stemmed else card.architecture
    network = timm.create_model(architecture, pretrained=False, num_classes=0, **arguments)
    if stemmed:
        network.patch_embed = ConvolutionalStem()
    return TileNetwork(network, card.mean, card.std, pools_tokens=card.pooling == "cls+mean")


class ConvolutionalStem(torch.nn.Module):
    """CTransPath's patch embedding of Swin-T: three convolutions (Wang et al. 2022)."""

    def __init__(self, width: int = 96) -> None:
        super().__init__()
        channels = (3, width // 8, width // 4)
        layers: list[torch.nn.Module] = []
        for n_in, n_out in pairwise(channels):
            layers.append(torch.nn.Conv2d(n_in, n_out, 3, stride=2, padding=1, bias=False))
            layers += [torch.nn.BatchNorm2d(n_out), torch.nn.ReLU(inplace=True)]
        self.proj = torch.nn.Sequential(*layers, torch.nn.Conv2d(channels[-1], width, 1))
        self.norm = torch.nn.LayerNorm(width)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return (n, height / 4, width / 4, 96) of (n, 3, height, width)."""
        return cast(torch.Tensor, self.norm(self.proj(image).permute(0, 2, 3, 1)))


def fitted_tiles(tiles: torch.Tensor, card: EncoderCard) -> torch.Tensor:
    """Return tiles (n, size, size, 3) resized and centre-cropped, as in the card."""
    if card.resize_px is None or card.input_px is None:
        return tiles
    if tiles.shape[1] != card.resize_px:
        starts = range(0, len(tiles), RESIZED_AT_ONCE)
        parts = [tiles[start : start + RESIZED_AT_ONCE] for start in starts]
        tiles = torch.cat([_resized(part, card.resize_px, card.interpolation) for part in parts])
    margin = (tiles.shape[1] - card.input_px) // 2
    inside = slice(margin, margin + card.input_px)
    return tiles[:, inside, inside].contiguous()


def _resized(tiles: torch.Tensor, size_px: int, interpolation: str) -> torch.Tensor:
    """Return uint8 tiles of `size_px`, with antialiasing and rounding as in Pillow."""
    image = tiles.permute(0, 3, 1, 2)
    resized = torch.nn.functional.interpolate(
        image, (size_px, size_px), mode=interpolation, align_corners=False, antialias=True
    )
    return resized.permute(0, 2, 3, 1)


def _device(device: str) -> torch.device:
    """Return the torch device; raise EncoderError if it is not available."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind = device.partition(":")[0]
    if kind not in ("cpu", "cuda") or (kind == "cuda" and not torch.cuda.is_available()):
        raise EncoderError(f"[features] device: found {device!r}, and torch sees no such device.")
    return torch.device(device)
