"""What the report tells: the tables of a run, read once and checked.

Columns of the tables that the report reads, and what stands in them.

What OUT/explanation holds, read when it is asked for; nothing of it need be there.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from crosstype.errors import Fault, TableError
from crosstype.io.tables import read_stage_table

Columns = dict[str, type[pl.DataType]]
INTERVAL: Columns = {"low": pl.Float64, "high": pl.Float64}
METRICS: Columns = {
    "model": pl.String,
    "metric": pl.String,
    "class": pl.String,
    "value": pl.Float64,
    **INTERVAL,
    "n": pl.Int64,
    "fold_mean": pl.Float64,
    "fold_sd": pl.Float64,
    "n_folds": pl.Int64,
    "n_folds_skipped": pl.Int64,
}
COMPARISONS: Columns = {
    "model_a": pl.String,
    "model_b": pl.String,
    "metric": pl.String,
    "difference": pl.Float64,
    **INTERVAL,
    "p": pl.Float64,
    "p_adjusted": pl.Float64,
    "n": pl.Int64,
    "test": pl.String,
}
MODALITY_USE: Columns = {
    "model": pl.String,
    "modality": pl.String,
    "condition": pl.String,
    "level": pl.Float64,
    "metric": pl.String,
    "drop": pl.Float64,
    **INTERVAL,
}
PREDICTIONS: Columns = {
    "patient_id": pl.String,
    "model": pl.String,
    "repeat": pl.Int64,
    "label": pl.String,
    "predicted": pl.String,
}
TRAINING: Columns = {
    "model": pl.String,
    "repeat": pl.Int64,
    "fold": pl.Int64,
    "epoch": pl.Int64,
    "train_loss": pl.Float64,
    "validation_loss": pl.Float64,
    "residual_weight": pl.Float64,
}
COHORT: Columns = {
    "patient_id": pl.String,
    "label": pl.String,
    "site": pl.String,
    "n_slides": pl.Int64,
    "n_tiles": pl.Int64,
}
LEFT_OUT: Columns = {"patient_id": pl.String, "step": pl.String, "reason": pl.String}
FEATURES: Columns = {
    "slide_id": pl.String,
    "patient_id": pl.String,
    "encoder": pl.String,
    "fault": pl.String,
}
OUTLIERS: Columns = {
    "gene": pl.String,
    "class": pl.String,
    "n": pl.Float64,
    "n_removed": pl.Float64,
    "share": pl.Float64,
}
RNA_LOSS: Columns = {
    "model": pl.String,
    "pattern": pl.String,
    "level": pl.Float64,
    "metric": pl.String,
    "value": pl.Float64,
    **INTERVAL,
    "n": pl.Int64,
    "note": pl.String,
}
RNA_LOSS_COMPARISONS: Columns = {
    "model_a": pl.String,
    "model_b": pl.String,
    "pattern": pl.String,
    "level": pl.Float64,
    "difference": pl.Float64,
    **INTERVAL,
    "n": pl.Int64,
    "note": pl.String,
}
COVERAGE: Columns = {
    "model": pl.String,
    "rule": pl.String,
    "coverage": pl.Float64,
    "threshold": pl.Float64,
    "accuracy": pl.Float64,
    **INTERVAL,
    "n": pl.Int64,
    "n_abstained": pl.Int64,
    "macro_f1": pl.Float64,
    "macro_f1_low": pl.Float64,
    "macro_f1_high": pl.Float64,
    "aurc": pl.Float64,
    "aurc_low": pl.Float64,
    "aurc_high": pl.Float64,
}
CALIBRATION: Columns = {
    "model": pl.String,
    "n": pl.Int64,
    "temperature": pl.Float64,
    "class": pl.String,
    "offset": pl.Float64,
    "threshold": pl.Float64,
}
CALIBRATION_CURVE: Columns = {
    "model": pl.String,
    "class": pl.String,
    **dict.fromkeys(("bin", "n"), pl.Int64),
    **dict.fromkeys(("mean_probability", "observed"), pl.Float64),
    **INTERVAL,
}
DECISION_CURVE: Columns = {
    "model": pl.String,
    "class": pl.String,
    **dict.fromkeys(("threshold", "net_benefit", "treat_all"), pl.Float64),
    **INTERVAL,
}
TESTS: Columns = {
    "model_a": pl.String,
    "model_b": pl.String,
    "metric": pl.String,
    "test": pl.String,
    **dict.fromkeys(("statistic", "p", "p_adjusted"), pl.Float64),
    "n": pl.Int64,
}
SUBGROUPS: Columns = {
    **dict.fromkeys(("column", "group", "model", "metric", "note"), pl.String),
    "value": pl.Float64,
    **INTERVAL,
    **dict.fromkeys(("n", "n_positive"), pl.Int64),
}
SITE_PROBE: Columns = {
    "input": pl.String,
    "metric": pl.String,
    "value": pl.Float64,
    **INTERVAL,
    "guessing": pl.Float64,
    **dict.fromkeys(("n_sites", "n"), pl.Int64),
}
UNLABELLED_PREDICTIONS: Columns = {
    **dict.fromkeys(("patient_id", "reason", "model", "predicted"), pl.String),
    "n_models": pl.Int64,
}
ARCHITECTURE: Columns = {
    **dict.fromkeys(("model", "box", "module", "kind", "settings", "shape", "inputs"), pl.String),
    **dict.fromkeys(("n_parameters", "n_networks"), pl.Int64),
}
VECTOR_MAPS: Columns = {
    **dict.fromkeys(("model", "patient_id", "label", "space", "method"), pl.String),
    **dict.fromkeys(("repeat", "fold"), pl.Int64),
    **dict.fromkeys(("x", "y"), pl.Float64),
}
EXAMPLES: Columns = dict.fromkeys(("key", "value"), pl.String)
SAMPLE_PROFILE: Columns = {"gene": pl.String, "z": pl.Float64, "rank": pl.Int64}
EXPRESSION_SPREAD: Columns = {
    **dict.fromkeys(("gene", "step", "who"), pl.String),
    "n": pl.Int64,
    **dict.fromkeys(("low", "q25", "median", "q75", "high"), pl.Float64),
}
EXPRESSION_STEPS: Columns = {
    **dict.fromkeys(("patient_id", "label", "gene"), pl.String),
    **dict.fromkeys(("before", "z", "without_outliers"), pl.Float64),
}
ATTRIBUTIONS: Columns = {
    **dict.fromkeys(("model", "gene", "gene_sets"), pl.String),
    "rank": pl.Int64,
    "mean_absolute": pl.Float64,
}
DRAWN: Columns = dict.fromkeys(("model", "patient_id", "slide_id", "kind", "file"), pl.String)

WARNING = "Warning: "
OVER_ALL_METRICS = ("mcc", "accuracy", "balanced_accuracy", "log_loss")


@dataclass(frozen=True)
class RunTables:
    """Everything that a page about a run is made of.

    Attributes:
        run: what run.json says about the run.
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
        apart: the same of unlabelled_predictions.csv.
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
        """How test patients leak into training, in words; empty for an honest protocol."""
        return tuple(self.run.get("protocol", {}).get("leaks", ()))

    @cached_property
    def protocol(self) -> str:
        """Name of the protocol."""
        return str(self.run.get("protocol", {}).get("name", "unknown"))

    @cached_property
    def is_synthetic(self) -> bool:
        """Whether the patients were made up."""
        return bool(self.run.get("synthetic", False))

    @cached_property
    def mark(self) -> str:
        """What every table and figure must say about itself; empty for honest, real data."""
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
    probabilities: Columns = {f"probability_{name}": pl.Float64 for name in classes}
    return RunTables(
        run=run,
        config_text=config.read_text(encoding="utf-8") if config.exists() else "",
        classes=classes,
        metrics=read_stage_table(out / "metrics.csv", METRICS),
        comparisons=read_stage_table(out / "comparisons.csv", COMPARISONS),
        modality_use=read_stage_table(out / "modality_use.csv", MODALITY_USE),
        predictions=read_stage_table(out / "predictions.csv", PREDICTIONS | probabilities),
        training=_read_if_there(out / "training.csv", TRAINING),
        cohort=read_stage_table(out / "cohort.csv", COHORT),
        left_out=read_stage_table(out / "left_out.csv", LEFT_OUT),
        features=_read_if_there(out / "features.csv", FEATURES),
        outliers=_read_if_there(out / "outliers.csv", OUTLIERS),
        rna_loss=_read_if_there(out / "rna_loss.csv", RNA_LOSS),
        rna_loss_comparisons=_read_if_there(out / "rna_loss_comparisons.csv", RNA_LOSS_COMPARISONS),
        coverage=_read_if_there(out / "coverage.csv", COVERAGE),
        calibration=_read_if_there(out / "calibration.csv", CALIBRATION),
        calibration_curve=_read_if_there(out / "calibration_curve.csv", CALIBRATION_CURVE),
        decision_curve=_read_if_there(out / "decision_curve.csv", DECISION_CURVE),
        tests=_read_if_there(out / "tests.csv", TESTS),
        subgroups=_read_if_there(out / "subgroups.csv", SUBGROUPS),
        site_probe=_read_if_there(out / "site_probe.csv", SITE_PROBE),
        unlabelled=_read_if_there(
            out / "unlabelled_predictions.csv", UNLABELLED_PREDICTIONS | probabilities
        ),
    )


def _read_if_there(path: Path, columns: Columns) -> pl.DataFrame:
    return read_stage_table(path, columns) if path.exists() else pl.DataFrame(schema=columns)


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


@dataclass(frozen=True)
class ExplanationTables:
    """The tables and pictures of the explain stage; a table that is not there has no rows."""

    out: Path

    @cached_property
    def architecture(self) -> pl.DataFrame:
        """Modules of each network."""
        return self._read("architecture.csv", ARCHITECTURE)

    @cached_property
    def vector_maps(self) -> pl.DataFrame:
        """TileLocations of out-of-fold patients on flat maps of the models' vectors."""
        return self._read("vector_maps.csv", VECTOR_MAPS)

    @cached_property
    def facts(self) -> dict[str, str]:
        """What is said of the examples, by key."""
        table = self._read("examples.csv", EXAMPLES)
        return dict(table.select("key", "value").iter_rows())

    @cached_property
    def profile(self) -> pl.DataFrame:
        """The sample patient's expression."""
        return self._read("sample_profile.csv", SAMPLE_PROFILE)

    @cached_property
    def spread(self) -> pl.DataFrame:
        """Quantiles of some genes before and after z-scoring."""
        return self._read("expression_spread.csv", EXPRESSION_SPREAD)

    @cached_property
    def steps(self) -> pl.DataFrame:
        """Some genes of some test patients, step by step."""
        return self._read("expression_steps.csv", EXPRESSION_STEPS)

    @cached_property
    def attributions(self) -> pl.DataFrame:
        """Genes by attribution; no rows where no model sees genes."""
        return self._read("attributions.csv", ATTRIBUTIONS)

    @cached_property
    def drawn(self) -> pl.DataFrame:
        """Maps and other pictures."""
        return self._read("drawn.csv", DRAWN)

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

    def _read(self, name: str, columns: Columns) -> pl.DataFrame:
        path = self.out / FOLDER / name
        empty = pl.DataFrame(schema=columns)
        if not path.exists():
            return empty
        # A table to which no model had anything to say has two columns and no rows.
        return read_stage_table(path, columns) if _has_rows(path) else empty


def _has_rows(path: Path) -> bool:
    with path.open("rb") as handle:
        handle.readline()
        return bool(handle.read(1))
