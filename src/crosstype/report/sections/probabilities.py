"""Sections of the report on abstention, thresholds, calibration and decision curves."""

from collections.abc import Sequence
from math import ceil
from typing import Any

import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from crosstype.report.figures import line_looks, make_curve_axes, set_figure_title, set_title
from crosstype.report.formatting import interval, number
from crosstype.report.run_tables import RunTables
from crosstype.report.svg import BLUE, INK, QUIET, new_figure
from crosstype.report.tables import Cell, PageTable

SHARES_CALLED = (1.0, 0.9, 0.8, 0.7, 0.5)


def plot_coverage(content: RunTables) -> Figure:
    """Plot accuracy over coverage, the most confident patients first."""
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
    axes.set_xlabel("Share of patients predicted, the most confident first")
    axes.set_ylabel("Share of calls that are right")
    set_title(axes, "Accuracy by coverage", content.mark)
    return figure


def coverage_table(content: RunTables) -> PageTable:
    """Return accuracy at some coverages, and the area under the risk-coverage curve."""
    rows = []
    for model in content.models:
        found = {round(row["coverage"], 2): row for row in _rows_of(content, model, "share")}
        if not found:
            continue
        cells = [Cell(model)]
        for share in SHARES_CALLED:
            row = found[share]
            above = f"{interval(row)}\nconfidence from {number(row['threshold'], 2)}"
            cells.append(Cell(number(row["accuracy"]), above, row["accuracy"]))
        area = {"low": found[1.0]["aurc_low"], "high": found[1.0]["aurc_high"]}
        value = found[1.0]["aurc"]
        rows.append((*cells, Cell(number(value), interval(area), value)))
    columns = (
        "Model",
        *(f"{share:.0%} called" for share in SHARES_CALLED),
        "Area (lower is better)",
    )
    caption = "Accuracy among the surest patients, and the area under the risk-coverage curve"
    return PageTable(caption, columns, tuple(rows))


def abstention_table(content: RunTables) -> PageTable:
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


def calibration_table(content: RunTables) -> PageTable:
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


def has_threshold(content: RunTables) -> bool:
    """Return whether a threshold was chosen in any fold."""
    return bool((content.calibration["offset"] != 0).any())


def _range_cell(values: Sequence[float | None]) -> Cell:
    known = sorted(value for value in values if value is not None)
    if not known:
        return Cell("–")
    middle = float(pl.Series(known).median())  # type: ignore[arg-type]
    ends = {"low": known[0], "high": known[-1]}
    return Cell(number(middle, 2), interval(ends, 2), middle)


def _curve(content: RunTables, model: str) -> pl.DataFrame:
    chosen = (pl.col("model") == model) & (pl.col("rule") == "share")
    return content.coverage.filter(chosen).sort("coverage", descending=True)


def _rows_of(content: RunTables, model: str, rule: str) -> list[dict[str, Any]]:
    chosen = (pl.col("model") == model) & (pl.col("rule") == rule)
    return content.coverage.filter(chosen).to_dicts()


PARTS = ("brier", "ece", "brier_reliability", "brier_resolution", "brier_uncertainty")
COLUMNS = (
    "Brier (lower is better)",
    "Calibration error (lower is better)",
    "Reliability (lower is better)",
    "Resolution (higher is better)",
    "Uncertainty",
)


def plot_calibration(content: RunTables, of: str) -> Figure:
    """Plot the share of a class over its mean probability, a panel per model, a point per bin."""
    curves = content.calibration_curve.filter(pl.col("class") == of)
    models = [model for model in content.models if model in set(curves["model"])]
    n_rows = ceil(len(models) / 3)
    figure = new_figure(0.8 + 1.6 * n_rows)
    panels = figure.subplots(n_rows, 3, squeeze=False, sharex=True, sharey=True)
    for axes, model in zip(panels.flat, models, strict=False):
        axes.plot([0, 1], [0, 1], color=QUIET, linewidth=0.8, linestyle=":")
        rows = curves.filter(pl.col("model") == model).sort("bin")
        axes.plot(rows["mean_probability"], rows["observed"], color=BLUE, linewidth=1.0)
        for row in rows.iter_rows(named=True):
            _point(axes, row)
        axes.set_title(model, fontsize=8)
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(-0.03, 1.03)
        axes.set_box_aspect(1)
    for axes in panels.flat[len(models) :]:
        axes.set_axis_off()
    figure.supxlabel(f"Mean probability of {of} in the bin", fontsize=9)
    figure.supylabel(f"Share of {of}", fontsize=9)
    set_figure_title(figure, f"Calibration, {of}", content.mark)
    return figure


def _point(axes: Any, row: dict[str, Any]) -> None:
    mean = row["mean_probability"]
    axes.plot([mean, mean], [row["low"], row["high"]], color=BLUE, linewidth=1.0, alpha=0.7)
    axes.plot(mean, row["observed"], "o", color=BLUE, markersize=3)


def calibration_error_table(content: RunTables) -> PageTable:
    """Return the Brier value, its parts and the calibration error of each model."""
    by_metric = {
        metric: {row["model"]: row for row in content.headline(metric).iter_rows(named=True)}
        for metric in PARTS
    }
    rows = []
    for model in content.models:
        found = [by_metric[metric].get(model) for metric in PARTS]
        cells = [
            Cell("–") if row is None else Cell(number(row["value"]), interval(row), row["value"])
            for row in found
        ]
        rows.append((Cell(model), *cells))
    caption = "Brier = reliability - resolution + uncertainty + what the width of the bins leaves"
    return PageTable(caption, ("Model", *COLUMNS), tuple(rows))


THRESHOLDS = (0.1, 0.2, 0.3, 0.5)


def plot_decisions(content: RunTables, of: str) -> Figure:
    """Plot net benefit over the threshold for all models, for treating all and for nobody."""
    curves = content.decision_curve.filter(pl.col("class") == of).sort("threshold")
    figure, axes = make_curve_axes(content)
    highest = 0.0
    for place, (model, look) in enumerate(line_looks(content.models)):
        rows = curves.filter(pl.col("model") == model)
        if rows.is_empty():
            continue
        if place == 0:
            band = {"color": look.get("color", BLUE), "alpha": 0.15, "linewidth": 0}
            axes.fill_between(rows["threshold"], rows["low"], rows["high"], **band)
        axes.plot(rows["threshold"], rows["net_benefit"], label=model, **look)
        highest = max(highest, *rows["net_benefit"], *rows["treat_all"])
    everyone = curves.unique("threshold", keep="first").sort("threshold")
    axes.plot(
        everyone["threshold"], everyone["treat_all"], color=INK, linewidth=1.0, label="all treated"
    )
    axes.axhline(0, color=QUIET, linewidth=0.8, linestyle=":", label="nobody treated")
    axes.set_ylim(-0.15 * highest - 0.01, 1.08 * highest + 0.01)
    axes.set_xlabel(f"Threshold: least probability of {of} to be treated")
    axes.set_ylabel("Net benefit (higher is better)")
    set_title(axes, f"Decision curves, {of}", content.mark)
    return figure


def decision_table(content: RunTables, of: str) -> PageTable:
    """Return net benefit at some thresholds, with intervals; the last row is all treated."""
    curves = content.decision_curve.filter(pl.col("class") == of)
    rows: list[tuple[Cell, ...]] = []
    everyone: dict[float, float] = {}
    for model in content.models:
        own = curves.filter(pl.col("model") == model).iter_rows(named=True)
        at = {round(row["threshold"], 2): row for row in own}
        if not at:
            continue
        everyone = {share: at[share]["treat_all"] for share in THRESHOLDS}
        shown = (at[share] for share in THRESHOLDS)
        cells = (Cell(number(it["net_benefit"]), interval(it), it["net_benefit"]) for it in shown)
        rows.append((Cell(model), *cells))
    if everyone:
        cells = (Cell(number(everyone[share]), "", everyone[share]) for share in THRESHOLDS)
        rows.append((Cell("all treated"), *cells))
    columns = ("Model", *(f"Threshold {share:g}" for share in THRESHOLDS))
    return PageTable(f"Net benefit of treating for {of}; nobody treated: 0", columns, tuple(rows))
