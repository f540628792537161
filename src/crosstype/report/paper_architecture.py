"""Each network as it was built: boxes with shapes and weights, and arrows for what feeds what."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from crosstype.report.content import RunContent
from crosstype.report.explained import Explained
from crosstype.report.page_tables import Cell, PageTable
from crosstype.report.svg import BLUE, GREEN, INK, QUIET, VERMILION, new_figure
from crosstype.report.words import short

LANES = {"tile features": "image", "expression": "genes", "clinical covariates": "clinical"}
COLOURS = {"image": VERMILION, "genes": BLUE, "clinical": QUIET, "both": GREEN, "": QUIET}
LOGITS = "logits"
BOX_WIDTH, BOX_HEIGHT = 0.9, 0.62


@dataclass
class Box:
    """A part of a network in the figure.

    Attributes:
        name: of the module.
        kind: its class.
        shape: of what comes out of it.
        n_parameters: all its weights.
        inputs: names of the boxes that feed it.
        lane: modality that it hears, or both; empty: none.
        row: from the top.
        has_part: whether the logits depend on it at all.
    """

    name: str
    kind: str
    shape: str
    n_parameters: int
    inputs: tuple[str, ...]
    lane: str = ""
    row: int = 0
    has_part: bool = False

    @property
    def words(self) -> str:
        """Return what stands in the box."""
        head = self.name if self.kind in ("Input", "Output") else f"{short(self.name, 30)}"
        kind = "" if self.kind in ("Input", "Output") else f"{self.kind}\n"
        last = self.shape.removeprefix("patients x ")
        if self.n_parameters:
            last = f"{last} | {self.n_parameters:,} w." if last else f"{self.n_parameters:,} w."
        return f"{head}\n{kind}{last}" + ("" if self.has_part else "\nplays no part")


def networks_of(explained: Explained) -> list[str]:
    """Return the models whose networks are known."""
    return list(dict.fromkeys(explained.architecture["model"]))


def boxes_of(explained: Explained, model: str) -> list[Box]:
    """Return a network's boxes, placed in lanes and rows; alike ones side by side are one."""
    rows = explained.architecture.filter(pl.col("model") == model)
    found: dict[str, Box] = {}
    for (_,), part in rows.group_by("box", maintain_order=True):
        first = part.row(0, named=True)
        inputs = tuple(one for one in (first["inputs"] or "").split("; ") if one)
        total = int(part["n_parameters"].sum())
        box = Box(first["module"], first["kind"], first["shape"] or "", total, inputs)
        if total or inputs or box.kind in ("Input", "Output"):
            found[box.name] = box
    boxes = _with_alike_as_one(list(found.values()))
    _place(boxes)
    return boxes


def plot_architecture(content: RunContent, explained: Explained, model: str) -> Figure:
    """Plot a network's boxes from its inputs at the top to the logits at the bottom."""
    boxes = boxes_of(explained, model)
    lanes = [
        one for one in ("image", "both", "genes", "clinical") if one in {b.lane for b in boxes}
    ]
    columns = {lane: place for place, lane in enumerate(lanes)}
    n_rows = max(box.row for box in boxes) + 1
    figure = new_figure(0.5 + 0.6 * n_rows)
    axes = figure.add_subplot()
    at = {box.name: (columns.get(box.lane, 0), -box.row) for box in boxes}
    for box in boxes:
        for source in box.inputs:
            _draw_arrow(axes, at[source], at[box.name])
    for box in boxes:
        _draw_box(axes, box, at[box.name])
    axes.set_xlim(-0.55, max(len(lanes), 2) - 0.45)
    axes.set_ylim(-n_rows + 0.6, 0.4)
    axes.set_axis_off()
    title = f"{model}\n{content.mark}" if content.mark else model
    figure.suptitle(title, fontsize=9.5, x=0.02, ha="left")
    return figure


def architecture_caption(explained: Explained, model: str) -> str:
    """Return how to read a network's figure, and how large the network is."""
    rows = explained.architecture.filter(pl.col("model") == model)
    total, n_networks = int(rows["n_parameters"].sum()), int(rows["n_networks"][0])
    copies = "one such network" if n_networks == 1 else f"{n_networks} such networks"
    return (
        f"{model} as it was built for fold 1 of repeat 1: {total:,} parameters, {copies} in the "
        "fold. In a box: name, class, shape of what comes out of it for each patient, number of "
        "its weights. Red hears the image, blue the genes, green both; dashed plays no part in "
        "the logits. Read off the network at work, not drawn by hand."
    )


def architecture_table(explained: Explained, model: str) -> PageTable:
    """Return a network's modules one by one; the last row is the sum of their parameters."""
    rows = explained.architecture.filter(pl.col("model") == model)
    cells = [
        (
            Cell(row["module"], row["settings"] or ""),
            Cell(row["kind"]),
            Cell((row["shape"] or "").replace(" x ", " × ")),
            Cell(f"{row['n_parameters']:,}", "", row["n_parameters"]),
            Cell((row["inputs"] or "").replace("; ", ", ")),
        )
        for row in rows.iter_rows(named=True)
    ]
    total = int(rows["n_parameters"].sum())
    cells.append((Cell("all"), Cell(""), Cell(""), Cell(f"{total:,}", "", total), Cell("")))
    columns = ("Module", "Class", "Shape of its output", "Parameters", "Fed by")
    return PageTable(f"Modules of {model}", columns, tuple(cells))


def _with_alike_as_one(boxes: Sequence[Box]) -> list[Box]:
    """Return the boxes with numbered ones of the same kind, shape and inputs joined into one."""
    groups: dict[tuple[object, ...], list[Box]] = {}
    for box in boxes:
        stem = re.sub(r"\.\d+$", "", box.name)
        key = (box.name,) if stem == box.name else (stem, box.kind, box.shape, box.inputs)
        groups.setdefault(key, []).append(box)
    renamed: dict[str, str] = {}
    joined = []
    for group in groups.values():
        first, last = group[0], group[-1].name.rpartition(".")[2]
        name = first.name if len(group) == 1 else f"{first.name} to {last}"
        renamed |= dict.fromkeys((one.name for one in group), name)
        total = sum(one.n_parameters for one in group)
        joined.append(replace(first, name=name, n_parameters=total))
    for box in joined:
        box.inputs = tuple(dict.fromkeys(renamed[one] for one in box.inputs))
    return joined


def _place(boxes: Sequence[Box]) -> None:
    """Give each box its lane, by what it hears, and a row below all that feeds it."""
    known = {box.name: box for box in boxes}
    heard: dict[str, frozenset[str]] = {}

    def hear(name: str) -> frozenset[str]:
        if name not in heard:
            own = {LANES[name]} if name in LANES and known[name].kind == "Input" else set()
            heard[name] = frozenset(own).union(*(hear(one) for one in known[name].inputs))
        return heard[name]

    def take_part(name: str) -> None:
        known[name].has_part = True
        for one in known[name].inputs:
            take_part(one)

    take_part(LOGITS)
    for box in boxes:
        modalities = hear(box.name)
        box.lane = next(iter(modalities)) if len(modalities) == 1 else "both" * bool(modalities)
    for box in boxes:
        if not box.lane:  # weights that nothing feeds stand beside what they feed
            fed = [one for one in boxes if box.name in one.inputs]
            box.lane = fed[0].lane if fed else "image"
    _place_rows(boxes, known)


def _place_rows(boxes: Sequence[Box], known: dict[str, Box]) -> None:
    done: set[str] = set()
    taken: set[tuple[str, int]] = set()
    waiting = list(boxes)
    while waiting:
        ready = [box for box in waiting if done.issuperset(box.inputs)]
        for box in ready:
            rows = [known[one].row + 1 for one in box.inputs]
            box.row = max(rows, default=0)
            while (box.lane, box.row) in taken:
                box.row += 1
            taken.add((box.lane, box.row))
            done.add(box.name)
        waiting = [box for box in waiting if box.name not in done]
    lowest = max(box.row for box in boxes)
    known[LOGITS].row = max(lowest, known[LOGITS].row)


def _draw_arrow(axes: Axes, source: tuple[float, float], target: tuple[float, float]) -> None:
    """Draw what feeds what; an arrow that passes a box of its own lane bends around it."""
    passes = source[0] == target[0] and source[1] - target[1] > 1
    start = (source[0], source[1] - BOX_HEIGHT / 2)
    end = (target[0], target[1] + BOX_HEIGHT / 2)
    bent = "arc3,rad=0.35" if passes else "arc3,rad=0"
    if passes:
        start, end = (source[0] - 0.3, start[1]), (target[0] - 0.3, end[1])
    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=6,
            connectionstyle=bent,
            color=QUIET,
            linewidth=0.8,
            shrinkA=0,
            shrinkB=0,
            zorder=1,
        )
    )


def _draw_box(axes: Axes, box: Box, at: tuple[float, float]) -> None:
    corner = (at[0] - BOX_WIDTH / 2, at[1] - BOX_HEIGHT / 2)
    axes.add_patch(
        FancyBboxPatch(
            corner,
            BOX_WIDTH,
            BOX_HEIGHT,
            boxstyle="round,pad=0,rounding_size=0.05",
            facecolor="white",
            edgecolor=COLOURS[box.lane] if box.has_part else QUIET,
            linewidth=1.2,
            linestyle="-" if box.has_part else "--",
            zorder=2,
        )
    )
    axes.text(*at, box.words, fontsize=6, ha="center", va="center", color=INK, zorder=3)
