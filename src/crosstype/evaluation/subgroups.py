"""Metrics of each model in each group of patients.

A group's metrics are those of its patients' out-of-fold predictions alone.
Intervals are those of metrics.csv and include the sampling of its patients; with many
groups, some are low by chance alone.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from crosstype.errors import Fault, TableError
from crosstype.evaluation.inference.bootstrap import blocks, draw_weights, headline_per_repeat
from crosstype.evaluation.inference.intervals import IntervalInputs, aurocs_of
from crosstype.evaluation.metrics.metrics import headline_key
from crosstype.evaluation.predictions import ModelPredictions, Predictions
from crosstype.evaluation.spec import EvaluationSpec
from crosstype.io import schema

METRICS = ("auroc", "pr_auc", "f1", "mcc", "accuracy", "brier")
OF_ANY_CLASSES = ("accuracy", "brier")
"""Metrics that need no patients of every class."""
LEAST_PATIENTS = 10
LEAST_OF_A_CLASS = 3


class _Row(NamedTuple):
    """One metric of a group."""

    value: float | None = None
    low: float | None = None
    high: float | None = None


def subgroup_rows(
    predictions: Predictions, groups: pl.DataFrame, spec: EvaluationSpec, seed: int
) -> pl.DataFrame:
    """Return the rows of subgroups.csv: headline metrics of each model in each group.

    Args:
        predictions: of all models, on the same patients.
        groups: patient_id, column, group; a patient has one group in each column.
        spec: number of resamples, level and kind of the intervals.
        seed: of the resamples.

    Returns:
        A row per column, group, model and metric. n_positive counts the group's patients of the
        positive class; with more than two classes, of the group's smallest. A group of fewer than
        10 patients has no values, one with fewer than 3 patients of a class only accuracy and
        Brier, with a note.

    Raises:
        TableError: a patient has no group or two in a column.
    """
    rows: list[tuple[Any, ...]] = []
    for column, group, members in _groups_of(predictions.patient_ids, groups):
        inside = _of_members(predictions, members)
        counts = np.bincount(inside.labels, minlength=len(inside.classes))
        n_positive = int(counts[1] if len(counts) == 2 else counts.min())
        requested, note = _requested(counts, inside.classes)
        drawn = blocks(draw_weights(inside.labels, spec.n_bootstrap, seed)) if requested else []
        for name, model in inside.of_model.items():
            found = _values(inside, model, requested, drawn, spec) if requested else {}
            for metric in METRICS:
                row = found.get(metric, _Row())
                about = "" if metric in found else note
                sizes = (len(members), n_positive)
                rows.append((column, group, name, metric, *row, *sizes, about))
    return schema.SUBGROUPS.frame(rows)


def _groups_of(
    patient_ids: Sequence[str], groups: pl.DataFrame
) -> Iterator[tuple[str, str, Int[np.ndarray, " members"]]]:
    """Give each group's column, name and patients' places; numbers rise, words by alphabet."""
    for (column,), part in groups.group_by("column", maintain_order=True):
        held = dict(part.select("patient_id", "group").iter_rows())
        lacking = [one for one in patient_ids if one not in held]
        where = f"{schema.SUBGROUPS_OF.name}, column {column!r}"
        if lacking or len(held) < part.height:
            found = f"{lacking[0]} has no group" if lacking else "a patient has two groups"
            raise TableError(Fault(where, found, "Run the cohort stage anew."))
        names = [held[one] for one in patient_ids]
        for name in sorted(set(names), key=_place):
            members = [place for place, own in enumerate(names) if own == name]
            yield str(column), name, np.array(members, dtype=np.int64)


def _place(group: str) -> tuple[bool, float, str]:
    """Return where a group stands among those of its column; what is not recorded comes last."""
    begins = re.match(r"(below )?(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)( to below | and more|$)", group)
    unrecorded = group == "not recorded"
    if begins is None:
        return unrecorded, 0.0, group
    return unrecorded, float("-inf") if begins[1] else float(begins[2]), group


def _of_members(predictions: Predictions, members: Int[np.ndarray, " members"]) -> Predictions:
    """Return the predictions of some of the patients."""
    return Predictions(
        predictions.classes,
        tuple(predictions.patient_ids[place] for place in members.tolist()),
        predictions.repeats,
        predictions.labels[members],
        {
            name: ModelPredictions(
                model.fold[:, members],
                model.predicted[:, members],
                np.ascontiguousarray(model.probability[:, members]),
            )
            for name, model in predictions.of_model.items()
        },
    )


def _requested(
    counts: Int[np.ndarray, " n_classes"], classes: Sequence[str]
) -> tuple[tuple[str, ...], str]:
    """Return the metrics that a group of this size can have, and why not the others."""
    if counts.sum() < LEAST_PATIENTS:
        return (), f"fewer than {LEAST_PATIENTS} patients"
    few = [name for name, n in zip(classes, counts, strict=True) if n < LEAST_OF_A_CLASS]
    if few:
        return OF_ANY_CLASSES, f"fewer than {LEAST_OF_A_CLASS} patients of {', '.join(few)}"
    return METRICS, ""


def _values(
    inside: Predictions,
    model: ModelPredictions,
    requested: Sequence[str],
    weight_blocks: Sequence[Float[np.ndarray, "n_patients _"]],
    spec: EvaluationSpec,
) -> dict[str, _Row]:
    """Return value and interval of each requested metric."""
    ranked = "auroc" in requested
    intervals = IntervalInputs(aurocs_of(inside, model) if ranked else {}, {}, spec)
    resampled = headline_per_repeat(inside, model, requested, weight_blocks).mean(axis=0)
    found = {}
    for metric, values in zip(requested, resampled, strict=True):
        ends = intervals.interval(headline_key(metric, inside.classes), values)
        found[metric] = _Row(float(values[0]), *ends)
    return found
