"""Tiny synthetic slides, and the real ones where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

GLASS = (243, 242, 244)


@pytest.fixture
def real_data() -> Path:
    folder = os.environ.get("CROSSTYPE_DATA")
    if not folder:
        pytest.skip("set CROSSTYPE_DATA to the folder of the real data")
    return Path(folder)


def tissue_texture(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Pink with purple spots, nowhere flat."""
    rng = np.random.default_rng(seed)
    spots = gaussian_filter(rng.normal(size=(height, width)), 2.5) > 0.1
    colours = np.where(spots[..., None], (120, 70, 150), (215, 130, 180))
    return np.clip(colours + rng.normal(0, 6, (height, width, 3)), 0, 255).astype(np.uint8)


def glass(height: int, width: int, seed: int = 1) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    return np.clip(GLASS + rng.normal(0, 2, (height, width, 3)), 0, 255).astype(np.uint8)


def with_blobs(height: int, width: int, *blobs: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Glass with discs of tissue: (x, y, radius) each."""
    pixels, tissue = glass(height, width), tissue_texture(height, width)
    y, x = np.mgrid[:height, :width]
    for left, top, radius in blobs:
        inside = (x - left) ** 2 + (y - top) ** 2 < radius**2
        pixels[inside] = tissue[inside]
    return pixels


def write_svs(
    path: Path, pixels: NDArray[np.uint8], tile: int = 64, mpp: float | None = 0.5, ycbcr=False
) -> Path:
    """Write an SVS-like pyramid of two JPEG-tiled levels, 1 and 4."""
    small = np.asarray(Image.fromarray(pixels).reduce(4))
    height, width = pixels.shape[:2]
    stated = "" if mpp is None else f"|MPP = {mpp}"
    description = f"Aperio Image Library\r\n{width}x{height} JPEG/RGB Q=80|AppMag = 20{stated}"
    colours = {"photometric": "ycbcr", "subsampling": (2, 2)} if ycbcr else {"photometric": "rgb"}
    with tifffile.TiffWriter(path) as file:
        for level in (pixels, small):
            file.write(
                level,
                tile=(tile, tile),
                compression="jpeg",
                compressionargs={"level": 80},
                description=description,
                metadata=None,
                **colours,
            )
    return path


@pytest.fixture(scope="session")
def svs(tmp_path_factory) -> Path:
    pixels = with_blobs(592, 784, (250, 300, 180), (620, 300, 110))
    return write_svs(tmp_path_factory.mktemp("svs") / "S1.svs", pixels)


def write_png(path: Path, pixels: NDArray[np.uint8]) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def zero_half_of_tile(path: Path, index: int) -> tuple[int, int]:
    """Overwrite the second half of a level-0 tile with zeros; return its column and row."""
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        offset, n = page.dataoffsets[index], page.databytecounts[index]
        columns = -(-page.imagewidth // page.tilewidth)
    with path.open("r+b") as handle:
        handle.seek(offset + n // 2)
        handle.write(bytes(n - n // 2))
    return index % columns, index // columns
