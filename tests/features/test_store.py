from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from crosstype.errors import ConfigError, FeatureFileError, TableError
from crosstype.features.formats.open import open_features, write_features
from crosstype.features.slide_names import slide_id_of
from crosstype.features.spec import FeaturesSpec
from crosstype.features.store import (
    NO_FILE,
    bag_length,
    find_slides,
    inspect_slides,
    read_bag,
    read_feature_rows,
    write_feature_rows,
)
from crosstype.io.files import sha256_of


def bag(n_tiles: int, n_features: int = 4, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_tiles, n_features)).astype(np.float32)


def test_every_layout_gives_the_same_bag(tmp_path: Path) -> None:
    features = bag(5).astype(np.float16).astype(np.float32)
    write_features(tmp_path / "own.h5", features, np.zeros((5, 2)), {"encoder": "e"})
    with h5py.File(tmp_path / "trident.h5", "w") as file:
        file["features"] = features
        file["features"].attrs["encoder"] = "e"
        file["coords"] = np.zeros((5, 2), dtype=np.int64)
    with h5py.File(tmp_path / "stamp.h5", "w") as file:
        file["feats"] = features.astype(np.float16)
        file.attrs["extractor"] = "e"
    torch.save(torch.from_numpy(features), tmp_path / "clam.pt")
    slides = find_slides(FeaturesSpec(folder=tmp_path), None, "PATIENT")
    rows = inspect_slides(slides, FeaturesSpec(encoder="e"), sha256_of)
    assert [row.slide_id for row in rows] == ["clam", "own", "stamp", "trident"]
    assert {(row.n_tiles, row.n_features, row.encoder, row.fault) for row in rows} == {
        (5, 4, "e", "")
    }
    for _, _, path in slides:
        np.testing.assert_array_equal(read_bag([path]), features)
    write_feature_rows(tmp_path / "features.csv", rows)
    assert read_feature_rows(tmp_path / "features.csv") == rows


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    torch.save({"features": Path("x")}, tmp_path / "evil.pt")
    (tmp_path / "junk.pt").write_bytes(b"junk")
    for name in ("evil.pt", "junk.pt"):
        with pytest.raises(FeatureFileError), open_features(tmp_path / name):
            pass


def test_a_patients_slides_are_one_bag_whatever_the_order(tmp_path: Path) -> None:
    parts = [bag(n, seed=n) for n in (3, 700, 2)]
    paths = [tmp_path / f"s{i}.h5" for i in range(3)]
    for path, part in zip(paths, parts, strict=True):
        write_features(path, part)
    whole = np.concatenate(parts)
    assert bag_length(paths) == 705
    np.testing.assert_array_equal(read_bag(paths[::-1]), whole)
    wanted = np.array([704, 0, 5, 5, 300])
    np.testing.assert_array_equal(read_bag(paths, wanted), whole[wanted])
    with pytest.raises(IndexError):
        read_bag(paths, np.array([705]))
    write_features(paths[0], bag(3, 5))
    with pytest.raises(FeatureFileError, match="one encoder"):
        read_bag(paths)


def test_a_flipped_bit_and_other_faults_are_listed_not_raised(tmp_path: Path) -> None:
    for name in ("a", "b", "flipped"):
        write_features(tmp_path / f"{name}.h5", bag(300, 64))
    data = bytearray((tmp_path / "flipped.h5").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "flipped.h5").write_bytes(bytes(data))
    write_features(tmp_path / "wide.h5", bag(3, 65))
    late = bag(5000, 64)
    late[4321, 7] = np.nan
    write_features(tmp_path / "late.h5", late)
    with h5py.File(tmp_path / "none.h5", "w") as file:
        file["coords"] = np.zeros((5, 2))
    slides = find_slides(FeaturesSpec(folder=tmp_path), None, "PATIENT")
    slides.append(("gone", "P", tmp_path / "gone.h5"))
    rows = inspect_slides(slides, FeaturesSpec(), sha256_of)
    faults = {row.slide_id: row.fault for row in rows}
    assert faults["a"] == faults["b"] == ""
    assert "damaged" in faults["flipped"]
    assert "tile 4321" in faults["late"]
    assert "neither 'features' nor 'feats'" in faults["none"]
    assert "65" in faults["wide"]
    assert faults["gone"] == NO_FILE


def test_slides_come_from_the_table_and_contradictions_are_faults(tmp_path: Path) -> None:
    folder = tmp_path / "features"
    write_features(folder / "h5_files" / "TCGA-A2-A04P-01Z-00-DX1.1F-2A.h5", bag(2))
    table = tmp_path / "slides.csv"
    spec = FeaturesSpec(folder=folder)
    table.write_text("PATIENT,FILENAME\nTCGA-A2-A04P,TCGA-A2-A04P-01Z-00-DX1.1F-2A.svs\n007,x\n")
    found = find_slides(spec, table, "PATIENT")
    assert [row[:2] for row in found] == [
        ("TCGA-A2-A04P-01Z-00-DX1.1F-2A", "TCGA-A2-A04P"),
        ("x", "007"),
    ]
    assert found[0][2].is_file()
    assert not found[1][2].exists()
    table.write_text("PATIENT,FILENAME\np,x.h5\np,x.svs\nq,x\nr,\n")
    with pytest.raises(TableError) as raised:
        find_slides(spec, table, "PATIENT")
    assert [fault.where for fault in raised.value.faults] == [
        f"slides.csv line {line}" for line in (3, 4)
    ]
    with pytest.raises(ConfigError):
        find_slides(FeaturesSpec(folder=tmp_path / "absent"), None, "PATIENT")


def test_ids_keep_dots_that_are_no_suffix() -> None:
    assert slide_id_of("a.B-1.svs") == "a.B-1"
    assert slide_id_of("a.B-1") == "a.B-1"
    assert slide_id_of("sub/a.H5") == "a"


def test_writing_refuses_empty_bags_and_leaves_no_half_file(tmp_path: Path) -> None:
    for features in (np.zeros((0, 4)), np.zeros(4)):
        with pytest.raises(ValueError, match="shape"):
            write_features(tmp_path / "x.h5", features)
    with pytest.raises(TypeError):
        write_features(tmp_path / "x.h5", bag(2), None, {"bad": object()})  # type: ignore[dict-item]
    assert list(tmp_path.iterdir()) == []
