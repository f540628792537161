"""What the features stage says of all slides: in one line for each kind."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from crosstype.config.run_spec import RunSpec
from crosstype.features.formats.convert import read_slide
from crosstype.features.formats.open import write_features
from crosstype.features.slide_notes import row_notes
from crosstype.features.spec import FeaturesSpec
from crosstype.features.store import FeatureRow, find_slides, inspect_slides, read_bag
from crosstype.io.files import HashCache, sha256_of
from crosstype.workflow.features import features_stage
from crosstype.workflow.stage import Run

DX, TS = "TCGA-A2-0001-01Z-00-DX1.A", "TCGA-A2-0001-01A-01-TSA.B"


def bag(seed: int, n_tiles: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n_tiles, 4)).astype(np.float32)


def rows_of(folder: Path) -> list[FeatureRow]:
    spec = FeaturesSpec(folder=folder)
    return inspect_slides(find_slides(spec, None, "PATIENT"), spec, sha256_of)


@pytest.mark.parametrize("axes", ["batch", "plain"])
def test_a_batch_of_one_bag_is_read_as_the_bag(tmp_path: Path, axes: str) -> None:
    features, xy = bag(0), np.arange(80).reshape(40, 2)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["features"] = features[None] if axes == "batch" else features
        file["coords"] = xy[None] if axes == "batch" else xy
        file["coords"].attrs.update({"patch_size": 256, "patch_size_level0": 256})
    path = tmp_path / "a.h5"
    (row,) = rows_of(tmp_path)
    assert (row.n_tiles, row.n_features, row.fault) == (40, 4, "")
    np.testing.assert_array_equal(read_bag([path]), features)
    for some in ([3], list(range(0, 40, 2)), [7, 0, 7]):
        np.testing.assert_array_equal(read_bag([path], np.array(some)), features[some])
    read = read_slide(path, lambda *_: 0.5)
    np.testing.assert_array_equal(read.tile_xy_px, xy)
    np.testing.assert_array_equal(read.features, features)


def test_tensors_may_be_batches_too(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save(torch.from_numpy(bag(0)[None]), tmp_path / "a.pt")
    torch.save({"feats": torch.from_numpy(bag(1))[None].half()}, tmp_path / "b.pt")
    assert [row.n_tiles for row in rows_of(tmp_path)] == [40, 40]
    np.testing.assert_array_equal(read_bag([tmp_path / "a.pt"], np.array([2])), bag(0)[[2]])


def test_a_fault_of_all_slides_is_one_line_before_the_cohort(tmp_path: Path) -> None:
    for i in range(9):
        with h5py.File(tmp_path / f"s{i}.h5", "w") as file:
            file["features"] = np.zeros((5 + i, 1, 4))
    run = Run(RunSpec(features=FeaturesSpec(folder=tmp_path)), tmp_path)
    notes = features_stage(run, HashCache(tmp_path / "sha256.json")).run()
    (line,) = notes["messages"]
    assert line.startswith("9 of 9 slides cannot be used: s0.h5: features of shape (5, 1, 4).")
    assert notes["checks"] == [line]
    assert len(notes["faults"]) == 9


def test_kinds_of_faults_are_at_most_five_lines() -> None:
    faults = [f"s{i}.h5: {'x' * (1 + i // 2)} at tile {i}. Do." for i in range(20)]
    rows = [FeatureRow(f"s{i}", "p", 0, 0, "", "", one) for i, one in enumerate(faults)]
    notes = row_notes(rows)
    assert len(notes) == 5
    assert notes[0].startswith("2 of 20 slides cannot be used: s0.h5: x at tile 0.")
    assert notes[4] == "12 more have other faults, see features.csv."


def test_identical_files_of_a_patient_are_one_slide(tmp_path: Path) -> None:
    for name, seed in ((DX, 0), (TS, 1), ("p", 2), ("q", 2)):
        write_features(tmp_path / f"{name}.h5", bag(seed))
    shutil.copy(tmp_path / f"{DX}.h5", tmp_path / f"{DX} (1).h5")
    write_features(tmp_path / f"{TS} (1).h5", bag(3))
    rows = rows_of(tmp_path)
    assert [(row.slide_id, row.fault) for row in rows if row.fault] == [
        (f"{DX} (1)", f"the same file as {DX}")
    ]
    assert not any(row.failed for row in rows)
    notes = row_notes(rows)
    assert "1 of 6 slides are copies" in notes[0]
    assert notes[1].startswith(
        f"1 slides are named like copies and have other contents, first {TS}"
    )
    assert "2 feature files are identical to one of another patient" in notes[2]
    assert notes[3].startswith("2 frozen sections (TS, MS, BS) are among 2 diagnostic slides (DX)")


def test_of_identical_slides_the_diagnostic_one_is_kept(tmp_path: Path) -> None:
    for name in (DX, TS):
        write_features(tmp_path / f"{name}.h5", bag(0))
    assert [row.slide_id for row in rows_of(tmp_path) if row.fault] == [TS]


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (["TCGA-A2-0001-01A-01-BS1", "TCGA-A2-0001-01A-02-MSA", DX], "2 frozen .* 1 diagnostic"),
        ([DX, "TCGA-A2-0001-01Z-00-DX2"], ""),
        ([TS, "TCGA-A2-0002-01A-01-TSA"], ""),
        (["TS1", "DX1"], ""),
        ([DX, TS.lower()], "1 frozen .* 1 diagnostic"),
        ([DX, "TCGA-A2-0001-01A-01-RSA"], ""),
    ],
)
def test_mixed_sections_are_counted(ids: list[str], said: str) -> None:
    rows = [FeatureRow(one, "p", 1, 4, "e", one, "") for one in ids]
    notes = row_notes(rows)
    assert len(notes) == bool(said)
    for note in notes:
        assert [word in note for word in said.split(" .* ")] == [True] * 2


def test_files_without_an_encoder_are_said_to_be_the_others() -> None:
    rows = [FeatureRow(one, "p", 1, 4, name, one, "") for one, name in (("a", "uni"), ("b", ""))]
    (note,) = row_notes(rows)
    assert note.startswith(
        "1 of 2 feature files state no encoder, first b; they are taken for 'uni'"
    )
