"""The section on lost genes: curves of patterns with degrees, and tables of all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from matplotlib.figure import Figure

from crosstype.models import catalog
from crosstype.report.formatting import METRIC_NAMES, interval, number
from crosstype.report.run_tables import RunTables
from crosstype.report.svg import BLUE, FAINT, GREEN, ORANGE, QUIET, VERMILION, new_figure
from crosstype.report.tables import Cell, PageTable

PERCENT = "{:.1%}"


@dataclass(frozen=True)
class Wording:
    """How a pattern is written.

    Attributes:
        title: of its section.
        axis: what its levels are; empty: it has no degrees.
        level: how a level is written.
        stand_in: title if the table lacks the genes that the pattern names.
    """

    title: str
    axis: str = ""
    level: str = PERCENT
    stand_in: str = ""


PATTERNS: Mapping[str, Wording] = {
    "each": Wording("Lost genes: each patient loses its own genes", "Share of genes lost"),
    "same": Wording("Lost genes: all lose the same genes", "Share of genes lost"),
    "noise": Wording("Gaussian noise on amounts", "Noise (SD, in means of the gene)", "{:g}"),
    "normal_like": Wording("Mixed with a normal-like profile", "Normal-like share of the sample"),
    "panel": Wording(
        "Only the 21-gene panel", stand_in="Only 21 genes drawn at random (stand-in for a panel)"
    ),
    "pam50_withheld": Wording(
        "PAM50 and most correlated genes withheld",
        "Share of genes withheld",
        stand_in="Most informative genes withheld (stand-in for PAM50)",
    ),
    "other_assay": Wording("Another assay, as it comes"),
    "other_assay_scaled": Wording("Another assay, each patient scaled"),
}
SHARES_LOST = ("each", "same")
CURVES = (*SHARES_LOST, "noise", "normal_like")
REAL = ("panel", "pam50_withheld", "other_assay", "other_assay_scaled")
"""Patterns of clinical practice, shown in one table."""
LOOKS = {
    catalog.IMAGE_ONLY: (VERMILION, "D"),
    catalog.GENE_ONLY: (BLUE, "o"),
    catalog.LATE: (ORANGE, "s"),
    catalog.CROSS_ATTENTION: (GREEN, "^"),
}
"""Models of the figure; the table has all."""
STAND_IN = "stand-in"
"""Start of the note of a pattern that replaces the one it is named after."""
BETTER = "the better unimodal model"
NOTHING = "Nothing lost"
FEW = 30
"""On fewer patients intervals are unreliable."""


def plot_rna_loss(content: RunTables, pattern: str) -> Figure:
    """Plot AUROC, with intervals, over how much is lost."""
    rows = content.rna_loss.filter(pattern=pattern, metric="auroc").sort("level")
    levels = rows["level"].unique().sort().to_list()
    figure = new_figure(3.4 if pattern in SHARES_LOST else 2.7)
    axes = figure.add_subplot()
    for model, (colour, marker) in LOOKS.items():
        own = rows.filter(model=model)
        if own.is_empty():
            continue
        # Levels are drawn at equal distances: most differences are between 90% and 100%.
        place = np.array([levels.index(level) for level in own["level"]])
        axes.plot(place, own["value"], color=colour, marker=marker, markersize=4, label=model)
        axes.fill_between(place, own["low"], own["high"], color=colour, alpha=0.15, linewidth=0)
    axes.set_xticks(range(len(levels)), [level_words(pattern, level) for level in levels])
    axes.axhline(0.5, color=QUIET, linewidth=0.8, linestyle=":")
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_xlabel(PATTERNS[pattern].axis)
    axes.set_ylabel(f"AUROC, {content.confidence:.0%} interval")
    title = PATTERNS[pattern].title
    axes.set_title(f"{title}\n{content.mark}" if content.mark else title)
    figure.legend(loc="outside lower center", ncols=len(LOOKS))
    return figure


def caption_of(pattern: str) -> str:
    """Return the caption of a pattern's figure."""
    axis = PATTERNS[pattern].axis
    return f"{PATTERNS[pattern].title}: AUROC over the {axis[0].lower()}{axis[1:]}."


def level_words(pattern: str, level: float) -> str:
    """Return a level as it is written; empty for a pattern without degrees."""
    words = PATTERNS[pattern]
    return words.level.format(level).replace(".0%", "%") if words.axis else ""


def real_perturbation_table(content: RunTables) -> PageTable:
    """Return what a fusion model and the unimodal ones are worth under real-life losses.

    One row per loss, nothing lost first; the last column is the fusion model minus the better
    unimodal one with its interval.
    """
    found = content.rna_loss.filter(pl.col("pattern").is_in(REAL), metric="auroc")
    found = found.sort(pl.col("level") > 0, maintain_order=True)
    models = [name for name in LOOKS if name in set(found["model"])]
    fusion = next((name for name in catalog.FUSION if name in models), "")
    gaps = {
        (row["pattern"], row["level"]): row
        for row in content.rna_loss_comparisons.filter(model_a=fusion, model_b=BETTER).to_dicts()
    }
    rows = []
    for key, part in found.group_by("pattern", "level", maintain_order=True):
        pattern, level = str(key[0]), float(str(key[1]))
        of_model = {row["model"]: row for row in part.to_dicts()}
        n_patients = int(part["n"][0])
        title, shown = title_of(pattern, part["note"][0]), level_words(pattern, level)
        name = Cell(title, f"{shown} of all genes" if shown else "") if level else Cell(NOTHING)
        values = [_cell(of_model[model], "value") for model in models]
        gap = _cell(gaps.get((pattern, level)), "difference")
        few = "too few patients" if n_patients < FEW else ""
        rows.append((name, Cell(str(n_patients), few, n_patients), *values, gap))
    caption = "AUROC under real-life losses"
    if fusion:
        caption += f"; difference: {fusion} minus {BETTER}"
    return PageTable(caption, ("Loss", "Patients", *models, "Difference"), tuple(rows))


def notes_of(content: RunTables) -> list[str]:
    """Return how each pattern was made, where that needs saying."""
    first = content.rna_loss.unique("pattern", keep="first", maintain_order=True)
    pairs = first.select("pattern", "note").iter_rows()
    notes = {title_of(pattern, note): note for pattern, note in pairs if note}
    return [f"{title}: {note.removeprefix(f'{STAND_IN}: ')}." for title, note in notes.items()]


def title_of(pattern: str, note: str | None) -> str:
    """Return what happens to the patients, and not what was to happen where that cannot be."""
    words = PATTERNS[pattern]
    return words.stand_in if (note or "").startswith(STAND_IN) else words.title


def perturbation_tables(content: RunTables) -> list[PageTable]:
    """Return, per pattern, every model's metrics by level, and the differences to the unimodal."""
    tables = []
    for pattern in content.rna_loss["pattern"].unique(maintain_order=True):
        own = content.rna_loss.filter(pattern=pattern)
        about = title_of(pattern, own["note"][0])
        for (metric,), rows in own.group_by("metric", maintain_order=True):
            shown = METRIC_NAMES.get(str(metric), str(metric))
            tables.append(_table(f"{about}: {shown}", rows, "model", "value"))
        gaps = content.rna_loss_comparisons.filter(pattern=pattern)
        gaps = gaps.filter(~pl.col("model_a").is_in(catalog.BASELINE_NAMES))
        gaps = gaps.with_columns(pair=pl.col("model_a") + " minus " + pl.col("model_b"))
        if not gaps.is_empty():
            caption = f"{about}: AUROC minus that of the unimodal models, same patients"
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
    caption = f"{caption}, by {axis[0].lower()}{axis[1:]}" if axis else caption
    return PageTable(caption, columns, tuple(body))


def _cell(row: dict[str, Any] | None, of: str) -> Cell:
    if row is None:
        return Cell("")
    return Cell(number(row[of], signed=of == "difference"), interval(row), row[of])


def curves_of(content: RunTables) -> Sequence[str]:
    """Return the patterns that are drawn as curves."""
    made = set(content.rna_loss["pattern"])
    return [pattern for pattern in CURVES if pattern in made]
