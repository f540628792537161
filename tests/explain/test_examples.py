"""Examples for the paper's figures: preprocessing recomputed by hand, and pixels as encoded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from crosstype.explain.figures.examples import TILE_PX, TileExamples
from crosstype.explain.tables import write_tables
from crosstype.explain.tile_locations import SlideTiles, TileLocations
from crosstype.expression.matrix import load_expression
from crosstype.features.slide_sources import find_sources
from crosstype.io.tables import read_stage_table
from crosstype.report.run_tables import ExplanationTables
from tests.features.fake_slides import FakeEncoder, extract, recipe_of, tissue_pixels, write_svs


def table(out: Path, name: str) -> pl.DataFrame:
    return pl.read_csv(out / "explanation" / f"{name}.csv", infer_schema_length=None)


def test_expression_is_scaled_by_the_folds_training_patients(finished: tuple[Any, Path]) -> None:
    _, out = finished
    facts = dict(table(out, "examples").iter_rows())
    roles = pl.read_csv(out / "folds.csv").filter(repeat=0, fold=0)
    test = roles.filter(role="test")["patient_id"].to_list()
    assert facts["patient_id"] in test
    held = load_expression(out / "expression.npz")
    is_test = np.isin(held.patient_ids, test)
    lowest = held.values[~is_test].min()  # what training patients never had is brought to it
    logs = np.log1p(np.maximum(held.values, lowest).astype(np.float64))
    assert facts["n_training"] == str(int((~is_test).sum()))
    mean, spread = logs[~is_test].mean(axis=0), logs[~is_test].std(axis=0)
    z = (logs - mean) / spread
    rows = table(out, "expression_spread").filter(who="test", step="z")
    for gene, low, median, high in rows.select("gene", "low", "median", "high").iter_rows():
        own = z[is_test, held.genes.index(gene)]
        np.testing.assert_allclose((low, median, high), np.quantile(own, (0.05, 0.5, 0.95)), 1e-3)
    profile = table(out, "sample_profile")
    assert profile["gene"].to_list() == list(held.genes)
    own = z[held.patient_ids.index(facts["patient_id"])]
    np.testing.assert_allclose(profile["z"], own, rtol=1e-3, atol=1e-5)
    # The fences are those of the training patients' quartiles, kept or not.
    low, high = np.quantile(z[~is_test], (0.25, 0.75), axis=0)
    outside = (z < low - 1.5 * (high - low)) | (z > high + 1.5 * (high - low))
    steps = table(out, "expression_steps")
    assert set(steps["patient_id"]) == set(test)
    for patient, gene, left in steps.select("patient_id", "gene", "without_outliers").iter_rows():
        gone = outside[held.patient_ids.index(patient), held.genes.index(gene)]
        assert (left is None) == gone
    assert steps["without_outliers"].null_count() > 0
    assert facts["removes_outliers"] == "no"
    assert facts["augmentation"] == "ready_made"


def test_genes_are_those_of_highest_attribution(finished: tuple[Any, Path]) -> None:
    _, out = finished
    named = table(out, "sample_profile").drop_nulls("rank").sort("rank")["gene"].to_list()
    assert named == table(out, "attributions")["gene"].to_list()[: len(named)]


class Watching(FakeEncoder):
    """Keeps the tiles that it is shown."""

    def encode(self, tiles: np.ndarray) -> np.ndarray:
        self.shown = [*getattr(self, "shown", []), *tiles]
        return super().encode(tiles)


@pytest.mark.parametrize("are_cut", [False, True])
def test_tiles_and_views_are_those_that_were_encoded(tmp_path: Path, are_cut: bool) -> None:
    folder = tmp_path / "slides"
    folder.mkdir()
    pixels = tissue_pixels(0, 900, 900)
    if are_cut:
        (folder / "P1").mkdir()
        for x in (200, 456):
            tile = Image.fromarray(pixels[300:556, x : x + 256])
            tile.save(folder / "P1" / f"P1_({x},300).png")
    else:
        write_svs(folder / "P1.svs", pixels)
    parts: dict[str, Any] = {"tiles": {"n_tiles": 2}, "augmentation": {"n_views": 2}}
    encoder = Watching()
    extract(folder, tmp_path / "out", encoder, **parts)
    recipe = recipe_of(folder, **parts)
    sources = {one.slide_id: one for one in find_sources(recipe.slides, None, "PATIENT")}
    places = TileLocations({}, {}, {}, _known={"P0": [], "P1": [SlideTiles("P1", 0, 2)]})
    examples = TileExamples(recipe, sources, places, "drawn")
    assert examples.first_shown(["P0", "P1"]) == "P1"
    assert examples.first_shown(["P0"]) == "P0"
    facts = examples.draw("P1", tmp_path)
    assert facts["picture"] == ("tiles" if are_cut else "slide")
    assert ("not rotated" in facts["changes"]) == are_cut
    assert (tmp_path / "examples" / "slide.jpg").exists()
    with Image.open(tmp_path / "examples" / "tiles.png") as image:
        drawn = np.asarray(image)
    assert drawn.shape == (2 * TILE_PX, 3 * TILE_PX, 3)
    encoded = np.array(encoder.shown).reshape(2, 3, 256, 256, 3)
    for row, column in np.ndindex(2, 3):
        top, left = row * TILE_PX, column * TILE_PX
        small = Image.fromarray(encoded[row, column]).resize((TILE_PX, TILE_PX))
        np.testing.assert_array_equal(
            drawn[top : top + TILE_PX, left : left + TILE_PX], np.asarray(small)
        )


def test_what_cannot_be_shown_is_noted(tmp_path: Path) -> None:
    folder = tmp_path / "slides"
    folder.mkdir()
    (folder / "P1.svs").write_bytes(b"no slide")
    recipe = recipe_of(folder)
    sources = {one.slide_id: one for one in find_sources(recipe.slides, None, "PATIENT")}
    places = TileLocations({}, {}, {}, _known={"P1": [SlideTiles("P1", 0, 2)]})
    broken = TileExamples(recipe, sources, places, "drawn")
    assert broken.draw("P1", tmp_path)["augmentation"] == "unreadable"
    assert "P1.svs" in broken.faults["P1"]
    nowhere = TileExamples(None, {}, places, "drawn")
    assert nowhere.draw("P1", tmp_path)["augmentation"] == "ready_made"
    assert not (tmp_path / "examples").exists()


def test_tables_without_rows_can_be_read(tmp_path: Path) -> None:
    """As those of a run whose models see no genes."""
    write_tables([], None, TileLocations({}, {}, {}), (tmp_path / "explanation", 1))
    path = tmp_path / "explanation" / "attributions.csv"
    assert read_stage_table(path, ["model", "gene"]).is_empty()
    assert ExplanationTables(tmp_path).attributions.is_empty()
