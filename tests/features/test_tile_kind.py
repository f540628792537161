"""Tiles of another kind are recognised in the words of any layout."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from crosstype.errors import FeatureFileError
from crosstype.features.compatibility import check_feature_files, feature_input_of
from crosstype.features.spec import FeaturesSpec
from crosstype.features.store import find_slides, inspect_slides
from crosstype.features.tile_kind import FeatureInput, difference, stated_by
from crosstype.io.files import sha256_of

Stated = dict[str, object]
TRIDENT: Stated = {"patch_size": 256, "patch_size_level0": 512, "level0_magnification": 40}
AT_20X: Stated = TRIDENT | {"target_magnification": 20}
AT_10X: Stated = TRIDENT | {"target_magnification": 10, "patch_size_level0": 1024}
FROM_20X: Stated = AT_10X | {"level0_magnification": 20, "patch_size_level0": 512}
COARSE: Stated = {"mpp": 1.0, "tile_size_px": 256}
FINE: Stated = {"mpp": 0.5, "tile_size_px": 256}


def write(path: Path, stated: Stated, n_features: int = 4) -> Path:
    with h5py.File(path, "w") as file:
        seed = int.from_bytes(path.stem.encode()[-4:], "big")
        file["features"] = np.random.default_rng(seed).normal(size=(3, n_features))
        file["coords"] = np.zeros((3, 2), dtype=np.int64)
        file["coords"].attrs.update(stated)
    return path


def kind(folder: Path, stated: Stated) -> FeatureInput:
    return FeatureInput("", 4, **stated_by(write(folder / "one.h5", stated)))


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        (AT_20X, AT_10X, True),
        (AT_10X, FROM_20X, False),  # one magnification of slides of two scanners
        (TRIDENT, AT_10X, True),  # 40x / 2 by its footprint
        (AT_20X, AT_20X | {"patch_size": 512, "patch_size_level0": 1024}, True),
        ({"target_magnification": "20x"}, {"magnification": 10.0}, True),
        (AT_20X, FINE, False),
        (AT_20X, COARSE, True),
        (AT_20X, {"mpp": 0.4536, "tile_size_px": 256}, False),
        ({"tile_size_um": 256.0}, {"tile_size_um": 512.0}, True),
        ({"unit": "um", "tile_size": 256.0}, {"tile_size_um": 512.0}, True),
        ({"tile_size_um": 256.0}, {"tile_size_um": 256.5}, False),
        ({"tile_size_um": 128.0}, FINE, False),
        ({"tile_size_um": 256.0}, FINE, True),
        ({"tile_size_um": 256.0}, AT_20X, True),
        ({"tile_size_um": 256.0}, AT_10X, False),
        ({"patch_level": 0, "patch_size": 256}, {"patch_level": 1, "patch_size": 256}, True),
        ({"patch_level": 0, "patch_size": 256}, {"patch_level": 0, "patch_size": 512}, True),
        ({"patch_level": 0, "patch_size": 256}, AT_20X, False),
        (FINE, COARSE, True),
        (FINE, {}, False),
        ({"target_magnification": "None"}, AT_20X, False),
        ({"slide_mpp": 0.25, "footprint_px": 1024, "patch_size": 256}, FINE, True),
    ],
)
def test_what_both_state_decides(tmp_path: Path, one: Stated, other: Stated, differ: bool) -> None:
    first, second = kind(tmp_path, one), kind(tmp_path, other)
    assert bool(difference(first, second)) == bool(difference(second, first)) == differ


def faults(folder: Path) -> dict[str, str]:
    spec = FeaturesSpec(folder=folder)
    rows = inspect_slides(find_slides(spec, None, "PATIENT"), spec, sha256_of)
    return {row.slide_id: row.fault for row in rows if row.fault}


def test_the_majority_decides_and_a_tie_is_an_error(tmp_path: Path) -> None:
    for i in range(4):
        write(tmp_path / f"s{i}.h5", AT_20X if i < 3 else AT_10X)
    write(tmp_path / "unstated.h5", {})
    assert faults(tmp_path) == {
        "s3": "s3: magnification 10x, but 20x in 3 other files. Use one encoder and one kind of "
        "tiles for all slides."
    }
    for i in range(4, 6):
        write(tmp_path / f"s{i}.h5", COARSE)
    with pytest.raises(FeatureFileError, match=r"equally common: 3 slides with .* and 3 slides"):
        faults(tmp_path)


@pytest.mark.parametrize("order", [(4, 6), (6, 4)])
def test_a_tie_of_encoders_names_them_in_any_order(tmp_path: Path, order: tuple[int, int]) -> None:
    for i, width in enumerate(order):
        write(tmp_path / f"s{i}.h5", {}, 256 * width)
    found = r"1 slides with features per tile 1024 \(as .*uni\) and 1 slides .*1536 \(as .*uni2-h\)"
    with pytest.raises(FeatureFileError, match=found):
        faults(tmp_path)


def test_three_kinds_need_a_first_among_them(tmp_path: Path) -> None:
    kinds = [AT_20X, AT_20X, AT_20X, AT_10X, AT_10X, TRIDENT | {"target_magnification": 40}]
    for i, one in enumerate(kinds):
        write(tmp_path / f"s{i}.h5", one)
    assert sorted(faults(tmp_path)) == ["s3", "s4", "s5"]
    write(tmp_path / "s6.h5", AT_10X)
    with pytest.raises(FeatureFileError, match=r"20x.*10x|10x.*20x"):
        faults(tmp_path)


def test_a_model_refuses_tiles_of_another_magnification(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"s{i}.h5", AT_20X) for i in range(2)]
    wanted = feature_input_of("", 4, [*paths, write(tmp_path / "x.h5", {})])
    assert (wanted.magnification, wanted.tile_size_px) == (20, 256)
    new = tmp_path / "new"
    new.mkdir()
    write(new / "a.h5", AT_20X)
    write(new / "b.h5", COARSE)
    slides = find_slides(FeaturesSpec(folder=new), None, "PATIENT")
    rows = check_feature_files(slides, None, wanted, sha256_of).rows
    assert not rows[0].fault
    assert "found magnification 1 micrometres per pixel (mpp), expected 20x" in rows[1].fault
    (new / "a.h5").unlink()
    with pytest.raises(FeatureFileError, match="1 of 1 files"):
        check_feature_files(slides[1:], None, wanted, sha256_of)


def test_new_slides_are_of_one_kind_where_the_model_states_none(tmp_path: Path) -> None:
    for i in range(3):
        write(tmp_path / f"s{i}.h5", AT_20X if i else AT_10X)
    slides = find_slides(FeaturesSpec(folder=tmp_path), None, "PATIENT")
    rows = check_feature_files(slides, None, FeatureInput("", 4), sha256_of).rows
    assert [row.slide_id for row in rows if row.failed] == ["s0"]
    with pytest.raises(FeatureFileError, match="equally common"):
        check_feature_files(slides[:2], None, FeatureInput("", 4), sha256_of)
