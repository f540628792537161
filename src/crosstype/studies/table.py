"""The table of a study: every row's metrics, and its paired difference to the row before."""

from pathlib import Path
from typing import Any

import polars as pl

from crosstype.evaluation.evaluate import evaluate_models
from crosstype.evaluation.inference.bootstrap import blocks, draw_weights
from crosstype.evaluation.inference.compare import compare_models
from crosstype.evaluation.inference.paired_tests import draw_swaps, holm, pair_tests
from crosstype.evaluation.metrics.metrics import headline_key
from crosstype.evaluation.predictions import read_predictions
from crosstype.evaluation.spec import EvaluationSpec
from crosstype.io.schema import PREDICTIONS, STUDY
from crosstype.studies.variants import Contrast, Study

METRICS = ("f1", "pr_auc", "auroc", "mcc", "accuracy")

Found = dict[tuple[str, str], dict[str, Any]]
"""By row and metric."""


def evaluate_study(
    study: Study, path: Path, spec: EvaluationSpec, classes: tuple[str, ...], seed: int
) -> pl.DataFrame:
    """Write and return the study's table, one row per row of the study and metric.

    Intervals and tests are those of the evaluation: differences are paired, DeLong's for AUROC,
    McNemar's for accuracy, permutations for the others; p is adjusted (Holm) among all rows of the
    same metric. Rows that could not be run are there with the reason.

    Args:
        study: the runs, finished; OUT/predictions.csv is read.
        path: of the table.
        spec: number of resamples and level of the intervals.
        classes: class names in the config's order.
        seed: of resamples and permutations.
    """
    predictions = read_predictions(study.out / PREDICTIONS.name, classes)
    weight_blocks = blocks(draw_weights(predictions.labels, spec.n_bootstrap, seed))
    evaluated, metrics = evaluate_models(predictions, spec, weight_blocks)
    pairs = [(one.name, one.against) for one in study.shown if one.against]
    swaps = draw_swaps(len(predictions.labels), seed)
    tests = pair_tests(predictions.labels, predictions.classes, evaluated, pairs, swaps)
    differences: Found = {
        (one.model_a, one.metric): {
            "difference": one.difference,
            "difference_low": one.low,
            "difference_high": one.high,
            "p": one.p,
        }
        for one in compare_models(evaluated, tests, spec)
    }
    of = {metric: headline_key(metric, classes) for metric in METRICS}
    values: Found = {
        (row["model"], row["metric"]): {name: row[name] for name in ("value", "low", "high", "n")}
        for row in metrics.iter_rows(named=True)
        if row["metric"] in of and row["class"] == of[row["metric"]].of
    }
    rows = [
        row | {"protocol": study.mark_of(one)}
        for one in study.contrasts
        for row in _rows(one, values, differences)
    ]
    table = _adjusted(STUDY.frame(rows))
    STUDY.write_as(path, table)
    return table


def _rows(contrast: Contrast, values: Found, differences: Found) -> list[dict[str, Any]]:
    """Return a row per metric; one row without numbers if the contrast could not be run."""
    about = {
        "row": contrast.name,
        "about": contrast.about,
        "model": contrast.model,
        "against": contrast.against,
        "absent": contrast.absent,
    }
    if contrast.absent:
        return [about]
    return [
        about
        | {"metric": metric}
        | values[contrast.name, metric]
        | differences.get((contrast.name, metric), {})
        for metric in METRICS
    ]


def _adjusted(table: pl.DataFrame) -> pl.DataFrame:
    """Fill in p after Holm's correction among the rows of each metric."""
    adjusted: list[float | None] = [None] * table.height
    for metric in METRICS:
        places = [
            place
            for place, (name, p) in enumerate(table.select("metric", "p").iter_rows())
            if name == metric and p is not None
        ]
        for place, value in zip(places, holm([table["p"][i] for i in places]), strict=True):
            adjusted[place] = value
    return table.with_columns(p_adjusted=pl.Series(adjusted, dtype=pl.Float64))
