"""Damaged training patients: networks practise on them, so that a poor modality is no news.

A regime is a state that a patient's data can be in at prediction: whole, thinly measured, hardly
measured at all, without an image. Networks learn in every regime that their modalities allow, all
models the same damage, and how far their correction is trusted is decided regime by regime.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

import numpy as np
from jaxtyping import Float, Float32

from crosstype.expression.units import Unit
from crosstype.training.patients import Patients
from crosstype.types import Modality


class MissingnessPattern(StrEnum):
    """A state of a patient's data, worst first as far as they exclude each other."""

    WHOLE = "whole"
    THIN = "thin"
    BARE = "bare"
    NO_IMAGE = "no_image"


LEAST_MEASURED = {
    MissingnessPattern.WHOLE: 10**-0.5,
    MissingnessPattern.THIN: 0.01,
    MissingnessPattern.BARE: 0.0,
}
"""Least share of the genes that is measured in each regime of expression."""
POWERS = {MissingnessPattern.THIN: (-2.0, -0.5), MissingnessPattern.BARE: (-4.0, -2.0)}
"""Shares of genes that practice leaves, as powers of ten, evenly drawn between these."""
WITHOUT_GENES = 0.5
"""Share of the patients in regime bare who practise without any gene."""
NOISE = 0.5
"""Noise on damaged expression, in doublings: each patient's is drawn up to this."""


def patterns_of(uses: Collection[Modality]) -> tuple[MissingnessPattern, ...]:
    """Return the regimes that a model of these modalities can tell apart, whole first."""
    found = [MissingnessPattern.WHOLE]
    if Modality.GENES in uses:
        found += [MissingnessPattern.THIN, MissingnessPattern.BARE]
        if Modality.IMAGE in uses:
            found.append(MissingnessPattern.NO_IMAGE)
    return tuple(found)


def pattern_of(
    patients: Patients,
    measured: Float[np.ndarray, " patients"],
    patterns: Collection[MissingnessPattern],
) -> np.ndarray:
    """Return each patient's regime, one of `regimes`.

    Args:
        patients: the patients.
        measured: share of the model's genes that was measured.
        patterns: those that the model tells apart.
    """
    found = np.full(len(patients), MissingnessPattern.WHOLE, dtype=object)
    if MissingnessPattern.THIN in patterns:
        found[measured < LEAST_MEASURED[MissingnessPattern.WHOLE]] = MissingnessPattern.THIN
        found[measured < LEAST_MEASURED[MissingnessPattern.THIN]] = MissingnessPattern.BARE
    if MissingnessPattern.NO_IMAGE in patterns:
        found[[one is None for one in patients.bag_of]] = MissingnessPattern.NO_IMAGE
    return found


def corrupted(
    patients: Patients, pattern: MissingnessPattern, unit: Unit, rng: np.random.Generator
) -> Patients:
    """Return the patients in that regime: genes lost and noised, or images taken away.

    Args:
        patients: training or validation patients; raw expression.
        pattern: what to do to them.
        unit: of the expression; noise is multiplicative on amounts, additive on their logarithms.
        rng: what is lost is drawn from it, patient by patient.
    """
    if pattern is MissingnessPattern.WHOLE:
        return patients
    if pattern is MissingnessPattern.NO_IMAGE:
        return patients.without_images()
    return patients.with_genes(_lost(_noised(patients.genes, unit, rng), pattern, rng))


def _noised(
    genes: Float32[np.ndarray, "patients genes"], unit: Unit, rng: np.random.Generator
) -> Float32[np.ndarray, "patients genes"]:
    spread = NOISE * rng.random((len(genes), 1))
    doublings = (spread * rng.standard_normal(genes.shape)).astype(np.float32)
    if unit == "linear":
        return genes * np.exp2(doublings)
    noised: np.ndarray = genes + doublings
    return np.maximum(noised, np.nanmin(genes)) if unit == "log" else noised


def _lost(
    genes: Float32[np.ndarray, "patients genes"],
    pattern: MissingnessPattern,
    rng: np.random.Generator,
) -> Float32[np.ndarray, "patients genes"]:
    n_patients, n_genes = genes.shape
    share = np.power(10, rng.uniform(*POWERS[pattern], size=n_patients))
    if pattern is MissingnessPattern.BARE:
        share[rng.random(n_patients) < WITHOUT_GENES] = 0
    n_kept = np.round(share * n_genes)
    rank = np.argsort(np.argsort(rng.random(genes.shape), axis=1), axis=1)
    return np.where(rank < n_kept[:, None], genes, np.float32(np.nan))
