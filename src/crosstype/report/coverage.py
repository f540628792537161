"""Abstention, thresholds and temperatures, as the page shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from crosstype.report.content import RunContent
from crosstype.report.figures import line_looks, make_curve_axes, set_title
from crosstype.report.page_tables import Cell, PageTable
from crosstype.report.words import interval, number

SHOWN = (1.0, 0.9, 0.8, 0.7, 0.5)


def plot_coverage(content: RunContent) -> Figure:
    """Plot accuracy over the share of patients who are called, the surest first."""
    figure, axes = make_curve_axes(content)
    lowest = 1.0
    for model, look in line_looks(content.models):
        rows = _curve(content, model)
        if rows.is_empty():
            continue
        axes.plot(rows["coverage"], rows["accuracy"], label=model, **look)
        lowest = min(lowest, float(rows["accuracy"].to_numpy().min()))
    axes.set_xlim(1.01, 0.49)
    axes.set_ylim(max(0.0, lowest - 0.03), 1.01)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("Share of patients called, the surest first")
    axes.set_ylabel("Share of calls that are right")
    set_title(axes, "Accuracy by coverage", content.mark)
    return figure


def coverage_table(content: RunContent) -> PageTable:
    """Return accuracy at some coverages, and the area under the risk-coverage curve."""
    rows = []
    for model in content.models:
        found = {round(row["coverage"], 2): row for row in _rows_of(content, model, "share")}
        if not found:
            continue
        cells = [Cell(model)]
        for share in SHOWN:
            row = found[share]
            above = f"{interval(row)}\nconfidence from {number(row['threshold'], 2)}"
            cells.append(Cell(number(row["accuracy"]), above, row["accuracy"]))
        area = {"low": found[1.0]["aurc_low"], "high": found[1.0]["aurc_high"]}
        value = found[1.0]["aurc"]
        rows.append((*cells, Cell(number(value), interval(area), value)))
    columns = ("Model", *(f"{share:.0%} called" for share in SHOWN), "Area (lower is better)")
    caption = "Accuracy among the surest patients, and the area under the risk-coverage curve"
    return PageTable(caption, columns, tuple(rows))


def abstention_table(content: RunContent) -> PageTable:
    """Return what remains if patients of low confidence are not called; no rows if all are."""
    rows = []
    least = 0.0
    for model in content.models:
        for row in _rows_of(content, model, "confidence"):
            least = row["threshold"]
            ends = {"low": row["macro_f1_low"], "high": row["macro_f1_high"]}
            n_abstained = row["n_abstained"]
            rows.append(
                (
                    Cell(model),
                    Cell(f"{n_abstained:,}", f"of {row['n'] + n_abstained:,}", n_abstained),
                    Cell(number(row["accuracy"]), interval(row), row["accuracy"]),
                    Cell(number(row["macro_f1"]), interval(ends), row["macro_f1"]),
                )
            )
    return PageTable(
        f"Patients of a confidence below {least:g} are not called",
        ("Model", "Not called", "Accuracy of the others", "Macro F1 of the others"),
        tuple(rows),
    )


def calibration_table(content: RunContent) -> PageTable:
    """Return temperatures and chosen thresholds over folds; no rows if nothing was learned."""
    learned = content.calibration.filter(pl.col("n") > 0)
    rows = []
    for model in content.models:
        own = learned.filter(pl.col("model") == model)
        for (name,), part in own.group_by("class", maintain_order=True):
            cells = (_range_cell(part[column].to_list()) for column in ("temperature", "threshold"))
            offset = _range_cell(part["offset"].to_list())
            rows.append((Cell(model), Cell(str(name)), *cells, offset, Cell(str(part.height))))
    return PageTable(
        "Temperature, and threshold or offset of each class: median and range over folds",
        ("Model", "Class", "Temperature", "Threshold", "Offset", "Folds"),
        tuple(rows),
    )


def has_threshold(content: RunContent) -> bool:
    """Return whether a threshold was chosen in any fold."""
    return bool((content.calibration["offset"] != 0).any())


def _range_cell(values: Sequence[float | None]) -> Cell:
    known = sorted(value for value in values if value is not None)
    if not known:
        return Cell("–")
    middle = float(pl.Series(known).median())  # type: ignore[arg-type]
    ends = {"low": known[0], "high": known[-1]}
    return Cell(number(middle, 2), interval(ends, 2), middle)


def _curve(content: RunContent, model: str) -> pl.DataFrame:
    chosen = (pl.col("model") == model) & (pl.col("rule") == "share")
    return content.coverage.filter(chosen).sort("coverage", descending=True)


def _rows_of(content: RunContent, model: str, rule: str) -> list[dict[str, Any]]:
    chosen = (pl.col("model") == model) & (pl.col("rule") == rule)
    return content.coverage.filter(chosen).to_dicts()
