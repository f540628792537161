"""Draw docs/images/demo.svg from a finished demo run: `python docs/make_demo_figure.py demo`."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import matplotlib as mpl
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crosstype.io.tables import read_stage_table
from crosstype.models.catalog import BASELINES

IMAGE = Path(__file__).parent / "images" / "demo.svg"
COLOURS = {"model": "#0072b2", "baseline": "#6b7280", "image": "#d55e00", "genes": "#009e73"}
STYLE = {"svg.hashsalt": "crosstype", "font.size": 9, "axes.spines.top": False}
STYLE |= {"axes.spines.right": False, "ytick.left": False, "svg.fonttype": "path"}


def plot_demo(out: Path) -> Figure:
    """Plot AUROC per model, and beside it what shuffling each modality costs."""
    config = tomllib.loads((out / "config.toml").read_text(encoding="utf-8"))
    positive = config["cohort"]["classes"][1]["name"]
    level = f"{config['evaluation']['confidence']:.0%}"
    metrics = _numbers(out / "metrics.csv", "value").filter(
        (pl.col("metric") == "auroc") & (pl.col("class") == positive)
    )
    metrics = metrics.sort("value", maintain_order=True)
    use = _numbers(out / "modality_use.csv", "drop").filter(pl.col("metric") == "auroc")
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 3.9), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        _plot_auroc(left, metrics, level)
        _plot_use(right, use, list(metrics["model"]), level)
        protocol = config["folds"]["protocol"]
        words = f"Synthetic demo cohort: {metrics['n'][0]} made-up patients, protocol {protocol}"
        figure.suptitle(words, fontsize=10)
    return figure


def _numbers(path: Path, value: str) -> pl.DataFrame:
    table = read_stage_table(path, ["model", "metric", value, "low", "high"])
    return table.with_columns(pl.col(value, "low", "high").cast(pl.Float64))


def _plot_auroc(axes: Axes, rows: pl.DataFrame, level: str) -> None:
    for place, row in enumerate(rows.iter_rows(named=True)):
        colour = COLOURS["baseline" if row["model"] in BASELINES else "model"]
        axes.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2)
        axes.plot(row["value"], place, "o", color=colour, markersize=5)
        axes.annotate(f"{row['value']:.2f}", (1.03, place), va="center", annotation_clip=False)
    axes.axvline(0.5, color=COLOURS["baseline"], linewidth=0.8, linestyle=":")
    axes.set_yticks(range(rows.height), rows["model"].to_list())
    axes.set_xlim(0.4, 1.02)
    axes.set_xlabel(f"AUROC with {level} interval (dotted: guessing; grey: baselines)")


def _plot_use(axes: Axes, rows: pl.DataFrame, models: list[str], level: str) -> None:
    for modality, offset in (("image", 0.18), ("genes", -0.18)):
        colour = COLOURS[modality]
        for row in rows.filter(pl.col("modality") == modality).iter_rows(named=True):
            place = models.index(row["model"]) + offset
            axes.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2)
            axes.plot(row["drop"], place, "o", color=colour, markersize=4)
        axes.plot([], [], "o-", color=colour, markersize=4, label=f"{modality} shuffled")
    axes.axvline(0, color=COLOURS["baseline"], linewidth=0.8, linestyle=":")
    axes.set_xlabel(f"AUROC lost with {level} interval (0: not used)")
    axes.set_xlim(right=0.6)
    axes.legend(frameon=False, loc="lower right")


def main() -> int:
    """Draw the figure from the OUT named on the command line."""
    if len(sys.argv) != 2:
        print("Usage: python docs/make_demo_figure.py OUT", file=sys.stderr)
        return 2
    IMAGE.parent.mkdir(exist_ok=True)
    figure = plot_demo(Path(sys.argv[1]))
    with mpl.rc_context(STYLE):
        figure.savefig(IMAGE, format="svg", metadata={"Date": None})
    return 0


if __name__ == "__main__":
    sys.exit(main())
