"""Patients without a class and what models say of them, as the page shows it."""

from __future__ import annotations

import polars as pl

from crosstype.report.content import RunContent
from crosstype.report.page_tables import Cell, PageTable
from crosstype.report.words import number


def apart_table(content: RunContent) -> PageTable:
    """Return how many patients each model calls what, by the reason why they have no class."""
    rows = []
    for (reason,), part in content.apart.group_by("reason", maintain_order=True):
        for model in _models(content):
            called = part.filter(pl.col("model") == model)["predicted"].to_list()
            counts = [called.count(name) for name in content.classes]
            cells = [Cell(str(n), "", n) for n in (len(called), *counts)]
            rows.append((Cell(str(reason)), Cell(model), *cells))
    heads = (f"Called {name}" for name in content.classes)
    columns = ("Why there is no class", "Model", "Patients", *heads)
    return PageTable("Patients without a class, by what they are called", columns, tuple(rows))


def apart_listing(content: RunContent) -> PageTable:
    """Return what the model of highest pooled AUROC says of each of these patients."""
    models = _models(content)
    best = content.apart.filter(pl.col("model") == models[0]) if models else content.apart
    rows = []
    for row in best.iter_rows(named=True):
        said = [row[f"probability_{name}"] for name in content.classes]
        cells = [Cell(number(one), "", one) for one in said]
        names = (row["patient_id"], row["predicted"], row["reason"])
        rows.append((*(Cell(one) for one in names), *cells))
    heads = (f"Probability, {name}" for name in content.classes)
    columns = ("Patient", "Called", "Why there is no class", *heads)
    caption = f"Each of them, by {models[0]}" if models else "Each of them"
    return PageTable(caption, columns, tuple(rows))


def n_apart(content: RunContent) -> int:
    """Return how many patients stand apart."""
    return int(content.apart["patient_id"].n_unique())


def _models(content: RunContent) -> list[str]:
    """Return the models that said something of them, the highest pooled AUROC first."""
    there = list(dict.fromkeys(content.apart["model"]))
    known = [model for model in content.models if model in there]
    return known + [model for model in there if model not in known]
