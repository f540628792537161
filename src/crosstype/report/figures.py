"""The figures of a report; each function returns a matplotlib Figure."""

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crosstype.models.catalog import BASELINE_NAMES
from crosstype.report.curves import curves_of, losses_of
from crosstype.report.run_tables import RunTables
from crosstype.report.svg import BLUE, COLOURS, FAINT, INK, QUIET, VERMILION, new_figure

DASHES = ((0, (4, 1.5)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (8, 3)))


def plot_forest(content: RunTables) -> Figure:
    """Plot each model's pooled AUROC with its interval; the best stands on top."""
    rows = content.headline("auroc").sort("value", maintain_order=True)
    figure = new_figure(1.1 + 0.27 * rows.height)
    axes = figure.add_subplot()
    for place, row in enumerate(rows.iter_rows(named=True)):
        is_baseline = row["model"] in BASELINE_NAMES
        colour, marker = (QUIET, "s") if is_baseline else (BLUE, "o")
        draw_interval(axes, row, "value", place, colour, marker)
    axes.axvline(0.5, color=QUIET, linewidth=0.8, linestyle=":")
    name_rows(axes, list(rows["model"]))
    axes.set_xlabel(f"AUROC, pooled, {content.confidence:.0%} interval (dotted: guessing)")
    axes.plot([], [], "o", color=BLUE, label="model")
    axes.plot([], [], "s", color=QUIET, label="baseline")
    figure.legend(loc="outside upper right", ncols=2, handletextpad=0.1)
    set_title(axes, "Models", content.mark)
    return figure


def plot_modality_use(content: RunTables) -> Figure:
    """Plot what each model's AUROC loses when a modality is shuffled between patients."""
    rows = content.modality_use.filter(
        (pl.col("metric") == "auroc") & pl.col("condition").str.ends_with("_shuffled")
    )
    models = list(dict.fromkeys(rows["model"]))
    known = [model for model in reversed(content.models) if model in models]
    models = [model for model in models if model not in known] + known
    figure = new_figure(1.1 + 0.36 * len(models))
    axes = figure.add_subplot()
    looks = {"image": (VERMILION, "D", 0.14), "genes": (BLUE, "o", -0.14)}
    if "clinical" in set(rows["modality"]):
        looks["clinical"] = (INK, "s", 0.0)
    for row in rows.iter_rows(named=True):
        colour, marker, shift = looks[row["modality"]]
        draw_interval(axes, row, "drop", models.index(row["model"]) + shift, colour, marker)
    for modality, (colour, marker, _) in looks.items():
        axes.plot([], [], marker, color=colour, label=f"{modality} shuffled")
    axes.axvline(0, color=INK, linewidth=0.8)
    name_rows(axes, models)
    axes.set_xlabel("AUROC lost (right: the model used the modality)")
    figure.legend(loc="outside upper right", ncols=len(looks), handletextpad=0.1)
    set_title(axes, "Modality use", content.mark)
    return figure


def plot_roc(content: RunTables, of: str) -> Figure:
    """Plot receiver operating characteristics of all models for a class against the rest."""
    figure, axes = make_curve_axes(content)
    for model, look in line_looks(content.models):
        curve = curves_of(content, model, of).roc
        axes.plot(curve.x, curve.y, label=model, **look)
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=0.8, linestyle=":")
    axes.set_xlabel(f"Share of other patients called {of}")
    axes.set_ylabel(f"Share of {of} found")
    set_title(axes, f"ROC curves, {of}", content.mark)
    return figure


def plot_precision_recall(content: RunTables, of: str) -> Figure:
    """Plot precision over recall of all models for a class against the rest."""
    figure, axes = make_curve_axes(content)
    for model, look in line_looks(content.models):
        curve = curves_of(content, model, of).precision_recall
        axes.plot(curve.x, curve.y, drawstyle="steps-pre", label=model, **look)
    share = float((content.cohort["label"] == of).sum()) / max(content.cohort.height, 1)
    axes.axhline(share, color=QUIET, linewidth=0.8, linestyle=":")
    axes.set_xlabel(f"Recall: share of {of} found")
    axes.set_ylabel("Precision: share of calls that are right")
    set_title(axes, f"Precision and recall, {of}", content.mark)
    return figure


def plot_training(content: RunTables, models: Sequence[str]) -> Figure:
    """Plot losses over epochs, a panel per model and a line per fold."""
    n_rows = ceil(len(models) / 2)
    figure = new_figure(0.7 + 1.75 * n_rows)
    panels = figure.subplots(n_rows, 2, squeeze=False)
    for axes, model in zip(panels.flat, models, strict=False):
        for losses in losses_of(content, model):
            epochs = losses["epoch"].to_numpy()
            look = {"linewidth": 1.0, "alpha": 0.85}
            axes.plot(epochs, losses["train_loss"], color=QUIET, linestyle="--", **look)
            axes.plot(epochs, losses["validation_loss"], color=BLUE, **look)
        axes.set_title(model)
        axes.margins(y=0.1)
    for axes in panels.flat[len(models) :]:
        axes.set_axis_off()
    panels.flat[0].plot([], [], color=BLUE, label="validation")
    panels.flat[0].plot([], [], color=QUIET, linestyle="--", label="training")
    figure.legend(loc="outside lower right", ncols=2)
    figure.supxlabel("Epoch", fontsize=9)
    figure.supylabel("Loss", fontsize=9)
    set_figure_title(figure, "Training", content.mark)
    return figure


def make_curve_axes(content: RunTables) -> tuple[Figure, Axes]:
    """Return an empty figure for curves of all models, with room for the legend."""
    figure = new_figure(4.1 + 0.16 * ceil(len(content.models) / 3))
    axes = figure.add_subplot()
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.02)
    axes.set_box_aspect(0.85)
    return figure, axes


def line_looks(models: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """Give each model a colour, each baseline a grey dash."""
    looks: list[tuple[str, dict[str, Any]]] = []
    n_models = n_baselines = 0
    for model in models:
        if model in BASELINE_NAMES:
            dash = DASHES[n_baselines % len(DASHES)]
            looks.append((model, {"color": QUIET, "linestyle": dash, "linewidth": 1.1}))
            n_baselines += 1
        else:
            # After seven models the colours begin again, dashed.
            line: Any = "-" if n_models < len(COLOURS) else DASHES[0]
            colour = COLOURS[n_models % len(COLOURS)]
            looks.append((model, {"color": colour, "linestyle": line, "linewidth": 1.6}))
            n_models += 1
    return looks


def draw_interval(
    axes: Axes, row: dict[str, Any], of: str, place: float, colour: str, marker: str
) -> None:
    """Draw a row's value and its interval at a height."""
    axes.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=1.8)
    axes.plot(row[of], place, marker, color=colour, markersize=5)


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Write the rows' names beside the axes, from the bottom up."""
    axes.set_yticks(np.arange(len(names)), names)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.locator_params(axis="x", nbins=8)
    axes.grid(axis="x", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def set_title(axes: Axes, title: str, mark: str) -> None:
    """Give the axes a title with the run's mark, and the figure a legend of its curves."""
    axes.set_title(_marked(title, mark))
    figure = axes.figure
    handles, labels = axes.get_legend_handles_labels()
    if labels and isinstance(figure, Figure) and not figure.legends:
        figure.legend(handles, labels, loc="outside lower center", ncols=3)


def set_figure_title(figure: Figure, title: str, mark: str) -> None:
    """Set the title of a figure of several panels, with a second line for the mark."""
    figure.suptitle(_marked(title, mark), fontsize=9.5, x=0.02, ha="left")


def _marked(title: str, mark: str) -> str:
    return f"{title}\n{mark}" if mark else title
