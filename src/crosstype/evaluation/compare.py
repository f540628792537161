"""Paired differences between models, corrected for how many were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from crosstype.evaluation.bootstrap import percentile_interval, two_sided_p
from crosstype.models.spec import BASELINE_NAMES

GENE_ONLY = "gene_only"
COMPARED_METRICS = ("auroc", "pr_auc", "f1", "mcc")

Resampled = Mapping[str, Mapping[str, Float[np.ndarray, " n_resamples"]]]
"""By model and metric: the value, then its resamples."""


@dataclass(frozen=True)
class Comparison:
    """How much better a model is than another on the same patients.

    Attributes:
        model_a: the model in question.
        model_b: the reference.
        metric: the metric's bare name; higher is better for all of them.
        difference: value of `model_a` minus value of `model_b`.
        low: lower end of the paired bootstrap interval.
        high: upper end.
        p: two-sided bootstrap p of no difference.
        p_adjusted: the same after Holm's correction among all models compared with this reference.
        n: patients.
    """

    model_a: str
    model_b: str
    metric: str
    difference: float
    low: float
    high: float
    p: float
    p_adjusted: float
    n: int


def best_baseline(resampled: Resampled) -> str | None:
    """Return the baseline of highest AUROC, or None without baselines.

    Choosing it on the same patients favours the baseline, so a difference against it is
    conservative.
    """
    present = [model for model in BASELINE_NAMES if model in resampled]
    return max(present, key=lambda model: float(resampled[model]["auroc"][0]), default=None)


def compare_models(resampled: Resampled, n_patients: int, confidence: float) -> list[Comparison]:
    """Compare every model with gene_only and with the best baseline, resample by resample.

    Args:
        resampled: by model and metric, the value and then its resamples, shared by all models.
        n_patients: patients behind them.
        confidence: level of the intervals.

    Returns:
        A row per model, reference and metric. p is adjusted among the rows of the same metric and
        reference.
    """
    rows: list[Comparison] = []
    references = [GENE_ONLY if GENE_ONLY in resampled else None, best_baseline(resampled)]
    for reference in dict.fromkeys(name for name in references if name is not None):
        others = [model for model in resampled if model != reference]
        for metric in COMPARED_METRICS:
            apart = [resampled[model][metric] - resampled[reference][metric] for model in others]
            raw = [two_sided_p(values[1:]) for values in apart]
            for model, values, p, adjusted in zip(others, apart, raw, holm(raw), strict=True):
                low, high = percentile_interval(values[1:], confidence)
                row = Comparison(
                    model, reference, metric, float(values[0]), low, high, p, adjusted, n_patients
                )
                rows.append(row)
    return rows


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for how many there are, by Holm's step-down rule (Holm 1979).

    The smallest is multiplied by how many there are, the next by one less, and so on; never below
    a smaller one's, never above 1. One false alarm among all then stays as rare as stated.
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted
