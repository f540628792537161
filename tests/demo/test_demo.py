"""The demo: the same bytes each time, and an answer that only fusion can give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from crosstype.config.read import read_config
from crosstype.demo import cohort as synthetic
from crosstype.demo.cohort import write_demo
from crosstype.demo.slides import draw_slide, write_slide
from crosstype.slides.open import open_slide
from crosstype.slides.spec import TilesSpec, TissueSpec
from crosstype.slides.tiles import select_tiles
from crosstype.slides.tissue import find_tissue
from crosstype.workflow.pipeline import run
from crosstype.workflow.stage import Run

UNIMODAL = ("image_only", "gene_only")
FEW = 4


@pytest.fixture
def few_patients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw few slides; drawing all takes half a minute."""
    monkeypatch.setattr(synthetic, "N_PATIENTS", FEW)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.usefixtures("few_patients")
def test_the_demo_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    write_demo(tmp_path / "one")
    one = contents(tmp_path / "one")
    assert len(one) == FEW + 4
    write_demo(tmp_path / "two", seed=1)
    assert contents(tmp_path / "two").keys() == one.keys()
    assert contents(tmp_path / "two") != one
    write_demo(tmp_path / "two")  # over what is there
    assert contents(tmp_path / "two") == one


def test_the_answer_is_split_between_the_modalities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[bool] = []
    monkeypatch.setattr(synthetic, "draw_slide", lambda _, *, carrier: drawn.append(carrier))
    monkeypatch.setattr(synthetic, "write_slide", lambda path, pixels: None)
    spec = read_config(write_demo(tmp_path))
    assert spec.cohort.synthetic
    labels = pl.read_csv(tmp_path / "labels.csv")
    positive = labels["SUBTYPE"].is_in(["Basal", "Her2"]).to_numpy()
    assert len(labels) == synthetic.N_PATIENTS
    assert positive.sum() == synthetic.N_PATIENTS // 2
    expression = pl.read_csv(tmp_path / "expression.tsv", separator="\t")
    assert expression.shape == (2000, synthetic.N_PATIENTS + 1)
    # The best that one modality allows is 0.8: 40% of the positives do not show in it.
    program = np.log2(expression.drop("gene").to_numpy()[:60]).mean(axis=0)
    in_genes = program >= np.sort(program)[-18]
    assert in_genes.sum() == sum(drawn) == 18
    assert (positive == (in_genes | np.array(drawn))).all()


def test_the_pattern_can_be_seen_and_the_slide_opened(tmp_path: Path) -> None:
    dark = {}
    for carrier in (True, False):
        pixels = draw_slide(np.random.default_rng(3), carrier=carrier)
        dark[carrier] = (pixels[..., 1] < 110).mean()
        write_slide(tmp_path / "slide.tif", pixels)
        with open_slide(tmp_path / "slide.tif") as slide:
            assert slide.mpp == pytest.approx(0.5, rel=1e-3)
            assert len(slide.levels) == 3
            tiles = select_tiles(find_tissue(slide, TissueSpec()), slide, TilesSpec())
            assert len(tiles.tile_xy_px) >= 8
    assert dark[True] > 2 * dark[False]


@pytest.mark.long
def test_in_the_demo_fusion_wins_and_uses_the_image(tmp_path: Path) -> None:
    spec = read_config(write_demo(tmp_path / "input"))
    run(Run(spec, tmp_path / "out", n_workers=2))
    metrics = pl.read_csv(tmp_path / "out" / "metrics.csv", infer_schema_length=None)
    rows = metrics.filter(pl.col("metric") == "auroc", pl.col("class") == "Basal/Her2")
    auroc = dict(zip(rows["model"], rows["value"], strict=True))
    for model in UNIMODAL:
        assert auroc["cross_attention"] >= auroc[model] + 0.1
        assert 0.6 < auroc[model] < 0.9
    use = pl.read_csv(tmp_path / "out" / "modality_use.csv", infer_schema_length=None)
    drops = use.filter(pl.col("model") == "cross_attention", pl.col("metric") == "auroc")
    by_modality = dict(zip(drops["modality"], drops["drop"], strict=True))
    assert by_modality["image"] > 0.1
    assert by_modality["genes"] > 0.1
    page = (tmp_path / "out" / "report.html").read_text()
    assert "synthetic" in page.lower()
