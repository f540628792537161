"""Metrics of ranking, from weighted counts; one number per resample."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from crosstype.evaluation.metrics.confusion import ratio


class RankingMetrics(NamedTuple):
    """Metrics of ranking, one number per resample."""

    auroc: Float[np.ndarray, " n_resamples"]
    pr_auc: Float[np.ndarray, " n_resamples"]


def ranking_metrics(
    positive: Bool[np.ndarray, " n_patients"],
    probability: Float[np.ndarray, " n_patients"],
    weights: Float[np.ndarray, "n_patients n_resamples"],
) -> RankingMetrics:
    """Return AUROC and average precision of a class's probability, higher is better.

    AUROC is the probability that a case ranks above a non-case; ties count half
    (Hanley & McNeil 1982). Average precision is the step-wise area under the precision-recall
    curve, without interpolation, which flatters (Davis & Goadrich 2006); patients of equal
    probability enter together.

    Args:
        positive: whether each patient belongs to the class.
        probability: each patient's probability of the class.
        weights: how often each patient counts; both kinds must be there in every resample.
    """
    order = np.argsort(-probability, kind="stable")
    ranked, is_case = probability[order], positive[order]
    first = np.searchsorted(-ranked, -ranked[is_case], side="left")
    last = np.searchsorted(-ranked, -ranked[is_case], side="right")
    # Row i: how many patients, and how many cases, stand among the i highest.
    called = running_sum(weights[order])
    new_cases = weights[order[is_case]]
    cases = running_sum(new_cases)[np.cumsum(is_case)[last - 1]]
    above, called = (called[first] + called[last]) / 2, called[last]
    n_cases = new_cases.sum(axis=0)
    n_others = weights.sum(axis=0) - n_cases
    # Where nobody was called yet, nobody is new either: any divisor does.
    precision = cases / np.where(called > 0, called, 1.0)
    # Ranks of cases among all, less those of cases among cases, leave the others above each case.
    others_above = np.einsum("ij,ij->j", new_cases, above) - n_cases**2 / 2
    return RankingMetrics(
        auroc=1.0 - ratio(others_above, n_cases * n_others),
        pr_auc=ratio(np.einsum("ij,ij->j", precision, new_cases), n_cases),
    )


def running_sum(rows: Float[np.ndarray, "n b"]) -> Float[np.ndarray, "n+1 b"]:
    """Return sums of the first 0, 1, 2, ... rows.

    Row by row, since `numpy.cumsum` goes down each column in turn and is ten times slower here.
    """
    sums = np.zeros((len(rows) + 1, rows.shape[1]))
    for index, row in enumerate(rows):
        np.add(sums[index], row, out=sums[index + 1])
    return sums
