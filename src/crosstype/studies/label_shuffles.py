"""The pipeline on permuted labels: without leaks, performance is at chance.

Each shuffle permutes the labels among the patients and runs everything again, so that a leak
anywhere between tables and predictions shows as an AUROC above 0.5 (Ojala and Garriga 2010).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from crosstype.config.run_spec import RunSpec
from crosstype.evaluation.inference.bootstrap import fold_summaries, fold_values
from crosstype.evaluation.metrics.metrics import headline_key
from crosstype.evaluation.predictions import read_predictions
from crosstype.io.schema import LABEL_SHUFFLES, LABEL_SHUFFLES_SUMMARY, PREDICTIONS, WHOLE
from crosstype.progress import Progress
from crosstype.studies.variants import FOLDER, with_features
from crosstype.workflow.pipeline import run as run_pipeline
from crosstype.workflow.stage import Run

REAL = 0


def run_label_shuffles(
    spec: RunSpec, out: Path, n_shuffles: int, how: tuple[int, Progress]
) -> pl.DataFrame:
    """Run the config on its labels and on permuted ones; write and return the results.

    OUT/label_shuffles.csv holds each model's AUROC, the mean over folds (and repeats), of every
    shuffle, 0 being the true labels. OUT/label_shuffles_summary.csv: the true figure, mean and
    Monte-Carlo standard error over the shuffles, how many standard errors the mean lies from 0.5,
    and p: the share of shuffles that reach the true figure, itself counted among them.

    Args:
        spec: the config.
        out: folder of the study; finished shuffles are reused.
        n_shuffles: number of shuffles, at least 2.
        how: number of workers and progress.
    """
    n_workers, progress = how
    found = with_features(spec, out, progress)
    evaluation = replace(found.evaluation, n_shuffles=0, rna_loss=False)
    found = replace(found, evaluation=evaluation)
    rows = []
    for number in range(n_shuffles + 1):
        own = replace(found, cohort=replace(found.cohort, shuffle_labels=number))
        folder = out / FOLDER / ("real" if number == REAL else f"shuffle_{number}")
        progress.message("the true labels" if number == REAL else f"shuffle {number}")
        run_pipeline(Run(own, folder, n_workers, progress), last="train")
        classes = tuple(one.name for one in own.cohort.classes)
        rows += [(model, number, auroc) for model, auroc in _aurocs(folder, classes)]
    table = LABEL_SHUFFLES.frame(rows)
    LABEL_SHUFFLES.write(out, table)
    summary = summarised(table)
    LABEL_SHUFFLES_SUMMARY.write(out, summary)
    return summary


def summarised(table: pl.DataFrame) -> pl.DataFrame:
    """Return one row per model, from its AUROC under every shuffle."""
    true = pl.col("shuffle") == REAL
    real = table.filter(true).select("model", real="auroc")
    reaches = (pl.col("auroc") >= pl.col("real")).sum()
    n = pl.len()
    error = pl.col("auroc").std() / n.sqrt()
    return (
        table.filter(~true)
        .join(real, on="model", maintain_order="left")
        .group_by("model", maintain_order=True)
        .agg(
            real=pl.col("real").first(),
            mean=pl.col("auroc").mean(),
            standard_error=error,
            errors_from_half=(pl.col("auroc").mean() - 0.5) / error,
            highest=pl.col("auroc").max(),
            p=(reaches + 1) / (n + 1),
            n_shuffles=n.cast(WHOLE),
        )
    )


def _aurocs(folder: Path, classes: Sequence[str]) -> list[tuple[str, float | None]]:
    """Return each model's AUROC, the mean over test folds."""
    predictions = read_predictions(folder / PREDICTIONS.name, classes)
    key = headline_key("auroc", classes)
    return [
        (name, fold_summaries(fold_values(predictions, one), classes)[key].mean)
        for name, one in predictions.of_model.items()
    ]
