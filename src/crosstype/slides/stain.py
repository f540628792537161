"""Stain normalisation of tiles to a reference, after Macenko or Reinhard.

Macenko M. et al., A method for normalizing histology slides for quantitative analysis, ISBI 2009.
Reinhard E. et al., Color transfer between images, IEEE CG&A 21(5), 2001, with Ruderman's
l-alpha-beta space.

A normaliser is fitted to tiles of a slide (or to one tile) and then transforms tiles of it. With
too little stain to estimate two stains, `is_blank` is True and tiles are returned unchanged.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from crosstype.slides.spec import StainSpec

RGB = NDArray[np.uint8]
LEAST_STAINED = 0.01
"""A tile with a smaller share of stained pixels is blank."""
LEAST_STAINED_PX = 32

TRANSMITTED = 240.0
"""Grey level of unstained glass, Macenko's Io."""
LEAST_DENSITY = 0.15
"""Pixels with less optical density in any channel carry no stain, Macenko's beta."""
TAIL_PERCENT = 1.0
"""Stain vectors are the angles at this percentile from either end, Macenko's alpha."""
LEAST_COMPONENT = -0.05
"""Lowest component of a stain vector: stains absorb light in every channel, else it fits noise."""
MOST_ALIKE = 0.985
"""Cosine of 10 degrees: stain vectors nearer to each other are one stain (on real tiles: 18+)."""
REFERENCE_STAINS = np.array([[0.5626, 0.7201, 0.4062], [0.2159, 0.8012, 0.5581]])
"""Haematoxylin and eosin, optical density of red, green, blue: the reference that Macenko's
authors published with their code, used by nearly every implementation since."""
REFERENCE_STRENGTHS = np.array([1.9705, 1.0308])
"""Their 99th percentile concentrations in the same reference."""

RGB_TO_LMS = np.array(
    [[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]]
)
LMS_TO_LAB = np.diag([3**-0.5, 6**-0.5, 2**-0.5]) @ np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]])
REFERENCE_MEAN = np.array([8.74108109, -0.12440419, 0.0444982])
"""Mean l, alpha, beta of the breast cancer slide TCGA-A2-A3XS-DX1, as published by HistomicsTK."""
REFERENCE_DEVIATION = np.array([0.6135447, 0.10989545, 0.0286032])
"""Their standard deviations in the same slide."""


class StainNormaliser(ABC):
    """Transform of tiles to the reference staining."""

    is_blank = False

    @abstractmethod
    def transform(self, tile: RGB) -> RGB:
        """Return a tile in the reference staining; unchanged if `is_blank`."""


class Unchanged(StainNormaliser):
    """Identity transform."""

    def __init__(self, *, is_blank: bool = False) -> None:
        """Set whether the reason is too little stain (`is_blank`) or method none."""
        self.is_blank = is_blank

    def transform(self, tile: RGB) -> RGB:
        """Return the tile."""
        return tile


@dataclass(frozen=True)
class Macenko(StainNormaliser):
    """Macenko's normalisation.

    Attributes:
        stains: (2, 3) haematoxylin and eosin as optical density of red, green, blue; unit length.
        strengths: (2,) their 99th percentile concentrations.
    """

    stains: NDArray[np.float64]
    strengths: NDArray[np.float64]

    @classmethod
    def fit(cls, tiles: RGB) -> StainNormaliser:
        """Estimate the two stain vectors of (..., 3) uint8 RGB pixels."""
        density = _density(tiles.reshape(-1, 3))
        stained = density[(density >= LEAST_DENSITY).all(axis=1)]
        if len(stained) < max(LEAST_STAINED_PX, LEAST_STAINED * len(density)):
            return Unchanged(is_blank=True)
        plane = np.linalg.eigh(np.cov(stained.T))[1][:, 1:3]
        plane = plane * np.where(plane.sum(axis=0) < 0, -1.0, 1.0)  # the sign is arbitrary
        across, along = (stained @ plane).T
        angles = np.percentile(np.arctan2(along, across), [TAIL_PERCENT, 100 - TAIL_PERCENT])
        pair = np.stack([np.cos(angles), np.sin(angles)], axis=1) @ plane.T
        stains = pair if pair[0, 0] > pair[1, 0] else pair[::-1]  # haematoxylin takes more red
        if stains.min() < LEAST_COMPONENT or stains[0] @ stains[1] > MOST_ALIKE:
            return Unchanged(is_blank=True)
        strengths = np.percentile(density @ np.linalg.pinv(stains), 99, axis=0)
        return cls(stains, strengths) if (strengths > 0).all() else Unchanged(is_blank=True)

    def transform(self, tile: RGB) -> RGB:
        """Return a tile with the reference's stains in place of its own."""
        unmix = np.linalg.pinv(self.stains) * (REFERENCE_STRENGTHS / self.strengths)
        density = _density(tile.reshape(-1, 3))
        light = TRANSMITTED * np.exp(-(density @ (unmix @ REFERENCE_STAINS)))
        return _as_tile(light, tile.shape)


@dataclass(frozen=True)
class Reinhard(StainNormaliser):
    """Reinhard's normalisation.

    Attributes:
        mean: (3,) mean of l, alpha, beta.
        deviation: (3,) their standard deviation.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @classmethod
    def fit(cls, tiles: RGB) -> StainNormaliser:
        """Estimate means and deviations of (..., 3) uint8 RGB pixels, glass included."""
        pixels = tiles.reshape(-1, 3)
        stained = (_density(pixels) >= LEAST_DENSITY).all(axis=1)
        lab = _lab(pixels)
        deviation = lab.std(axis=0)
        n_least = max(LEAST_STAINED_PX, LEAST_STAINED * len(pixels))
        if stained.sum() < n_least or (deviation < 1e-6).any():
            return Unchanged(is_blank=True)
        return cls(lab.mean(axis=0), deviation)

    def transform(self, tile: RGB) -> RGB:
        """Return a tile with the reference's means and deviations in place of its own."""
        standard = (_lab(tile.reshape(-1, 3)) - self.mean) / self.deviation
        lab = standard * REFERENCE_DEVIATION + REFERENCE_MEAN
        lms = np.exp(lab @ np.linalg.inv(LMS_TO_LAB).T)
        rgb = lms @ np.linalg.inv(RGB_TO_LMS).T
        return _as_tile(rgb, tile.shape)


def fit_stain(tiles: RGB, spec: StainSpec) -> StainNormaliser:
    """Fit the normaliser a spec names to (..., 3) uint8 RGB pixels of a slide or tile."""
    method: Literal["none", "macenko", "reinhard"] = spec.method
    if method == "macenko":
        return Macenko.fit(tiles)
    if method == "reinhard":
        return Reinhard.fit(tiles)
    return Unchanged()


_DENSITIES = -np.log((np.arange(256) + 1.0) / TRANSMITTED)
"""Optical density of each grey level."""


def _density(pixels: RGB) -> NDArray[np.float64]:
    """Return the optical density of (n, 3) pixels."""
    density: NDArray[np.float64] = _DENSITIES[pixels]
    return density


def _as_tile(pixels: NDArray[np.float64], shape: tuple[int, ...]) -> RGB:
    """Return (n, 3) grey levels as a tile, clipped to 0 to 255."""
    tile: RGB = np.clip(pixels, 0, 255).astype(np.uint8).reshape(shape)
    return tile


def _lab(pixels: RGB) -> NDArray[np.float64]:
    """Return (n, 3) pixels in Ruderman's l, alpha, beta; black stays finite."""
    lms = pixels.astype(np.float64) @ RGB_TO_LMS.T
    lms[lms == 0] = np.spacing(1)
    lab: NDArray[np.float64] = np.log(lms) @ LMS_TO_LAB.T
    return lab
