"""Each model in each group of patients, as the page shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from matplotlib.figure import Figure

from crosstype.models.spec import BASELINE_NAMES
from crosstype.report.content import RunContent
from crosstype.report.figures import draw_interval, name_rows, set_title
from crosstype.report.page_tables import Cell, PageTable
from crosstype.report.svg import BLUE, QUIET, new_figure
from crosstype.report.words import interval, number, short

SHOWN = ("gene_only", "image_only", "cross_attention")
MOST_GROUPS = 30
BELOW_ALL = -1.0
"""Where a group without an AUROC stands in a sorted column."""


@dataclass(frozen=True)
class GroupFigure:
    """Which groups a figure shows.

    Attributes:
        column: the column.
        model: the model of highest pooled AUROC.
        rows: AUROC of the model in the groups that have one, in the order of the table.
        n_groups: groups that have one.
        n_without: groups that are too small for one.
    """

    column: str
    model: str
    rows: pl.DataFrame
    n_groups: int
    n_without: int

    @property
    def caption(self) -> str:
        """What the figure shows and what it leaves out."""
        said = f"AUROC of {self.model} by {self.column}; dotted: guessing, line: all patients."
        if self.rows.height < self.n_groups:
            said += f" The {self.rows.height} largest of {self.n_groups} groups."
        if self.n_without:
            few = "1 group is" if self.n_without == 1 else f"{self.n_without} groups are"
            said += f" {few} too small for an AUROC."
        return said


def shown_models(content: RunContent) -> tuple[str, ...]:
    """Return the models of the tables: genes, image, both, and the best baseline."""
    baselines = [model for model in content.models if model in BASELINE_NAMES]
    chosen = [model for model in (*SHOWN, *baselines[:1]) if model in content.models]
    return tuple(chosen)


def subgroup_tables(content: RunContent) -> list[PageTable]:
    """Return AUROC by group, a table per column."""
    models = shown_models(content)
    aurocs = content.subgroups.filter(pl.col("metric") == "auroc")
    tables = []
    for (column,), part in aurocs.group_by("column", maintain_order=True):
        rows = [
            (str(group), {row["model"]: row for row in own.iter_rows(named=True)})
            for (group,), own in part.group_by("group", maintain_order=True)
        ]
        cells = [_group_row(group, of_model, models) for group, of_model in rows]
        cells.sort(key=lambda row: bool(row[0].small))  # groups without an AUROC come last
        heads = tuple(f"AUROC, {model}" for model in models)
        caption = f"AUROC by {column}, with {content.confidence:.0%} intervals"
        columns = (str(column), "Patients", _positive(content), *heads)
        tables.append(PageTable(caption, columns, tuple(cells)))
    return tables


def _group_row(
    group: str, of_model: Mapping[str, dict[str, Any]], models: Sequence[str]
) -> tuple[Cell, ...]:
    sizes = next(iter(of_model.values()))
    cells = [Cell(group, sizes["note"])]
    cells += [Cell(str(sizes[name]), "", sizes[name]) for name in ("n", "n_positive")]
    for model in models:
        row = of_model.get(model)
        if row is None or row["value"] is None:
            cells.append(Cell("–", "", BELOW_ALL))
        else:
            cells.append(Cell(number(row["value"]), interval(row), row["value"]))
    return tuple(cells)


def group_figures(content: RunContent) -> list[GroupFigure]:
    """Return what is to be drawn of each column; nothing where no group is large enough."""
    if not content.models:
        return []
    best = content.models[0]
    aurocs = content.subgroups.filter((pl.col("metric") == "auroc") & (pl.col("model") == best))
    found = []
    for (column,), part in aurocs.group_by("column", maintain_order=True):
        there = part.filter(pl.col("value").is_not_null()).with_row_index("place")
        largest = there.sort("n", descending=True, maintain_order=True).head(MOST_GROUPS)
        n_without = part.height - there.height
        if there.height:
            rows = largest.sort("place")
            found.append(GroupFigure(str(column), best, rows, there.height, n_without))
    return found


def plot_groups(content: RunContent, chosen: GroupFigure) -> Figure:
    """Plot a model's AUROC in each group with its interval; a line at that of all patients."""
    rows = list(chosen.rows.reverse().iter_rows(named=True))
    figure = new_figure(1.1 + 0.24 * len(rows))
    axes = figure.add_subplot()
    for place, row in enumerate(rows):
        draw_interval(axes, row, "value", place, BLUE, "o")
    axes.axvline(0.5, color=QUIET, linewidth=0.8, linestyle=":")
    pooled = content.headline("auroc").filter(pl.col("model") == chosen.model)["value"].item()
    axes.axvline(pooled, color=QUIET, linewidth=0.8)
    name_rows(axes, [f"{short(row['group'])} (n = {row['n']})" for row in rows])
    axes.set_xlabel(f"AUROC of {chosen.model}, {content.confidence:.0%} interval")
    set_title(axes, f"By {short(chosen.column)}", content.mark)
    return figure


def _positive(content: RunContent) -> str:
    return content.classes[1] if len(content.classes) == 2 else "Smallest class"
