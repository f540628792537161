"""Synthetic H&E-like slides: pink tissue with purple nuclei, and a visible pattern in carriers.

The pattern is crowding: in a part of a carrier's tissue nuclei are larger and several times as
dense.
"""

from pathlib import Path

import numpy as np
import tifffile
from jaxtyping import Bool, Float32, UInt8
from PIL import Image
from scipy.ndimage import gaussian_filter

from crosstype.io.files import replacing

SIZE_PX = 1280
MPP = 0.5
PIXELS_PER_CM = 10_000 / MPP
GLASS = (244.0, 243.0, 246.0)
STROMA = (232.0, 178.0, 206.0)
NUCLEUS = (96.0, 66.0, 150.0)
TISSUE_SHARE = 0.65
PATTERN_SHARE = 0.4
NUCLEI_PER_PX = 0.0012
CROWDING = 4.0

Plane = Float32[np.ndarray, "height width"]


def draw_slide(rng: np.random.Generator, *, carrier: bool) -> UInt8[np.ndarray, "height width 3"]:
    """Return a slide's pixels at 0.5 um/px; a part of a carrier's tissue is crowded."""
    noise = _smooth_noise(rng, 6)
    tissue = _disc() & (noise > np.quantile(noise[::8, ::8], 1 - TISSUE_SHARE))
    crowded = np.zeros_like(tissue)
    if carrier:
        noise = _smooth_noise(rng, 5)
        crowded = tissue & (noise > np.quantile(noise[tissue][::64], 1 - PATTERN_SHARE))
    small = _nuclei(rng, tissue & ~crowded, NUCLEI_PER_PX, 2.6)
    large = _nuclei(rng, crowded, NUCLEI_PER_PX * CROWDING, 3.4)
    nuclei = np.maximum(small, large)[..., None]
    fibres = gaussian_filter(rng.standard_normal(tissue.shape, dtype=np.float32), (1.0, 4.0))
    pink = np.array(STROMA, dtype=np.float32) + 60 * fibres[..., None]
    inside = pink * (1 - nuclei) + np.array(NUCLEUS, dtype=np.float32) * nuclei
    edge = gaussian_filter(tissue.astype(np.float32), 2.0)[..., None]
    pixels = inside * edge + np.array(GLASS, dtype=np.float32) * (1 - edge)
    pixels += rng.standard_normal(tissue.shape, dtype=np.float32)[..., None]
    clipped: np.ndarray = np.clip(pixels, 0, 255)
    return clipped.astype(np.uint8)


def write_slide(path: Path, pixels: UInt8[np.ndarray, "height width 3"]) -> None:
    """Write a pyramidal, JPEG-tiled TIFF; the bytes are reproducible."""
    with replacing(path) as temporary, tifffile.TiffWriter(temporary) as writer:
        for level in range(3):
            step = 2**level
            writer.write(
                _shrink(pixels, step),
                tile=(256, 256),
                photometric="rgb",
                compression="jpeg",
                compressionargs={"level": 85},
                resolution=(PIXELS_PER_CM / step, PIXELS_PER_CM / step),
                resolutionunit="CENTIMETER",
                subfiletype=1 if level else 0,
                metadata=None,
                software="crosstype demo",
            )


def _shrink(
    pixels: UInt8[np.ndarray, "height width 3"], step: int
) -> UInt8[np.ndarray, "smaller_height smaller_width 3"]:
    """Return the mean of every `step` x `step` pixels, rounded down."""
    sums = np.zeros((pixels.shape[0] // step, pixels.shape[1] // step, 3), dtype=np.uint16)
    for down in range(step):
        for right in range(step):
            sums += pixels[down::step, right::step]
    return (sums // step**2).astype(np.uint8)


def _smooth_noise(rng: np.random.Generator, n_bumps: int) -> Plane:
    """Return smooth noise of mean 0 with about `n_bumps` bumps across the slide."""
    coarse = rng.standard_normal((n_bumps, n_bumps), dtype=np.float32)
    image = Image.fromarray(coarse).resize((SIZE_PX, SIZE_PX), Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.float32)


def _disc() -> Bool[np.ndarray, "height width"]:
    """Return the mask of possible tissue, away from the slide's edges."""
    y, x = np.ogrid[-1 : 1 : SIZE_PX * 1j, -1 : 1 : SIZE_PX * 1j]
    inside: Bool[np.ndarray, "height width"] = np.maximum(np.abs(x), np.abs(y)) < 0.95
    return inside


def _nuclei(
    rng: np.random.Generator, where: Bool[np.ndarray, "height width"], density: float, sigma: float
) -> Plane:
    """Return the share of nucleus of each pixel, 0 to 1, for randomly placed nuclei."""
    points = (rng.random(where.shape, dtype=np.float32) < density) & where
    if not points.any():
        return np.zeros(where.shape, dtype=np.float32)
    blobs = gaussian_filter(points.astype(np.float32), sigma) * (2 * np.pi * sigma**2)
    return np.asarray(np.clip((blobs - 0.35) * 4, 0, 1), dtype=np.float32)
