"""The page of a study: one table over its runs, and one figure."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from matplotlib.figure import Figure

from crosstype.io.files import write_text
from crosstype.report import svg
from crosstype.report.formatting import METRIC_NAMES, interval, number, p_value
from crosstype.report.tables import Cell, PageTable

SHOWN = ("f1", "pr_auc", "auroc", "mcc", "accuracy")
WORDS = {
    "ablation": (
        "Ablation of cross_attention",
        "Effect of each part of cross_attention, and of the preparation of its data: each row "
        "changes one thing and is compared with the whole on the same patients.",
        "auroc",
    ),
    "replay": (
        "Replay of the published protocol",
        "Effect of each fault of a published protocol on its result: each row corrects "
        "one fault and is compared with the protocol as published. Rows before the last group "
        "leak test patients and show what such a protocol reports, not how a model performs.",
        "pr_auc",
    ),
    "learning_curve": (
        "Learning curve",
        "Performance with fewer training patients. Test patients are always the same.",
        "auroc",
    ),
}
"""By study: title, question, and the metric of its figure."""


def write_study_page(
    path: Path, kind: str, table: pl.DataFrame, confidence: float, claims: Sequence[str] = ()
) -> Path:
    """Write the page of a study and return its path.

    Args:
        path: of the page.
        kind: `ablation`, `replay` or `learning_curve`.
        table: the study's table, a row per row of the study and metric.
        confidence: level of its intervals, 0 to 1.
        claims: of the paper, shown below the table.
    """
    title, lead, metric = WORDS[kind]
    ran = table.filter(pl.col("absent") == "")
    about = f"{METRIC_NAMES[metric]} with {confidence:.0%} intervals."
    draw = _plot_curve if kind == "learning_curve" else _plot_differences
    with svg.house_style(kind):
        picture = svg.inline_svg(draw(ran.filter(metric=metric), metric), kind, f"{title}. {about}")
    figures = [svg.PageFigure(picture, about)]
    page = svg.page_environment().get_template("study.html")
    context = {
        "title": title,
        "lead": lead,
        "figures": figures,
        "rows": _rows_table(ran, confidence),
        "leaks": _leaks_table(ran),
        "absent": _absent_table(table),
        "claims": claims,
    }
    write_text(path, page.render(context))
    return path


def _rows_table(table: pl.DataFrame, confidence: float) -> PageTable:
    rows = []
    for (name,), part in table.group_by("row", maintain_order=True):
        first = part.row(0, named=True)
        by_metric = {row["metric"]: row for row in part.iter_rows(named=True)}
        head = Cell(str(name), f"against {first['against']}" if first["against"] else "")
        protocol, _, leaks = first["protocol"].partition(": ")
        place = f"{first['model']}, protocol {protocol}{' (leaks)' if leaks else ''}"
        cells = [head, Cell(first["about"], place)]
        cells += [_value_cell(by_metric[metric]) for metric in SHOWN]
        rows.append(tuple(cells))
    columns = ("Row", "What", *(METRIC_NAMES[metric] for metric in SHOWN))
    return PageTable(f"Every run, {confidence:.0%} intervals", columns, tuple(rows))


def _value_cell(row: dict[str, Any]) -> Cell:
    lines = [interval(row)]
    if row["difference"] is not None:
        ends = {"low": row["difference_low"], "high": row["difference_high"]}
        lines.append(f"{number(row['difference'], signed=True)} ({interval(ends)})")
        lines.append(f"p, Holm {p_value(row['p_adjusted'], 3)}")
    return Cell(number(row["value"]), "\n".join(lines), row["value"])


def _leaks_table(table: pl.DataFrame) -> PageTable:
    """Return how each protocol that leaks does so."""
    marks = [mark.partition(": ") for mark in table["protocol"].unique(maintain_order=True)]
    rows = tuple((Cell(name), Cell(leaks)) for name, _, leaks in marks if leaks)
    return PageTable("How protocols leak test patients", ("Protocol", "Leaks"), rows)


def _absent_table(table: pl.DataFrame) -> PageTable:
    rows = tuple(
        (Cell(row["row"]), Cell(row["about"]), Cell(row["absent"]))
        for row in table.filter(pl.col("absent") != "").iter_rows(named=True)
    )
    return PageTable("What could not be run on these data", ("Row", "What", "Why"), rows)


def _plot_differences(table: pl.DataFrame, metric: str) -> Figure:
    """Draw each row's paired difference with its interval; 0 is no difference."""
    rows = [row for row in table.iter_rows(named=True) if row["difference"] is not None]
    figure = svg.new_figure(0.6 + 0.24 * max(1, len(rows)))
    axes = figure.subplots()
    for place, row in enumerate(rows):
        ends = [row["difference_low"], row["difference_high"]]
        axes.plot(ends, [place, place], color=svg.BLUE, linewidth=1.4)
        axes.plot(row["difference"], place, "o", color=svg.BLUE, markersize=4)
    axes.axvline(0, color=svg.QUIET, linewidth=0.8)
    axes.set_yticks(range(len(rows)), [row["row"] for row in rows])
    axes.invert_yaxis()
    axes.locator_params(axis="x", nbins=6)
    axes.set_xlabel(f"Difference in {METRIC_NAMES[metric]}")
    return figure


def _plot_curve(table: pl.DataFrame, metric: str) -> Figure:
    """Draw each model's metric over the number of training patients."""
    figure = svg.new_figure(3.0)
    axes = figure.subplots()
    sizes = table.with_columns(size=pl.col("about").cast(pl.Int64)).sort("size")
    for number_, ((model,), part) in enumerate(sizes.group_by("model", maintain_order=True)):
        colour = svg.COLOURS[number_ % len(svg.COLOURS)]
        style = "--" if number_ >= len(svg.COLOURS) else "-"
        axes.plot(part["size"], part["value"], style, marker="o", color=colour, label=str(model))
        axes.fill_between(part["size"], part["low"], part["high"], color=colour, alpha=0.1)
    axes.set_xlabel("Training patients of a fold")
    axes.set_ylabel(METRIC_NAMES[metric])
    axes.legend()
    return figure
