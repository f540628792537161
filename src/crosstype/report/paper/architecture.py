"""Figures of the networks as built: modules with shapes and weights, and their connections."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from crosstype.report.figures import set_figure_title
from crosstype.report.formatting import short
from crosstype.report.run_tables import ExplanationTables, RunTables
from crosstype.report.svg import BLUE, GREEN, INK, QUIET, VERMILION, new_figure
from crosstype.report.tables import Cell, PageTable

LANES = {"tile features": "image", "expression": "genes", "clinical covariates": "clinical"}
COLOURS = {"image": VERMILION, "genes": BLUE, "clinical": QUIET, "both": GREEN, "": QUIET}
LOGITS = "logits"
BOX_WIDTH, BOX_HEIGHT = 0.86, 0.62
GAP = 1 - BOX_HEIGHT

Place = tuple[float, float]


@dataclass
class Box:
    """A part of a network in the figure.

    Attributes:
        name: of the module.
        kind: its class.
        shape: of its output.
        n_parameters: all its weights.
        inputs: names of the boxes that feed it.
        lane: modality that it receives, or both; empty: none.
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
        """Return the text of the box."""
        kind = () if self.kind in ("Input", "Output") else (self.kind,)
        shape = self.shape.removeprefix("patients x ").replace(" x ", " × ")
        last = [shape] if shape else []
        if self.n_parameters:
            last.append(f"{_rounded(self.n_parameters)} weights")
        if not self.has_part:
            last.append("plays no part")
        return "\n".join([short(self.name, 30), *kind, " · ".join(last)])


def _rounded(n: int) -> str:
    """Return a number of weights as a box has room for; the table has it whole."""
    return f"{n:,}" if n < 1_000_000 else f"{n / 1e6:.1f} M"


def networks_of(explained: ExplanationTables) -> list[str]:
    """Return the models whose networks are known."""
    return list(dict.fromkeys(explained.architecture["model"]))


def boxes_of(explained: ExplanationTables, model: str) -> list[Box]:
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


def plot_architecture(content: RunTables, explained: ExplanationTables, model: str) -> Figure:
    """Plot a network's boxes from its inputs at the top to the logits at the bottom."""
    boxes = boxes_of(explained, model)
    lanes = [
        one for one in ("image", "both", "genes", "clinical") if one in {b.lane for b in boxes}
    ]
    columns: dict[str, int] = {lane: place for place, lane in enumerate(lanes)}
    n_rows = max(box.row for box in boxes) + 1
    figure = new_figure(0.5 + 0.64 * n_rows)
    axes = figure.add_subplot()
    at: dict[str, Place] = {b.name: (columns.get(b.lane, 0), -b.row) for b in boxes}
    _draw_arrows(axes, boxes, at)
    for box in boxes:
        _draw_box(axes, box, at[box.name])
    axes.set_xlim(-0.55, max(len(lanes), 2) - 0.45)
    axes.set_ylim(-n_rows + 0.6, 0.4)
    axes.set_axis_off()
    set_figure_title(figure, model, content.mark)
    return figure


def architecture_caption(explained: ExplanationTables, model: str) -> str:
    """Return how large a network is."""
    rows = explained.architecture.filter(pl.col("model") == model)
    total, n_networks = int(rows["n_parameters"].sum()), int(rows["n_networks"][0])
    copies = "one such network" if n_networks == 1 else f"{n_networks} such networks"
    return f"{model}: {total:,} parameters; {copies} in the fold."


def architecture_note() -> str:
    """Return how to read the figures of networks."""
    return (
        "Each network as built for fold 1 of repeat 1, traced from the network, not "
        "drawn by hand. In a box: name of the module, its class, the shape of its output "
        "for each patient, the number of its weights. Red: image; blue: genes; green: "
        "both; dashed: without effect on the logits."
    )


def architecture_table(explained: ExplanationTables, model: str) -> PageTable:
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
    """Place each box in the lane of its modalities, in a row below all its inputs."""
    known = {box.name: box for box in boxes}
    received: dict[str, frozenset[str]] = {}

    def receive(name: str) -> frozenset[str]:
        if name not in received:
            own = {LANES[name]} if name in LANES and known[name].kind == "Input" else set()
            received[name] = frozenset(own).union(*(receive(one) for one in known[name].inputs))
        return received[name]

    def take_part(name: str) -> None:
        if not known[name].has_part:
            known[name].has_part = True
            for one in known[name].inputs:
                take_part(one)

    take_part(LOGITS)
    for box in boxes:
        modalities = receive(box.name)
        box.lane = next(iter(modalities)) if len(modalities) == 1 else "both" * bool(modalities)
    for box in boxes:
        if not box.lane:  # weights that nothing feeds stand beside what they feed
            fed = [one for one in boxes if box.name in one.inputs]
            box.lane = fed[0].lane if fed else "image"
    _place_rows(boxes, known)


def _place_rows(boxes: Sequence[Box], known: dict[str, Box]) -> None:
    """Place each box as low as what it feeds allows; two of a lane never share a row."""
    feeds = {box.name: [one.name for one in boxes if box.name in one.inputs] for box in boxes}
    height: dict[str, int] = {}
    taken: set[tuple[str, int]] = set()
    waiting = [box for box in reversed(boxes) if box.has_part]
    while waiting:
        box = next(one for one in waiting if height.keys() >= set(feeds[one.name]))
        own = max((height[one] + 1 for one in feeds[box.name]), default=0)
        while (box.lane, own) in taken:
            own += 1
        taken.add((box.lane, own))
        height[box.name] = own
        waiting.remove(box)
    highest = max(height.values())
    for box in boxes:
        if not box.has_part:
            own = highest
            while (box.lane, own) in taken:
                own -= 1
            taken.add((box.lane, own))
            height[box.name] = own
        known[box.name].row = highest - height[box.name]


def _draw_arrows(axes: Axes, boxes: Sequence[Box], at: Mapping[str, Place]) -> None:
    """Draw the connections along the gutters between lanes, in the colour of the modality."""
    n_drawn: Counter[float] = Counter()
    lanes = {box.name: box.lane for box in boxes}
    for box in boxes:
        for source in box.inputs:
            (x, y), (to_x, to_y) = at[source], at[box.name]
            start, end = y - BOX_HEIGHT / 2, to_y + BOX_HEIGHT / 2
            points = [(x, start)]
            if y - to_y > 1:  # around what stands between
                gutter = to_x + 0.5 if x > to_x else to_x - 0.5
                aside = gutter + 0.03 * (n_drawn[gutter] % 3 - 1)
                n_drawn[gutter] += 1
                leave, enter = start - GAP * 0.35, end + GAP * 0.55
                points += [(x, leave), (aside, leave), (aside, enter), (to_x, enter)]
            elif x != to_x:
                points += [(x, end + GAP * 0.55), (to_x, end + GAP * 0.55)]
            across, down = zip(*points, strict=True)
            colour = COLOURS[lanes[source]]
            axes.plot(across, down, color=colour, linewidth=0.9, solid_joinstyle="round", zorder=1)
            axes.annotate(
                "",
                xy=(to_x, end),
                xytext=points[-1] if points[-1][1] > end else (to_x, end + GAP),
                arrowprops={
                    "arrowstyle": "-|>",
                    "color": colour,
                    "linewidth": 0.9,
                    "shrinkA": 0,
                    "shrinkB": 0,
                    "mutation_scale": 6,
                },
                zorder=1,
            )


def _draw_box(axes: Axes, box: Box, at: Place) -> None:
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
    axes.text(*at, box.words, fontsize=6.5, ha="center", va="center", color=INK, zorder=3)
