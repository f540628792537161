"""The viewer: whoever has no token sees nothing, and nobody sees a file outside the run."""

from __future__ import annotations

import io
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import uvicorn
from PIL import Image
from starlette.testclient import TestClient
from typer.testing import CliRunner

from crosstype.cli.app import app as cli
from crosstype.config.read import read_config
from crosstype.demo.synthetic import write_demo
from crosstype.errors import FetchError, UsageError
from crosstype.pipeline import Run, run
from crosstype.viewer.app import make_app
from crosstype.viewer.assets import LEAST, assets_folder, fetch_assets, need_assets
from crosstype.viewer.content import Content

pytestmark = pytest.mark.xdist_group("viewer")  # they share one extracted run

TOKEN = "the-token"
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the demo's slides, made up to its predictions by hand."""
    folder = tmp_path_factory.mktemp("viewed")
    config = write_demo(folder / "input")
    text = config.read_text(encoding="utf-8").replace("n_tiles = 16", "n_tiles = 4")
    config.write_text(text, encoding="utf-8")
    for place, slide in enumerate(sorted((folder / "input" / "slides").iterdir())):
        if place % 3:
            slide.unlink()
    run(Run(read_config(config), folder / "out"), last="cohort")
    _predict(folder / "out")
    return folder / "out"


def _predict(out: Path) -> None:
    cohort = pl.read_csv(out / "cohort.csv")
    said = cohort.select("patient_id", "label").with_columns(
        model=pl.lit(HOSTILE), repeat=0, fold=0, predicted=pl.col("label")
    )
    said = said.with_columns(**{"probability_Luminal": 0.25, "probability_Basal/Her2": 0.75})
    said.write_csv(out / "predictions.csv")
    (out / "explanation").mkdir()
    slides = pl.read_csv(out / "features.csv").filter(pl.col("n_tiles") > 0)["slide_id"]
    rows = [(s, HOSTILE, tile, 0.1 * (tile + 1)) for s in slides for tile in range(4)]
    table = pl.DataFrame(rows, schema=["slide_id", "model", "tile", "attention"], orient="row")
    table.write_csv(out / "explanation" / "attention.csv")


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
    assert found["patients"][0]["probabilities"] == {HOSTILE: [0.25, 0.75]}
    patient = found["patients"][0]
    slide = client.get(f"/api/slides/{patient['slides'][0]}").json()
    assert slide["size"]["width"] > 1000
    assert len(slide["tiles"]["xy_px"]) == 4
    assert slide["tiles"]["size_px"] == 256
    assert len(slide["maps"]) == 4
    assert slide["tissue"]
    genes = client.get(f"/api/patients/{patient['id']}/genes").json()
    assert abs(genes[0]["z"]) >= abs(genes[-1]["z"])
    named = client.get(f"/api/patients/{patient['id']}/genes", params={"search": "gene000"}).json()
    assert all(one["gene"].startswith("GENE000") for one in named)
    assert client.get("/api/patients/nobody/genes").json() == []


def test_pictures_are_the_slides_pixels(client: TestClient, out: Path) -> None:
    name, path = next(iter(Content(out).slide_paths.items()))
    size = client.get(f"/api/slides/{name}").json()["size"]
    level = max(size["width"], size["height"] - 1).bit_length()
    answer = client.get(f"/api/slides/{name}/{level}/0_0.jpg")
    assert answer.headers["content-type"] == "image/jpeg"
    shown = Image.open(io.BytesIO(answer.content)).convert("RGB")
    with Image.open(path) as whole:
        original = whole.convert("RGB").crop((0, 0, *shown.size))
    apart = [abs(a - b) for a, b in zip(shown.resize((1, 1)).getpixel((0, 0)),
             original.resize((1, 1)).getpixel((0, 0)), strict=True)]  # fmt: skip
    assert max(apart) <= 3
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
        Content(tmp_path)
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


@pytest.fixture
def address(out: Path) -> Iterator[str]:
    """A served run; skips without OpenSeadragon."""
    if not (assets_folder() / LEAST).is_file():
        pytest.skip("OpenSeadragon is not here: `crosstype fetch viewer` brings it")
    server = uvicorn.Server(
        uvicorn.Config(make_app(out, TOKEN, assets_folder()), port=0, log_level="warning")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/?token={TOKEN}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def browser() -> Iterator[Any]:
    """A headless Chromium; skips without one."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no chromium on this machine")
    with sync_playwright() as started:
        one = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield one
        one.close()


@pytest.mark.parametrize("width", [1440, 390])
def test_in_a_real_browser(browser: Any, address: str, width: int) -> None:
    from playwright.sync_api import expect

    page = browser.new_page(viewport={"width": width, "height": 900})
    faults: list[str] = []
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: faults.append(f"dialog {dialog.message}"))
    page.goto(address)
    overlay = page.locator("#overlay")
    expect(overlay).to_have_attribute("data-drawn", "4")
    assert page.locator("#map option").all_inner_texts() == ["none", HOSTILE]
    assert page.locator("#said tbody th").inner_text() == HOSTILE

    def painted() -> int:
        return int(
            page.evaluate(
                "() => { const c = document.querySelector('#overlay'); const d = c.getContext('2d')"
                ".getImageData(0, 0, c.width, c.height).data; let n = 0;"
                " for (let i = 3; i < d.length; i += 4) n += d[i]; return n; }"
            )
        )

    full = painted()
    page.locator("#opacity").fill("10")
    page.wait_for_timeout(300)
    assert painted() < full
    page.locator("#map").select_option("")
    expect(overlay).to_have_attribute("data-drawn", "0")
    page.locator("#tissue").check()
    assert overlay.count() == 1
    names = page.locator("#patients button")
    total = names.count()
    page.locator("#search").fill("SYN-004")
    assert names.count() < total
    names.first.click()
    expect(page.locator("#name")).to_have_text("SYN-004")
    before = page.evaluate("performance.getEntriesByType('resource').length")
    page.locator("#zoom").dblclick()
    page.wait_for_timeout(500)
    assert page.evaluate("performance.getEntriesByType('resource').length") >= before
    assert not faults
    page.close()
