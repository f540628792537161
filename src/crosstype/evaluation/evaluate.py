"""The evaluation stage: predictions in, three tables of numbers out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from crosstype.evaluation.bootstrap import blocks, draw_weights, percentile_interval
from crosstype.evaluation.compare import COMPARED_METRICS, Comparison, compare_models
from crosstype.evaluation.coverage import coverage_rows
from crosstype.evaluation.metrics import MetricKey, headline_key
from crosstype.evaluation.modality_use import ModalityUse, modality_use
from crosstype.evaluation.predictions import (
    Predictions,
    read_predictions,
    read_stressed_predictions,
)
from crosstype.evaluation.resampling import fold_summaries, resampled_metrics
from crosstype.evaluation.rna_loss import read_losses, rna_loss
from crosstype.evaluation.spec import EvaluationSpec
from crosstype.tables import write_table

KINDS = {"str": pl.String, "float": pl.Float64, "int": pl.Int64}
METRIC_COLUMNS: dict[str, Any] = {
    "model": pl.String,
    "metric": pl.String,
    "class": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n": pl.Int64,
    "fold_mean": pl.Float64,
    "fold_sd": pl.Float64,
    "n_folds": pl.Int64,
    "n_folds_skipped": pl.Int64,
}


def evaluate(out: Path, spec: EvaluationSpec, classes: Sequence[str], seed: int) -> None:
    """Judge every model from its predictions alone; write the tables of numbers.

    Reads predictions.csv and, if there, stressed_predictions.csv; writes metrics.csv,
    comparisons.csv, modality_use.csv and coverage.csv; with `rna_loss` also rna_loss.csv and
    rna_loss_comparisons.csv, from rna_loss.npz. The same tables and seed give the same bytes.

    Args:
        out: folder of the run.
        spec: number of resamples and level of the intervals.
        classes: class names in the config's order; of two, the second is the positive one.
        seed: seed of the resampling.

    Raises:
        TableError: the predictions contradict themselves; see `read_predictions`.
    """
    predictions = read_predictions(out / "predictions.csv", classes)
    weight_blocks = blocks(draw_weights(predictions.labels, spec.n_bootstrap, seed))
    resampled = {
        name: resampled_metrics(predictions, model, weight_blocks)
        for name, model in predictions.of_model.items()
    }
    rows = _metric_rows(predictions, resampled, spec.confidence)
    write_table(out / "metrics.csv", pl.DataFrame(rows, schema=METRIC_COLUMNS, orient="row"))
    write_table(out / "coverage.csv", coverage_rows(predictions, weight_blocks, spec))
    headlines = {
        name: {metric: values[headline_key(metric, classes)] for metric in COMPARED_METRICS}
        for name, values in resampled.items()
    }
    compared = compare_models(headlines, len(predictions.patient_ids), spec.confidence)
    write_table(out / "comparisons.csv", _frame(compared, Comparison))
    used: list[ModalityUse] = []
    stressed_path = out / "stressed_predictions.csv"
    if stressed_path.exists():
        stressed = read_stressed_predictions(stressed_path, predictions)
        used = modality_use(predictions, stressed, weight_blocks, spec.confidence)
    write_table(out / "modality_use.csv", _frame(used, ModalityUse))
    if spec.rna_loss:
        found = read_losses(out / "rna_loss.npz")
        weights = draw_weights(found.labels, spec.n_bootstrap, seed)
        curves, differences = rna_loss(found, classes, spec, weights, seed)
        write_table(out / "rna_loss.csv", curves)
        write_table(out / "rna_loss_comparisons.csv", differences)


def _metric_rows(
    predictions: Predictions,
    resampled: dict[str, dict[MetricKey, Float[np.ndarray, " n_resamples"]]],
    confidence: float,
) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    n_patients = len(predictions.patient_ids)
    for name, by_key in resampled.items():
        folds = fold_summaries(predictions, predictions.of_model[name])
        for key, values in by_key.items():
            low, high = percentile_interval(values[1:], confidence)
            fold = folds[key]
            found = (name, key.metric, key.of, float(values[0]), low, high, n_patients)
            rows.append((*found, fold.mean, fold.sd, fold.n, fold.n_skipped))
    return rows


def _frame(rows: Sequence[Comparison | ModalityUse], kind: type[Any]) -> pl.DataFrame:
    schema: dict[str, Any] = {field.name: KINDS[str(field.type)] for field in fields(kind)}
    return pl.DataFrame([asdict(row) for row in rows], schema=schema)
