"""Sections of the report on subgroups, unlabelled patients and the site."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from matplotlib.figure import Figure

from crosstype.models import catalog
from crosstype.report.figures import draw_interval, name_rows, set_title
from crosstype.report.formatting import METRIC_NAMES, interval, number, short
from crosstype.report.run_tables import RunTables
from crosstype.report.svg import BLUE, QUIET, new_figure
from crosstype.report.tables import Cell, PageTable

SHOWN = (catalog.GENE_ONLY, catalog.IMAGE_ONLY, catalog.CROSS_ATTENTION)
MOST_GROUPS = 30
BELOW_ALL = -1.0
"""Where a group without an AUROC stands in a sorted column."""


@dataclass(frozen=True)
class GroupFigure:
    """Which groups a figure shows.

    Attributes:
        column: the column.
        model: the model of highest pooled AUROC.
        rows: AUROC of the model in the groups that have one, in the order of the table.
        n_groups: groups that have one.
        n_without: groups that are too small for one.
    """

    column: str
    model: str
    rows: pl.DataFrame
    n_groups: int
    n_without: int

    @property
    def caption(self) -> str:
        """What the figure shows and what it leaves out."""
        text = f"AUROC of {self.model} by {self.column}; dotted: chance, line: all patients."
        if self.rows.height < self.n_groups:
            text += f" The {self.rows.height} largest of {self.n_groups} groups."
        if self.n_without:
            few = "1 group is" if self.n_without == 1 else f"{self.n_without} groups are"
            text += f" {few} too small for an AUROC."
        return text


def shown_models(content: RunTables) -> tuple[str, ...]:
    """Return the models of the tables: genes, image, both, and the best baseline."""
    baselines = [model for model in content.models if model in catalog.BASELINE_NAMES]
    chosen = [model for model in (*SHOWN, *baselines[:1]) if model in content.models]
    return tuple(chosen)


def subgroup_tables(content: RunTables) -> list[PageTable]:
    """Return AUROC by group, a table per column."""
    models = shown_models(content)
    aurocs = content.subgroups.filter(pl.col("metric") == "auroc")
    tables = []
    for (column,), part in aurocs.group_by("column", maintain_order=True):
        rows = [
            (str(group), {row["model"]: row for row in own.iter_rows(named=True)})
            for (group,), own in part.group_by("group", maintain_order=True)
        ]
        cells = [_group_row(group, of_model, models) for group, of_model in rows]
        cells.sort(key=lambda row: bool(row[0].small))  # groups without an AUROC come last
        heads = tuple(f"AUROC, {model}" for model in models)
        caption = f"AUROC by {column}, with {content.confidence:.0%} intervals"
        columns = (str(column), "Patients", _positive(content), *heads)
        tables.append(PageTable(caption, columns, tuple(cells)))
    return tables


def _group_row(
    group: str, of_model: Mapping[str, dict[str, Any]], models: Sequence[str]
) -> tuple[Cell, ...]:
    sizes = next(iter(of_model.values()))
    cells = [Cell(group, sizes["note"])]
    cells += [Cell(str(sizes[name]), "", sizes[name]) for name in ("n", "n_positive")]
    for model in models:
        row = of_model.get(model)
        if row is None or row["value"] is None:
            cells.append(Cell("–", "", BELOW_ALL))
        else:
            cells.append(Cell(number(row["value"]), interval(row), row["value"]))
    return tuple(cells)


def group_figures(content: RunTables) -> list[GroupFigure]:
    """Return the figures of all columns that have a group large enough."""
    if not content.models:
        return []
    best = content.models[0]
    aurocs = content.subgroups.filter((pl.col("metric") == "auroc") & (pl.col("model") == best))
    found = []
    for (column,), part in aurocs.group_by("column", maintain_order=True):
        there = part.filter(pl.col("value").is_not_null()).with_row_index("place")
        largest = there.sort("n", descending=True, maintain_order=True).head(MOST_GROUPS)
        n_without = part.height - there.height
        if there.height:
            rows = largest.sort("place")
            found.append(GroupFigure(str(column), best, rows, there.height, n_without))
    return found


def plot_groups(content: RunTables, chosen: GroupFigure) -> Figure:
    """Plot a model's AUROC in each group with its interval; a line at that of all patients."""
    rows = list(chosen.rows.reverse().iter_rows(named=True))
    figure = new_figure(1.1 + 0.24 * len(rows))
    axes = figure.add_subplot()
    for place, row in enumerate(rows):
        draw_interval(axes, row, "value", place, BLUE, "o")
    axes.axvline(0.5, color=QUIET, linewidth=0.8, linestyle=":")
    pooled = content.headline("auroc").filter(pl.col("model") == chosen.model)["value"].item()
    axes.axvline(pooled, color=QUIET, linewidth=0.8)
    name_rows(axes, [f"{short(row['group'])} (n = {row['n']})" for row in rows])
    axes.set_xlabel(f"AUROC of {chosen.model}, {content.confidence:.0%} interval")
    set_title(axes, f"By {short(chosen.column)}", content.mark)
    return figure


def _positive(content: RunTables) -> str:
    return content.classes[1] if len(content.classes) == 2 else "Smallest class"


def unlabelled_table(content: RunTables) -> PageTable:
    """Return counts of predicted classes by model and by the reason for the missing class."""
    rows = []
    for (reason,), part in content.unlabelled.group_by("reason", maintain_order=True):
        for model in _models(content):
            called = part.filter(pl.col("model") == model)["predicted"].to_list()
            counts = [called.count(name) for name in content.classes]
            cells = [Cell(str(n), "", n) for n in (len(called), *counts)]
            rows.append((Cell(str(reason)), Cell(model), *cells))
    heads = (f"Predicted {name}" for name in content.classes)
    columns = ("Why there is no class", "Model", "Patients", *heads)
    return PageTable("Unlabelled patients by predicted class", columns, tuple(rows))


def unlabelled_listing(content: RunTables) -> PageTable:
    """Return each unlabelled patient's prediction by the model of highest pooled AUROC."""
    models = _models(content)
    best = content.unlabelled.filter(pl.col("model") == models[0]) if models else content.unlabelled
    rows = []
    for row in best.iter_rows(named=True):
        probabilities = [row[f"probability_{name}"] for name in content.classes]
        cells = [Cell(number(one), "", one) for one in probabilities]
        names = (row["patient_id"], row["predicted"], row["reason"])
        rows.append((*(Cell(one) for one in names), *cells))
    heads = (f"Probability, {name}" for name in content.classes)
    columns = ("Patient", "Predicted", "Why there is no class", *heads)
    caption = f"Each of them, by {models[0]}" if models else "Each of them"
    return PageTable(caption, columns, tuple(rows))


def n_unlabelled(content: RunTables) -> int:
    """Return the number of unlabelled patients."""
    return int(content.unlabelled["patient_id"].n_unique())


def _models(content: RunTables) -> list[str]:
    """Return the models with predictions of them, the highest pooled AUROC first."""
    there = list(dict.fromkeys(content.unlabelled["model"]))
    known = [model for model in content.models if model in there]
    return known + [model for model in there if model not in known]


INPUTS = {"image": "image features", "genes": "expression"}


def probe_table(content: RunTables) -> PageTable:
    """Return how well the site is predicted from each input."""
    rows = tuple(
        (
            Cell(INPUTS.get(row["input"], row["input"])),
            Cell(METRIC_NAMES.get(row["metric"], row["metric"])),
            Cell(number(row["value"]), interval(row), row["value"]),
            Cell(number(row["guessing"]), "", row["guessing"]),
            Cell(str(row["n_sites"]), "", row["n_sites"]),
            Cell(str(row["n"]), "", row["n"]),
        )
        for row in content.site_probe.iter_rows(named=True)
    )
    columns = ("Input", "Metric", "Value", "Chance", "Sites", "Patients")
    return PageTable("Prediction of the site, by patient, cross-validated", columns, rows)


def probe_sentences(content: RunTables) -> list[str]:
    """Return sentences on whether the site can be predicted, and what follows."""
    rows = content.site_probe.filter(pl.col("metric") == "balanced_accuracy")
    sentences = [_sentence(row) for row in rows.iter_rows(named=True)]
    predictable = any(row["low"] > row["guessing"] for row in rows.iter_rows(named=True))
    if predictable and content.protocol == "site":
        sentences.append("This run uses protocol site: no site is in two folds.")
    elif predictable:
        sentences.append(
            "A model may use the site in place of biology: use protocol site, which evaluates "
            "every model on sites that are not in its training data."
        )
    return sentences


def _sentence(row: dict[str, Any]) -> str:
    of = INPUTS.get(row["input"], row["input"])
    found = (
        f"balanced accuracy {number(row['value'])} ({interval(row)}) over {row['n_sites']} sites, "
        f"chance level {number(row['guessing'])}"
    )
    if row["low"] > row["guessing"]:
        return f"The site can be predicted from {of}: {found}."
    return f"That the site can be predicted from {of} is not shown: {found}."


def site_only_sentence(content: RunTables) -> str:
    """Return the AUROC of the site alone as a sentence; empty without that baseline."""
    row = content.headline("auroc").filter(pl.col("model") == catalog.SITE_ONLY)
    if row.is_empty():
        return ""
    one = row.row(0, named=True)
    found = (
        f"The baseline site_only, which uses the site alone, has an AUROC of "
        f"{number(one['value'])} ({interval(one)})"
    )
    if content.protocol == "site":
        return (
            f"{found}; under protocol site no training patient is of the site, so it is at chance."
        )
    return f"{found}. A model could reach that by recognising the site."
