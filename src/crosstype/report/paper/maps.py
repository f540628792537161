"""Flat maps of the models' vectors of patients who were out of the fold; no two folds share one."""

from math import ceil

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crosstype.report.figures import set_figure_title
from crosstype.report.formatting import number, short
from crosstype.report.run_tables import ExplanationTables, RunTables
from crosstype.report.svg import COLOURS, QUIET, new_figure

SPACES = {"image": "image alone", "genes": "genes alone", "fused": "both, fused"}
MARKERS = "osD^vPX"
MOST_ACROSS = 3


def mapped_models(explained: ExplanationTables) -> list[str]:
    """Return the models whose patients are mapped."""
    return list(dict.fromkeys(explained.vector_maps["model"]))


def plot_vector_maps(content: RunTables, explained: ExplanationTables, model: str) -> Figure:
    """Plot a model's maps: a row per fold and a column per space; of one space, folds in rows."""
    rows = explained.vector_maps.filter(pl.col("model") == model)
    spaces = [space for space in SPACES if space in set(rows["space"])]
    folds = sorted(rows["fold"].unique().to_list())
    wanted = [(fold, space) for fold in folds for space in spaces]
    n_across = len(spaces) if len(spaces) > 1 else min(MOST_ACROSS, len(folds))
    n_down = ceil(len(wanted) / n_across)
    figure = new_figure(0.8 + 1.3 * n_down)
    panels = figure.subplots(n_down, n_across, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for place, (fold, space) in enumerate(wanted):
        axes = panels.flat[place]
        _draw_map(content, axes, rows.filter(pl.col("fold") == fold, pl.col("space") == space))
        if len(spaces) == 1:
            axes.set_title(f"{_fold_in_words(content, model, fold)}", fontsize=7.5)
        elif space == spaces[0]:
            axes.set_ylabel(_fold_in_words(content, model, fold), fontsize=7.5)
        if len(spaces) > 1 and place < n_across:
            axes.set_title(SPACES[space], fontsize=8.5)
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    set_figure_title(figure, model, content.mark)
    return figure


def maps_note(content: RunTables) -> str:
    """Return how to read the maps, and their limits."""
    who = (
        "which were not used to fit weights, but leak into the fold's models (see the banner)"
        if content.leaks
        else "which were not used in the fold's training"
    )
    return (
        f"Patient vectors of test patients, {who}: of the image with the genes "
        "masked, of the genes with the image masked, and of both at the last layer. A "
        "map for each fold, since two folds' models share no space. Axes have no unit; only "
        "near neighbours can be interpreted."
    )


def maps_caption(content: RunTables, explained: ExplanationTables, model: str) -> str:
    """Return how a model's maps were made, and whether its vectors change predictions."""
    rows = explained.vector_maps.filter(pl.col("model") == model)
    text = f"{model}, by {' or '.join(dict.fromkeys(rows['method']))}."
    residual_weights = _residual_weights(content, model)
    if residual_weights and not any(residual_weights.values()):
        text += (
            " The residual weight is 0 in all folds, so these vectors change no "
            "prediction of this run."
        )
    return text


def _draw_map(content: RunTables, axes: Axes, rows: pl.DataFrame) -> None:
    axes.set_axis_on()
    for place, name in enumerate(content.classes):
        own = rows.filter(pl.col("label") == name)
        axes.plot(
            own["x"].to_numpy(),
            own["y"].to_numpy(),
            MARKERS[place % len(MARKERS)],
            color=COLOURS[place % len(COLOURS)],
            markersize=3.5,
            alpha=0.85,
            label=short(name, 24),
        )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.margins(0.1)
    for side in axes.spines.values():
        side.set_visible(True)
        side.set_color(QUIET)
        side.set_linewidth(0.5)


def _fold_in_words(content: RunTables, model: str, fold: int) -> str:
    residual_weight = _residual_weights(content, model).get(fold)
    return f"fold {fold + 1}" + (
        f"\nresidual weight {number(residual_weight, 2)}" if residual_weight is not None else ""
    )


def _residual_weights(content: RunTables, model: str) -> dict[int, float]:
    """Return the residual weight, 0 to 1, of each fold of the first repeat."""
    rows = content.training.filter(pl.col("model") == model, pl.col("repeat") == 0)
    return dict(rows.group_by("fold").agg(pl.col("residual_weight").first()).iter_rows())
