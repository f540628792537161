"""Every test of every pair of models, as the page shows it."""

from __future__ import annotations

from crosstype.report.content import RunContent
from crosstype.report.page_tables import Cell, PageTable
from crosstype.report.words import METRIC_NAMES, TEST_NAMES, number, p_value


def pair_test_table(content: RunContent) -> PageTable:
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
