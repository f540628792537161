"""The loss curves: what each model is worth as more and more of the expression is lost.

What a model loses when a modality is taken from it by shuffling it between patients.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Float32

from crosstype.evaluation.inference.bootstrap import (
    draw_weights,
    headline_per_repeat,
    percentile_interval,
)
from crosstype.evaluation.metrics.metrics import headline_key, measure
from crosstype.evaluation.predictions import ConditionKey, ModelPredictions, Predictions
from crosstype.evaluation.spec import EvaluationSpec
from crosstype.io import schema
from crosstype.models.catalog import UNIMODAL

BETTER_UNIMODAL = "the better unimodal model"
METRICS = ("auroc", "brier")
"""The first is compared between models; the second shows what noise and assays do to the level."""
MOST_RESAMPLES = 1000
"""More would take long and change little: each is averaged over draws of genes as well."""


Weights = Float[np.ndarray, "n_patients n_resamples"]
Values = Float[np.ndarray, "n_metrics n_resamples"]
Key = tuple[str, float]
"""Pattern and level."""


@dataclass(frozen=True)
class PerturbedPredictions:
    """Probabilities under every loss, as `training.rna_loss` wrote them.

    Attributes:
        labels: class number of each patient.
        losses: pattern, level and draw of each perturbation.
        of_model: (n_perturbations, n_repeats, n_patients, n_classes) of each model; NaN where a
            perturbation cannot be done to a patient, the same in all models.
        notes: how each pattern was made.
    """

    labels: np.ndarray
    losses: tuple[tuple[str, float, int], ...]
    of_model: Mapping[str, np.ndarray]
    notes: Mapping[str, str] = field(default_factory=dict)


def read_perturbed(path: Path) -> PerturbedPredictions:
    """Read `OUT/rna_loss.npz`."""
    with np.load(path, allow_pickle=False) as held:
        keys = zip(*(held[key].tolist() for key in ("pattern", "level", "draw")), strict=True)
        models = {name.removeprefix("model."): held[name] for name in held if "model." in name}
        notes = dict(zip(held["pattern"].tolist(), held["note"].tolist(), strict=True))
        return PerturbedPredictions(held["label"], tuple(keys), models, notes)


def rna_loss(
    found: PerturbedPredictions,
    classes: Sequence[str],
    spec: EvaluationSpec,
    weights: Weights,
    seed: int,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return each model's METRICS at each level, and each fusion model against the better unimodal.

    A resample draws patients and, with replacement, as many of the draws of a loss as there are;
    repeats are averaged. Which unimodal model is the better one is decided level by level on the
    cohort as it is, which favours it. Where a loss applies to some patients only, all models
    are evaluated on these.

    Args:
        found: probabilities under every loss.
        classes: names of the classes; of two the second is the positive one.
        spec: level of the intervals.
        weights: resamples of the patients; the first column is the cohort as it is.
        seed: of the resampling of draws, and of patients where not all are there.
    """
    weights = weights[:, : MOST_RESAMPLES + 1]
    curves: list[tuple[object, ...]] = []
    differences: list[tuple[object, ...]] = []
    for number, (pattern, level) in enumerate(dict.fromkeys(one[:2] for one in found.losses)):
        rows = [i for i, one in enumerate(found.losses) if one[:2] == (pattern, level)]
        there = _there(found, rows)
        labels = found.labels[there]
        own = weights if there.all() else draw_weights(labels, weights.shape[1] - 1, seed)
        evaluator = _Evaluator(labels, own, classes, (seed, number))
        values = {
            model: evaluator.values(probabilities[rows][:, :, there])
            for model, probabilities in found.of_model.items()
        }
        about = (len(labels), found.notes.get(pattern, ""))
        for model, of_metric in values.items():
            for metric, one in zip(METRICS, of_metric, strict=True):
                interval = percentile_interval(one[1:], spec.confidence)
                row = (model, pattern, level, metric, float(one[0]), *interval)
                curves.append((*row, len(rows), *about))
        ranked = {model: of_metric[0] for model, of_metric in values.items()}
        gaps = _against_unimodal(ranked, (pattern, level), spec.confidence)
        differences += [(*gap, *about) for gap in gaps]
    return schema.RNA_LOSS.frame(curves), schema.RNA_LOSS_COMPARISONS.frame(differences)


def _there(found: PerturbedPredictions, rows: Sequence[int]) -> Bool[np.ndarray, " n_patients"]:
    """Return the patients for whom every model has a prediction under these losses."""
    there = np.ones(len(found.labels), dtype=bool)
    for probabilities in found.of_model.values():
        there &= ~np.isnan(probabilities[list(rows)]).any(axis=(0, 1, 3))
    return there


@dataclass(frozen=True)
class _Evaluator:
    """Patients and their resamples, on which all models are measured.

    Attributes:
        labels: class number of each patient.
        weights: how often each counts in each resample.
        classes: names of the classes.
        seed: of the resampling of draws; the same for all models.
    """

    labels: np.ndarray
    weights: Weights
    classes: Sequence[str]
    seed: tuple[int, int]

    def values(self, found: Float32[np.ndarray, "draws repeats patients classes"]) -> Values:
        """Return METRICS of every resample, averaged over repeats and over a resample of draws."""
        each = np.stack([np.mean([self._measured(one) for one in draw], axis=0) for draw in found])
        n_draws, _, n_resamples = each.shape
        rng = np.random.default_rng(list(self.seed))
        chosen = rng.integers(n_draws, size=(n_draws, n_resamples))
        chosen[:, 0] = np.arange(n_draws)
        drawn: Values = np.take_along_axis(each, chosen[:, None], axis=0).mean(axis=0)
        return drawn

    def _measured(self, probabilities: Float32[np.ndarray, "patients classes"]) -> Values:
        places = [headline_key(metric, self.classes).among(self.classes) for metric in METRICS]
        exact = probabilities.astype(np.float64)
        found: Values = measure(self.labels, exact.argmax(axis=1), exact, self.weights, places)
        return found


def _against_unimodal(
    values: Mapping[str, Float[np.ndarray, " n_resamples"]], key: Key, confidence: float
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
            rows.append((model, reference, *key, METRICS[0], float(gap[0]), *interval))
    return rows


USE_METRICS = ("auroc", "pr_auc", "f1", "mcc")
UNDER_LOSS = "_genes_lost"
"""End of the name of a condition under which genes were lost as well."""

Compared = tuple[ModelPredictions, Float[np.ndarray, "n_repeats n_metrics n_resamples"] | None]
"""Predictions, and their metrics if they are known."""


@dataclass(frozen=True)
class ModalityUse:
    """Loss of a model's performance without a modality.

    Attributes:
        model: the model.
        modality: what was disturbed, `image` or `genes`.
        condition: how, for instance `image_shuffled`.
        level: disturbed share, 0 to 1.
        metric: the metric's bare name.
        drop: undisturbed minus disturbed, mean over draws and repeats; positive: the model used
            the modality; exactly 0.0: it does not use it. Under `image_shuffled_genes_lost`,
            undisturbed means the same genes lost and images in their place.
        low: lower end of the patient bootstrap interval.
        high: upper end.
    """

    model: str
    modality: str
    condition: str
    level: float
    metric: str
    drop: float
    low: float
    high: float


def modality_use(
    undisturbed: Predictions,
    stressed: Mapping[ConditionKey, Mapping[str, ModelPredictions]],
    weight_blocks: Sequence[Float[np.ndarray, "n_patients _"]],
    confidence: float,
) -> list[ModalityUse]:
    """Return each model's loss in AUROC, PR-AUC, F1 and MCC for each disturbed modality.

    Shuffling between patients keeps the modality's values as they are distributed and breaks only
    their link to the patient (permutation importance, Breiman 2001).

    Args:
        undisturbed: predictions from inputs as they are.
        stressed: predictions from disturbed inputs, by disturbance and model.
        weight_blocks: resamples, the first column of all being the cohort as it is.
        confidence: level of the intervals.
    """
    draws: dict[tuple[str, float], list[ConditionKey]] = {}
    for stress in stressed:
        draws.setdefault((stress.condition, stress.level), []).append(stress)
    rows = []
    for model, plain in undisturbed.of_model.items():
        whole = (plain, headline_per_repeat(undisturbed, plain, USE_METRICS, weight_blocks))
        for (condition, level), members in draws.items():
            found = [
                _drop(undisturbed, before, stressed[member][model], weight_blocks)
                for member in members
                if model in stressed[member]
                for before in [_before(member, model, stressed, whole)]
            ]
            if not found:
                continue
            for metric, values in zip(USE_METRICS, np.mean(found, axis=0), strict=True):
                interval = percentile_interval(values[1:], confidence)
                key = (model, str(members[0].modality), condition, level, metric)
                rows.append(ModalityUse(*key, float(values[0]), *interval))
    return rows


def _before(
    stress: ConditionKey,
    model: str,
    stressed: Mapping[ConditionKey, Mapping[str, ModelPredictions]],
    whole: Compared,
) -> Compared:
    """Return what disturbed predictions are compared with: the same, less the one disturbance.

    Where genes were lost as well, that is the loss of those genes alone.
    """
    if not stress.condition.endswith(UNDER_LOSS):
        return whole
    return stressed[ConditionKey(UNDER_LOSS.removeprefix("_"), stress.level, stress.draw)][
        model
    ], None


def _drop(
    undisturbed: Predictions,
    before: Compared,
    other: ModelPredictions,
    weight_blocks: Sequence[Float[np.ndarray, "n_patients _"]],
) -> Float[np.ndarray, "n_metrics n_resamples"]:
    """Return undisturbed minus disturbed of one draw, repeats averaged."""
    plain, reference = before
    values = headline_per_repeat(undisturbed, other, USE_METRICS, weight_blocks)
    if other.equals(plain):
        return np.zeros(values.shape[1:])
    if reference is None:
        reference = headline_per_repeat(undisturbed, plain, USE_METRICS, weight_blocks)
    return np.asarray((reference - values).mean(axis=0))
