"""PAM50 calls: each sample gets the subtype whose centroid its profile is most correlated with.

Parker et al. 2009 (J Clin Oncol 27:1160): Spearman's rank correlation, average ranks for ties, over
the genes that a sample and the centroids share. What stands before it is centring.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from crosstype.errors import CohortError
from crosstype.expression.read import Expression
from crosstype.io.schema import PAM50_CALLS, REAL
from crosstype.pam50.centring import Centring, Zero, centred, learn_zero
from crosstype.pam50.centroids import LEAST_SHARE_OF_GENES, Centroids, Profiles, pam50_profiles
from crosstype.pam50.er_status import ErStatus, er_from_esr1
from crosstype.tcga import is_tumour

LEAST_SHARE_OF_SAMPLE = 0.5
"""Share of the centroids' genes that a sample must have a value of to get a call."""


@dataclass(frozen=True)
class Pam50Calls:
    """The calls of some samples.

    Attributes:
        sample_ids: one id per call.
        subtypes: names of the centroids.
        calls: a subtype per sample; empty where too few genes have a value.
        confidence: float64 (n_samples,), 1 - p of the best correlation; NaN without a call.
        correlations: float64 (n_samples, n_subtypes), Spearman's; NaN without a call.
        zero: what the profiles were centred on.
        notes: what was found and decided; what begins with `warning: ` may make calls wrong.
    """

    sample_ids: tuple[str, ...]
    subtypes: tuple[str, ...]
    calls: tuple[str, ...]
    confidence: np.ndarray
    correlations: np.ndarray
    zero: Zero
    notes: tuple[str, ...]

    def counts(self) -> dict[str, int]:
        """Return how many samples each subtype has, and those without a call under ""."""
        found = Counter(self.calls)
        return {name: found[name] for name in (*self.subtypes, "")}


@dataclass(frozen=True)
class CohortCentring:
    """How a cohort is centred on itself.

    Attributes:
        centring: none, median, robust or er-balanced.
        er: gives the ER status of samples by id; None: inferred from ESR1.
        seed: all chance derives from it.
    """

    centring: Centring
    er: Callable[[tuple[str, ...]], ErStatus] | None = None
    seed: int = 0


def call_cohort(
    file_name: str, expression: Expression, how: CohortCentring, centroids: Centroids
) -> Pam50Calls:
    """Call every sample of a cohort that is centred on itself.

    Args:
        file_name: the expression table's name, for messages.
        expression: of the whole cohort.
        how: centring, ER status and seed.
        centroids: of the subtypes.

    Raises:
        CohortError: too few samples or genes, or too few of one ER status.
        TableError: the table of ER status is damaged.
    """
    notes: list[str] = []
    profiles = pam50_profiles(file_name, expression, centroids, notes)
    n_normal = sum(not is_tumour(one) for one in profiles.sample_ids)
    if n_normal and how.centring != "none":
        notes.append(
            f"warning: {n_normal} samples are normal tissue or metastases by their barcodes, and "
            "count for the centring too. Take them out of the table if they should not"
        )
    if how.er is None:
        er = er_from_esr1(profiles.of("ESR1"), how.seed)
    else:
        er = how.er(profiles.sample_ids)
    zero = learn_zero(how.centring, profiles, er, how.seed, notes)
    return _call(profiles, zero, centroids, notes)


def call_by_reference(
    file_name: str, expression: Expression, zero: Zero, centroids: Centroids
) -> Pam50Calls:
    """Call single samples by medians stored from another cohort.

    Args:
        file_name: the expression table's name, for messages.
        expression: of samples that were measured and prepared as the reference's were.
        zero: the stored medians.
        centroids: of the subtypes.

    Raises:
        CohortError: the unit is not the reference's, or too few genes are in both.
    """
    if expression.measure != zero.measure:
        raise CohortError(
            f"{file_name}: found values in {expression.measure}, expected {zero.measure} as the "
            f"reference of assay {zero.assay!r} has. Give a table of that unit; if only its "
            f"recognition is wrong, set --unit {zero.measure}."
        )
    notes = [
        f"centred on the reference of assay {zero.assay!r} ({zero.centring}, {zero.n_samples} "
        "samples); calls are right only for samples of the same assay, prepared in the same way"
    ]
    profiles = pam50_profiles(file_name, expression, centroids, notes)
    shared = [gene for gene in profiles.genes if gene in zero.genes]
    if len(shared) < LEAST_SHARE_OF_GENES * len(centroids.genes):
        raise CohortError(
            f"{file_name}: only {len(shared)} of the {len(centroids.genes)} genes of the centroids "
            f"are in the reference of assay {zero.assay!r} too. Make a reference with all of them."
        )
    columns = [zero.genes.index(gene) for gene in shared]
    own = Zero(
        zero.centring, tuple(shared), zero.centre[columns], zero.spread[columns],
        zero.measure, zero.n_samples, zero.assay,
    )  # fmt: skip
    return _call(profiles.only(shared), own, centroids, notes)


def _call(profiles: Profiles, zero: Zero, centroids: Centroids, notes: list[str]) -> Pam50Calls:
    rows = [centroids.genes.index(gene) for gene in profiles.genes]
    least = int(np.ceil(LEAST_SHARE_OF_SAMPLE * len(centroids.genes)))
    values = centred(profiles, zero)
    correlations, n_genes = spearman(values, centroids.values[rows], least)
    called = ~np.isnan(correlations).any(axis=1)
    # The first of equal correlations, in the table's order, as R's which.max.
    best = np.argmax(np.where(called[:, None], correlations, 0), axis=1)
    names = [centroids.subtypes[i] if ok else "" for i, ok in zip(best, called, strict=True)]
    highest = correlations[np.arange(len(best)), best]
    unused = np.isnan(values).all(axis=0) & ~np.isnan(profiles.values).all(axis=0)
    if unused.any():
        listed = ", ".join(profiles.genes[i] for i in np.flatnonzero(unused))
        notes.append(f"warning: without spread in the cohort, and not used: {listed}")
    if not called.all():
        listed = ", ".join(profiles.sample_ids[i] for i in np.flatnonzero(~called)[:5])
        notes.append(
            f"warning: {int((~called).sum())} samples get no call: fewer than {least} of the genes "
            f"have a value, or all have the same ({listed})"
        )
    confidence = 1 - p_of_correlation(highest, n_genes)
    return Pam50Calls(
        profiles.sample_ids, centroids.subtypes, tuple(names), confidence, correlations, zero,
        tuple(notes),
    )  # fmt: skip


def spearman(
    values: np.ndarray, centroids: np.ndarray, least: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return Spearman's correlation of each sample with each centroid, and over how many genes.

    Args:
        values: (n_samples, n_genes), NaN where missing; ranks are among a sample's present genes.
        centroids: (n_genes, n_subtypes), complete.
        least: samples with fewer values get NaN.

    Returns:
        float64 (n_samples, n_subtypes), and int64 (n_samples,).
    """
    from scipy.stats import rankdata

    present = ~np.isnan(values)
    correlations = np.full((len(values), centroids.shape[1]), np.nan)
    patterns, group = np.unique(present, axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        if pattern.sum() < max(least, 3):
            continue
        rows = np.flatnonzero(group.ravel() == number)
        own = _unit(rankdata(values[np.ix_(rows, pattern)], axis=1))
        typical = _unit(rankdata(centroids[pattern].T, axis=1))
        correlations[rows] = np.einsum("sg,kg->sk", own, typical)
    return np.clip(correlations, -1, 1), present.sum(axis=1)


def _unit(ranks: np.ndarray) -> np.ndarray:
    """Return rows with mean 0 and length 1; NaN where all ranks are equal."""
    shifted = ranks - ranks.mean(axis=1, keepdims=True)
    length = np.sqrt((shifted**2).sum(axis=1, keepdims=True))
    unit: np.ndarray = shifted / np.where(length > 0, length, np.nan)
    return unit


def p_of_correlation(correlations: np.ndarray, n_genes: np.ndarray) -> np.ndarray:
    """Return the two-sided p of Spearman correlations (n,), by the t distribution."""
    from scipy.special import betainc

    # Twice the tail of Student's t at r sqrt((n - 2) / (1 - r^2)), written without the division.
    p: np.ndarray = betainc((n_genes - 2) / 2, 0.5, 1 - correlations**2)
    return p


def write_calls(path: Path, calls: Pam50Calls) -> None:
    """Write sample_id, call, confidence and correlation_<subtype>...; empty without a call."""
    columns = (calls.sample_ids, calls.calls, calls.confidence, *calls.correlations.T)
    table = PAM50_CALLS.frame(list(zip(*columns, strict=True)), calls.subtypes)
    PAM50_CALLS.write_as(path, table.with_columns(pl.col(REAL).fill_nan(None)), calls.subtypes)
