"""Slides to features against the plain loop, as ratios in one run.

    python benchmarks/extract.py [--weights FILE] [--tiles 64] [--rounds 5]

Plain: OpenSlide `read_region` tile by tile, float32 eager ResNet-50, one process. Ours: the reader,
the encoder and the whole stage of crosstype. Both on the same synthetic JPEG-tiled slide and the
same tiles; medians of the rounds. Without --weights the network is random: speed is the same.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openslide
import tifffile
import torch
from safetensors.torch import save_file

from crosstype.demo.slides import draw_slide
from crosstype.features.encoders.encoder import load_encoder
from crosstype.features.encoders.weights import import_timm
from crosstype.features.extract import extract_slide
from crosstype.features.slide_sources import Source
from crosstype.features.spec import FeaturesSpec
from crosstype.features.tile_batches import ExtractionRecipe
from crosstype.io.files import sha256_of
from crosstype.slides.open import open_slide
from crosstype.slides.spec import AugmentationSpec, SlidesSpec, StainSpec, TilesSpec, TissueSpec

TILE_PX = 256
GFLOP_PER_TILE = 2 * 4.09 * (256 / 224) ** 2  # ResNet-50, multiplications and additions


def write_big_slide(path: Path, n_copies: int) -> None:
    """Write a JPEG-tiled pyramid of n x n different demo slides."""
    parts = [draw_slide(np.random.default_rng(i), carrier=i % 2 == 0) for i in range(4)]
    rows = [
        np.concatenate([parts[(r + c) % 4] for c in range(n_copies)], 1) for r in range(n_copies)
    ]
    pixels = np.concatenate(rows, 0)
    with tifffile.TiffWriter(path, bigtiff=False) as writer:
        for level in range(4):
            writer.write(
                np.ascontiguousarray(pixels[:: 4**level, :: 4**level]),
                tile=(256, 256),
                photometric="rgb",
                compression="jpeg",
                resolution=(20_000 / 4**level,) * 2,
                resolutionunit="CENTIMETER",
                subfiletype=1 if level else 0,
                metadata=None,
            )


def median_seconds(work: Callable[[], object], rounds: int) -> float:
    """Return the median time of the rounds, after one that does not count."""
    work()
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def multiply_peak(kind: torch.dtype) -> float:
    """Return the machine's measured multiply peak in Gflop/s.

    The fastest of several products, since no library is at the peak in all: square matrices, and
    a 3 x 3 convolution that fills the caches as a network does. The best time counts.
    """
    found = []
    for n in (1024, 2048):
        one = torch.randn(n, n).to(kind)
        found.append(2 * n**3 / least_seconds(lambda one=one: one @ one))
    with torch.inference_mode():
        convolution = torch.nn.Conv2d(256, 256, 3, padding=1, bias=False).to(kind)
        convolution = convolution.to(memory_format=torch.channels_last)
        image = torch.randn(16, 256, 64, 64).to(kind).to(memory_format=torch.channels_last)
        flop = 2 * image.numel() * 256 * 9
        found.append(flop / least_seconds(lambda: convolution(image)))
    return max(found) / 1e9


def least_seconds(work: Callable[[], object]) -> float:
    """Return the shortest of nine times, after one that does not count."""
    work()
    times = []
    for _ in range(9):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def read_plainly(path: Path, places: np.ndarray) -> list[np.ndarray]:
    """Read tiles one at a time through OpenSlide."""
    with openslide.OpenSlide(str(path)) as slide:
        return [
            np.asarray(slide.read_region((int(x), int(y)), 0, (TILE_PX, TILE_PX)).convert("RGB"))
            for x, y in places
        ]


def encode_plainly(network: torch.nn.Module, tiles: list[np.ndarray]) -> np.ndarray:
    """Run the eager float32 network in batches of 32."""
    found = []
    with torch.inference_mode():
        for first in range(0, len(tiles), 32):
            pixels = torch.from_numpy(np.stack(tiles[first : first + 32])).permute(0, 3, 1, 2)
            found.append(network((pixels.float() / 255 - MEAN) / STD))
    return torch.cat(found).numpy()


MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


def row(name: str, ours: float, plain: float, n: int, extra: str = "") -> None:
    """Print one line of the table."""
    print(f"| {name} | {n / plain:.1f} | {n / ours:.1f} | **{plain / ours:.2f}x** | {extra} |")


def cosine(ours: np.ndarray, plain: np.ndarray) -> float:
    """Return the least cosine over tiles."""
    each = (ours * plain).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(plain, axis=1)
    return float(each.min())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--tiles", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), given)


def measure(folder: Path, given: argparse.Namespace) -> None:
    """Measure reading, encoding and the whole."""
    path, weights = folder / "big.tif", given.weights or folder / "random.safetensors"
    write_big_slide(path, 6)
    timm = import_timm()
    torch.manual_seed(0)
    plain_network = timm.create_model("resnet50.tv_in1k", pretrained=False, num_classes=0).eval()
    if given.weights is None:
        save_file(plain_network.state_dict(), weights)
    else:
        from crosstype.features.encoders.weights import as_timm, read_weights

        plain_network.load_state_dict(as_timm(read_weights(weights)), strict=False)
    rng = np.random.default_rng(0)
    grid = rng.permutation(29 * 29)[: given.tiles]
    places = np.stack([grid % 29, grid // 29], 1) * TILE_PX
    n, rounds = given.tiles, given.rounds
    print(
        f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}"
    )
    peaks = {kind: multiply_peak(kind) for kind in (torch.float32, torch.bfloat16)}
    print(
        f"multiply peak {peaks[torch.float32]:.0f} Gflop/s in float32, "
        f"{peaks[torch.bfloat16]:.0f} in bfloat16"
    )
    print("| what | plain, tiles/s | ours, tiles/s | ratio | |\n|---|---|---|---|---|")
    plain_read = median_seconds(lambda: read_plainly(path, places), rounds)
    with open_slide(path) as slide:
        ours = median_seconds(
            lambda: [slide.read_region(int(x), int(y), TILE_PX, 0.5) for x, y in places], rounds
        )
        tiles = [slide.read_region(int(x), int(y), TILE_PX, 0.5) for x, y in places]
    same = all((a == b).all() for a, b in zip(tiles, read_plainly(path, places), strict=True))
    row("reading", ours, plain_read, n, f"pixels identical: {same}")
    plain_encode = median_seconds(lambda: encode_plainly(plain_network, tiles), rounds)
    expected, batch = encode_plainly(plain_network, tiles), np.stack(tiles)
    for precision, kind in (("fp32", torch.float32), ("reduced", torch.bfloat16)):
        encoder = load_encoder("resnet50", weights, precision)
        ours = median_seconds(lambda e=encoder: e.encode(batch), rounds)
        most = peaks[kind] / GFLOP_PER_TILE  # tiles/s that the multiply peak allows
        about = f"{encoder.runtime}; cosine {cosine(encoder.encode(batch), expected):.6f}; "
        about += f"{n / ours / most:.0%} of multiply peak, which allows at most "
        about += f"{most * plain_encode / n:.2f}x"
        row(f"encoding {precision}", ours, plain_encode, n, about)
        whole(path, encoder, precision, (n, rounds, plain_network, folder))


def whole(path: Path, encoder: object, precision: str, how: tuple) -> None:
    """Measure slide to stored features, on the same tiles for both."""
    n, rounds, network, folder = how
    recipe = ExtractionRecipe(
        SlidesSpec(), TissueSpec(), TilesSpec(n_tiles=n, minimum_tissue=0.3), StainSpec(),
        AugmentationSpec(), FeaturesSpec(),
    )  # fmt: skip
    out = folder / "slide.h5"
    source = Source("big", "big", path)

    def ours() -> None:
        out.unlink(missing_ok=True)
        extract_slide(source, recipe, encoder, (out, folder), sha256_of)

    seconds = median_seconds(ours, rounds)
    import h5py

    with h5py.File(out) as file:
        places = file["tile_xy_px"][:]

    def plain() -> None:
        features = encode_plainly(network, read_plainly(path, places))
        with h5py.File(folder / "plain.h5", "w") as file:
            file["features"], file["coords"] = features, places

    row(f"slide to features {precision}", seconds, median_seconds(plain, rounds), len(places))


if __name__ == "__main__":
    main()
