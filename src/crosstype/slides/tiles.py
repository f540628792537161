"""Tiling: a grid over the tissue, all of its tiles or a spatially spread selection.

Tiles are selected on the thumbnail's mask; only selected tiles are read at full resolution.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosstype.slides.slide import Slide
from crosstype.slides.spec import TilesSpec
from crosstype.slides.tissue import Tissue

RICHEST = 4
"""n tiles are selected from the 4 n with most tissue, and those with as much as the last."""


@dataclass(frozen=True)
class Tiles:
    """The selected tiles of one slide, row by row.

    Attributes:
        tile_xy_px: (n, 2) int32, x and y of each tile's top left in level-0 pixels.
        tissue_share: (n,) float32, share of each tile that is tissue.
        footprint_px: width and height of a tile in level-0 pixels.
        n_candidates: tiles with enough tissue, before selection.
        reason: why there are none; empty if there are some.
    """

    tile_xy_px: NDArray[np.int32]
    tissue_share: NDArray[np.float32]
    footprint_px: float
    n_candidates: int
    reason: str = ""


def select_tiles(tissue: Tissue, slide: Slide, spec: TilesSpec) -> Tiles:
    """Select the tiles of a slide.

    The grid starts at the slide's top left. Tiles that would extend over its right or lower edge
    are omitted, so a slide smaller than one tile has none, with a reason.
    """
    footprint = slide.footprint_px(spec.size_px, spec.mpp)
    step = footprint * (spec.size_px - spec.overlap_px) / spec.size_px
    x_px, y_px = (_starts(side, footprint, step) for side in slide.size_px)
    if not len(x_px) or not len(y_px):
        return _none(footprint, _too_small(slide, spec))
    share = tissue_shares(tissue, x_px, y_px, footprint)
    rows, columns = np.nonzero(share >= max(spec.minimum_tissue, 1e-6))
    if not len(rows):
        least = f"no tile is {spec.minimum_tissue:.0%} tissue or more"
        return _none(footprint, tissue.reason or least)
    tile_xy_px = np.stack([x_px[columns], y_px[rows]], axis=1)
    shares = share[rows, columns].astype(np.float32)
    n_candidates = len(shares)
    if spec.n_tiles and n_candidates > spec.n_tiles:
        selected = spread_choice(tile_xy_px, shares, spec.n_tiles, spec.seed)
        tile_xy_px, shares = tile_xy_px[selected], shares[selected]
    return Tiles(tile_xy_px, shares, footprint, n_candidates)


def tissue_shares(
    tissue: Tissue, x_px: NDArray[np.int32], y_px: NDArray[np.int32], footprint_px: float
) -> NDArray[np.float64]:
    """Return the share of tissue in each tile of the grid, (len(y_px), len(x_px)).

    Exact, by an interpolated integral image, since tiles do not start at whole mask pixels.
    """
    height, width = tissue.mask.shape
    rows = np.zeros((height + 1, width), dtype=np.int32)
    np.cumsum(tissue.mask, axis=0, dtype=np.int32, out=rows[1:])
    scale = tissue.scale_px
    x, y = x_px.astype(np.float64), y_px.astype(np.float64)
    bands = _at(rows, (y + footprint_px) / scale) - _at(rows, y / scale)
    columns = np.zeros((width + 1, len(y_px)))
    np.cumsum(bands.T, axis=0, out=columns[1:])
    covered = _at(columns, (x + footprint_px) / scale) - _at(columns, x / scale)
    return np.clip(covered.T / (footprint_px / scale) ** 2, 0.0, 1.0)


def spread_choice(
    tile_xy_px: NDArray[np.int32], tissue_share: NDArray[np.float32], n_tiles: int, seed: int
) -> NDArray[np.intp]:
    """Return the indices of n tiles with much tissue and far from each other, in order.

    Farthest-point sampling among the 4 n tiles with most tissue (and those with as much as the
    last): the first is random, then the one with the largest product of tissue share and distance
    to the nearest selected tile. The same seed gives the same selection.
    """
    n_rich = min(len(tissue_share), RICHEST * n_tiles)
    least = np.partition(tissue_share, -n_rich)[-n_rich]
    rich = np.flatnonzero(tissue_share >= least)
    xy_px = tile_xy_px[rich].astype(np.float64)
    share = tissue_share[rich].astype(np.float64)
    nearest = np.full(len(rich), np.inf)
    newest = int(np.random.default_rng(seed).integers(len(rich)))
    selected = [newest]
    for _ in range(min(n_tiles, len(rich)) - 1):
        distance = np.hypot(*(xy_px - xy_px[newest]).T)
        nearest = np.minimum(nearest, distance)
        newest = int(np.argmax(nearest * share))
        selected.append(newest)
    return np.sort(rich[selected])


def _starts(side_px: int, footprint_px: float, step_px: float) -> NDArray[np.int32]:
    """Return the starts of tiles along a side that end on the slide (to 1 px)."""
    n = int((side_px - footprint_px + 1) // step_px) + 1 if footprint_px <= side_px + 1 else 0
    return np.round(np.arange(n) * step_px).astype(np.int32)


def _at(cumulated: NDArray[Any], positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rows of a cumulative sum at fractional positions, interpolated."""
    last = len(cumulated) - 1
    inside = np.clip(positions, 0, last)
    low = np.minimum(inside.astype(np.intp), last - 1)
    weight = (inside - low)[:, None]
    lower, upper = cumulated[low].astype(np.float64), cumulated[low + 1].astype(np.float64)
    between: NDArray[np.float64] = lower + (upper - lower) * weight
    return between


def _none(footprint_px: float, reason: str) -> Tiles:
    """Return no tiles, with a reason."""
    nothing = np.zeros((0, 2), np.int32), np.zeros(0, np.float32)
    return Tiles(*nothing, footprint_px, 0, reason)


def _too_small(slide: Slide, spec: TilesSpec) -> str:
    width_um, height_um = (side * slide.mpp for side in slide.size_px)
    tile_um = spec.size_px * spec.mpp
    return (
        f"the slide ({width_um:.0f} x {height_um:.0f} um) is smaller than a tile ({tile_um:.0f} um)"
    )
