"""What each tile adds to the image part of a line: exact shares of tile mean and tile spread."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from crosstype.training.preparation import Preparation

Bag = Float[np.ndarray, "tiles features"]


def tile_terms(
    bag: Bag, weight: Float[np.ndarray, " columns"], preparation: Preparation
) -> Float[np.ndarray, " tiles"]:
    """Return each tile's share of what a line hears of a bag, in logits; they sum to the whole.

    A mean over tiles is a sum of tiles. A standard deviation is one too: of squared distances to
    the bag's mean, over the deviation. Both are counted against the training mean.

    Args:
        bag: raw features of all tiles of a patient.
        weight: of each column of the standardised summary (tile means, then tile spreads).
        preparation: how the summary is standardised.
    """
    values = bag.astype(np.float64)
    n_tiles, n_features = values.shape
    per_column = weight / preparation.summary_scale
    centre = values.mean(axis=0)
    away = (values - centre) ** 2
    spread = np.sqrt(away.mean(axis=0))
    share = np.divide(away, spread, out=np.zeros_like(away), where=spread > 0)
    mean = preparation.summary_mean.astype(np.float64)
    heard = (values - mean[:n_features]) @ per_column[:n_features]
    heard += (share - mean[n_features:]) @ per_column[n_features:]
    found: np.ndarray = heard / n_tiles
    return found
