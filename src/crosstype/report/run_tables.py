"""Tables of a run for the report, read once and checked.

Columns of the tables that the report reads, and what stands in them.

Tables of OUT/explanation, read on demand; all are optional.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from crosstype.errors import Fault, TableError
from crosstype.io import schema

WARNING = "Warning: "
OVER_ALL_METRICS = ("mcc", "accuracy", "balanced_accuracy", "log_loss")


@dataclass(frozen=True)
class RunTables:
    """Tables of a run, for the report's pages.

    Attributes:
        run: run.json.
        config_text: config.toml as it stands.
        classes: class names; of two, the second is the positive one.
        metrics: metrics.csv.
        comparisons: comparisons.csv.
        modality_use: modality_use.csv.
        predictions: predictions.csv.
        training: training.csv; no rows if it is not there.
        cohort: cohort.csv.
        left_out: left_out.csv.
        features: features.csv; no rows if it is not there.
        outliers: outliers.csv; no rows if it is not there.
        rna_loss: rna_loss.csv; no rows if it is not there.
        rna_loss_comparisons: the same of rna_loss_comparisons.csv.
        coverage: the same of coverage.csv.
        calibration: the same of calibration.csv.
        calibration_curve: the same of calibration_curve.csv.
        decision_curve: the same of decision_curve.csv.
        tests: the same of tests.csv.
        subgroups: the same of subgroups.csv.
        site_probe: the same of site_probe.csv.
        unlabelled: the same of unlabelled_predictions.csv.
    """

    run: Mapping[str, Any]
    config_text: str
    classes: tuple[str, ...]
    metrics: pl.DataFrame
    comparisons: pl.DataFrame
    modality_use: pl.DataFrame
    predictions: pl.DataFrame
    training: pl.DataFrame
    cohort: pl.DataFrame
    left_out: pl.DataFrame
    features: pl.DataFrame
    outliers: pl.DataFrame
    rna_loss: pl.DataFrame
    rna_loss_comparisons: pl.DataFrame
    coverage: pl.DataFrame
    calibration: pl.DataFrame
    calibration_curve: pl.DataFrame
    decision_curve: pl.DataFrame
    tests: pl.DataFrame
    subgroups: pl.DataFrame
    site_probe: pl.DataFrame
    unlabelled: pl.DataFrame

    @cached_property
    def models(self) -> tuple[str, ...]:
        """Models, the highest pooled AUROC first."""
        ranked = self.headline("auroc").sort("value", descending=True, maintain_order=True)
        return tuple(ranked["model"])

    @cached_property
    def shown_classes(self) -> tuple[str, ...]:
        """Classes that have figures of their own: of two, the positive one."""
        return self.classes[1:] if len(self.classes) == 2 else self.classes

    @cached_property
    def n_repeats(self) -> int:
        """Number of repeats of the cross-validation."""
        return self.predictions["repeat"].n_unique()

    @cached_property
    def leaks(self) -> tuple[str, ...]:
        """How test patients leak into training; empty for a protocol without leaks."""
        return tuple(self.run.get("protocol", {}).get("leaks", ()))

    @cached_property
    def protocol(self) -> str:
        """Name of the protocol."""
        return str(self.run.get("protocol", {}).get("name", "unknown"))

    @cached_property
    def is_synthetic(self) -> bool:
        """Whether the patients are simulated."""
        return bool(self.run.get("synthetic", False))

    @cached_property
    def mark(self) -> str:
        """Mark of every table and figure; empty for real data and a protocol without leaks."""
        marks = [f"protocol {self.protocol}: leaks test patients"] if self.leaks else []
        if self.is_synthetic:
            marks.append("synthetic data")
        return "; ".join(marks)

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """Notes of the run that must be read before its numbers."""
        notes = (str(note) for note in self.run.get("notes", ()))
        return tuple(note for note in notes if note.startswith(WARNING))

    @cached_property
    def confidence(self) -> float:
        """Level of the intervals."""
        settings = tomllib.loads(self.config_text).get("evaluation", {})
        return float(settings.get("confidence", 0.95))

    def headline(self, metric: str) -> pl.DataFrame:
        """Return the rows meant by a metric's bare name: the positive class, else all classes."""
        several = "all" if metric in OVER_ALL_METRICS else "macro"
        of = self.classes[1] if len(self.classes) == 2 else several
        return self.metrics.filter((pl.col("metric") == metric) & (pl.col("class") == of))


def read_run_tables(out: Path) -> RunTables:
    """Read the tables of a run.

    Raises:
        TableError: a table that every run has is missing or damaged.
    """
    run = _read_json(out / "run.json")
    classes = tuple(str(name) for name in run.get("classes", ()))
    config = out / "config.toml"
    found: dict[str, Any] = {
        "run": run,
        "config_text": config.read_text(encoding="utf-8") if config.exists() else "",
        "classes": classes,
        "metrics": schema.METRICS.read(out),
        "comparisons": schema.COMPARISONS.read(out),
        "modality_use": schema.MODALITY_USE.read(out),
        "predictions": schema.PREDICTIONS.read(out, classes),
        "cohort": schema.COHORT.read(out),
        "left_out": schema.LEFT_OUT.read(out),
        "unlabelled": schema.UNLABELLED_PREDICTIONS.read_if_there(out, classes),
    }
    others = [one.name for one in fields(RunTables) if one.name not in found]
    found |= {name: getattr(schema, name.upper()).read_if_there(out) for name in others}
    return RunTables(**found)


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        fault = Fault(path.name, "there is no such file", "Run the earlier stages first.")
        raise TableError(fault) from None
    except ValueError as error:
        fault = Fault(path.name, f"not JSON ({error})", "Run the stages that write it anew.")
        raise TableError(fault) from None
    if not isinstance(found, dict) or not found.get("classes"):
        raise TableError(Fault(path.name, "it names no classes", "Run the earlier stages anew."))
    return found


FOLDER = "explanation"


def _table(of: schema.TableSchema) -> cached_property[pl.DataFrame]:
    """Return an attribute that reads a table when it is first asked for."""
    return cached_property(lambda explained: of.read_if_there(explained.out / FOLDER))


@dataclass(frozen=True)
class ExplanationTables:
    """The tables and pictures of the explain stage; a table that is not there has no rows."""

    out: Path

    architecture = _table(schema.ARCHITECTURE)
    vector_maps = _table(schema.VECTOR_MAPS)
    profile = _table(schema.SAMPLE_PROFILE)
    spread = _table(schema.EXPRESSION_SPREAD)
    steps = _table(schema.EXPRESSION_STEPS)
    attributions = _table(schema.ATTRIBUTIONS)
    drawn = _table(schema.DRAWN)

    @cached_property
    def facts(self) -> dict[str, str]:
        """Facts about the examples, by key."""
        table = schema.EXAMPLES.read_if_there(self.out / FOLDER)
        return dict(table.select("key", "value").iter_rows())

    @property
    def slide_picture(self) -> Path | None:
        """The sample patient's slide in small, if there is one."""
        return self._picture("slide.jpg")

    @property
    def tile_picture(self) -> Path | None:
        """Tiles and their views, if there are any."""
        return self._picture("tiles.png")

    def _picture(self, name: str) -> Path | None:
        path = self.out / FOLDER / "examples" / name
        return path if path.exists() else None
