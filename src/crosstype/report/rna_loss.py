"""The section on lost genes: curves of patterns with degrees, and tables of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from crosstype.models.spec import BASELINE_NAMES
from crosstype.report.content import RunContent
from crosstype.report.page_tables import Cell, PageTable
from crosstype.report.svg import BLUE, FAINT, GREEN, ORANGE, QUIET, VERMILION, new_figure
from crosstype.report.words import METRIC_NAMES, interval, number

PERCENT = "{:.1%}"


@dataclass(frozen=True)
class Words:
    """How a pattern is written.

    Attributes:
        title: what happens to the patients.
        axis: what its levels are; empty: it has no degrees.
        level: how a level is written.
    """

    title: str
    axis: str = ""
    level: str = PERCENT


PATTERNS: Mapping[str, Words] = {
    "each": Words("each patient loses its own genes", "Genes lost"),
    "same": Words("all lose the same genes", "Genes lost"),
    "noise": Words("Gaussian noise on amounts", "Noise, in means of the gene", "{:g}"),
    "normal_like": Words("mixed with a normal-like profile", "Share of the sample"),
    "panel": Words("only a 21-gene panel is measured"),
    "pam50_withheld": Words("PAM50 and its most correlated genes withheld", "Genes withheld"),
    "other_assay": Words("another assay, as it comes"),
    "other_assay_scaled": Words("another assay, each patient scaled"),
}
CURVES = ("each", "same", "noise", "normal_like")
REAL = ("panel", "pam50_withheld", "other_assay", "other_assay_scaled")
"""Patterns that happen in real life, told in one table."""
LOOKS = {
    "image_only": (VERMILION, "D"),
    "gene_only": (BLUE, "o"),
    "late": (ORANGE, "s"),
    "cross_attention": (GREEN, "^"),
}
"""Models of the figure; the table has all."""
FUSION = ("cross_attention", "late", "concat")
"""The first of these that was trained is set against the better unimodal model."""
BETTER = "the better unimodal model"
FEW = 30
"""On fewer patients an interval holds too little of what may happen."""


def plot_rna_loss(content: RunContent, pattern: str) -> Figure:
    """Plot AUROC, with intervals, over how much is lost."""
    rows = content.rna_loss.filter(pattern=pattern, metric="auroc").sort("level")
    levels = rows["level"].unique().sort().to_list()
    figure = new_figure(3.4)
    axes = figure.add_subplot()
    for model, (colour, marker) in LOOKS.items():
        own = rows.filter(model=model)
        if own.is_empty():
            continue
        # Levels stand at equal distances: most of the story lies between 90% and 100%.
        place = np.array([levels.index(level) for level in own["level"]])
        axes.plot(place, own["value"], color=colour, marker=marker, markersize=4, label=model)
        axes.fill_between(place, own["low"], own["high"], color=colour, alpha=0.15, linewidth=0)
    axes.set_xticks(range(len(levels)), [level_words(pattern, level) for level in levels])
    axes.axhline(0.5, color=QUIET, linewidth=0.8, linestyle=":")
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_xlabel(PATTERNS[pattern].axis)
    axes.set_ylabel(f"AUROC, {content.confidence:.0%} interval")
    title = f"Lost genes: {PATTERNS[pattern].title}"
    axes.set_title(f"{title}\n{content.mark}" if content.mark else title)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def caption_of(pattern: str) -> str:
    """Return the caption of a pattern's figure."""
    axis = PATTERNS[pattern].axis
    return f"AUROC over {axis[0].lower()}{axis[1:]}; {PATTERNS[pattern].title}."


def level_words(pattern: str, level: float) -> str:
    """Return a level as it is written; empty for a pattern without degrees."""
    words = PATTERNS[pattern]
    return words.level.format(level).replace(".0%", "%") if words.axis else ""


def real_loss_table(content: RunContent) -> PageTable:
    """Return what a fusion model and the unimodal ones are worth under real-life losses.

    One row per loss; the last columns are the fusion model minus the better unimodal one with its
    interval.
    """
    found = content.rna_loss.filter(pl.col("pattern").is_in(REAL), metric="auroc")
    models = [name for name in LOOKS if name in set(found["model"])]
    fusion = next((name for name in FUSION if name in models), "")
    gaps = {
        (row["pattern"], row["level"]): row
        for row in content.rna_loss_comparisons.filter(model_a=fusion, model_b=BETTER).to_dicts()
    }
    rows = []
    for key, part in found.group_by("pattern", "level", maintain_order=True):
        pattern, level = str(key[0]), float(str(key[1]))
        of_model = {row["model"]: row for row in part.to_dicts()}
        n_patients = int(part["n"][0])
        name = Cell(PATTERNS[pattern].title, level_words(pattern, level))
        values = [_cell(of_model[model], "value") for model in models]
        gap = _cell(gaps.get((pattern, level)), "difference")
        few = "too few to tell" if n_patients < FEW else ""
        rows.append((name, Cell(str(n_patients), few, n_patients), *values, gap))
    columns = ("Loss", "Patients", *models)
    last = f"{fusion} minus {BETTER}" if fusion else "No fusion model"
    return PageTable("AUROC under real-life losses", (*columns, last), tuple(rows))


def notes_of(content: RunContent) -> list[str]:
    """Return how each pattern was made, where that needs saying."""
    told = content.rna_loss.unique("pattern", keep="first", maintain_order=True)
    pairs = told.select("pattern", "note").iter_rows()
    return [f"{PATTERNS[pattern].title}: {note}." for pattern, note in pairs if note]


def loss_tables(content: RunContent) -> list[PageTable]:
    """Return, per pattern, every model's metrics by level, and the differences to the unimodal."""
    tables = []
    for pattern in content.rna_loss["pattern"].unique(maintain_order=True):
        about = PATTERNS[pattern].title
        for (metric,), rows in content.rna_loss.filter(pattern=pattern).group_by(
            "metric", maintain_order=True
        ):
            shown = METRIC_NAMES.get(str(metric), str(metric))
            tables.append(_table(f"{shown}; {about}", rows, "model", "value"))
        gaps = content.rna_loss_comparisons.filter(pattern=pattern)
        gaps = gaps.filter(~pl.col("model_a").is_in(BASELINE_NAMES))
        gaps = gaps.with_columns(pair=pl.col("model_a") + " minus " + pl.col("model_b"))
        if not gaps.is_empty():
            caption = f"AUROC minus that of the unimodal models, same patients; {about}"
            tables.append(_table(caption, gaps, "pair", "difference"))
    return tables


def _table(caption: str, rows: pl.DataFrame, name: str, of: str) -> PageTable:
    levels = rows["level"].unique().sort().to_list()
    pattern = str(rows["pattern"][0])
    axis = PATTERNS[pattern].axis
    columns = ("Model", *(level_words(pattern, level) or "Value" for level in levels))
    body = []
    for model in rows[name].unique(maintain_order=True):
        by_level = {row["level"]: row for row in rows.filter(pl.col(name) == model).to_dicts()}
        body.append((Cell(model), *(_cell(by_level.get(level), of) for level in levels)))
    caption = f"{caption}; columns: {axis[0].lower()}{axis[1:]}" if axis else caption
    return PageTable(caption, columns, tuple(body))


def _cell(row: dict[str, Any] | None, of: str) -> Cell:
    if row is None:
        return Cell("")
    return Cell(number(row[of], signed=of == "difference"), interval(row), row[of])


def curves_of(content: RunContent) -> Sequence[str]:
    """Return the patterns that are drawn as curves."""
    made = set(content.rna_loss["pattern"])
    return [pattern for pattern in CURVES if pattern in made]
