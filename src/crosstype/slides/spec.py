"""Settings of slides: files, tissue detection, tiles, stain normalisation, augmentation."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from crosstype.types import Between


@dataclass(frozen=True)
class SlidesSpec:
    """Files of the slides."""

    folder: Path | None = None
    """Folder with the slides of the slides table, or a folder or zip of tiles."""

    mpp: float | None = None
    """Micrometres per pixel at full resolution, for slides without this in their metadata."""


@dataclass(frozen=True)
class TissueSpec:
    """Tissue detection on a thumbnail."""

    thumbnail_mpp: Annotated[float, Between(0.5, 64)] = 8.0
    """Micrometres per thumbnail pixel; slides under 4 mm get a finer thumbnail."""

    minimum_speck_um2: Annotated[float, Between(0)] = 10_000.0
    """Pieces of tissue smaller than this many um^2 are dropped (10,000: a tenth of a mm square)."""

    minimum_hole_um2: Annotated[float, Between(0)] = 20_000.0
    """Holes in tissue smaller than this many um^2 are filled."""

    exclude_pen: bool = True
    """Whether blue, green and black pen marks are excluded from the tissue."""

    exclude_borders: bool = True
    """Whether black areas that touch the slide's edge are excluded from the tissue."""

    exclude_blur: bool = True
    """Whether areas without detail (out of focus, stain haze) are excluded from the tissue."""

    blur_variance: Annotated[float, Between(0)] = 30.0
    """Variance of the Laplacian (grey levels, at thumbnail_mpp) in windows of 128 um, below which
    they count as blurred."""


@dataclass(frozen=True)
class TilesSpec:
    """Tiling of the tissue."""

    size_px: Annotated[int, Between(16, 4096)] = 256
    """Width and height of a tile in pixels, the input of the encoder."""

    mpp: Annotated[float, Between(0.05, 20)] = 0.5
    """Micrometres per tile pixel; 0.5 is about 20x."""

    overlap_px: Annotated[int, Between(0, 4095)] = 0
    """Tile pixels that neighbouring tiles share."""

    minimum_tissue: Annotated[float, Between(0, 1)] = 0.5
    """Share of a tile that must be tissue, 0 to 1."""

    n_tiles: Annotated[int, Between(0, 10_000_000)] = 0
    """At most this many tiles per slide, rich in tissue and spread over it; 0: all (paper: 35)."""

    seed: Annotated[int, Between(0, 2**32 - 1)] = 0
    """Seed of the choice of n_tiles."""


@dataclass(frozen=True)
class StainSpec:
    """Stain normalisation of tiles."""

    method: Literal["none", "macenko", "reinhard"] = "none"
    """none; macenko: by stain vectors (2009); reinhard: by colour means and deviations (2001)."""


@dataclass(frozen=True)
class AugmentationSpec:
    """Augmentation: additional random views of each tile, for training patients only."""

    n_views: Annotated[int, Between(0, 100)] = 0
    """Views per tile besides the plain one; 0: none."""

    brightness: Annotated[float, Between(0, 1)] = 0.2
    """Brightness is multiplied by 1 - this to 1 + this."""

    contrast: Annotated[float, Between(0, 1)] = 0.2
    """Contrast is multiplied by 1 - this to 1 + this."""

    saturation: Annotated[float, Between(0, 1)] = 0.2
    """Saturation is multiplied by 1 - this to 1 + this."""

    hue: Annotated[float, Between(0, 0.5)] = 0.1
    """Hue is rotated by up to this share of the colour circle, either way; at most 0.5."""

    rotation: bool = True
    """Whether views are rotated by any angle, cut from a larger region so no corner is filled."""
