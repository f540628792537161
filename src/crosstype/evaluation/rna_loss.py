"""The loss curve: how well each model ranks patients as more and more genes are lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float

from crosstype.evaluation.bootstrap import percentile_interval
from crosstype.evaluation.metrics import headline_key, measure
from crosstype.evaluation.spec import EvaluationSpec

UNIMODAL = ("image_only", "gene_only")
BETTER_UNIMODAL = "the better unimodal model"
METRIC = "auroc"
MOST_RESAMPLES = 1000
"""More would take long and change little: each is averaged over draws of genes as well."""

LOSS_COLUMNS = {
    "model": pl.String,
    "pattern": pl.String,
    "level": pl.Float64,
    "metric": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n_draws": pl.Int64,
}
DIFFERENCE_COLUMNS = {
    "model_a": pl.String,
    "model_b": pl.String,
    "pattern": pl.String,
    "level": pl.Float64,
    "metric": pl.String,
    "difference": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
}

Values = Float[np.ndarray, " n_resamples"]


@dataclass(frozen=True)
class LossPredictions:
    """Probabilities under every loss, as `training.rna_loss` wrote them.

    Attributes:
        labels: class number of each patient.
        losses: pattern, level and draw of each loss.
        of_model: (n_losses, n_repeats, n_patients, n_classes) of each model.
    """

    labels: np.ndarray
    losses: tuple[tuple[str, float, int], ...]
    of_model: Mapping[str, np.ndarray]


def read_losses(path: Path) -> LossPredictions:
    """Read `OUT/rna_loss.npz`."""
    with np.load(path, allow_pickle=False) as held:
        keys = zip(*(held[key].tolist() for key in ("pattern", "level", "draw")), strict=True)
        models = {name.removeprefix("model."): held[name] for name in held if "model." in name}
        return LossPredictions(held["label"], tuple(keys), models)


def rna_loss(
    found: LossPredictions,
    classes: Sequence[str],
    spec: EvaluationSpec,
    weights: Float[np.ndarray, "n_patients n_resamples"],
    seed: int,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return each model's AUROC at each level, and each fusion model against the better unimodal.

    A resample draws patients and, with replacement, as many of the draws of lost genes as there
    are; repeats are averaged. Which unimodal model is the better one is decided level by level on
    the cohort as it is, which favours it.

    Args:
        found: probabilities under every loss.
        classes: names of the classes; of two the second is the positive one.
        spec: level of the intervals.
        weights: resamples of the patients; the first column is the cohort as it is.
        seed: of the resampling of draws.
    """
    weights = weights[:, : MOST_RESAMPLES + 1]
    curves: list[tuple[object, ...]] = []
    differences: list[tuple[object, ...]] = []
    for number, (pattern, level) in enumerate(dict.fromkeys(one[:2] for one in found.losses)):
        rows = [i for i, one in enumerate(found.losses) if one[:2] == (pattern, level)]
        values = {
            model: _values(found, probabilities[rows], (classes, weights), [seed, number])
            for model, probabilities in found.of_model.items()
        }
        for model, one in values.items():
            interval = percentile_interval(one[1:], spec.confidence)
            curves.append((model, pattern, level, METRIC, float(one[0]), *interval, len(rows)))
        differences += _against_unimodal(values, (pattern, level), spec.confidence)
    return (
        pl.DataFrame(curves, schema=LOSS_COLUMNS, orient="row"),
        pl.DataFrame(differences, schema=DIFFERENCE_COLUMNS, orient="row"),
    )


def _values(
    found: LossPredictions,
    probabilities: Float[np.ndarray, "draws repeats patients classes"],
    how: tuple[Sequence[str], Float[np.ndarray, "n_patients n_resamples"]],
    seed: Sequence[int],
) -> Values:
    """Return the AUROC of every resample, averaged over repeats and over a resample of draws."""
    classes, weights = how
    place = headline_key(METRIC, classes).among(classes)
    each = np.stack(
        [
            np.mean([_auroc(found.labels, said, weights, place) for said in draw], axis=0)
            for draw in probabilities
        ]
    )
    chosen = np.random.default_rng(list(seed)).integers(len(each), size=each.shape)
    chosen[:, 0] = np.arange(len(each))
    drawn: Values = np.take_along_axis(each, chosen, axis=0).mean(axis=0)
    return drawn


def _auroc(labels: np.ndarray, said: np.ndarray, weights: np.ndarray, place: object) -> Values:
    exact = said.astype(np.float64)
    found: Values = measure(labels, exact.argmax(axis=1), exact, weights, [place])[0]  # type: ignore[list-item]
    return found


def _against_unimodal(
    values: Mapping[str, Values], key: tuple[str, float], confidence: float
) -> list[tuple[object, ...]]:
    """Return every other model's paired difference to both unimodal models and the better one."""
    unimodal = [name for name in UNIMODAL if name in values]
    if not unimodal:
        return []
    better = max(unimodal, key=lambda name: float(values[name][0]))
    references = {name: values[name] for name in unimodal} | {BETTER_UNIMODAL: values[better]}
    rows: list[tuple[object, ...]] = []
    for model, own in values.items():
        if model in unimodal:
            continue
        for reference, other in references.items():
            gap = own - other
            interval = percentile_interval(gap[1:], confidence)
            rows.append((model, reference, *key, METRIC, float(gap[0]), *interval))
    return rows
