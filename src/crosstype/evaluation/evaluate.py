"""The evaluation stage: predictions in, tables of numbers out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from crosstype.cohort.subgroups import COLUMNS as GROUP_COLUMNS
from crosstype.cohort.subgroups import SUBGROUPS
from crosstype.evaluation.curves import calibration_rows, decision_rows
from crosstype.evaluation.inference.bootstrap import (
    blocks,
    draw_weights,
    fold_summaries,
    fold_values,
    resampled_metrics,
)
from crosstype.evaluation.inference.compare import Comparison, compare_models, compared_pairs
from crosstype.evaluation.inference.intervals import interval_inputs
from crosstype.evaluation.inference.paired_tests import (
    COMPARED,
    PairTest,
    ResampledModel,
    draw_swaps,
    pair_tests,
)
from crosstype.evaluation.metrics.metrics import headline_key
from crosstype.evaluation.predictions import (
    Predictions,
    read_predictions,
    read_stressed_predictions,
)
from crosstype.evaluation.robustness import ModalityUse, modality_use, read_perturbed, rna_loss
from crosstype.evaluation.selective import coverage_rows
from crosstype.evaluation.spec import EvaluationSpec
from crosstype.evaluation.subgroups import subgroup_rows
from crosstype.io.tables import read_stage_table, write_table

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

    Reads predictions.csv and, if there, stressed_predictions.csv and subgroups_of.csv; writes the
    tables of `judge`, modality_use.csv and subgroups.csv; with `rna_loss` also rna_loss.csv and
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
    for name, table in judge(predictions, spec, seed).items():
        write_table(out / name, table)
    groups = _groups(out / SUBGROUPS)
    write_table(out / "subgroups.csv", subgroup_rows(predictions, groups, spec, seed))
    used: list[ModalityUse] = []
    stressed_path = out / "stressed_predictions.csv"
    if stressed_path.exists():
        weight_blocks = blocks(draw_weights(predictions.labels, spec.n_bootstrap, seed))
        stressed = read_stressed_predictions(stressed_path, predictions)
        used = modality_use(predictions, stressed, weight_blocks, spec.confidence)
    write_table(out / "modality_use.csv", _frame(used, ModalityUse))
    if spec.rna_loss:
        found = read_perturbed(out / "rna_loss.npz")
        weights = draw_weights(found.labels, spec.n_bootstrap, seed)
        curves, differences = rna_loss(found, classes, spec, weights, seed)
        write_table(out / "rna_loss.csv", curves)
        write_table(out / "rna_loss_comparisons.csv", differences)


def judge(predictions: Predictions, spec: EvaluationSpec, seed: int) -> dict[str, pl.DataFrame]:
    """Return every table that needs no more than predictions, by file name.

    These are metrics.csv, comparisons.csv, tests.csv, coverage.csv, calibration_curve.csv and
    decision_curve.csv. One model, one repeat or one fold are enough.

    Args:
        predictions: of all models, on the same patients.
        spec: number of resamples, level and kind of the intervals.
        seed: seed of resamples and permutations.
    """
    labels = predictions.labels
    weight_blocks = blocks(draw_weights(labels, spec.n_bootstrap, seed))
    judged, metrics = judge_models(predictions, spec, weight_blocks)
    swaps = draw_swaps(len(labels), seed)
    tests = pair_tests(labels, predictions.classes, judged, compared_pairs(judged), swaps)
    return {
        "metrics.csv": metrics,
        "comparisons.csv": _frame(compare_models(judged, tests, spec), Comparison),
        "tests.csv": _frame(tests, PairTest),
        "coverage.csv": coverage_rows(predictions, weight_blocks, spec),
        "calibration_curve.csv": calibration_rows(predictions, spec.confidence),
        "decision_curve.csv": decision_rows(predictions, weight_blocks, spec.confidence),
    }


def judge_models(
    predictions: Predictions,
    spec: EvaluationSpec,
    weight_blocks: Sequence[Float[np.ndarray, "n_patients _"]],
) -> tuple[dict[str, ResampledModel], pl.DataFrame]:
    """Return what comparisons need of each model, and the rows of metrics.csv."""
    judged: dict[str, ResampledModel] = {}
    rows: list[tuple[Any, ...]] = []
    for name, model in predictions.of_model.items():
        resampled = resampled_metrics(predictions, model, weight_blocks)
        intervals = interval_inputs(predictions, model, spec)
        folds = fold_values(predictions, model)
        summaries = fold_summaries(folds, predictions.classes)
        for key, values in resampled.items():
            ends = intervals.interval(key, values)
            fold = summaries[key]
            n = len(predictions.labels)
            found = (name, key.metric, key.of, float(values[0]), *ends, n)
            rows.append((*found, fold.mean, fold.sd, fold.n, fold.n_skipped))
        of = {metric: headline_key(metric, predictions.classes) for metric in COMPARED}
        headlines = {metric: resampled[key] for metric, key in of.items()}
        judged[name] = ResampledModel(model, headlines, intervals.aurocs[of["auroc"]], folds)
    return judged, pl.DataFrame(rows, schema=METRIC_COLUMNS, orient="row")


def _groups(path: Path) -> pl.DataFrame:
    if path.exists():
        return read_stage_table(path, list(GROUP_COLUMNS))
    return pl.DataFrame(schema=dict.fromkeys(GROUP_COLUMNS, pl.String))


def _frame(rows: Sequence[Comparison | ModalityUse | PairTest], kind: type[Any]) -> pl.DataFrame:
    schema: dict[str, Any] = {field.name: KINDS[str(field.type)] for field in fields(kind)}
    return pl.DataFrame([asdict(row) for row in rows], schema=schema)
