"""Every way in which slides are broken: one clear line each, exit code 1, the others done."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from crosstype.cli.app import main
from crosstype.features.store import read_feature_rows

from .fake_slides import damage_tile, tissue_pixels, write_png, write_svs

BROKEN = {
    "black": "the slide is black",
    "blank": "the slide is",
    "half": "the JPEG tile there is damaged",
    "no mpp": "no micrometres per pixel",
    "small": "is smaller than a tile",
    "text": "neither a slide nor an image",
    "truncated": "the file is cut off",
    "truncated tiff": "the file is cut off",
    "truncated head": "the image is damaged",
    "white": "the slide is",
    "zero": "the file is empty",
    "zero mpp": "0 micrometres per pixel",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("broken") / "slides"
    folder.mkdir()
    pixels = tissue_pixels(1)
    whole = write_svs(folder / "whole.svs", pixels).read_bytes()
    write_svs(folder / "another.svs", tissue_pixels(2, 1100, 1300))
    for name in ("truncated.svs", "truncated tiff.tif"):
        (folder / name).write_bytes(whole[: len(whole) * 6 // 10])
    (folder / "truncated head.svs").write_bytes(whole[:200])
    shutil.copy(folder / "whole.svs", folder / "half.svs")
    for column in range(6):
        for row in range(column % 2, 6, 2):
            damage_tile(folder / "half.svs", column, row)
    (folder / "text.svs").write_text("not a slide\n")
    (folder / "zero.svs").write_bytes(b"")
    rng = np.random.default_rng(0)
    paper = np.clip(rng.normal(243, 2, pixels.shape), 0, 255).astype(np.uint8)
    write_svs(folder / "blank.svs", paper)
    write_svs(folder / "white.svs", np.full_like(pixels, 255))
    write_svs(folder / "black.svs", np.zeros_like(pixels))
    write_svs(folder / "small.svs", pixels[600:850, 600:850])
    write_svs(folder / "no mpp.svs", pixels, mpp=None)
    write_svs(folder / "zero mpp.svs", pixels, mpp=0.0)
    return folder


def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object
) -> tuple[int, str]:
    monkeypatch.setattr("sys.argv", ["crosstype", *map(str, words)])
    monkeypatch.setattr("sys.excepthook", lambda *_: None)
    with pytest.raises(SystemExit) as left:
        main()
    return int(str(left.value.code or 0)), capsys.readouterr().err


def test_each_is_one_line_and_the_others_are_done(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = tmp_path / "c.toml"
    config.write_text(f'[slides]\nfolder = "{folder}"\n[features]\nencoder = "colour_texture"\n')
    out = tmp_path / "out"
    for _ in range(2):  # the second time from what the first left
        code, errors = call(monkeypatch, capsys, "features", config, "--out", out)
        assert code == 1
        rows = {row.slide_id: row for row in read_feature_rows(out / "features.csv")}
        assert set(rows) == {*BROKEN, "whole", "another"}
        for name, words in BROKEN.items():
            fault = rows[name].fault
            assert words in fault, (name, fault)
            assert name in fault
            assert fault.endswith(".")
            assert "\n" not in fault
            assert len(fault) < 320
            assert (rows[name].n_tiles, rows[name].sha256) == (0, "")
            file, _, found = fault.partition(": ")
            lines = [line for line in errors.split("Skipped: ")[1:] if found in line]
            assert len(lines) == 1  # files of one fault stand in one line
            assert file in lines[0].partition(": ")[0]
        for name in ("whole", "another"):
            assert rows[name].fault == ""
            assert rows[name].n_tiles > 4
        files = [p.name for p in (out / "features").rglob("*") if p.is_file()]
        assert sorted(files) == ["another.h5", "whole.h5"]


def test_zip_that_leads_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(tmp_path / "tiles.zip", "w") as file:
        file.writestr("S1/S1_(0,0).jpg", b"")
        file.writestr("../x", b"")
    config = tmp_path / "c.toml"
    config.write_text('[slides]\nfolder = "tiles.zip"\n[features]\nencoder = "colour_texture"\n')
    code, errors = call(monkeypatch, capsys, "features", config, "--out", tmp_path / "out")
    assert code == 1
    (line,) = errors.strip().splitlines()
    assert line.startswith("Error: tiles.zip: entry '../x' leads out of the zip.")
    assert not (tmp_path / "x").exists()


def test_damaged_cut_tiles_fail_their_slide_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for slide in ("S1", "S2"):
        (tmp_path / "tiles" / slide).mkdir(parents=True)
        for x in (0, 256, 512):
            path = tmp_path / "tiles" / slide / f"{slide}_({x},0).png"
            write_png(path, tissue_pixels(x, 256, 256))
    bad = tmp_path / "tiles" / "S2" / "S2_(256,0).png"
    bad.write_bytes(bad.read_bytes()[:5000])
    config = tmp_path / "c.toml"
    config.write_text('[slides]\nfolder = "tiles"\n[features]\nencoder = "colour_texture"\n')
    code, errors = call(monkeypatch, capsys, "features", config, "--out", tmp_path / "out")
    assert code == 1
    rows = read_feature_rows(tmp_path / "out" / "features.csv")
    assert [row.n_tiles for row in rows] == [3, 0]
    assert "S2_(256,0).png: the tile is damaged" in rows[1].fault
    assert rows[1].fault in errors
