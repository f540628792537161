"""The paper's first figures from the run's own data: a sample pair, views, expression by step."""

from math import ceil
from typing import Any

import matplotlib as mpl
import numpy as np
import polars as pl
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from PIL import Image

from crosstype.report.figures import set_figure_title
from crosstype.report.formatting import short
from crosstype.report.run_tables import ExplanationTables, RunTables
from crosstype.report.svg import BLUE, FAINT, QUIET, VERMILION, new_figure

MOST_Z = 3.0
MOST_IN_STRIP = 2000
"""Genes that a strip shows of a whole profile; of a larger one, every second, third, ... gene."""
WHO = (("training", BLUE, -0.17), ("test", VERMILION, 0.17))


def plot_sample(content: RunTables, explained: ExplanationTables) -> Figure:
    """Plot one patient: the slide in small, where there is one, and beside it the expression."""
    genes = explained.profile.filter(pl.col("rank").is_not_null()).sort("rank", descending=True)
    picture = explained.slide_picture
    figure = new_figure(1.0 + 0.145 * genes.height)
    grid = figure.add_gridspec(1, 3, width_ratios=(3.0 if picture else 0.01, 0.5, 0.5))
    if picture:
        axes = figure.add_subplot(grid[0])
        with Image.open(picture) as image:
            axes.imshow(np.asarray(image), interpolation="none")
        axes.set_axis_off()
        axes.set_anchor("N")
        whole = explained.facts.get("picture") == "slide"
        axes.set_title("Slide" if whole else "Some of its tiles", fontsize=8)
    strip = figure.add_subplot(grid[1])
    _draw_heat(strip, genes["z"].to_numpy()[:, None])
    _name_genes(strip, genes["gene"].to_list())
    strip.set_xticks([])
    strip.set_title("Genes", fontsize=8)
    whole_strip = figure.add_subplot(grid[2])
    values = explained.profile["z"].fill_null(float("nan")).to_numpy()[:: _stride(explained)]
    drawn = whole_strip.imshow(values[:, None], aspect="auto", interpolation="none", **_look())
    whole_strip.set_xticks([])
    whole_strip.set_yticks([])
    whole_strip.set_title("Profile", fontsize=8)
    figure.colorbar(drawn, ax=whole_strip, fraction=0.4, label="z", extend="both")
    facts = explained.facts
    set_figure_title(figure, f"{short(facts['patient_id'])}, {short(facts['label'])}", content.mark)
    return figure


def sample_caption(explained: ExplanationTables) -> str:
    """Return what the figure of the sample pair shows."""
    facts = explained.facts
    named = explained.profile["rank"].drop_nulls().len()
    every = _stride(explained)
    some = f" (every {every}th gene)" if every > 1 else ""
    shown = {
        "slide": "the slide in small",
        "tiles": "some tiles, since the slide itself is not there",
    }
    seen = shown.get(facts.get("picture", ""), "")
    text = f"One patient, {facts['patient_id']} ({facts['label']}): "
    text += f"{seen}; " if seen else "features only, without the slide; "
    text += (
        f"z-scores of the {named} genes that are shown by name, and of the whole profile{some}, "
        f"{explained.profile.height} genes in the table's order. {_fitted_on(explained)}"
    )
    return text


def plot_views(content: RunTables, explained: ExplanationTables) -> Figure:
    """Plot tiles as the encoder got them, plain, and beside each the views drawn from it."""
    path = explained.tile_picture
    assert path is not None
    n_rows, n_views = (int(explained.facts[name]) for name in ("n_tiles", "n_shown_views"))
    with Image.open(path) as image:
        pixels = np.asarray(image)
    side = pixels.shape[0] // n_rows
    figure = new_figure(0.5 + 1.15 * n_rows)
    panels = figure.subplots(n_rows, 1 + n_views, squeeze=False)
    for (row, column), axes in np.ndenumerate(panels):
        top, left = row * side, column * side
        axes.imshow(pixels[top : top + side, left : left + side], interpolation="none")
        axes.set_axis_off()
        if row == 0:
            axes.set_title(f"view {column}" if column else "plain", fontsize=8)
    set_figure_title(figure, "Tiles before and after augmentation", content.mark)
    return figure


def views_sentence(explained: ExplanationTables) -> str:
    """Return a caption of the augmented tiles, or why there are none."""
    facts = explained.facts
    patient = facts.get("patient_id", "")
    text = {
        "ready_made": "This run uses given features: no tile was read or augmented.",
        "none": "No tile was augmented in this run: [augmentation] n_views is 0.",
        "unreadable": "The slide of the sample patient could not be read.",
        "": "Whether tiles were augmented is unknown: the explain stage did not record it.",
    }.get(facts.get("augmentation", ""))
    if text is not None:
        return text
    plain = " This run did not train on them: [training] views is plain."
    unused = plain if facts["augmentation"] == "plain" else ""
    return (
        f"The first tiles of the slide of {patient}, as the encoder got them, each with "
        f"{facts['n_shown_views']} of its {facts['n_views']} views: {facts['changes']}. Views are "
        f"drawn by chance for training patients only; test patients are always shown plain.{unused}"
    )


def plot_standardised(content: RunTables, explained: ExplanationTables) -> Figure:
    """Plot some genes before and after z-scoring: of training patients, and of test patients."""
    genes = list(dict.fromkeys(explained.spread["gene"]))
    figure = new_figure(1.2 + 0.19 * len(genes))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, step in zip(panels, ("before", "z"), strict=True):
        for who, colour, shift in WHO:
            rows = explained.spread.filter(pl.col("step") == step, pl.col("who") == who)
            for place, row in enumerate(rows.iter_rows(named=True)):
                if row["median"] is not None:
                    _draw_spread(axes, row, len(genes) - 1 - place + shift, colour)
        axes.set_ylim(-0.6, len(genes) - 0.4)
        axes.grid(axis="x", color=FAINT, linewidth=0.6)
    panels[0].set_yticks(range(len(genes)), [short(one, 12) for one in reversed(genes)], fontsize=7)
    panels[0].set_xlabel(explained.facts.get("before", ""))
    panels[1].axvline(0, color=QUIET, linewidth=0.8)
    panels[1].set_xlabel("z")
    everyone = explained.facts.get("fitted_on") == "everyone"
    for who, colour, _ in WHO:
        label = "all" if who == "training" and everyone else who
        panels[0].plot([], [], color=colour, linewidth=3, label=f"{label} patients")
    figure.legend(loc="outside lower right", ncols=2)
    set_figure_title(figure, "Before and after z-scoring", content.mark)
    return figure


def standardised_caption(explained: ExplanationTables) -> str:
    """Return what the figure of z-scoring shows."""
    return (
        "Genes before (left) and after z-scoring (right): point, median; thick, half of the "
        f"patients; thin, 5% to 95%. {_fitted_on(explained)}"
    )


def plot_outliers(content: RunTables, explained: ExplanationTables) -> Figure:
    """Plot test patients' z-scores before and after values outside the fences are removed."""
    genes = list(dict.fromkeys(explained.steps["gene"]))[::-1]
    patients = list(dict.fromkeys(explained.steps["patient_id"]))
    figure = new_figure(1.5 + 0.155 * len(genes))
    panels = figure.subplots(1, 2, sharey=True)
    names = ("z", "without_outliers")
    for axes, name, title in zip(panels, names, ("before", "after"), strict=True):
        values = np.full((len(genes), len(patients)), np.nan)
        for patient, gene, z in explained.steps.select("patient_id", "gene", name).iter_rows():
            values[genes.index(gene), patients.index(patient)] = np.nan if z is None else z
        drawn = _draw_heat(axes, values)
        labels = [short(one, 14) for one in patients]
        axes.set_xticks(np.arange(len(patients)) + 0.5, labels, rotation=90, fontsize=6.5)
        axes.set_title(title, fontsize=8.5)
    _name_genes(panels[0], genes)
    figure.colorbar(drawn, ax=list(panels), fraction=0.05, label="z", extend="both")
    set_figure_title(figure, "Outlier removal", content.mark)
    return figure


def outliers_caption(explained: ExplanationTables) -> str:
    """Return what the figure of outlier removal shows, and how much was removed."""
    facts, steps = explained.facts, explained.steps
    there = steps["z"].is_not_null()
    n_gone = int((there & steps["without_outliers"].is_null()).sum())
    n_patients = steps["patient_id"].n_unique()
    who = "1 test patient" if n_patients == 1 else f"{n_patients} test patients"
    own = (
        "This run removes them, and imputes the gaps."
        if facts["removes_outliers"] == "yes"
        else "This run keeps them; shown is what removal would do."
    )
    return (
        f"z-scores of {who}; white and crossed: missing. Values further than "
        f"{facts['outlier_factor']} interquartile ranges outside the quartiles are set to missing: "
        f"here {n_gone} of {int(there.sum())}. {own} {_fitted_on(explained)}"
    )


def _fitted_on(explained: ExplanationTables) -> str:
    facts = explained.facts
    fold = f"fold {int(facts['fold']) + 1} of repeat {int(facts['repeat']) + 1}"
    if facts["fitted_on"] == "everyone":
        who = f"all {facts['n_training']} patients, test patients included"
        return f"Fitted on {who}, as in {fold}."
    return f"Fitted on the {facts['n_training']} training patients of {fold} and nobody else."


def _stride(explained: ExplanationTables) -> int:
    return max(1, ceil(explained.profile.height / MOST_IN_STRIP))


def _colours() -> Colormap:
    made = LinearSegmentedColormap.from_list("z", [BLUE, "#f4f4f4", VERMILION])
    return made.with_extremes(bad="white")


def _look() -> dict[str, Any]:
    return {"cmap": _colours(), "vmin": -MOST_Z, "vmax": MOST_Z}


def _draw_heat(axes: Axes, values: Float[np.ndarray, "genes patients"]) -> mpl.cm.ScalarMappable:
    """Draw cells in the colours of z; a missing one is white and crossed."""
    drawn = axes.pcolormesh(np.ma.masked_invalid(values), edgecolor="white", **_look())
    drawn.set_linewidth(0.4)
    rows, columns = np.nonzero(np.isnan(values))
    axes.plot(columns + 0.5, rows + 0.5, "x", color=QUIET, markersize=3, markeredgewidth=0.6)
    axes.set_xlim(0, values.shape[1])
    axes.set_ylim(0, values.shape[0])
    return drawn


def _name_genes(axes: Axes, genes: list[str]) -> None:
    axes.set_yticks(np.arange(len(genes)) + 0.5, [short(one, 12) for one in genes], fontsize=7)
    axes.tick_params(axis="y", length=0)


def _draw_spread(axes: Axes, row: dict[str, float], place: float, colour: str) -> None:
    axes.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=0.8)
    axes.plot([row["q25"], row["q75"]], [place, place], color=colour, linewidth=2.4)
    axes.plot(row["median"], place, "o", color="white", markeredgecolor=colour, markersize=3)
