"""Confusion matrices and training curves, fold by fold."""

from collections.abc import Sequence
from math import ceil

import numpy as np
import polars as pl
from jaxtyping import Int
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from crosstype.report.curves import count_calls, mean_losses
from crosstype.report.figures import set_figure_title
from crosstype.report.formatting import short
from crosstype.report.run_tables import RunTables
from crosstype.report.svg import BLUE, INK, QUIET, new_figure

MOST_ACROSS = 5
PALE = LinearSegmentedColormap.from_list("share", ["#ffffff", BLUE])


def folds_of(content: RunTables) -> list[int]:
    """Return the folds of the first repeat."""
    return sorted(content.predictions.filter(repeat=0)["fold"].unique().to_list())


def fold_counts(content: RunTables, model: str, fold: int) -> Int[np.ndarray, "classes classes"]:
    """Return who was called what in a fold of the first repeat; rows: true class."""
    rows = content.predictions.filter(model=model, repeat=0, fold=fold)
    return count_calls(rows, content.classes)


def fold_losses(content: RunTables, model: str, fold: int) -> pl.DataFrame:
    """Return losses by epoch in a fold of the first repeat, the mean over the fold's networks."""
    return mean_losses(content.training.filter(model=model, repeat=0, fold=fold))


def plot_folds(content: RunTables, model: str) -> Figure:
    """Plot a model's confusion matrix and, below it, its training curves, a column per fold."""
    folds = folds_of(content)
    trained = content.training.filter(pl.col("model") == model).height > 0
    n_across = min(MOST_ACROSS, len(folds))
    heights = ((1.0, 0.95) if trained else (1.0,)) * ceil(len(folds) / n_across)
    figure = new_figure(0.75 + 1.1 * sum(heights))
    panels = figure.subplots(
        len(heights), n_across, squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    per_fold = 2 if trained else 1
    for axes in panels.flat:
        axes.set_axis_off()
    curves: list[Axes] = []
    for place, fold in enumerate(folds):
        row, column = divmod(place, n_across)
        axes = panels[row * per_fold, column]
        _draw_counts(axes, fold_counts(content, model, fold), content.classes, column)
        axes.set_title(f"fold {fold + 1}", fontsize=8)
        if trained:
            curves.append(panels[row * per_fold + 1, column])
            _draw_perturbed(curves[-1], fold_losses(content, model, fold))
    _align(curves, n_across)
    if trained:
        curves[0].plot([], [], color=BLUE, label="validation")
        curves[0].plot([], [], color=QUIET, linestyle="--", label="training")
        figure.legend(loc="outside lower right", ncols=2)
    set_figure_title(figure, model, content.mark)
    return figure


def folds_note(content: RunTables) -> str:
    """Return how to read the figures of folds."""
    first = " of the first repeat" if content.n_repeats > 1 else ""
    return (
        f"A column for each fold{first}. Above: true class (rows) and called class (columns) of "
        "its test patients, darker the larger the share of the row. Below, for networks: loss over "
        "epochs, the mean over the fold's networks."
    )


def _draw_counts(
    axes: Axes, counts: Int[np.ndarray, "classes classes"], classes: Sequence[str], column: int
) -> None:
    """Draw a confusion matrix; the colour is the share of the row."""
    axes.set_axis_on()
    share = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    axes.pcolormesh(share, cmap=PALE, vmin=0, vmax=1.25, edgecolor="white", linewidth=0.8)
    for (row, place), n in np.ndenumerate(counts):
        colour = "white" if share[row, place] > 0.6 else INK
        axes.text(
            place + 0.5, row + 0.5, str(n), ha="center", va="center", color=colour, fontsize=8
        )
    axes.set_ylim(len(classes), 0)
    middles = np.arange(len(classes)) + 0.5
    names = [short(name, 12) for name in classes]
    axes.set_xticks(middles, names, fontsize=6, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(middles, names if column == 0 else [""] * len(names), fontsize=6)
    axes.tick_params(length=0, pad=2)
    for side in axes.spines.values():
        side.set_visible(False)


def _draw_perturbed(axes: Axes, losses: pl.DataFrame) -> None:
    axes.set_axis_on()
    epochs = losses["epoch"].to_numpy()
    axes.plot(epochs, losses["train_loss"], color=QUIET, linestyle="--", linewidth=1.0)
    axes.plot(epochs, losses["validation_loss"], color=BLUE, linewidth=1.0)
    axes.tick_params(labelsize=6, pad=2)
    axes.locator_params(nbins=3)


def _align(curves: Sequence[Axes], n_across: int) -> None:
    """Give all curves of a model the same scale, written once a row."""
    lows, highs = zip(*(axes.get_ylim() for axes in curves), strict=True) if curves else ((), ())
    for place, axes in enumerate(curves):
        axes.set_ylim(min(lows), max(highs))
        if place % n_across:
            axes.tick_params(labelleft=False)
        else:
            axes.set_ylabel("loss", fontsize=7)
