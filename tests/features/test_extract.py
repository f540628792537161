"""Slides become features: the same for any number of workers, resumed, nothing damaged inside."""

from __future__ import annotations

import errno
import shutil
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from crosstype.config.read import read_config
from crosstype.errors import FeatureFileError, SlideError
from crosstype.features import tile_batches as pixels_module
from crosstype.features.extract import hash_of_recipe
from crosstype.features.formats.open import read_attributes, read_views
from crosstype.features.formats.writer import FeatureWriter, writing_features
from crosstype.features.store import inspect_slides, read_bag
from crosstype.features.tile_batches import AHEAD
from crosstype.io.files import sha256_of
from crosstype.progress import NoProgress
from crosstype.slides.open import open_slide
from crosstype.workflow.pipeline import run
from crosstype.workflow.stage import Run

from .fake_slides import (
    FakeEncoder,
    damage_tile,
    extract,
    recipe_of,
    tissue_pixels,
    write_png,
    write_svs,
)

SVS, PNG = "A slide.svs", "B.png"


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two slides to look at, not to change: a tiled TIFF that states its mpp, and a picture."""
    folder = tmp_path_factory.mktemp("slides")
    write_svs(folder / SVS, tissue_pixels(1))
    write_png(folder / PNG, tissue_pixels(2, 1100, 1300))
    return folder


@pytest.fixture
def svs(slides: Path, tmp_path: Path) -> Path:
    """A copy of the tiled TIFF, in a folder of its own."""
    (tmp_path / "own").mkdir()
    return Path(shutil.copy(slides / SVS, tmp_path / "own" / SVS))


class Listener:
    def __init__(self) -> None:
        self.said: list[str] = []

    def start(self, stage: str, total: int, done: int = 0) -> None:
        pass

    def step(self, piece: str) -> None:
        self.said.append(piece)

    message = step


def stored(out: Path, slide: str = "A slide", encoder: str = "fake") -> dict[str, Any]:
    with h5py.File(out / "features" / encoder / f"{slide}.h5") as file:
        return {name: file[name][:] for name in file} | read_attributes(file.attrs)


# ---- the numbers


def test_number_of_readers_changes_no_byte(slides: Path, tmp_path: Path) -> None:
    views = {"n_views": 2}
    for n_readers in (1, 4):
        parts = {"features": {"n_readers": n_readers, "batch_size": 6}, "augmentation": views}
        rows = extract(slides, tmp_path / str(n_readers), mpp=0.5, **parts)
        assert [row.fault for row in rows] == ["", ""]
    for name in ("A slide.h5", "B.h5"):
        one, four = (tmp_path / n / "features" / "fake" / name for n in ("1", "4"))
        assert one.read_bytes() == four.read_bytes()


def test_batches_change_no_number(slides: Path, tmp_path: Path) -> None:
    for size in (1, 3, 64):
        extract(slides, tmp_path / str(size), mpp=0.5, features={"batch_size": size})
    first = stored(tmp_path / "1")
    for size in ("3", "64"):
        assert np.array_equal(stored(tmp_path / size)["features"], first["features"])


def test_features_are_those_of_the_tiles_read_by_hand_row_by_row(
    slides: Path, tmp_path: Path
) -> None:
    rows = extract(slides, tmp_path, mpp=0.5)
    found = stored(tmp_path)
    places = found["tile_xy_px"]
    assert places.dtype == np.int32
    assert [tuple(place) for place in places] == sorted(map(tuple, places), key=lambda p: p[::-1])
    assert len(places) == rows[0].n_tiles > 8
    with open_slide(slides / SVS) as slide:
        tiles = np.stack([slide.read_region(int(x), int(y), 256, 0.5) for x, y in places])
    assert np.array_equal(found["features"], FakeEncoder().encode(tiles))


def test_what_made_it_is_inside(slides: Path, tmp_path: Path) -> None:
    encoder = FakeEncoder()
    extract(slides, tmp_path, encoder, mpp=0.25)
    found = stored(tmp_path)
    assert found["slide_sha256"] == sha256_of(slides / SVS)
    assert found["spec_hash"] == hash_of_recipe(recipe_of(slides, 0.25), encoder, None)
    assert (found["format"], found["version"], found["slide_id"]) == ("crosstype", 1, "A slide")
    assert (found["encoder"], found["weights_sha256"]) == ("fake", "0" * 64)
    assert found["transform"] == encoder.transform
    scales = [found[key] for key in ("tile_size_px", "mpp", "slide_mpp", "footprint_px")]
    assert scales == [256, 0.5, 0.5, 256]
    # The picture states no mpp: 0.25 holds for it, so a tile covers 512 of its pixels.
    assert stored(tmp_path, "B")["slide_mpp"] == 0.25
    assert stored(tmp_path, "B")["footprint_px"] == 512
    with h5py.File(tmp_path / "features" / "fake" / "A slide.h5") as file:
        assert all(file[name].fletcher32 for name in file)


# ---- views


@pytest.mark.parametrize("mpp", [0.5, 0.7])
def test_views_are_drawn_deterministically_and_leave_the_plain_features(
    slides: Path, tmp_path: Path, mpp: float
) -> None:
    kept = {}
    for n_views in (0, 2, 3):
        out = tmp_path / str(n_views)
        parts = {"augmentation": {"n_views": n_views}, "tiles": {"n_tiles": 6, "mpp": mpp}}
        extract(slides, out, mpp=0.5, **parts)
        kept[n_views] = stored(out)
    plain, two, three = (kept[n] for n in (0, 2, 3))
    assert "views" not in plain
    assert three["views"].shape == (3, 6, 6)
    assert np.array_equal(two["features"], plain["features"])
    assert np.array_equal(three["features"], plain["features"])
    assert np.array_equal(three["views"][:2], two["views"])  # a view does not depend on others
    differences = np.abs(three["views"][:, None] - three["views"][None]).max(axis=(2, 3))
    assert (differences[np.triu_indices(3, 1)] > 0.1).all()
    views = read_views(tmp_path / "3" / "features" / "fake" / "A slide.h5")
    assert views is not None
    assert np.array_equal(views, three["views"])


# ---- resume


def test_what_is_done_is_not_done_again(slides: Path, tmp_path: Path) -> None:
    encoder = FakeEncoder()
    first = extract(slides, tmp_path, encoder, mpp=0.5)
    n_encoded = encoder.n_encoded
    assert extract(slides, tmp_path, encoder, mpp=0.5) == first
    assert encoder.n_encoded == n_encoded > 0
    extract(slides, tmp_path, encoder, mpp=0.5, features={"n_readers": 3, "batch_size": 9})
    assert encoder.n_encoded == n_encoded


def test_whatever_changes_features_makes_them_anew(svs: Path, tmp_path: Path) -> None:
    def n_encoded(encoder: FakeEncoder | None = None, **parts: Any) -> int:
        encoder = encoder or FakeEncoder()
        extract(svs.parent, tmp_path / "out", encoder, **parts)
        return encoder.n_encoded

    assert n_encoded() > 0
    assert n_encoded() == 0
    changes: list[dict[str, Any]] = [
        {"encoder": FakeEncoder(weights="1" * 64)},
        {"tiles": {"n_tiles": 3}},
        {"tiles": {"n_tiles": 3, "seed": 1}},
        {"stain": {"method": "reinhard"}},
        {"augmentation": {"n_views": 1}},
        {"features": {"damaged_tiles": "skip"}},
    ]
    for change in changes:
        encoder = change.pop("encoder", None) or FakeEncoder()
        assert n_encoded(encoder, **change) > 0, change
    assert n_encoded() > 0
    with svs.open("ab") as handle:
        handle.write(b"\0")
    assert n_encoded() > 0
    assert n_encoded() == 0


def test_a_stored_file_that_was_damaged_is_made_again(svs: Path, tmp_path: Path) -> None:
    extract(svs.parent, tmp_path / "out")
    path = tmp_path / "out" / "features" / "fake" / "A slide.h5"
    whole = path.read_bytes()
    with h5py.File(path) as file:
        place = file["tile_xy_px"].id.get_chunk_info(0).byte_offset
    for damaged in (whole[:-100], b"", whole[:place] + b"\xff\xff" + whole[place + 2 :]):
        path.write_bytes(damaged)
        assert [row.fault for row in extract(svs.parent, tmp_path / "out")] == [""]
        assert path.read_bytes() == whole


# ---- damage


@pytest.mark.parametrize("stain", ["none", "reinhard"])
def test_a_damaged_tile_fails_its_slide_or_is_left_out(
    svs: Path, tmp_path: Path, stain: str
) -> None:
    parts: dict[str, Any] = {"stain": {"method": stain}}
    extract(svs.parent, tmp_path / "whole", **parts)
    whole = stored(tmp_path / "whole")
    damage_tile(svs, 2, 2)
    (row,) = extract(svs.parent, tmp_path / "fail", **parts)
    assert (row.n_tiles, row.sha256) == (0, "")
    assert "512" in row.fault
    assert "\n" not in row.fault
    assert not list((tmp_path / "fail" / "features").rglob("*.h5"))
    listener = Listener()
    parts["features"] = {"damaged_tiles": "skip"}
    (row,) = extract(svs.parent, tmp_path / "skip", progress=listener, **parts)
    skipped = stored(tmp_path / "skip")
    is_kept = ~(whole["tile_xy_px"] == (512, 512)).all(axis=1)
    assert is_kept.sum() == len(is_kept) - 1 == row.n_tiles
    assert np.array_equal(skipped["tile_xy_px"], whole["tile_xy_px"][is_kept])
    if stain == "none":
        assert np.array_equal(skipped["features"], whole["features"][is_kept])
    assert skipped["damaged_tile_xy_px"].tolist() == [[512, 512]]
    words = "A slide: 1 damaged tiles were left out, the first at (512,512)"
    assert listener.said[0] == words
    extract(svs.parent, tmp_path / "skip", progress=listener, **parts)
    assert listener.said.count(words) == 2  # it is said of a finished slide too


def test_every_tile_damaged_is_a_fault(svs: Path, tmp_path: Path) -> None:
    for column in range(6):
        for row in range(6):
            damage_tile(svs, column, row)
    for stain in ("none", "macenko"):
        parts: dict[str, Any] = {"stain": {"method": stain}}
        (found,) = extract(svs.parent, tmp_path, features={"damaged_tiles": "skip"}, **parts)
        assert "damaged" in found.fault
        assert not list((tmp_path / "features").rglob("*.h5*"))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_no_number_that_is_none_is_written(slides: Path, tmp_path: Path, value: float) -> None:
    class Broken(FakeEncoder):
        def encode(self, tiles: np.ndarray) -> np.ndarray:
            features = super().encode(tiles)
            features[-1, 2] = value
            return features

    views = {"n_views": 1}
    for row in extract(slides, tmp_path, Broken(), mpp=0.5, augmentation=views):
        assert "the encoder gave NaN or infinite features" in row.fault
        assert "for the tile at (" in row.fault
        assert "\n" not in row.fault
    assert not [path for path in (tmp_path / "features").rglob("*") if path.is_file()]


def test_two_files_of_one_name_are_not_one_slide(slides: Path, tmp_path: Path) -> None:
    for name in ("S.png", "S.svs", "T.png"):
        shutil.copy(slides / PNG, tmp_path / name)
    with pytest.raises(SlideError, match=r"S\.svs: the same slide id as S\.png\. Rename"):
        extract(tmp_path, tmp_path / "out")


def test_a_zip_that_leads_out_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "tiles.zip", "w") as file:
        file.writestr("S1/S1_(0,0).jpg", b"")
        file.writestr("../x", b"")
    with pytest.raises(SlideError, match=r"entry '\.\./x' leads out of the zip"):
        extract(tmp_path / "tiles.zip", tmp_path / "out")


# ---- a full disk


def test_a_full_disk_is_an_error_without_partial_files(
    slides: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = FeatureWriter.append

    def full(self: FeatureWriter, *arguments: Any) -> None:
        if self._name == "A slide" and self.n_tiles:
            raise OSError(errno.ENOSPC, "No space left on device", "A slide.h5")
        whole(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(FeatureWriter, "append", full)
        with pytest.raises(FeatureFileError) as error:
            extract(slides, tmp_path, mpp=0.5)
    assert str(error.value).startswith(
        "A slide.h5: could not be written (No space left on device). Free space"
    )
    assert "\n" not in str(error.value)
    there = [path.name for path in (tmp_path / "features").rglob("*") if path.is_file()]
    assert there == ["B.h5"]
    assert [row.fault for row in extract(slides, tmp_path, mpp=0.5)] == ["", ""]


@pytest.mark.parametrize("room", [0, 100, 3000, 30_000, 400_000])
def test_hdf5_survives_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """HDF5 crashes the program if its last writes fail; the disk's failure is kept from it."""
    from crosstype.features.formats import writer

    class Full:
        def __init__(self, raw: Any) -> None:
            self.raw = raw

        def write(self, data: memoryview) -> int:
            if self.raw.tell() + len(data) > room:
                raise OSError(errno.ENOSPC, "No space left on device")
            return int(self.raw.write(data))

        def __getattr__(self, name: str) -> Any:
            return getattr(self.raw, name)

    disk = writer._Disk
    monkeypatch.setattr(writer, "_Disk", lambda raw: disk(Full(raw)))  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    with (
        pytest.raises(OSError, match="No space left on device") as error,
        writing_features(tmp_path / "a.h5", {}, 600) as file,
    ):
        for _ in range(6):
            values = rng.normal(size=(100, 250)).astype(np.float32)
            file.append(np.zeros((100, 2), np.int32), values, values[None])
    assert error.value.errno == errno.ENOSPC
    assert str(tmp_path / "a.h5") in str(error.value)
    assert not list(tmp_path.iterdir())


# ---- memory


def test_at_most_so_many_batches_are_in_memory(
    svs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    whole = pixels_module._pixels

    def counted(tiles: Any, index: int, *others: Any) -> Any:
        read.append(index)
        return whole(tiles, index, *others)

    class Watching(FakeEncoder):
        most_ahead = 0

        def encode(self, tiles: np.ndarray) -> np.ndarray:
            self.most_ahead = max(self.most_ahead, len(read) - self.n_encoded)
            return super().encode(tiles)

    monkeypatch.setattr(pixels_module, "_pixels", counted)
    encoder = Watching(delay=0.03)
    parts = {"features": {"batch_size": 2, "n_readers": 4}, "tiles": {"overlap_px": 128}}
    extract(svs.parent, tmp_path, encoder, **parts)
    assert len(read) == encoder.n_encoded > 30
    assert 2 < encoder.most_ahead <= 2 * AHEAD


def test_memory_does_not_grow_with_the_number_of_tiles(svs: Path, tmp_path: Path) -> None:
    peaks, counts = [], []
    for overlap_px in (64, 196):
        tracemalloc.start()
        rows = extract(svs.parent, tmp_path / str(overlap_px), tiles={"overlap_px": overlap_px})
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        counts.append(rows[0].n_tiles)
    assert counts[1] > 6 * counts[0]
    assert peaks[1] < 1.2 * peaks[0]


# ---- what is written can be read


def test_files_pass_inspection(slides: Path, tmp_path: Path) -> None:
    rows = extract(slides, tmp_path, mpp=0.5)
    folder = tmp_path / "features" / "fake"
    found = inspect_slides(
        [(row.slide_id, row.patient_id, folder / f"{row.slide_id}.h5") for row in rows],
        recipe_of().features,
        sha256_of,
    )
    assert found == rows
    assert read_bag([folder / "B.h5"]).shape == (rows[1].n_tiles, 6)


def test_coarse_slides_are_faults_and_copies_one_slide(svs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    write_svs(folder / "coarse.svs", tissue_pixels(1), mpp=5.0)
    for name in ("P1.svs", "P1 (1).svs"):
        shutil.copy(svs, folder / name)
    rows = extract(folder, tmp_path / "out")
    assert [row.patient_id for row in rows] == ["P1", "P1", "coarse"]
    faults = {row.slide_id: row.fault for row in rows}
    assert (faults["P1"], faults["P1 (1)"]) == ("", "the same file as P1")
    assert [row.slide_id for row in rows if row.failed] == ["coarse"]
    assert "5 micrometres per pixel (mpp), coarser than the 0.5" in faults["coarse"]


def test_enlarged_tiles_are_warned_of(tmp_path: Path) -> None:
    folder, said = tmp_path / "slides", []
    folder.mkdir()
    write_svs(folder / "a.svs", tissue_pixels(1), mpp=0.65)

    class Heard(NoProgress):
        def message(self, line: str) -> None:
            said.append(line)

    config = tmp_path / "c.toml"
    config.write_text(
        f'[slides]\nfolder = "{folder}"\n[tiles]\nn_tiles = 2\n'
        '[features]\nencoder = "colour_texture"\n'
    )
    run(Run(read_config(config), tmp_path / "out", progress=Heard()), "features")
    assert any("0.65 micrometres per pixel, coarser than the 0.5" in line for line in said)
    assert any("tiles are enlarged 1.3-fold" in line for line in said)
