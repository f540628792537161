"""Paired differences between models, corrected for how many were made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crosstype.evaluation.inference.bootstrap import Interval, percentile_interval
from crosstype.evaluation.inference.delong import auroc_difference
from crosstype.evaluation.inference.paired_tests import COMPARED, SHOWN, PairTest, ResampledModel
from crosstype.evaluation.spec import EvaluationSpec
from crosstype.models.catalog import BASELINE_NAMES, GENE_ONLY, MODELS


@dataclass(frozen=True)
class Comparison:
    """How much better a model is than another on the same patients.

    Attributes:
        model_a: the model in question.
        model_b: the reference.
        metric: the metric's bare name; higher is better for all of them.
        difference: value of `model_a` minus value of `model_b`.
        low: lower end of the paired interval: DeLong's for AUROC (unless the bootstrap was set
            for), the bootstrap's for all others.
        high: upper end.
        p: two-sided p of no difference, by `test`.
        p_adjusted: the same after Holm's correction among all models compared with this reference.
        n: patients.
        test: what p comes from: `delong`, `permutation` or `mcnemar`. The bootstrap's p and others
            stand in tests.csv.
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
    test: str


def best_baseline(evaluated: Mapping[str, ResampledModel]) -> str | None:
    """Return the baseline of highest AUROC, or None without baselines.

    Choosing it on the same patients favours the baseline, so a difference against it is
    conservative.
    """
    present = [model for model in BASELINE_NAMES if model in evaluated]
    return max(
        present, key=lambda model: float(evaluated[model].headlines["auroc"][0]), default=None
    )


def compared_pairs(evaluated: Mapping[str, ResampledModel]) -> list[tuple[str, str]]:
    """Pair every model with gene_only, the best baseline, and the baseline of the same inputs."""
    references = [GENE_ONLY if GENE_ONLY in evaluated else None, best_baseline(evaluated)]
    pairs = [
        (model, reference)
        for reference in dict.fromkeys(name for name in references if name is not None)
        for model in evaluated
        if model != reference
    ]
    alike = [(model, MODELS[model].same_inputs) for model in evaluated if model in MODELS]
    return list(dict.fromkeys([*pairs, *(pair for pair in alike if pair[1] in evaluated)]))


def compare_models(
    evaluated: Mapping[str, ResampledModel], tests: Sequence[PairTest], spec: EvaluationSpec
) -> list[Comparison]:
    """Return the paired difference of every tested pair, with its interval and its shown test.

    Args:
        evaluated: all models; their resamples are the same patients'.
        tests: every test of every pair.
        spec: level of the intervals, and which one AUROC has.

    Returns:
        A row per model, reference and metric, the references and metrics together.
    """
    shown = [test for test in tests if SHOWN[test.metric] == test.test]
    references = list(dict.fromkeys(test.model_b for test in shown))
    shown.sort(key=lambda test: (references.index(test.model_b), COMPARED.index(test.metric)))
    rows = []
    for one in shown:
        pair = (evaluated[one.model_a], evaluated[one.model_b])
        difference, interval = _unlabelled(pair, one.metric, spec)
        key = (one.model_a, one.model_b, one.metric)
        rows.append(Comparison(*key, difference, *interval, one.p, one.p_adjusted, one.n, one.test))
    return rows


def _unlabelled(
    pair: tuple[ResampledModel, ResampledModel], metric: str, spec: EvaluationSpec
) -> tuple[float, Interval]:
    values = pair[0].headlines[metric] - pair[1].headlines[metric]
    if metric == "auroc" and spec.auroc_interval == "delong":
        return float(values[0]), auroc_difference(
            pair[0].auroc, pair[1].auroc, spec.confidence
        ).interval
    return float(values[0]), percentile_interval(values[1:], spec.confidence)
