"""Whether acting on a model would be worth it, as the page shows it."""

from __future__ import annotations

import polars as pl
from matplotlib.figure import Figure

from crosstype.report.content import RunContent
from crosstype.report.figures import line_looks, make_curve_axes, set_title
from crosstype.report.page_tables import Cell, PageTable
from crosstype.report.svg import BLUE, INK, QUIET
from crosstype.report.words import interval, number

SHOWN = (0.1, 0.2, 0.3, 0.5)


def plot_decisions(content: RunContent, of: str) -> Figure:
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


def decision_table(content: RunContent, of: str) -> PageTable:
    """Return net benefit at some thresholds, with intervals; the last row is all treated."""
    curves = content.decision_curve.filter(pl.col("class") == of)
    rows: list[tuple[Cell, ...]] = []
    everyone: dict[float, float] = {}
    for model in content.models:
        own = curves.filter(pl.col("model") == model).iter_rows(named=True)
        at = {round(row["threshold"], 2): row for row in own}
        if not at:
            continue
        everyone = {share: at[share]["treat_all"] for share in SHOWN}
        shown = (at[share] for share in SHOWN)
        cells = (Cell(number(it["net_benefit"]), interval(it), it["net_benefit"]) for it in shown)
        rows.append((Cell(model), *cells))
    if everyone:
        cells = (Cell(number(everyone[share]), "", everyone[share]) for share in SHOWN)
        rows.append((Cell("all treated"), *cells))
    columns = ("Model", *(f"Threshold {share:g}" for share in SHOWN))
    return PageTable(f"Net benefit of treating for {of}; nobody treated: 0", columns, tuple(rows))
