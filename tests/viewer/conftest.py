"""A run to be viewed, whose names would run if they were markup."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import uvicorn
from tests.conftest import Once

from crosstype.config.read import read_config
from crosstype.io import schema
from crosstype.viewer.app import make_app
from crosstype.viewer.assets import LEAST, assets_folder
from crosstype.workflow.pipeline import run
from crosstype.workflow.stage import Run

from ..browsing import HOSTILE, QUOTED

TOKEN = "the-token"
N_TILES = 4


@pytest.fixture(scope="session")
def out(once: Once, few_slides: Path) -> Path:
    """A run of the demo's slides, made up to its predictions and explanation by hand."""

    def make(folder: Path) -> None:
        shutil.copytree(few_slides, folder / "input")
        _make(folder)

    return once("viewed", make) / "out"


def _make(folder: Path) -> None:
    config = folder / "input" / "demo.toml"
    text = config.read_text(encoding="utf-8").replace("n_tiles = 16", f"n_tiles = {N_TILES}")
    config.write_text(text.replace('"Basal/Her2"', f'"{HOSTILE}"'), encoding="utf-8")
    _make_hostile(folder / "input")
    run(Run(read_config(config), folder / "out"), last="cohort")
    _predict(folder / "out")
    _explain(folder / "out")


def _make_hostile(folder: Path) -> None:
    """Give the first patient, its slide, its site and a gene names that are markup."""
    slide = f"{QUOTED}.tif"
    (folder / "slides" / "SYN-001-slide.tif").rename(folder / "slides" / slide)
    for name, column in (("slides.csv", "FILENAME"), ("labels.csv", "SITE")):
        table = pl.read_csv(folder / name)
        first = pl.col("PATIENT") == "SYN-001"
        word = slide if column == "FILENAME" else QUOTED
        table.with_columns(
            pl.when(first).then(pl.lit(word)).otherwise(column).alias(column),
            pl.col("PATIENT").replace({"SYN-001": HOSTILE}),
        ).write_csv(folder / name)
    path = folder / "expression.tsv"
    text = path.read_text(encoding="utf-8").replace("SYN-001\t", f"{HOSTILE}\t", 1)
    path.write_text(text.replace("GENE0001\t", f"{HOSTILE}\t", 1), encoding="utf-8")


def _predict(out: Path) -> None:
    cohort = pl.read_csv(out / "cohort.csv")
    said = cohort.select("patient_id", "label").with_columns(
        repeat=0, fold=0, predicted=pl.col("label")
    )
    said = said.with_columns(
        pl.lit(0.25).alias("probability_Luminal"), pl.lit(0.75).alias(f"probability_{HOSTILE}")
    )
    models = [said.with_columns(model=pl.lit(name)) for name in (HOSTILE, "image_only")]
    pl.concat(models).write_csv(out / "predictions.csv")


def _explain(out: Path) -> None:
    """Write what the explanation writes: two models, one with contributions and gene sets."""
    (out / "explanation").mkdir()
    slides = pl.read_csv(out / "features.csv").filter(pl.col("n_tiles") > 0)
    attention, sets, weights = [], [], []
    for patient, slide in slides.select("patient_id", "slide_id").iter_rows():
        for tile in range(N_TILES):
            own = (patient, slide, HOSTILE, tile, 0.0, 0.0, 0.1 * (tile + 1), 0.1 * tile - 0.2)
            attention.append((*own, N_TILES - tile, 1))
            other = (patient, slide, "image_only", tile, 0.0, 0.0, 0.4 - 0.1 * tile, None)
            attention.append((*other, tile + 1, 1))
        sets.append((patient, slide, HOSTILE, QUOTED, 0, 0.9))
        sets += [(patient, slide, HOSTILE, "HALLMARK", tile, 0.5 / tile) for tile in (1, 2)]
        weights += [(patient, HOSTILE, 0.25), (patient, "image_only", 0.75)]
    known = [
        dict(zip(("patient_id", "model", "residual_weight"), one, strict=True)) for one in weights
    ]
    tables = {schema.ATTENTION: attention, schema.GENE_SET_ATTENTION: sets, schema.PATIENTS: known}
    for table, rows in tables.items():
        frame = table.frame(rows).with_columns(pl.col(pl.Float64).round(6))
        table.write(out / "explanation", frame)


@pytest.fixture(scope="session")
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
