"""Whether probabilities mean what they say, as the page shows it."""

from __future__ import annotations

from math import ceil
from typing import Any

import polars as pl
from matplotlib.figure import Figure

from crosstype.report.content import RunContent
from crosstype.report.page_tables import Cell, PageTable
from crosstype.report.svg import BLUE, QUIET, new_figure
from crosstype.report.words import interval, number

PARTS = ("brier", "ece", "brier_reliability", "brier_resolution", "brier_uncertainty")
COLUMNS = (
    "Brier (lower is better)",
    "Calibration error (lower is better)",
    "Reliability (lower is better)",
    "Resolution (higher is better)",
    "Uncertainty",
)


def plot_calibration(content: RunContent, of: str) -> Figure:
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
    title = f"Calibration, {of}"
    title = f"{title}\n{content.mark}" if content.mark else title
    figure.suptitle(title, fontsize=9.5, x=0.02, ha="left")
    return figure


def _point(axes: Any, row: dict[str, Any]) -> None:
    said = row["mean_probability"]
    axes.plot([said, said], [row["low"], row["high"]], color=BLUE, linewidth=1.0, alpha=0.7)
    axes.plot(said, row["observed"], "o", color=BLUE, markersize=3)


def calibration_error_table(content: RunContent) -> PageTable:
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
