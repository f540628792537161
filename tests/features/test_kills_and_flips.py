"""Killed at any moment, extraction goes on where it was; a flipped bit is never silent."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from crosstype.errors import FeatureFileError
from crosstype.features.formats.open import read_views
from crosstype.features.store import find_slides, inspect_slides, read_bag
from crosstype.io.files import sha256_of

from .fake_slides import extract, recipe_of, tissue_pixels, write_svs

SCRIPT = Path(__file__).with_name("slow_extraction.py")
N_SLIDES = 4
DELAY = 0.004
"""Seconds that the slow encoder takes per tile; a slide has about 20, with their views."""
VIEWS = {"n_views": 1}


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slides")
    for number in range(N_SLIDES):
        write_svs(folder / f"S{number}.svs", tissue_pixels(number, 1100, 1200))
    return folder


@pytest.fixture(scope="module")
def undisturbed(slides: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("undisturbed")
    rows = extract(slides, out, augmentation=VIEWS)
    assert [row.fault for row in rows] == [""] * N_SLIDES
    return {path.name: path.read_bytes() for path in (out / "features" / "fake").iterdir()}


def start(slides: Path, out: Path) -> subprocess.Popen[str]:
    """Start the slow extraction and wait until it begins."""
    words = [sys.executable, str(SCRIPT), str(slides), str(out), str(DELAY)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("n_kills", [2, pytest.param(100, marks=pytest.mark.long)])
def test_kills_at_random_moments_leave_nothing_broken(
    slides: Path, undisturbed: dict[str, bytes], tmp_path: Path, n_kills: int
) -> None:
    rng = np.random.default_rng(n_kills)
    began = time.monotonic()
    whole = start(slides, tmp_path / "0")
    assert whole.wait() == 0
    duration = time.monotonic() - began
    n_hit, number, out = 0, 0, tmp_path / "1"
    while n_hit < n_kills:
        process = start(slides, out)
        assert process.stdout is not None
        time.sleep(float(rng.uniform(0, 0.5 * duration)))
        process.kill()
        n_hit += process.wait() < 0  # it may have been done already
        process.stdout.close()
        folder = out / "features" / "fake"
        spec = recipe_of(features={"folder": folder}).features
        files = list(folder.iterdir()) if folder.is_dir() else []
        done = [path for path in files if path.suffix == ".h5"]
        assert len(files) - len(done) <= 1  # what a kill leaves is removed by the next run
        if done:
            found = find_slides(spec, None, "PATIENT")
            assert sorted(path for _, _, path in found) == sorted(done)
            assert not any(row.fault for row in inspect_slides(found, spec, sha256_of))
        for path in done:
            assert path.read_bytes() == undisturbed[path.name]
        if len(done) == N_SLIDES:
            number += 1
            out = tmp_path / f"again {number}"
    assert extract(slides, out, augmentation=VIEWS)[0].fault == ""
    left = {path.name: path.read_bytes() for path in (out / "features" / "fake").iterdir()}
    assert left == undisturbed
    whole.stdout.close()  # type: ignore[union-attr]


# ---- flipped bits


@pytest.fixture(scope="module")
def stored(slides: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stored")
    extract(slides, out, augmentation=VIEWS)
    return out / "features" / "fake" / "S0.h5"


def data_region(path: Path, name: str) -> tuple[int, int]:
    """Return where a dataset's only chunk begins, and its bytes that hold values."""
    with h5py.File(path) as file:
        dataset = file[name]
        chunk = dataset.id.get_chunk_info(0)
        return int(chunk.byte_offset), int(dataset.nbytes if dataset.ndim == 2 else chunk.size)


def flip(path: Path, place: int, bit: int) -> None:
    with path.open("r+b") as handle:
        handle.seek(place)
        (value,) = handle.read(1)
        handle.seek(place)
        handle.write(bytes([value ^ 1 << bit]))


@pytest.mark.parametrize("n_flips", [15, pytest.param(150, marks=pytest.mark.long)])
def test_no_flip_among_the_features_is_silent(stored: Path, tmp_path: Path, n_flips: int) -> None:
    rng = np.random.default_rng(n_flips)
    begin, n_bytes = data_region(stored, "features")
    views_begin, views_n_bytes = data_region(stored, "views")
    path = tmp_path / "S0.h5"
    spec = recipe_of(features={"folder": tmp_path}).features
    for _ in range(n_flips):
        path.write_bytes(stored.read_bytes())
        flip(path, begin + int(rng.integers(n_bytes)), int(rng.integers(8)))
        (row,) = inspect_slides([("S0", "S0", path)], spec, sha256_of)
        assert "the file is damaged" in row.fault
        assert "\n" not in row.fault
        with pytest.raises(FeatureFileError, match="damaged"):
            read_bag([path])
        path.write_bytes(stored.read_bytes())
        flip(path, views_begin + int(rng.integers(views_n_bytes)), int(rng.integers(8)))
        with pytest.raises(FeatureFileError, match="its views cannot be read"):
            read_views(path)


@pytest.mark.parametrize("n_flips", [60, pytest.param(1000, marks=pytest.mark.long)])
def test_flips_anywhere_else_are_noticed_or_change_no_number(
    stored: Path, tmp_path: Path, n_flips: int
) -> None:
    rng = np.random.default_rng(n_flips)
    whole, bag, views = stored.read_bytes(), read_bag([stored]), read_views(stored)
    assert views is not None
    with h5py.File(stored) as file:
        about, places = dict(file.attrs), file["tile_xy_px"][:]
    in_data = np.zeros(len(whole), dtype=bool)
    for name in ("features", "views", "tile_xy_px"):
        with h5py.File(stored) as file:
            for number in range(file[name].id.get_num_chunks()):
                chunk = file[name].id.get_chunk_info(number)
                in_data[chunk.byte_offset : chunk.byte_offset + chunk.size] = True
    assert b"GCOL" not in whole  # HDF5's heap of texts, where nothing has a checksum
    path = tmp_path / "S0.h5"
    spec = recipe_of(features={"folder": tmp_path}).features
    for place in rng.choice(np.flatnonzero(~in_data), n_flips).tolist():
        path.write_bytes(whole)
        bit = int(rng.integers(8))
        flip(path, place, bit)
        (row,) = inspect_slides([("S0", "S0", path)], spec, sha256_of)
        if row.fault:
            continue
        assert np.array_equal(read_bag([path]), bag), (place, bit)
        try:
            found = read_views(path)
            with h5py.File(path) as file:
                assert dict(file.attrs) == about, (place, bit)
                assert np.array_equal(file["tile_xy_px"][:], places), (place, bit)
        except (FeatureFileError, OSError, RuntimeError, KeyError):
            continue
        assert found is not None, (place, bit)
        assert np.array_equal(found, views), (place, bit)
