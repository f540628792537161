"""The tables of the page, as rows of cells that the template only has to write."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from crosstype.report.curves import confusion_counts
from crosstype.report.formatting import METRIC_NAMES, interval, model_note, number
from crosstype.report.run_tables import RunTables

MODEL_TABLE_METRICS = ("auroc", "pr_auc", "f1", "mcc", "balanced_accuracy", "brier")


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: its text.
        small: lines that stand below in small type.
        order: number by which the column is sorted; None: by the text.
        link: page that the text leads to; empty: none.
    """

    text: str
    small: str = ""
    order: float | None = None
    link: str = ""


@dataclass(frozen=True)
class PageTable:
    """A table with its caption; the first column names the row."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class LeftOutGroup:
    """Patients left out at one step for one reason."""

    step: str
    reason: str
    patient_ids: tuple[str, ...]


@dataclass(frozen=True)
class Confusion:
    """A model's confusion matrix.

    Attributes:
        model: the model.
        rows: per true class its name and, per called class, the count and its share of the row.
    """

    model: str
    rows: tuple[tuple[str, tuple[tuple[str, float], ...]], ...]


def model_table(content: RunTables) -> PageTable:
    """Return headline metrics of each model, with intervals and the mean and SD over folds."""
    by_metric = {
        metric: {row["model"]: row for row in content.headline(metric).iter_rows(named=True)}
        for metric in MODEL_TABLE_METRICS
    }
    rows = []
    for model in content.models:
        cells = [Cell(model, model_note(model))]
        cells += [_metric_cell(by_metric[metric].get(model)) for metric in MODEL_TABLE_METRICS]
        rows.append(tuple(cells))
    columns = ("Model", *(METRIC_NAMES[metric] for metric in MODEL_TABLE_METRICS))
    about = content.classes[1] if len(content.classes) == 2 else "all classes"
    caption = f"Models: pooled value, interval, mean ± SD over folds; {about}"
    return PageTable(caption, columns, tuple(rows))


def _metric_cell(row: dict[str, Any] | None) -> Cell:
    if row is None:
        return Cell("–")
    folds = f"folds {number(row['fold_mean'])} ± {number(row['fold_sd'])}"
    if row["n_folds_skipped"]:
        folds += f" ({row['n_folds_skipped']} skipped)"
    return Cell(number(row["value"]), f"{interval(row)}\n{folds}", row["value"])


def class_table(content: RunTables) -> PageTable:
    """Return every metric of every class and model."""
    rows = tuple(
        (
            Cell(row["model"]),
            Cell(row["class"]),
            Cell(METRIC_NAMES.get(row["metric"], row["metric"])),
            Cell(number(row["value"]), "", row["value"]),
            Cell(interval(row)),
        )
        for row in content.metrics.iter_rows(named=True)
    )
    return PageTable(
        "All metrics by class (each against the rest)",
        ("Model", "Class", "Metric", "Value", "Interval"),
        rows,
    )


def modality_table(content: RunTables) -> PageTable:
    """Return what each model loses when a modality is disturbed."""
    rows = tuple(
        (
            Cell(row["model"], model_note(row["model"])),
            Cell(row["condition"].replace("_", " ")),
            Cell(f"{row['level']:g}", "", row["level"]),
            Cell(METRIC_NAMES.get(row["metric"], row["metric"])),
            _drop_cell(row),
            Cell(interval(row)),
        )
        for row in content.modality_use.iter_rows(named=True)
    )
    return PageTable(
        "Loss when a modality is disturbed (positive: the model used it)",
        ("Model", "Condition", "Level", "Metric", "Loss", "Interval"),
        rows,
    )


def _drop_cell(row: dict[str, Any]) -> Cell:
    if row["drop"] == row["low"] == row["high"] == 0.0:
        return Cell("0", "exactly, in every resample", 0.0)
    return Cell(number(row["drop"], signed=True), "", row["drop"])


def site_table(content: RunTables) -> PageTable:
    """Return the cohort by site and class."""
    cohort = content.cohort.with_columns(
        pl.when(pl.col("site").fill_null("") == "")
        .then(pl.lit("unknown"))
        .otherwise(pl.col("site"))
        .alias("site")
    )
    rows = [_count_row("All sites", cohort, content.classes)]
    for (site,), part in cohort.sort("site").group_by("site", maintain_order=True):
        rows.append(_count_row(str(site), part, content.classes))
    columns = ("Site", *content.classes, "Patients", "Slides", "Tiles")
    return PageTable("Cohort by site and class", columns, tuple(rows))


def _count_row(name: str, part: pl.DataFrame, classes: Sequence[str]) -> tuple[Cell, ...]:
    counts = [int((part["label"] == of).sum()) for of in classes]
    counts += [part.height, int(part["n_slides"].sum()), int(part["n_tiles"].sum())]
    return (Cell(name), *(Cell(f"{count:,}", "", count) for count in counts))


def left_out_groups(content: RunTables) -> tuple[LeftOutGroup, ...]:
    """Return who was left out, by step and reason, in the order of the table."""
    groups = content.left_out.group_by("step", "reason", maintain_order=True)
    return tuple(
        LeftOutGroup(str(step), str(reason), tuple(part["patient_id"]))
        for (step, reason), part in groups
    )


def fault_table(content: RunTables) -> PageTable:
    """Return slides whose features could not be used."""
    bad = content.features.filter(pl.col("fault").fill_null("") != "")
    rows = tuple(
        (Cell(row["slide_id"]), Cell(row["patient_id"]), Cell(row["fault"]))
        for row in bad.iter_rows(named=True)
    )
    return PageTable("Slides with a fault", ("Slide", "Patient", "Fault"), rows)


def outlier_table(content: RunTables) -> PageTable:
    """Return what outlier removal took from each gene and class, the largest share first."""
    ranked = content.outliers.sort("share", descending=True, maintain_order=True).head(50)
    rows = tuple(
        (
            Cell(row["gene"]),
            Cell(row["class"]),
            Cell(number(row["n_removed"], 0), "", row["n_removed"]),
            Cell(number(row["n"], 0), "", row["n"]),
            Cell(f"{row['share']:.0%}", "", row["share"]),
        )
        for row in ranked.iter_rows(named=True)
    )
    return PageTable(
        f"Values set to missing as outliers ({len(rows)} of {content.outliers.height} rows)",
        ("Gene", "Class", "Removed", "Values", "Share"),
        rows,
    )


def residual_weight_table(content: RunTables) -> PageTable:
    """Return each model's residual weight over folds."""
    folds = content.training.group_by("model", "repeat", "fold").agg(
        pl.col("residual_weight").first()
    )
    rows = []
    for model in content.models:
        residual_weight = folds.filter(pl.col("model") == model)["residual_weight"]
        if len(residual_weight):
            mean = float(residual_weight.sum()) / len(residual_weight)
            n_none = int((residual_weight == 0).sum())
            rows.append(
                (
                    Cell(model),
                    Cell(number(mean, 2), "", mean),
                    Cell(f"{n_none}/{len(residual_weight)}"),
                )
            )
    return PageTable(
        "Residual weight: share of the networks' residual logits added to the ridge base model",
        ("Model", "Mean over folds", "Folds with none"),
        tuple(rows),
    )


def stage_table(content: RunTables) -> PageTable:
    """Return seconds and memory of each stage."""
    rows = tuple(
        (
            Cell(str(name)),
            Cell(number(stage.get("seconds"), 1), "", stage.get("seconds")),
            Cell(number(stage.get("peak_memory_mb"), 0), "", stage.get("peak_memory_mb")),
        )
        for name, stage in content.run.get("stages", {}).items()
    )
    return PageTable("Stages", ("Stage", "Seconds", "Peak memory, MB"), rows)


def pair_table(caption: str, columns: tuple[str, str], pairs: dict[str, Any]) -> PageTable:
    """Return a table of names and values."""
    rows = tuple((Cell(str(name)), Cell(str(value))) for name, value in pairs.items())
    return PageTable(caption, columns, rows)


def confusions(content: RunTables) -> tuple[Confusion, ...]:
    """Return the confusion matrices of all models."""
    digits = 0 if content.n_repeats == 1 else 1
    found = []
    for model in content.models:
        rows = []
        for name, counts in zip(content.classes, confusion_counts(content, model), strict=True):
            total = float(counts.sum()) or 1.0
            cells = tuple((number(float(n), digits), float(n) / total) for n in counts)
            rows.append((name, cells))
        found.append(Confusion(model, tuple(rows)))
    return tuple(found)
