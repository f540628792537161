"""Paired differences between models, gathered by what each is compared with.

Every test of every pair of models, as the page shows it.
"""

from dataclasses import dataclass

import polars as pl
from matplotlib.figure import Figure

from crosstype.models.catalog import MODELS
from crosstype.report.figures import draw_interval, name_rows, set_title
from crosstype.report.formatting import METRIC_NAMES, TEST_NAMES, interval, number, p_value
from crosstype.report.run_tables import RunTables
from crosstype.report.svg import BLUE, INK, new_figure
from crosstype.report.tables import Cell, PageTable

SAME = "the baseline of its inputs"


@dataclass(frozen=True)
class Differences:
    """Rows of comparisons.csv that are read together.

    Attributes:
        reference: what every model is compared with, in words.
        rows: the rows, as they stand.
    """

    reference: str
    rows: pl.DataFrame

    @property
    def caption(self) -> str:
        """Return what is subtracted from what."""
        return f"Each model minus {self.reference}, on the same patients"

    @property
    def about(self) -> str:
        """Return what their figure shows."""
        return f"AUROC of each model minus that of {self.reference}, on the same patients."

    def name_of(self, row: dict[str, str]) -> str:
        """Return a model's name, with its own reference where each has another."""
        return f"{row['model_a']} - {row['model_b']}" if self.reference == SAME else row["model_a"]


def gather_differences(content: RunTables) -> list[Differences]:
    """Return the differences to each reference, then each network's to the line it must beat."""
    rows = content.comparisons
    pairs = rows["model_a", "model_b"].iter_rows()
    alike = pl.Series(
        [a in MODELS and MODELS[a].same_inputs == b for a, b in pairs], dtype=pl.Boolean
    )
    references = dict.fromkeys(rows.filter(~alike)["model_b"])
    found = [Differences(name, rows.filter(model_b=name)) for name in references]
    if alike.any():
        found.append(Differences(SAME, rows.filter(alike)))
    return found


def difference_table(of: Differences) -> PageTable:
    """Return every paired difference with its interval and test."""
    rows = tuple(
        (
            Cell(of.name_of(row)),
            Cell(METRIC_NAMES.get(row["metric"], row["metric"])),
            Cell(number(row["difference"], signed=True), "", row["difference"]),
            Cell(interval(row)),
            Cell(p_value(row["p"]), "", row["p"]),
            Cell(p_value(row["p_adjusted"]), "", row["p_adjusted"]),
            Cell(TEST_NAMES.get(row["test"], row["test"])),
        )
        for row in of.rows.iter_rows(named=True)
    )
    columns = ("Model", "Metric", "Difference", "Interval", "p", "p, Holm", "Test")
    return PageTable(of.caption, columns, rows)


def plot_differences(content: RunTables, of: Differences) -> Figure:
    """Plot each paired AUROC difference with its interval."""
    rows = of.rows.filter(metric="auroc").sort("difference", maintain_order=True)
    figure = new_figure(1.0 + 0.27 * rows.height)
    axes = figure.add_subplot()
    for place, row in enumerate(rows.iter_rows(named=True)):
        draw_interval(axes, row, "difference", place, BLUE, "o")
    axes.axvline(0, color=INK, linewidth=0.8)
    name_rows(axes, list(rows["model_a"]))
    axes.set_xlabel(f"AUROC minus that of {of.reference} (right: better)")
    set_title(axes, f"Paired differences to {of.reference}", content.mark)
    return figure


def pair_test_table(content: RunTables) -> PageTable:
    """Return tests.csv."""
    rows = tuple(
        (
            Cell(row["model_a"]),
            Cell(row["model_b"]),
            Cell(METRIC_NAMES.get(row["metric"], row["metric"])),
            Cell(TEST_NAMES.get(row["test"], row["test"])),
            Cell(number(row["statistic"]), "", row["statistic"]),
            Cell(p_value(row["p"]), "", row["p"]),
            Cell(p_value(row["p_adjusted"]), "", row["p_adjusted"]),
            Cell(str(row["n"]), "", row["n"]),
        )
        for row in content.tests.iter_rows(named=True)
    )
    columns = ("Model", "Reference", "Metric", "Test", "Statistic", "p", "p, Holm", "Patients")
    return PageTable("Every test of every pair", columns, rows)
