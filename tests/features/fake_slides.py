"""Synthetic slides, and an encoder that is quick, exact and needs no weights."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image
from scipy.ndimage import gaussian_filter

from crosstype.features.encoders.colour_texture import CARD
from crosstype.features.extract import extract_slides
from crosstype.features.slide_sources import Source, find_sources
from crosstype.features.spec import FeaturesSpec
from crosstype.features.store import FeatureRow
from crosstype.features.tile_batches import ExtractionRecipe
from crosstype.io.files import sha256_of
from crosstype.progress import NoProgress
from crosstype.slides.spec import AugmentationSpec, SlidesSpec, StainSpec, TilesSpec, TissueSpec

SIDE_PX = 1500
MPP = 0.5


class FakeEncoder:
    """Means and deviations of the channels; `delay` seconds per tile."""

    def __init__(self, name: str = "fake", weights: str = "0" * 64, delay: float = 0.0) -> None:
        self.card = replace(CARD, name=name, n_features=6)
        self.transform = '{"sums": "channels"}'
        self.weights_sha256 = weights
        self.delay = delay
        self.n_encoded = 0

    def encode(self, tiles: np.ndarray) -> np.ndarray:
        self.n_encoded += len(tiles)
        time.sleep(self.delay * len(tiles))
        values = tiles.astype(np.int64)  # whole numbers: exact, whatever the order of adding
        n_px = values.shape[1] * values.shape[2]
        mean, square = (part.sum(axis=(1, 2)) / n_px for part in (values, values**2))
        return np.concatenate([mean, np.sqrt(square - mean**2)], axis=1).astype(np.float32)


def tissue_pixels(seed: int, height: int = SIDE_PX, width: int = SIDE_PX) -> np.ndarray:
    """Glass with one large disc of pink and purple."""
    rng = np.random.default_rng(seed)
    spots = gaussian_filter(rng.normal(size=(height, width)), 2.5) > 0.1
    colours = np.where(spots[..., None], (120, 70, 150), (215, 130, 180)).astype(np.float32)
    y, x = np.mgrid[:height, :width]
    middle, radius = (width * 0.5, height * 0.52), 0.42 * min(height, width)
    outside = (x - middle[0]) ** 2 + (y - middle[1]) ** 2 > radius**2
    colours[outside] = (243, 242, 244)
    noise = rng.normal(0, 4, (height, width, 3)).astype(np.float32)
    return np.clip(colours + noise, 0, 255).astype(np.uint8)


def write_svs(path: Path, pixels: np.ndarray, mpp: float | None = MPP) -> Path:
    """Write an SVS-like pyramid of JPEG-tiled levels, 1 and 2 (the thumbnail's)."""
    small = np.asarray(Image.fromarray(pixels).reduce(2))
    stated = "" if mpp is None else f"|MPP = {mpp}"
    height, width = pixels.shape[:2]
    about = f"Aperio Image Library\r\n{width}x{height} JPEG/RGB Q=80|AppMag = 20{stated}"
    with tifffile.TiffWriter(path) as file:
        for level in (pixels, small):
            file.write(
                level, tile=(256, 256), compression="jpeg", photometric="rgb",
                compressionargs={"level": 80}, description=about, metadata=None,
            )  # fmt: skip
    return path


def write_png(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path, compress_level=1)
    return path


def damage_tile(path: Path, column: int, row: int) -> None:
    """Overwrite the second half of a level-0 tile with zeros."""
    with tifffile.TiffFile(path) as file:
        page: Any = file.pages.first
        index = row * -(-page.imagewidth // page.tilewidth) + column
        offset, n_bytes = page.dataoffsets[index], page.databytecounts[index]
    with path.open("r+b") as handle:
        handle.seek(offset + n_bytes // 2)
        handle.write(bytes(n_bytes - n_bytes // 2))


def recipe_of(
    folder: Path | None = None, mpp: float | None = None, **parts: Any
) -> ExtractionRecipe:
    """Return settings; `tiles`, `stain`, `augmentation` and `features` as keyword arguments."""
    return ExtractionRecipe(
        SlidesSpec(folder, mpp),
        TissueSpec(),
        TilesSpec(**parts.get("tiles", {})),
        StainSpec(**parts.get("stain", {})),
        AugmentationSpec(**parts.get("augmentation", {})),
        FeaturesSpec(**({"batch_size": 4} | parts.get("features", {}))),
    )


def extract(
    folder: Path,
    out: Path,
    encoder: Any = None,
    progress: Any = None,
    fingerprint: Callable[[Path], str] = sha256_of,
    **parts: Any,
) -> list[FeatureRow]:
    """Extract every slide of a folder."""
    recipe = recipe_of(folder, parts.pop("mpp", None), **parts)
    sources: list[Source] = find_sources(recipe.slides, None, "PATIENT")
    encoder = FakeEncoder() if encoder is None else encoder
    return extract_slides(sources, recipe, encoder, out, fingerprint, progress or NoProgress())
