"""The evaluation stage: predictions in, tables of numbers out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from crosstype.evaluation.curves import calibration_rows, decision_rows
from crosstype.evaluation.inference import bootstrap, paired_tests
from crosstype.evaluation.inference.compare import compare_models, compared_pairs
from crosstype.evaluation.inference.intervals import interval_inputs
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
from crosstype.io import schema
from crosstype.io.schema import TableSchema


def evaluate(out: Path, spec: EvaluationSpec, classes: Sequence[str], seed: int) -> None:
    """Evaluate every model from its predictions alone; write the tables of numbers.

    Reads predictions.csv and, if there, stressed_predictions.csv and subgroups_of.csv; writes the
    tables of `evaluation_tables`, modality_use.csv and subgroups.csv; with `rna_loss` also
    rna_loss.csv and rna_loss_comparisons.csv, from rna_loss.npz. The same tables and seed give the
    same bytes.

    Args:
        out: folder of the run.
        spec: number of resamples and level of the intervals.
        classes: class names in the config's order; of two, the second is the positive one.
        seed: seed of the resampling.

    Raises:
        TableError: the predictions contradict themselves; see `read_predictions`.
    """
    predictions = read_predictions(out / schema.PREDICTIONS.name, classes)
    for table, frame in evaluation_tables(predictions, spec, seed).items():
        table.write(out, frame)
    groups = schema.SUBGROUPS_OF.read_if_there(out)
    schema.SUBGROUPS.write(out, subgroup_rows(predictions, groups, spec, seed))
    used: list[ModalityUse] = []
    stressed_path = out / schema.STRESSED_PREDICTIONS.name
    if stressed_path.exists():
        weight_blocks = bootstrap.blocks(
            bootstrap.draw_weights(predictions.labels, spec.n_bootstrap, seed)
        )
        stressed = read_stressed_predictions(stressed_path, predictions)
        used = modality_use(predictions, stressed, weight_blocks, spec.confidence)
    schema.MODALITY_USE.write(out, schema.MODALITY_USE.frame(used))
    if spec.rna_loss:
        found = read_perturbed(out / "rna_loss.npz")
        weights = bootstrap.draw_weights(found.labels, spec.n_bootstrap, seed)
        curves, differences = rna_loss(found, classes, spec, weights, seed)
        schema.RNA_LOSS.write(out, curves)
        schema.RNA_LOSS_COMPARISONS.write(out, differences)


def evaluation_tables(
    predictions: Predictions, spec: EvaluationSpec, seed: int
) -> dict[TableSchema, pl.DataFrame]:
    """Return every table that needs no more than predictions, by its schema.

    These are metrics.csv, comparisons.csv, tests.csv, coverage.csv, calibration_curve.csv and
    decision_curve.csv. One model, one repeat or one fold are enough.

    Args:
        predictions: of all models, on the same patients.
        spec: number of resamples, level and kind of the intervals.
        seed: seed of resamples and permutations.
    """
    labels = predictions.labels
    weight_blocks = bootstrap.blocks(bootstrap.draw_weights(labels, spec.n_bootstrap, seed))
    evaluated, metrics = evaluate_models(predictions, spec, weight_blocks)
    swaps = paired_tests.draw_swaps(len(labels), seed)
    tests = paired_tests.pair_tests(
        labels, predictions.classes, evaluated, compared_pairs(evaluated), swaps
    )
    return {
        schema.METRICS: metrics,
        schema.COMPARISONS: schema.COMPARISONS.frame(compare_models(evaluated, tests, spec)),
        schema.TESTS: schema.TESTS.frame(tests),
        schema.COVERAGE: coverage_rows(predictions, weight_blocks, spec),
        schema.CALIBRATION_CURVE: calibration_rows(predictions, spec.confidence),
        schema.DECISION_CURVE: decision_rows(predictions, weight_blocks, spec.confidence),
    }


def evaluate_models(
    predictions: Predictions,
    spec: EvaluationSpec,
    weight_blocks: Sequence[Float[np.ndarray, "n_patients _"]],
) -> tuple[dict[str, paired_tests.ResampledModel], pl.DataFrame]:
    """Return what comparisons need of each model, and the rows of metrics.csv."""
    evaluated: dict[str, paired_tests.ResampledModel] = {}
    rows: list[tuple[Any, ...]] = []
    for name, model in predictions.of_model.items():
        resampled = bootstrap.resampled_metrics(predictions, model, weight_blocks)
        intervals = interval_inputs(predictions, model, spec)
        folds = bootstrap.fold_values(predictions, model)
        summaries = bootstrap.fold_summaries(folds, predictions.classes)
        for key, values in resampled.items():
            ends = intervals.interval(key, values)
            fold = summaries[key]
            n = len(predictions.labels)
            found = (name, key.metric, key.of, float(values[0]), *ends, n)
            rows.append((*found, fold.mean, fold.sd, fold.n, fold.n_skipped))
        of = {metric: headline_key(metric, predictions.classes) for metric in paired_tests.COMPARED}
        headlines = {metric: resampled[key] for metric, key in of.items()}
        evaluated[name] = paired_tests.ResampledModel(
            model, headlines, intervals.aurocs[of["auroc"]], folds
        )
    return evaluated, schema.METRICS.frame(rows)
