"""What a model loses when a modality is taken from it by shuffling it between patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from crosstype.evaluation.bootstrap import percentile_interval
from crosstype.evaluation.compare import COMPARED_METRICS
from crosstype.evaluation.predictions import ModelPredictions, Predictions, Stress
from crosstype.evaluation.resampling import headline_per_repeat


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
            the modality; exactly 0.0: it cannot see it.
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
        reference = headline_per_repeat(undisturbed, plain, COMPARED_METRICS, weight_blocks)
        for (condition, level), members in draws.items():
            with_model = [
                stressed[member][model] for member in members if model in stressed[member]
            ]
            if not with_model:
                continue
            drops = np.mean(
                [
                    _drop(undisturbed, plain, other, reference, weight_blocks)
                    for other in with_model
                ],
                axis=0,
            )
            for metric, values in zip(COMPARED_METRICS, drops, strict=True):
                low, high = percentile_interval(values[1:], confidence)
                use = ModalityUse(
                    model,
                    str(members[0].modality),
                    condition,
                    level,
                    metric,
                    float(values[0]),
                    low,
                    high,
                )
                rows.append(use)
    return rows


def _drop(
    undisturbed: Predictions,
    plain: ModelPredictions,
    other: ModelPredictions,
    reference: Float[np.ndarray, "n_repeats n_metrics n_resamples"],
    weight_blocks: Sequence[Float[np.ndarray, "n_patients _"]],
) -> Float[np.ndarray, "n_metrics n_resamples"]:
    """Return undisturbed minus disturbed of one draw, repeats averaged."""
    if other.says_the_same_as(plain):
        return np.zeros(reference.shape[1:])
    values = headline_per_repeat(undisturbed, other, COMPARED_METRICS, weight_blocks)
    return np.asarray((reference - values).mean(axis=0))
