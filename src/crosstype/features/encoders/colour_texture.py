"""Encoder of hand-crafted colour and texture features (`colour_texture`), without a network.

36 interpretable features per tile: stain densities and their local contrast. It needs no weights
and no connection; for the demo and as a baseline.
"""

import hashlib
import json

import numpy as np
from jaxtyping import Float32, UInt8

from crosstype.features.encoders.catalog import EncoderCard

STRIDE_PX = 2
"""Every second pixel is used; nuclei are several pixels wide."""
COARSE_PX = 8
SHARES = (0.1, 0.5, 0.9)

# Ruifrok and Johnston 2001: densities of haematoxylin and eosin per red, green and blue.
STAINS = np.array(
    [[0.650, 0.704, 0.286], [0.072, 0.990, 0.105], [0.268, 0.570, 0.776]], dtype=np.float32
)

# No network and no weights: stain densities and their contrast. A baseline.
CARD = EncoderCard(
    name="colour_texture",
    source="crosstype",
    architecture="none",
    n_features=36,
    pretraining_cohorts=(),
    licence="Apache-2.0",
    input_px=None,
    resize_px=None,
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    pooling="pool",
)


class ColourTexture:
    """Encoder of tiles by colour and texture; see the module.

    Attributes:
        card: its description.
        transform: its constants as JSON.
        weights_sha256: of the transform, since there are no weights.
    """

    def __init__(self) -> None:
        """Make the encoder."""
        self.card = CARD
        constants = {"stride_px": STRIDE_PX, "coarse_px": COARSE_PX, "shares": SHARES, "version": 1}
        self.transform = json.dumps(constants, sort_keys=True)
        self.weights_sha256 = hashlib.sha256(self.transform.encode()).hexdigest()

    def encode(
        self, tiles: UInt8[np.ndarray, "tiles size size 3"]
    ) -> Float32[np.ndarray, "tiles features"]:
        """Return 36 features per tile.

        For each of haematoxylin, eosin, residual and darkness: mean, standard deviation, three
        quantiles, then mean and standard deviation of the contrast between neighbours, fine and
        coarse.
        """
        return np.stack([_features(tile[::STRIDE_PX, ::STRIDE_PX]) for tile in tiles])


def _features(pixels: UInt8[np.ndarray, "height width 3"]) -> Float32[np.ndarray, " features"]:
    density = -np.log((pixels.astype(np.float32) + 1) / 256)
    planes = np.concatenate(
        [density @ np.linalg.inv(STAINS), density.mean(axis=2, keepdims=True)], axis=2
    )
    coarse = _block_means(planes)
    parts = [planes.mean(axis=(0, 1)), planes.std(axis=(0, 1))]
    parts += list(np.quantile(planes, SHARES, axis=(0, 1)))
    for one in (planes, coarse):
        contrast = np.abs(np.diff(one, axis=0))[:, :-1] + np.abs(np.diff(one, axis=1))[:-1]
        parts += [contrast.mean(axis=(0, 1)), contrast.std(axis=(0, 1))]
    return np.concatenate(parts).astype(np.float32)


def _block_means(
    planes: Float32[np.ndarray, "height width planes"],
) -> Float32[np.ndarray, "rows columns planes"]:
    rows, columns = (side // COARSE_PX for side in planes.shape[:2])
    cut = planes[: rows * COARSE_PX, : columns * COARSE_PX]
    blocks = cut.reshape(rows, COARSE_PX, columns, COARSE_PX, planes.shape[2])
    means: np.ndarray = blocks.mean(axis=(1, 3))
    return means
