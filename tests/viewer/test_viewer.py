"""The viewer: whoever has no token sees nothing, and nobody sees a file outside the run."""

from __future__ import annotations

import io
from pathlib import Path
from urllib.parse import quote

import numpy as np
import polars as pl
import pytest
from openslide import ImageSlide
from openslide.deepzoom import DeepZoomGenerator
from PIL import Image
from starlette.testclient import TestClient
from typer.testing import CliRunner

from crosstype.cli.app import app as cli
from crosstype.errors import FetchError, SlideError, UsageError
from crosstype.viewer.app import make_app
from crosstype.viewer.assets import fetch_assets, need_assets
from crosstype.viewer.deepzoom import OVERLAP_PX, TILE_PX, DeepZoom, ImagePyramid
from crosstype.viewer.run_data import RunData

from ..browsing import HOSTILE, QUOTED
from .conftest import TOKEN

pytestmark = pytest.mark.xdist_group("viewer")  # they share one extracted run


@pytest.fixture
def client(out: Path, tmp_path: Path) -> TestClient:
    """The application, by someone who has the token."""
    known = TestClient(make_app(out, TOKEN, tmp_path))
    known.get(f"/?token={TOKEN}")
    return known


def test_without_the_token_nothing_is_shown(out: Path, tmp_path: Path) -> None:
    stranger = TestClient(make_app(out, TOKEN, tmp_path))
    for path in ("/", "/api/run", "/static/viewer.js", "/api/slides/x", "/?token=other"):
        answer = stranger.get(path)
        assert answer.status_code == 403, path
        assert "token" in answer.text
    known = TestClient(make_app(out, TOKEN, tmp_path))
    first = known.get(f"/?token={TOKEN}")
    assert "samesite=strict" in first.headers["set-cookie"].lower()
    assert known.get("/api/run").status_code == 200  # by the cookie


def test_patients_slides_and_genes_are_those_of_the_run(client: TestClient, out: Path) -> None:
    found = client.get("/api/run").json()
    cohort = pl.read_csv(out / "cohort.csv")
    assert [one["id"] for one in found["patients"]] == cohort["patient_id"].to_list()
    patient = found["patients"][0]
    assert patient["probabilities"] == {HOSTILE: [0.25, 0.75], "image_only": [0.25, 0.75]}
    slide = client.get(f"/api/slides/{quote(patient['slides'][0], safe='')}").json()
    assert slide["size"]["width"] > 1000
    assert len(slide["tiles"]["xy_px"]) == 4
    assert slide["tiles"]["size_px"] == 256
    whole, second, heard, *sets = slide["maps"]
    assert (whole["model"], whole["shows"], whole["weight"]) == (HOSTILE, "attention", 0.25)
    assert (second["model"], second["weight"]) == ("image_only", 0.75)
    assert heard["shows"] == "contribution"
    assert heard["values"] == [-0.2, -0.1, 0.0, 0.1]
    assert [(one["token"], one["tiles"]) for one in sets] == [(QUOTED, [0]), ("HALLMARK", [1, 2])]
    assert slide["tissue"]
    genes = client.get(f"/api/patients/{quote(patient['id'], safe='')}/genes").json()
    assert abs(genes[0]["z"]) >= abs(genes[-1]["z"])
    named = client.get(
        f"/api/patients/{quote(patient['id'], safe='')}/genes", params={"search": "gene000"}
    ).json()
    assert all(one["gene"].startswith("GENE000") for one in named)
    assert client.get("/api/patients/nobody/genes").json() == []


def test_pictures_are_the_slides_pixels(client: TestClient, out: Path) -> None:
    name, path = next(iter(RunData(out).slide_paths.items()))
    name = quote(name, safe="")
    size = client.get(f"/api/slides/{name}").json()["size"]
    level = max(size["width"], size["height"] - 1).bit_length()
    answer = client.get(f"/api/slides/{name}/{level}/0_0.jpg")
    assert answer.headers["content-type"] == "image/jpeg"
    shown = Image.open(io.BytesIO(answer.content)).convert("RGB")
    with Image.open(path) as whole:
        original = whole.convert("RGB").crop((0, 0, *shown.size))
    unlabelled = [abs(a - b) for a, b in zip(shown.resize((1, 1)).getpixel((0, 0)),
             original.resize((1, 1)).getpixel((0, 0)), strict=True)]  # fmt: skip
    assert max(unlabelled) <= 3
    for place in (f"{level}/999_0", f"{level + 9}/0_0"):
        assert client.get(f"/api/slides/{name}/{place}.jpg").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/api/slides/..%2F..%2Fconfig.toml",
        "/api/slides/%2Fetc%2Fpasswd/0/0_0.jpg",
        "/static/..%2F..%2Fapp.py",
        "/static/%2e%2e/app.py",
        "/openseadragon/..%2F..%2F..%2Fetc%2Fpasswd",
        "/config.toml",
    ],
)
def test_paths_outside_the_run_are_refused(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_a_folder_that_is_no_run_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"found no config.toml and cohort.csv"):
        RunData(tmp_path)
    done = CliRunner().invoke(cli, ["view", str(tmp_path)])
    assert isinstance(done.exception, UsageError)


def test_without_openseadragon_the_command_that_fetches_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CROSSTYPE_CACHE", str(tmp_path))
    with pytest.raises(UsageError, match="crosstype fetch viewer"):
        need_assets()
    wrong = tmp_path / "other.tgz"
    wrong.write_bytes(b"no archive")
    with pytest.raises(FetchError, match="found sha256"):
        fetch_assets(wrong)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FetchError, match="no npm"):
        fetch_assets(None)


def test_a_plain_image_has_the_pyramid_that_openslide_makes_of_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 255, (25, 38, 3), dtype=np.uint8))
    image = coarse.resize((601, 400), Image.Resampling.BICUBIC)
    path = tmp_path / "plain.png"
    image.save(path)
    expected = DeepZoomGenerator(ImageSlide(image), TILE_PX, OVERLAP_PX)
    assert ImagePyramid(image).level_dimensions == expected.level_dimensions
    assert ImagePyramid(image).level_tiles == expected.level_tiles
    zoom = DeepZoom()
    found = zoom.description(path)
    assert (found["width"], found["height"]) == expected.level_dimensions[-1]
    for level in range(expected.level_count):
        columns, rows = expected.level_tiles[level]
        assert zoom.picture(path, level, columns, 0) is None
        for place in ((0, 0), (columns - 1, rows - 1)):
            mine = Image.open(io.BytesIO(zoom.picture(path, level, *place) or b""))
            theirs = expected.get_tile(level, place)
            # OpenSlide keeps the aspect of small pictures, which may cost them a row.
            assert max(abs(a - b) for a, b in zip(mine.size, theirs.size, strict=True)) <= 1
            if level == expected.level_count - 1:
                assert mine.size == theirs.size
                unlabelled = np.asarray(mine, float) - np.asarray(theirs.convert("RGB"), float)
                assert abs(unlabelled).mean() < 5
    assert zoom.picture(path, expected.level_count, 0, 0) is None
    for place in range(3):  # older images are let go
        image.save(tmp_path / f"{place}.png")
        assert zoom.picture(tmp_path / f"{place}.png", 9, 0, 0)
    assert len(zoom._open) == 2
    (tmp_path / "no.png").write_bytes(b"nothing")
    with pytest.raises(SlideError, match=r"no\.png"):
        zoom.description(tmp_path / "no.png")
