"""Features travel to TRIDENT, CLAM and STAMP and back: equal, at the same place, nothing silent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from crosstype.cli.app import main
from crosstype.errors import FeatureFileError, SlideError, UsageError
from crosstype.features.formats.convert import convert_features
from crosstype.features.formats.open import read_attributes
from crosstype.features.formats.writer import writing_features
from crosstype.features.store import find_slides, inspect_slides, read_bag
from crosstype.io.files import sha256_of

from .fake_slides import recipe_of

MPP = 0.2528
RNG = np.random.default_rng(3)
PLACES = np.stack([RNG.integers(0, 200_000, 300), RNG.integers(0, 90_000, 300)], axis=1)
FEATURES = RNG.normal(size=(300, 12)).astype(np.float16).astype(np.float32)
NAMES = ("A slide.1", "TCGA-A2-A04P-01Z")


def write_ours(folder: Path, names: tuple[str, ...] = NAMES, **changes: Any) -> Path:
    known: dict[str, Any] = {
        "encoder": "resnet50", "tile_size_px": 256, "mpp": 0.5, "slide_mpp": MPP,
        "footprint_px": 512.0, "overlap_px": 0,
    }  # fmt: skip
    known = {key: value for key, value in (known | changes).items() if value is not None}
    for name in names:
        with writing_features(folder / f"{name}.h5", {"slide_id": name, **known}, 300) as writer:
            writer.append(PLACES, FEATURES)
    return folder


def contents(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    with h5py.File(path) as file:
        about = read_attributes(file.attrs)
        for name in file:
            about |= {f"{name}.{key}": value for key, value in file[name].attrs.items()}
        return {name: file[name][:] for name in file}, about


@pytest.mark.parametrize("layout", ["trident", "clam", "stamp", "crosstype"])
def test_there_and_back(tmp_path: Path, layout: Any) -> None:
    ours = write_ours(tmp_path / "ours")
    there = convert_features(ours, tmp_path / "there", layout)
    back = convert_features(tmp_path / "there", tmp_path / "back", "crosstype")
    assert (there.n_files, there.faults, back.n_files, back.faults) == (2, [], 2, [])
    for name in NAMES:
        before, about_before = contents(ours / f"{name}.h5")
        after, about_after = contents(tmp_path / "back" / f"{name}.h5")
        assert np.array_equal(after["features"], before["features"])
        assert np.array_equal(after["tile_xy_px"], before["tile_xy_px"])
        assert about_after["slide_id"] == name
        if layout != "clam":
            assert about_after["encoder"] == "resnet50"
            assert about_after["slide_mpp"] == pytest.approx(MPP)
            assert about_after["footprint_px"] == pytest.approx(512)
            assert about_after["mpp"] == pytest.approx(512 * MPP / 256)
            assert about_after["tile_size_px"] == about_before["tile_size_px"]
    if layout == "clam":
        assert any("no field for encoder, mpp and tile size (2 of 2" in n for n in there.notes)
        assert any("encoder, tile_size_px, mpp" in note for note in back.notes)


@pytest.mark.parametrize("layout", ["trident", "clam", "stamp"])
def test_what_is_written_can_be_run_on(tmp_path: Path, layout: Any) -> None:
    convert_features(write_ours(tmp_path / "ours"), tmp_path / "there", layout)
    folder = {"trident": tmp_path / "there" / "features_resnet50"}.get(layout, tmp_path / "there")
    spec = recipe_of(features={"folder": folder}).features
    found = find_slides(spec, None, "PATIENT")
    rows = inspect_slides(found, spec, sha256_of)
    assert [(row.slide_id, row.n_tiles, row.fault) for row in rows] == [(n, 300, "") for n in NAMES]
    assert np.array_equal(read_bag([found[0][2]]), FEATURES)


def test_trident_as_its_readers_expect(tmp_path: Path) -> None:
    done = convert_features(write_ours(tmp_path / "ours"), tmp_path / "job", "trident")
    data, about = contents(tmp_path / "job" / "features_resnet50" / "A slide.1.h5")
    assert data["coords"].dtype == np.int64
    assert np.array_equal(data["coords"], PLACES)
    wanted = {
        "patch_size": 256, "patch_size_level0": 512, "level0_magnification": 40,
        "target_magnification": 20, "overlap": 0, "name": "A slide.1", "level0_width": "None",
        "level0_height": "None",
    }  # fmt: skip
    assert {key: about[f"coords.{key}"] for key in wanted} == wanted
    assert about["features.encoder"] == "resnet50"
    patches, _ = contents(tmp_path / "job" / "patches" / "A slide.1_patches.h5")
    assert list(patches) == ["coords"]
    assert any("level0_width, level0_height (2 of 2 files)" in note for note in done.notes)


def test_clam_as_its_readers_expect(tmp_path: Path) -> None:
    convert_features(write_ours(tmp_path / "ours"), tmp_path / "clam", "clam")
    data, about = contents(tmp_path / "clam" / "h5_files" / "A slide.1.h5")
    assert about == {}
    assert (data["features"].dtype, data["coords"].dtype) == (np.float32, np.int32)
    bag = torch.load(tmp_path / "clam" / "pt_files" / "A slide.1.pt", weights_only=True)
    assert torch.equal(bag, torch.from_numpy(FEATURES))


def test_stamp_is_in_micrometres_of_the_real_mpp(tmp_path: Path) -> None:
    convert_features(write_ours(tmp_path / "ours"), tmp_path / "stamp", "stamp")
    data, about = contents(tmp_path / "stamp" / "A slide.1.h5")
    assert (data["feats"].dtype, data["coords"].dtype) == (np.float16, np.float32)
    assert np.abs(data["coords"] / MPP - PLACES).max() < 0.02  # float32 of 50 mm
    assert (about["unit"], about["feat_type"], about["extractor"]) == ("um", "tile", "resnet50")
    assert about["tile_size_um"] == pytest.approx(512 * MPP)
    assert about["tile_size_px"] == 256


@pytest.mark.parametrize("layout", ["trident", "stamp"])
def test_missing_mpp_is_an_error_and_can_be_given(tmp_path: Path, layout: Any) -> None:
    ours = write_ours(tmp_path / "ours", slide_mpp=None, mpp=float("nan"))
    done = convert_features(ours, tmp_path / "out", layout)
    assert done.n_files == 0
    assert len(done.faults) == 2
    assert "the slide's micrometres per pixel (mpp) are unknown" in done.faults[0]
    assert "--mpp, or in the column MPP of --slides-table" in done.faults[0]
    assert convert_features(ours, tmp_path / "out", layout, mpp=0.25).n_files == 2
    table = tmp_path / "slides.csv"
    table.write_text("PATIENT,FILENAME,MPP\nA,A slide.1.svs,0.5\nB,TCGA-A2-A04P-01Z.svs,\n")
    done = convert_features(ours, tmp_path / "out", "stamp", slides_table=table)
    assert (done.n_files, len(done.faults)) == (1, 1)
    data, _ = contents(tmp_path / "out" / "A slide.1.h5")
    assert np.allclose(data["coords"], PLACES * 0.5)


def test_stamps_own_files_need_an_mpp(tmp_path: Path) -> None:
    (tmp_path / "stamp").mkdir()
    path = tmp_path / "stamp" / "S.h5"
    with h5py.File(path, "w") as file:
        file["feats"], file["coords"] = FEATURES.astype(np.float16), PLACES * 0.31 + 0.05
        file.attrs.update({"unit": "um", "tile_size_um": 256.0, "tile_size_px": 224})
    (fault,) = convert_features(path, tmp_path / "out", "crosstype").faults
    assert "micrometres per pixel" in fault
    done = convert_features(path, tmp_path / "out", "crosstype", mpp=0.31)
    assert any("rounded to whole level-0 pixels" in note for note in done.notes)
    data, about = contents(tmp_path / "out" / "S.h5")
    assert np.array_equal(data["tile_xy_px"], PLACES)
    assert about["mpp"] == pytest.approx(256 / 224)
    with h5py.File(path, "r+") as file:
        del file.attrs["unit"]
    (fault,) = convert_features(path, tmp_path / "out", "crosstype", mpp=0.31).faults
    assert "unit None" in fault


def test_tridents_own_files(tmp_path: Path) -> None:
    folder = tmp_path / "job" / "features_uni"
    folder.mkdir(parents=True)
    with h5py.File(folder / "S.h5", "w") as file:
        file["features"], file["coords"] = FEATURES, PLACES
        file["features"].attrs["encoder"] = "uni"
        about = {"patch_size": 256, "patch_size_level0": 512, "overlap": 32, "level0_width": "None"}
        file["coords"].attrs.update(about)
    done = convert_features(tmp_path / "job", tmp_path / "out", "crosstype")
    assert "not known, left blank: mpp, slide_mpp (1 of 1 files)" in done.notes
    data, attributes = contents(tmp_path / "out" / "S.h5")
    assert np.array_equal(data["tile_xy_px"], PLACES)
    wanted = {"encoder": "uni", "tile_size_px": 256, "footprint_px": 512, "overlap_px": 32}
    assert {key: attributes[key] for key in wanted} == wanted


def test_what_is_lost_is_noted(tmp_path: Path) -> None:
    about = {"slide_sha256": "0", "transform": "{}"}
    with writing_features(tmp_path / "in" / "S.h5", {"slide_id": "S", **about}, 300) as writer:
        exact = FEATURES + np.float32(1e-5)
        writer.append(PLACES, exact, np.stack([exact, exact]))
    done = convert_features(tmp_path / "in", tmp_path / "out", "stamp", mpp=0.5)
    text = "\n".join(done.notes)
    assert "no field for it: slide_sha256, transform, views" in text
    assert "features are rounded to 16 bits" in text
    assert "left blank: tile_size_um, tile_size_px" in text


def test_bad_files_are_listed_and_the_rest_goes_on(tmp_path: Path) -> None:
    ours = write_ours(tmp_path / "ours")
    (ours / "broken.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    torch.save(torch.from_numpy(FEATURES), ours / "bare.pt")
    with h5py.File(ours / "twisted.h5", "w") as file:
        file["features"], file["coords"] = FEATURES, PLACES[:-1]
    with h5py.File(ours / "nan.h5", "w") as file:
        file["features"] = FEATURES * np.nan
    with h5py.File(ours / "large.h5", "w") as file:
        file["features"], file["coords"] = FEATURES * 1e6, PLACES
    done = convert_features(ours, tmp_path / "out", "stamp", mpp=0.5)
    assert done.n_files == 2
    said = [
        "bare: the file holds no coordinates",
        "broken.h5: cannot be read",
        "16 bits end at 65504",
        "nan.h5: NaN or infinite features",
        "coordinates of shape (299, 2) for 300 tiles",
    ]
    for words, fault in zip(said, done.faults, strict=True):
        assert words in fault
        assert "\n" not in fault


def test_usage(tmp_path: Path) -> None:
    ours = write_ours(tmp_path / "ours")
    with pytest.raises(UsageError, match="Name another folder"):
        convert_features(ours, ours, "stamp")
    with pytest.raises(SlideError, match="outside"):
        convert_features(ours, tmp_path / "out", "stamp", mpp=0.0)
    for missing in (tmp_path / "none", tmp_path):
        with pytest.raises(FeatureFileError):
            convert_features(missing, tmp_path / "out", "stamp")
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(FeatureFileError, match=r"not a \.h5 or \.pt file"):
        convert_features(tmp_path / "a.txt", tmp_path / "out", "stamp")
    for name in ("a", "b"):
        write_ours(tmp_path / "job" / f"features_{name}")
    with pytest.raises(FeatureFileError, match="several encoders: features_a, features_b"):
        convert_features(tmp_path / "job", tmp_path / "out", "stamp")


def test_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = write_ours(tmp_path / "ours")

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["crosstype", "convert", *map(str, words)])
        with monkeypatch.context() as patch, pytest.raises(SystemExit) as left:
            patch.setattr("sys.excepthook", lambda *_: None)
            main()
        said = capsys.readouterr()
        return int(str(left.value.code or 0)), said.out, said.err

    code, out, err = call(ours, tmp_path / "out", "--to", "clam")
    assert (code, out) == (0, f"2 feature files in {tmp_path / 'out'}\n")
    assert "Note: CLAM has no field for encoder, mpp and tile size (2 of 2 files).\n" in err
    (ours / "broken.h5").write_bytes(b"no")
    code, _, err = call(ours, tmp_path / "out", "--to", "trident")
    assert code == 1
    assert "Skipped: broken.h5: " in err
    code, _, err = call(ours, tmp_path / "out", "--to", "camelyon")
    assert code == 2
    assert err == (
        "Error: --to: found 'camelyon', expected one of trident, clam, stamp, crosstype.\n"
    )
