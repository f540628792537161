"""Missing-modality training: missingness patterns, and corruption of training patients.

A missingness pattern is a state of a patient's data at prediction: complete, few genes measured,
hardly any gene measured, without an image. Networks are trained on every pattern that their
modalities allow, with the same corruption for all models. Each pattern has its own residual weight.
"""

from collections.abc import Collection
from enum import StrEnum

import numpy as np
from jaxtyping import Float, Float32

from crosstype.expression.units import Unit
from crosstype.training.patients import Patients
from crosstype.types import Modality


class MissingnessPattern(StrEnum):
    """Which of a patient's data are missing."""

    WHOLE = "whole"
    THIN = "thin"
    BARE = "bare"
    NO_IMAGE = "no_image"


LEAST_MEASURED = {
    MissingnessPattern.WHOLE: 10**-0.5,
    MissingnessPattern.THIN: 0.01,
    MissingnessPattern.BARE: 0.0,
}
"""Lowest share of measured genes in each pattern of expression."""
POWERS = {MissingnessPattern.THIN: (-2.0, -0.5), MissingnessPattern.BARE: (-4.0, -2.0)}
"""Range of the log10 share of genes that corruption keeps, drawn uniformly."""
WITHOUT_GENES = 0.5
"""Share of the patients in pattern bare whose genes are all removed."""
NOISE = 0.5
"""Largest standard deviation of the noise on corrupted expression, in log2 units, drawn uniformly
for each patient."""


def patterns_of(uses: Collection[Modality]) -> tuple[MissingnessPattern, ...]:
    """Return the missingness patterns of a model of these modalities, complete data first."""
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
    """Return each patient's missingness pattern, one of `patterns`.

    Args:
        patients: the patients.
        measured: share of the model's genes that was measured, 0 to 1.
        patterns: those of the model.
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
    """Return the patients with a missingness pattern: genes removed and noised, or no image.

    Args:
        patients: training or validation patients; raw expression.
        pattern: to produce.
        unit: of the expression; noise is multiplicative on amounts, additive on their logarithms.
        rng: random generator.
    """
    if pattern is MissingnessPattern.WHOLE:
        return patients
    if pattern is MissingnessPattern.NO_IMAGE:
        return patients.without_images()
    return patients.with_genes(
        _with_genes_removed(_noised(patients.genes, unit, rng), pattern, rng)
    )


def _noised(
    genes: Float32[np.ndarray, "patients genes"], unit: Unit, rng: np.random.Generator
) -> Float32[np.ndarray, "patients genes"]:
    deviation = NOISE * rng.random((len(genes), 1))
    doublings = (deviation * rng.standard_normal(genes.shape)).astype(np.float32)
    if unit == "linear":
        return genes * np.exp2(doublings)
    noised: np.ndarray = genes + doublings
    return np.maximum(noised, np.nanmin(genes)) if unit == "log" else noised


def _with_genes_removed(
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
