"""Points of curves and counts of matrices, from the predictions and losses."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from crosstype.report.run_tables import RunTables

GRID = np.linspace(0.0, 1.0, 201)
MOST_REPEATS_DRAWN = 3
"""With more repeats, the lines of single folds would hide each other."""


class Curve(NamedTuple):
    """Points of a line."""

    x: Float[np.ndarray, " n_points"]
    y: Float[np.ndarray, " n_points"]


class Curves(NamedTuple):
    """Both curves of a model for one class against the rest.

    Attributes:
        roc: false positive rate and true positive rate.
        precision_recall: recall and precision.
    """

    roc: Curve
    precision_recall: Curve


def curves_of(content: RunTables, model: str, of: str) -> Curves:
    """Return a model's curves; with several repeats, their mean on a common grid."""
    rows = content.predictions.filter(pl.col("model") == model)
    found = []
    for _, part in rows.group_by("repeat", maintain_order=True):
        positive = (part["label"] == of).to_numpy()
        found.append(_curves(positive, part[f"probability_{of}"].to_numpy()))
    if len(found) == 1:
        return found[0]
    rising = np.mean([_step(curves.roc) for curves in found], axis=0)
    # The first point belongs to nobody called: every curve starts in the corner.
    rising[0] = 0.0
    falling = np.mean([_falling(curves.precision_recall) for curves in found], axis=0)
    return Curves(Curve(GRID, rising), Curve(GRID, falling))


def _curves(
    positive: Bool[np.ndarray, " n_patients"], probability: Float[np.ndarray, " n_patients"]
) -> Curves:
    order = np.argsort(-probability, kind="stable")
    ranked = probability[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    hits = np.cumsum(positive[order])[ends]
    called = ends + 1
    recall = hits / max(positive.sum(), 1)
    false_rate = (called - hits) / max((~positive).sum(), 1)
    precision = hits / called
    return Curves(
        Curve(np.append(0.0, false_rate), np.append(0.0, recall)),
        Curve(np.append(0.0, recall), np.append(precision[0], precision)),
    )


def _step(curve: Curve) -> Float[np.ndarray, " n_grid"]:
    """Return the highest true positive rate reached at each false positive rate of the grid."""
    found: Float[np.ndarray, " n_grid"] = np.interp(GRID, curve.x, curve.y)
    return found


def _falling(curve: Curve) -> Float[np.ndarray, " n_grid"]:
    """Return the precision of the first point that reaches each recall of the grid."""
    place = np.searchsorted(curve.x, GRID - 1e-12, side="left")
    return curve.y[np.minimum(place, len(curve.y) - 1)]


def confusion_counts(content: RunTables, model: str) -> Float[np.ndarray, "n_classes n_classes"]:
    """Return who was called what (rows: true class), the mean over repeats."""
    rows = content.predictions.filter(pl.col("model") == model)
    return count_calls(rows, content.classes) / content.n_repeats


def count_calls(rows: pl.DataFrame, classes: Sequence[str]) -> Int[np.ndarray, "classes classes"]:
    """Return the number of predictions by true class (rows) and called class (columns)."""
    counts = np.zeros((len(classes),) * 2, dtype=np.int64)
    for label, predicted, n in rows.group_by("label", "predicted").len().iter_rows():
        counts[classes.index(label), classes.index(predicted)] = n
    return counts


def losses_of(content: RunTables, model: str) -> list[pl.DataFrame]:
    """Return a model's losses by epoch: a table per fold, or one mean of all with many repeats.

    Members of an ensemble are averaged; an epoch's mean holds the runs that still went on.
    """
    rows = content.training.filter(pl.col("model") == model)
    by = ["repeat", "fold"] if content.n_repeats <= MOST_REPEATS_DRAWN else ["model"]
    return [mean_losses(part) for _, part in rows.group_by(by, maintain_order=True)]


def mean_losses(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the mean losses of each epoch."""
    means = (pl.col("train_loss").mean(), pl.col("validation_loss").mean())
    return rows.group_by("epoch").agg(*means).sort("epoch")
