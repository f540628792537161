"""Features of another kind than a model's are recognised from their files."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from crosstype.errors import ConfigError, FeatureFileError
from crosstype.features.compatibility import (
    check_feature_files,
    feature_input_of,
    find_new_slides,
)
from crosstype.features.formats.open import write_features
from crosstype.features.tile_kind import FeatureInput, difference, stated_by
from crosstype.io.files import sha256_of

WANTED = FeatureInput("uni", 6, "abc", '{"mean": 0}', 256.0, 0.5)


def write(path: Path, n_features: int = 6, **stated: str | int | float) -> Path:
    write_features(path, np.ones((3, n_features), dtype=np.float32), attributes=stated)
    return path


@pytest.mark.parametrize(
    ("stated", "word"),
    [
        ({}, ""),
        ({"encoder": "uni", "mpp": 0.505, "tile_size_px": 256, "transform": '{"mean": 0}'}, ""),
        ({"encoder": "conch"}, "encoder 'conch', expected 'uni'"),
        ({"n_features": 7}, "features per tile 7, expected 6"),
        ({"tile_size_px": 224}, "tile size in pixels 224, expected 256"),
        ({"mpp": 0.25}, "0.25 micrometres per pixel (mpp), expected 0.5"),
        ({"transform": '{"mean": 1}'}, "transform"),
        ({"weights_sha256": "abd"}, "weights"),
    ],
)
def test_what_both_state_must_agree(tmp_path: Path, stated: dict[str, object], word: str) -> None:
    path = write(tmp_path / "a.h5", **stated)  # type: ignore[arg-type]
    n_features = int(str(stated.get("n_features", 6)))
    found = FeatureInput(str(stated.get("encoder", "")), n_features, **stated_by(path))
    said = difference(found, WANTED)
    assert word in said
    assert bool(said) == bool(word)


def test_stamps_micrometres_and_tridents_patch_size_are_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "stamp.h5", "w") as file:
        file["feats"], file["coords"] = np.ones((2, 6)), np.ones((2, 2))
        file.attrs.update({"tile_size_um": 256.0, "tile_size_px": 224, "extractor": "uni"})
    stated = stated_by(tmp_path / "stamp.h5")
    assert stated["tile_size_px"] == 224
    assert stated["mpp"] == pytest.approx(256 / 224)
    with h5py.File(tmp_path / "trident.h5", "w") as file:
        file["features"], file["coords"] = np.ones((2, 6)), np.ones((2, 2))
        file["coords"].attrs["patch_size"] = 512
    assert stated_by(tmp_path / "trident.h5") == {"tile_size_px": 512.0}


def test_a_model_keeps_what_all_its_files_state_alike(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{i}.h5", mpp=0.5, tile_size_px=256 + i) for i in range(2)]
    assert feature_input_of("uni", 6, paths) == FeatureInput("uni", 6, mpp=0.5)


def test_one_file_or_a_folder(tmp_path: Path) -> None:
    path = write(tmp_path / "TCGA-A2-0001-01Z x.h5", encoder="uni")
    assert find_new_slides(path, None).slides == [("TCGA-A2-0001-01Z x", "TCGA-A2-0001", path)]
    assert find_new_slides(tmp_path, None) == find_new_slides(path, None)
    (tmp_path / "slides.csv").write_text("PATIENT,FILENAME\nme,TCGA-A2-0001-01Z x.svs\n")
    assert find_new_slides(path, tmp_path / "slides.csv").slides[0][1] == "me"
    for wrong in (tmp_path / "absent.h5", tmp_path / "slides.csv"):
        with pytest.raises(ConfigError, match="expected a folder of feature files"):
            find_new_slides(wrong, None)


def test_files_that_name_no_encoder_need_a_word_of_the_user(tmp_path: Path) -> None:
    slides = find_new_slides(write(tmp_path / "a.h5"), None).slides
    with pytest.raises(ConfigError, match="give --encoder uni"):
        check_feature_files(slides, None, WANTED, sha256_of)
    assert not check_feature_files(slides, "uni", WANTED, sha256_of).rows[0].fault
    with pytest.raises(ConfigError, match="found 'conch', expected 'uni'"):
        check_feature_files(slides, "conch", WANTED, sha256_of)


def test_a_file_of_another_kind_is_left_out_and_all_of_them_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", encoder="uni")
    write(tmp_path / "b.h5", encoder="conch")
    write(tmp_path / "c.h5", 7, encoder="conch")
    rows = check_feature_files(find_new_slides(tmp_path, None).slides, None, WANTED, sha256_of).rows
    assert [bool(row.fault) for row in rows] == [False, True, True]
    (tmp_path / "a.h5").unlink()
    with pytest.raises(FeatureFileError, match=r"found encoder 'conch'.*2 of 2 files"):
        check_feature_files(find_new_slides(tmp_path, None).slides, None, WANTED, sha256_of)
