"""The table of a study: every row's metrics, and its paired difference to the row before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float

from crosstype.evaluation.bootstrap import blocks, draw_weights, percentile_interval, two_sided_p
from crosstype.evaluation.compare import holm
from crosstype.evaluation.predictions import Predictions, read_predictions
from crosstype.evaluation.resampling import headline_per_repeat
from crosstype.evaluation.spec import EvaluationSpec
from crosstype.studies.variants import Contrast, Study
from crosstype.tables import write_table

METRICS = ("f1", "pr_auc", "auroc", "mcc", "accuracy")
COLUMNS = {
    "row": pl.String,
    "about": pl.String,
    "model": pl.String,
    "against": pl.String,
    "metric": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "difference": pl.Float64,
    "difference_low": pl.Float64,
    "difference_high": pl.Float64,
    "p": pl.Float64,
    "p_adjusted": pl.Float64,
    "n": pl.Int64,
    "absent": pl.String,
    "protocol": pl.String,
}

Values = Float[np.ndarray, "n_metrics n_resamples"]


def judge(
    study: Study, path: Path, spec: EvaluationSpec, classes: tuple[str, ...], seed: int
) -> pl.DataFrame:
    """Write and return the study's table, one row per row of the study and metric.

    Differences are those of the same patients in the same resamples, repeats averaged; p is the
    bootstrap's, adjusted (Holm) among all rows of the same metric. Rows that could not be run are
    there with the reason.

    Args:
        study: the runs, finished; OUT/predictions.csv is read.
        path: of the table.
        spec: number of resamples and level of the intervals.
        classes: class names in the config's order.
        seed: of the resampling.
    """
    predictions = read_predictions(study.out / "predictions.csv", classes)
    weights = blocks(draw_weights(predictions.labels, spec.n_bootstrap, seed))
    values = {
        name: np.asarray(headline_per_repeat(predictions, one, METRICS, weights).mean(axis=0))
        for name, one in predictions.of_model.items()
    }
    rows = [
        row | {"protocol": study.mark_of(one)}
        for one in study.contrasts
        for row in _rows(one, values, predictions, spec)
    ]
    table = _adjusted(pl.DataFrame(rows, schema=COLUMNS))
    write_table(path, table)
    return table


def _rows(
    contrast: Contrast, values: dict[str, Values], predictions: Predictions, spec: EvaluationSpec
) -> list[dict[str, object]]:
    """Return a row per metric; one row without numbers if the contrast could not be run."""
    about = {
        "row": contrast.name,
        "about": contrast.about,
        "model": contrast.model,
        "against": contrast.against,
        "absent": contrast.absent,
    }
    if contrast.absent:
        return [dict.fromkeys(COLUMNS) | about]
    rows = []
    for number, metric in enumerate(METRICS):
        own = values[contrast.name][number]
        low, high = percentile_interval(own[1:], spec.confidence)
        found: dict[str, object] = dict.fromkeys(COLUMNS) | about
        found |= {"metric": metric, "value": float(own[0]), "low": low, "high": high}
        found["n"] = len(predictions.patient_ids)
        if contrast.against:
            apart = own - values[contrast.against][number]
            low, high = percentile_interval(apart[1:], spec.confidence)
            found |= {"difference": float(apart[0]), "difference_low": low}
            found |= {"difference_high": high, "p": two_sided_p(apart[1:])}
        rows.append(found)
    return rows


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
