"""What a model loses when a modality is taken from it by shuffling it between patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from crosstype.evaluation.bootstrap import percentile_interval
from crosstype.evaluation.predictions import ModelPredictions, Predictions, Stress
from crosstype.evaluation.resampling import headline_per_repeat

USE_METRICS = ("auroc", "pr_auc", "f1", "mcc")
UNDER_LOSS = "_genes_lost"
"""End of the name of a condition under which genes were lost as well."""

Known = tuple[ModelPredictions, Float[np.ndarray, "n_repeats n_metrics n_resamples"] | None]
"""Predictions, and their metrics if they are known."""


@dataclass(frozen=True)
class ModalityUse:
    """What a model loses without a modality.

    Attributes:
        model: the model.
        modality: what was disturbed, `image` or `genes`.
        condition: how, for instance `image_shuffled`.
        level: how much of it, 0 to 1.
        metric: the metric's bare name.
        drop: undisturbed minus disturbed, mean over draws and repeats; positive: the model used
            the modality; exactly 0.0: it cannot see it. Under `image_shuffled_genes_lost`,
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
    stressed: Mapping[Stress, Mapping[str, ModelPredictions]],
    weight_blocks: Sequence[Float[np.ndarray, "n_patients _"]],
    confidence: float,
) -> list[ModalityUse]:
    """Return each model's loss in AUROC, PR-AUC, F1 and MCC for each disturbed modality.

    Shuffling between patients keeps the modality's values as they are distributed and breaks only
    their bond to the patient (permutation importance, Breiman 2001).

    Args:
        undisturbed: predictions from inputs as they are.
        stressed: predictions from disturbed inputs, by disturbance and model.
        weight_blocks: resamples, the first column of all being the cohort as it is.
        confidence: level of the intervals.
    """
    draws: dict[tuple[str, float], list[Stress]] = {}
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
    stress: Stress,
    model: str,
    stressed: Mapping[Stress, Mapping[str, ModelPredictions]],
    whole: Known,
) -> Known:
    """Return what disturbed predictions are compared with: the same, less the one disturbance.

    Where genes were lost as well, that is the loss of those genes alone.
    """
    if not stress.condition.endswith(UNDER_LOSS):
        return whole
    return stressed[Stress(UNDER_LOSS.removeprefix("_"), stress.level, stress.draw)][model], None


def _drop(
    undisturbed: Predictions,
    before: Known,
    other: ModelPredictions,
    weight_blocks: Sequence[Float[np.ndarray, "n_patients _"]],
) -> Float[np.ndarray, "n_metrics n_resamples"]:
    """Return undisturbed minus disturbed of one draw, repeats averaged."""
    plain, reference = before
    values = headline_per_repeat(undisturbed, other, USE_METRICS, weight_blocks)
    if other.says_the_same_as(plain):
        return np.zeros(values.shape[1:])
    if reference is None:
        reference = headline_per_repeat(undisturbed, plain, USE_METRICS, weight_blocks)
    return np.asarray((reference - values).mean(axis=0))
