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


class Regime(StrEnum):
    """A state of a patient's data, worst first as far as they exclude each other."""

    WHOLE = "whole"
    THIN = "thin"
    BARE = "bare"
    NO_IMAGE = "no_image"


LEAST_MEASURED = {Regime.WHOLE: 10**-0.5, Regime.THIN: 0.01, Regime.BARE: 0.0}
"""Least share of the genes that is measured in each regime of expression."""
POWERS = {Regime.THIN: (-2.0, -0.5), Regime.BARE: (-4.0, -2.0)}
"""Shares of genes that practice leaves, as powers of ten, evenly drawn between these."""
WITHOUT_GENES = 0.5
"""Share of the patients in regime bare who practise without any gene."""
NOISE = 0.5
"""Noise on damaged expression, in doublings: each patient's is drawn up to this."""


def regimes_of(uses: Collection[Modality]) -> tuple[Regime, ...]:
    """Return the regimes that a model of these modalities can tell apart, whole first."""
    found = [Regime.WHOLE]
    if Modality.GENES in uses:
        found += [Regime.THIN, Regime.BARE]
        if Modality.IMAGE in uses:
            found.append(Regime.NO_IMAGE)
    return tuple(found)


def regime_of(
    patients: Patients, measured: Float[np.ndarray, " patients"], regimes: Collection[Regime]
) -> np.ndarray:
    """Return each patient's regime, one of `regimes`.

    Args:
        patients: the patients.
        measured: share of the model's genes that was measured.
        regimes: those that the model tells apart.
    """
    found = np.full(len(patients), Regime.WHOLE, dtype=object)
    if Regime.THIN in regimes:
        found[measured < LEAST_MEASURED[Regime.WHOLE]] = Regime.THIN
        found[measured < LEAST_MEASURED[Regime.THIN]] = Regime.BARE
    if Regime.NO_IMAGE in regimes:
        found[[one is None for one in patients.bag_of]] = Regime.NO_IMAGE
    return found


def damaged(
    patients: Patients, regime: Regime, unit: Unit, chance: np.random.Generator
) -> Patients:
    """Return the patients in that regime: genes lost and noised, or images taken away.

    Args:
        patients: training or validation patients; raw expression.
        regime: what to do to them.
        unit: of the expression; noise is multiplicative on amounts, additive on their logarithms.
        chance: what is lost is drawn from it, patient by patient.
    """
    if regime is Regime.WHOLE:
        return patients
    if regime is Regime.NO_IMAGE:
        return patients.without_images()
    return patients.with_genes(_lost(_noised(patients.genes, unit, chance), regime, chance))


def _noised(
    genes: Float32[np.ndarray, "patients genes"], unit: Unit, chance: np.random.Generator
) -> Float32[np.ndarray, "patients genes"]:
    spread = NOISE * chance.random((len(genes), 1))
    doublings = (spread * chance.standard_normal(genes.shape)).astype(np.float32)
    if unit == "linear":
        return genes * np.exp2(doublings)
    noised: np.ndarray = genes + doublings
    return np.maximum(noised, np.nanmin(genes)) if unit == "log" else noised


def _lost(
    genes: Float32[np.ndarray, "patients genes"], regime: Regime, chance: np.random.Generator
) -> Float32[np.ndarray, "patients genes"]:
    n_patients, n_genes = genes.shape
    share = np.power(10, chance.uniform(*POWERS[regime], size=n_patients))
    if regime is Regime.BARE:
        share[chance.random(n_patients) < WITHOUT_GENES] = 0
    n_kept = np.round(share * n_genes)
    rank = np.argsort(np.argsort(chance.random(genes.shape), axis=1), axis=1)
    return np.where(rank < n_kept[:, None], genes, np.float32(np.nan))
