"""The section on lost genes: one figure per pattern, and tables of curves and differences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from crosstype.models.spec import BASELINE_NAMES
from crosstype.report.content import RunContent
from crosstype.report.page_tables import Cell, PageTable
from crosstype.report.svg import BLUE, FAINT, GREEN, ORANGE, QUIET, VERMILION, new_figure
from crosstype.report.words import interval, number

PATTERNS = {"each": "each patient loses its own genes", "same": "all lose the same genes"}
LOOKS = {
    "image_only": (VERMILION, "D"),
    "gene_only": (BLUE, "o"),
    "late": (ORANGE, "s"),
    "cross_attention": (GREEN, "^"),
}
"""Models of the figure; the table has all."""


def plot_rna_loss(content: RunContent, pattern: str) -> Figure:
    """Plot AUROC, with intervals, over the share of genes that is lost."""
    rows = content.rna_loss.filter(pattern=pattern).sort("level")
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
    axes.set_xticks(range(len(levels)), [f"{level:.1%}".replace(".0%", "%") for level in levels])
    axes.axhline(0.5, color=QUIET, linewidth=0.8, linestyle=":")
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_xlabel("Genes lost")
    axes.set_ylabel(f"AUROC, {content.confidence:.0%} interval")
    title = f"Lost genes: {PATTERNS.get(pattern, pattern)}"
    axes.set_title(f"{title}\n{content.mark}" if content.mark else title)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def loss_tables(content: RunContent) -> list[PageTable]:
    """Return, per pattern, every model's AUROC by level, and the differences to the unimodal."""
    tables = []
    for pattern in content.rna_loss["pattern"].unique(maintain_order=True):
        about = PATTERNS.get(pattern, pattern)
        rows = content.rna_loss.filter(pattern=pattern)
        tables.append(_table(f"AUROC by share of genes lost; {about}", rows, "model", "value"))
        gaps = content.rna_loss_comparisons.filter(pattern=pattern)
        gaps = gaps.filter(~pl.col("model_a").is_in(BASELINE_NAMES))
        gaps = gaps.with_columns(pair=pl.col("model_a") + " minus " + pl.col("model_b"))
        if not gaps.is_empty():
            caption = f"AUROC minus that of the unimodal models, same patients; {about}"
            tables.append(_table(caption, gaps, "pair", "difference"))
    return tables


def _table(caption: str, rows: pl.DataFrame, name: str, of: str) -> PageTable:
    levels = rows["level"].unique().sort().to_list()
    columns = ("Model", *(f"{level:.1%} lost".replace(".0%", "%") for level in levels))
    body = []
    for model in rows[name].unique(maintain_order=True):
        by_level = {row["level"]: row for row in rows.filter(pl.col(name) == model).to_dicts()}
        body.append((Cell(model), *(_cell(by_level.get(level), of) for level in levels)))
    return PageTable(caption, columns, tuple(body))


def _cell(row: dict[str, float] | None, of: str) -> Cell:
    if row is None:
        return Cell("")
    return Cell(number(row[of]), interval(row), row[of])


def patterns_of(content: RunContent) -> Sequence[str]:
    """Return the patterns of loss that were studied."""
    return content.rna_loss["pattern"].unique(maintain_order=True).to_list()
