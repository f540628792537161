from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from crosstype.features.formats.open import write_features
from crosstype.features.store import mapped_rows, read_bag

VALUES = np.random.default_rng(4).normal(size=(700, 6)).astype(np.float32)
WANTED = np.array([0, 3, 255, 256, 300, 511, 512, 699])


@pytest.mark.parametrize(
    ("layout", "is_mapped"),
    [
        ({}, True),
        ({"chunks": (100, 6)}, True),
        ({"chunks": (100, 6), "fletcher32": True, "maxshape": (None, 6)}, True),
        ({"chunks": (100, 3)}, False),
        ({"chunks": (100, 6), "compression": "gzip"}, False),
        ({"chunks": (100, 6), "shuffle": True}, False),
        ({"chunks": (100, 6), "scaleoffset": 3}, False),
    ],
)
@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f2", "<f8"])
def test_drawn_rows_are_those_of_the_whole_in_every_layout(
    tmp_path: Path, layout: dict[str, object], is_mapped: bool, kind: str
) -> None:
    if "scaleoffset" in layout and kind == "<f2":
        pytest.skip("HDF5 cannot")
    path = tmp_path / "one.h5"
    for library in ("earliest", "latest"):
        with h5py.File(path, "w", libver=library) as file:
            file.create_dataset("features", data=VALUES.astype(kind), **layout)
        with h5py.File(path) as file:
            assert (mapped_rows(file["features"], WANTED) is not None) == is_mapped
            expected = file["features"][:].astype(np.float32)
        np.testing.assert_array_equal(read_bag([path], WANTED), expected[WANTED])
        few = np.array([699, 2])
        np.testing.assert_array_equal(read_bag([path], few), expected[few])


def test_our_own_files_are_mapped(tmp_path: Path) -> None:
    write_features(tmp_path / "own.h5", VALUES)
    with h5py.File(tmp_path / "own.h5") as file:
        found = mapped_rows(file["features"], WANTED)
    np.testing.assert_array_equal(found, VALUES[WANTED])


def test_what_is_not_in_the_file_is_not_mapped(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "unwritten.h5", "w") as file:
        file.create_dataset("features", (700, 6), "f4", chunks=(100, 6), fillvalue=7)
        file.create_dataset("nothing", (700, 6), "f4")
    with h5py.File(tmp_path / "unwritten.h5") as file:
        assert mapped_rows(file["features"], WANTED) is None
        assert mapped_rows(file["nothing"], WANTED) is None
        assert mapped_rows(file["features"], WANTED[:0]) is None
    with h5py.File(tmp_path / "block.h5", "w", userblock_size=512) as file:
        file["features"] = VALUES
    np.testing.assert_array_equal(read_bag([tmp_path / "block.h5"], WANTED), VALUES[WANTED])
    np.testing.assert_array_equal(read_bag([tmp_path / "unwritten.h5"], WANTED), 7)
