"""figures.html: every figure, escaped and marked, and the notes of missing ones."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure
from PIL import Image
from sklearn.metrics import confusion_matrix

from crosstype.report.paper import architecture as paper_architecture
from crosstype.report.paper import examples as paper_examples
from crosstype.report.paper import folds as paper_folds
from crosstype.report.paper import page as figures_page
from crosstype.report.paper.maps import plot_vector_maps
from crosstype.report.paper.page import parts_of, write_figures
from crosstype.report.report import write_report
from crosstype.report.run_tables import ExplanationTables, RunTables, read_run_tables
from crosstype.report.spec import ReportSpec
from crosstype.report.svg import draw_figure

from .test_report import HOSTILE, LEAK, outline_of

KEPT = ["cross_attention", "majority"]


def svg_of_maps(content: RunTables, explained: ExplanationTables) -> str:
    plot = partial(plot_vector_maps, explained=explained, model="cross_attention")
    return draw_figure(content, "map", plot, "A caption.").svg


def few_models(out: Path) -> RunTables:
    """Return a run of two models only, since each is drawn."""
    content = read_run_tables(out)
    return replace(content, metrics=content.metrics.filter(pl.col("model").is_in(KEPT)))


@pytest.fixture(scope="module")
def changed(finished: tuple[Any, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run whose names are hostile, whose protocol leaks, with pictures of a slide."""
    out: Path = tmp_path_factory.mktemp("changed") / "out"
    shutil.copytree(finished[1], out, ignore=shutil.ignore_patterns("models", "patients"))
    metrics = pl.read_csv(out / "metrics.csv", infer_schema_length=None)
    metrics.filter(pl.col("model").is_in(KEPT)).write_csv(out / "metrics.csv")
    folder = out / "explanation"
    for name, column in (
        ("expression_steps", "gene"),
        ("expression_spread", "gene"),
        ("sample_profile", "gene"),
        ("attributions", "gene"),
        ("drawn", "patient_id"),
        ("drawn", "file"),
    ):
        path = folder / f"{name}.csv"
        frame = pl.read_csv(path, infer_schema_length=None)
        numbered = pl.lit(f"$x$ {HOSTILE} ") + pl.int_range(pl.len()).cast(pl.String)
        first = frame[column].first()
        renamed = pl.when(pl.col(column) == first).then(numbered).otherwise(pl.col(column))
        frame.with_columns(renamed.alias(column)).write_csv(path)
    facts = dict(pl.read_csv(folder / "examples.csv").iter_rows())
    facts |= {"patient_id": f"$x$ {HOSTILE}", "picture": "slide", "augmentation": "drawn"}
    facts |= {"n_tiles": "2", "n_shown_views": "1", "n_views": "4", "changes": HOSTILE}
    pl.DataFrame({"key": list(facts), "value": list(facts.values())}).write_csv(
        folder / "examples.csv"
    )
    (folder / "examples").mkdir()
    Image.new("RGB", (60, 40), "pink").save(folder / "examples" / "slide.jpg")
    Image.new("RGB", (64, 64), "purple").save(folder / "examples" / "tiles.png")
    run = json.loads((out / "run.json").read_text())
    run["protocol"] = {"name": "paper", "leaks": [LEAK]}
    (out / "run.json").write_text(json.dumps(run))
    return out


def test_a_run_leaves_the_page_and_the_report_leads_to_it(finished: tuple[Any, Path]) -> None:
    _, out = finished
    page = (out / "figures.html").read_text(encoding="utf-8")
    outline = outline_of(page)
    ids = set(outline.ids)
    assert len(ids) == len(outline.ids)
    anchors = {"sample", "augmentation", "standardised", "outliers", "networks", "folds", "maps"}
    assert anchors <= ids
    inside = {one[1:] for one in outline.references if one.startswith("#")}
    assert inside <= ids
    outside = {one for one in outline.references if not one.startswith(("#", "data:"))}
    assert outside == {"report.html"}
    assert "given features: no tile was read" in page
    assert "features only, without the slide" in page
    assert 'href="figures.html"' in (out / "report.html").read_text(encoding="utf-8")
    record = json.loads((out / ".stages" / "report.json").read_text())
    assert record["outputs"]["figures.html"]


def test_names_are_text_and_marks_stand(changed: Path) -> None:
    page = write_figures(changed, ReportSpec(title=HOSTILE)).read_text(encoding="utf-8")
    outline = outline_of(page)
    assert outline.tags.count("script") == 1
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;alert") > 5
    assert "$x$" in page
    captions = page.count("<figcaption>")
    assert captions == 4 + 3 + 2 + 1  # examples, networks, models by fold, a model's maps
    assert page.count("(protocol paper: leaks test patients") >= captions
    assert "each with 1 of its 4 views" in page
    report = write_report(changed, ReportSpec(patient_pages=False)).read_text(encoding="utf-8")
    assert "<script>alert" not in report
    assert "Genes by which cross_attention goes: first 20 of 20" in report
    assert "explanation/%24x%24%20%3Cscript%3E" in report


def test_without_explanations_the_page_has_a_note(
    finished: tuple[Any, Path], tmp_path: Path
) -> None:
    content = few_models(finished[1])
    parts = {part.anchor: part for part in parts_of(content, ExplanationTables(tmp_path))}
    for anchor in ("sample", "standardised", "outliers", "networks", "maps"):
        assert parts[anchor].notes == (figures_page.NOT_MADE,)
        assert not parts[anchor].figures
    assert "is unknown" in parts["augmentation"].notes[0]
    assert len(parts["folds"].figures) == 2
    (tmp_path / "figures.html").write_text("old")
    assert write_figures(tmp_path, ReportSpec(figure_page=False)) is None
    assert not (tmp_path / "figures.html").exists()


def test_every_function_returns_a_figure(changed: Path) -> None:
    content, explained = read_run_tables(changed), ExplanationTables(changed)
    assert isinstance(paper_examples.plot_sample(content, explained), Figure)
    assert isinstance(paper_examples.plot_views(content, explained), Figure)
    assert isinstance(paper_examples.plot_standardised(content, explained), Figure)
    assert isinstance(paper_examples.plot_outliers(content, explained), Figure)
    once, again = (svg_of_maps(content, explained) for _ in range(2))
    assert once == again  # the same bytes
    maps = plot_vector_maps(content, explained, "cross_attention")
    # Two folds, three spaces: no two folds share a panel.
    assert len([axes for axes in maps.axes if axes.lines]) == 6
    shown = explained.vector_maps.filter(space="image", fold=1)
    second = maps.axes[3]
    drawn = np.concatenate([line.get_xydata() for line in second.lines])
    wanted = shown.select("x", "y").to_numpy()
    assert sorted(map(tuple, drawn)) == sorted(map(tuple, wanted))


def test_folds_are_counted_fold_by_fold(finished: tuple[Any, Path]) -> None:
    content = read_run_tables(finished[1])
    rows = content.predictions.filter(model="cross_attention")
    for fold in paper_folds.folds_of(content):
        own = rows.filter(pl.col("fold") == fold)
        expected = confusion_matrix(own["label"], own["predicted"], labels=content.classes)
        counts = paper_folds.fold_counts(content, "cross_attention", fold)
        np.testing.assert_array_equal(counts, expected)
    training = content.training.filter(model="cross_attention", fold=1, epoch=2)
    losses = paper_folds.fold_losses(content, "cross_attention", 1)
    assert losses.filter(epoch=2)["train_loss"].item() == pytest.approx(
        training["train_loss"].mean()
    )


def test_boxes_of_a_network_do_not_overlap_and_are_below_their_inputs(
    finished: tuple[Any, Path],
) -> None:
    explained = ExplanationTables(finished[1])
    for model in paper_architecture.networks_of(explained):
        boxes = paper_architecture.boxes_of(explained, model)
        places = [(box.lane, box.row) for box in boxes]
        assert len(set(places)) == len(places)
        row = {box.name: box.row for box in boxes}
        assert all(row[one] < box.row for box in boxes for one in box.inputs)
        table = paper_architecture.architecture_table(explained, model)
        assert table.rows[-1][3].order == sum(box.n_parameters for box in boxes)
