"""Whether a model could know the site, and what that alone would be worth, as the page shows it."""

from __future__ import annotations

from typing import Any

import polars as pl

from crosstype.report.content import RunContent
from crosstype.report.page_tables import Cell, PageTable
from crosstype.report.words import METRIC_NAMES, interval, number

SITE_ONLY = "site_only"
INPUTS = {"image": "image features", "genes": "expression"}


def probe_table(content: RunContent) -> PageTable:
    """Return how well the site is told from each input."""
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
    columns = ("Input", "Metric", "Value", "Guessing", "Sites", "Patients")
    return PageTable("How well the site is told, by patient, cross-validated", columns, rows)


def probe_sentences(content: RunContent) -> list[str]:
    """Return in plain words whether the site can be told, and what follows."""
    rows = content.site_probe.filter(pl.col("metric") == "balanced_accuracy")
    said = [_sentence(row) for row in rows.iter_rows(named=True)]
    told = any(row["low"] > row["guessing"] for row in rows.iter_rows(named=True))
    if told and content.protocol == "site":
        said.append("This run uses protocol site: no site stands in two folds.")
    elif told:
        said.append(
            "A model may lean on the site in place of biology: use protocol site, which judges "
            "every model on sites that it has not seen."
        )
    return said


def _sentence(row: dict[str, Any]) -> str:
    of = INPUTS.get(row["input"], row["input"])
    found = (
        f"balanced accuracy {number(row['value'])} ({interval(row)}) over {row['n_sites']} sites, "
        f"guessing would give {number(row['guessing'])}"
    )
    if row["low"] > row["guessing"]:
        return f"The site can be told from {of}: {found}."
    return f"That the site can be told from {of} is not shown: {found}."


def site_only_sentence(content: RunContent) -> str:
    """Return what knowing the site alone is worth; empty without that baseline."""
    row = content.headline("auroc").filter(pl.col("model") == SITE_ONLY)
    if row.is_empty():
        return ""
    one = row.row(0, named=True)
    said = (
        f"The baseline site_only, which knows nothing but the site, has an AUROC of "
        f"{number(one['value'])} ({interval(one)})"
    )
    if content.protocol == "site":
        return (
            f"{said}; under protocol site it has seen no patient of the site, and can only guess."
        )
    return f"{said}. That much could be had by recognising the site."
