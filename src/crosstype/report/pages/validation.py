"""The page of a validation: one file that stands alone, made from the validation's tables."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from crosstype.io import schema
from crosstype.io.files import write_text
from crosstype.report.formatting import METRIC_NAMES, interval, number
from crosstype.report.svg import page_environment
from crosstype.report.tables import Cell, PageTable

N_BINS = 5
MOST_SHIFTED = 20
SHIFT = ("mean_training", "sd_training", "mean_here", "sd_here", "standardised_difference")


def write_validation_page(out: Path) -> Path:
    """Write validation.html: it needs no network, and can be read on a phone and in print.

    Args:
        out: folder of the validation; metrics.csv, shift.csv, predictions.csv and validation.json
            must be there.

    Raises:
        TableError: a table is missing or damaged.
    """
    about: dict[str, Any] = json.loads((out / "validation.json").read_text(encoding="utf-8"))
    page = (
        page_environment()
        .get_template("validation.html")
        .render(
            about=about,
            title=f"Validation of {about['artefact']}",
            metrics=_metrics(out),
            calibration=[_calibration(out, name) for name in _shown(about)],
            shift=_shift(out),
        )
    )
    path = out / "validation.html"
    write_text(path, page)
    return path


def _shown(about: Mapping[str, Any]) -> list[str]:
    classes: list[str] = about["classes"]
    return classes[1:] if len(classes) == 2 else classes


def _metrics(out: Path) -> PageTable:
    rows = [
        (
            Cell(METRIC_NAMES.get(row["metric"], row["metric"])),
            Cell(row["class"]),
            Cell(number(row["value"]), interval(row), row["value"]),
        )
        for row in schema.METRICS.read(out).iter_rows(named=True)
    ]
    return PageTable("Metrics, with interval", ("Metric", "Class", "Value"), tuple(rows))


def _calibration(out: Path, name: str) -> PageTable:
    """Return mean probability against observed share in fifths of the patients, by probability."""
    column = f"probability_{name}"
    table = schema.PREDICTIONS.read(out, [name])
    table = table.sort(column, maintain_order=True).with_row_index("place")
    fifth = (pl.col("place") * N_BINS // table.height).alias("fifth")
    rows = []
    for _, part in table.with_columns(fifth).group_by("fifth", maintain_order=True):
        total, observed = float(part[column].sum()), int((part["label"] == name).sum())
        low, high = float(part[column].to_numpy().min()), float(part[column].to_numpy().max())
        mean, share = total / part.height, observed / part.height
        rows.append(
            (
                Cell(f"{number(low)} to {number(high)}"),
                Cell(str(part.height), order=part.height),
                Cell(number(mean), order=mean),
                Cell(number(share), f"{observed} patients", share),
            )
        )
    columns = ("Probability", "Patients", "Mean probability", "Observed share")
    return PageTable(f"Calibration of {name}, in fifths of the patients", columns, tuple(rows))


def _shift(out: Path) -> PageTable:
    table = schema.SHIFT.read(out)
    rows = []
    for row in table.head(MOST_SHIFTED).iter_rows(named=True):
        held = [Cell(number(row[name]), order=row[name] or 0.0) for name in SHIFT[:-1]]
        difference = row["standardised_difference"]
        missing = row["share_missing"]
        rows.append(
            (
                Cell(row["input"], row["kind"]),
                Cell(number(difference, 2, signed=True), order=difference or 0.0),
                *held,
                Cell(f"{missing:.0%}", order=missing),
            )
        )
    columns = ("Input", "Difference in SD", "Mean, training", "SD, training", "Mean, here")
    caption = f"The {len(rows)} inputs of {table.height} that shifted most"
    return PageTable(caption, (*columns, "SD, here", "Missing"), tuple(rows))
