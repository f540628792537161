"""The unit of expression values: stated, or recognised from the values with the evidence."""

from __future__ import annotations

import warnings
from typing import Literal

import numpy as np

Unit = Literal["linear", "log", "zscore"]
"""What preparing the values depends on: amounts, logarithms of amounts, or z-scores."""
Measure = Literal["counts", "tpm", "fpkm", "rsem", "linear", "log", "zscore"]
"""The unit as the field names it; the first five are amounts."""

LARGEST_LOGARITHM = 30.0
"""log2 of a billion reads: no logarithm of expression is larger."""
GENOME_WIDE = 5000
"""Genes from which a sample's sum or upper quartile says how it was normalised."""
TPM_SUM, RSEM_QUARTILE = 1e6, 1000.0
"""TPM sum to a million; TCGA's normalised RSEM has its upper quartile at 1,000."""
CPM = 1e6
LOOKED_AT = 50
"""Samples whose sums and quartiles tell the unit of a table."""


def unit_of(measure: Measure) -> Unit:
    """Return whether a measure is of amounts, logarithms or z-scores."""
    return measure if measure in ("log", "zscore") else "linear"


def recognise_measure(values: np.ndarray) -> tuple[Measure, str]:
    """Return the unit of a table of expression values and the evidence in words.

    Args:
        values: (n_samples, n_genes), NaN where missing.

    Returns:
        `zscore` if there are negatives, gene means lie near 0 and standard deviations near 1;
        `log` if there are other negatives, or no value above 30 and not only integers;
        `counts` if all are integers; `tpm` if genome-wide samples sum to a million; `rsem` if
        their upper quartile is 1,000; else `linear`: amounts of which no more can be said.
    """
    if np.isnan(values).all():
        return "linear", "no value at all"
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    span = f"values from {low:.4g} to {high:.4g}"
    if low < 0:
        return _measure_with_negatives(values, span, low, high)
    if all(_whole(rows) for rows in values):
        return "counts", f"{span}, all of them whole numbers"
    if high <= LARGEST_LOGARITHM:
        return "log", f"{span}, none above {LARGEST_LOGARITHM:.0f}, not whole numbers"
    return _amounts(values, span)


def _whole(row: np.ndarray) -> bool:
    """Whether a sample's values are whole numbers, missing ones aside."""
    return bool(((row == np.round(row)) | np.isnan(row)).all())


def _measure_with_negatives(
    values: np.ndarray, span: str, low: float, high: float
) -> tuple[Measure, str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # genes without any value
        means, spreads = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
        mean, spread = float(np.nanmedian(np.abs(means))), float(np.nanmedian(spreads))
    evidence = f"{span}; median |gene mean| {mean:.2g}, median gene SD {spread:.2g}"
    if mean < 0.5 and 0.5 < spread < 2.0:
        return "zscore", evidence
    if high <= LARGEST_LOGARITHM:
        floor = "; the floor is that of log2(x + 0.001)" if abs(low - np.log2(1e-3)) < 0.01 else ""
        return "log", evidence + floor
    return "linear", evidence


def _amounts(values: np.ndarray, span: str) -> tuple[Measure, str]:
    """Tell TPM and TCGA's RSEM from other amounts by what each sample sums to."""
    if values.shape[1] >= GENOME_WIDE:
        values = values[:LOOKED_AT]
        total = float(np.median(np.nansum(values, axis=1, dtype=np.float64)))
        if abs(total / TPM_SUM - 1) < 0.05:
            return "tpm", f"{span}; samples sum to {total:.3g}"
        quartile = float(np.median([_upper_quartile(row) for row in values]))
        if abs(quartile / RSEM_QUARTILE - 1) < 0.02:
            return "rsem", f"{span}; upper quartile of what is above 0: {quartile:.4g}"
    return "linear", f"{span}, none negative; RSEM, FPKM and the like are treated alike"


def _upper_quartile(row: np.ndarray) -> float:
    positive = row[row > 0]
    return float(np.quantile(positive, 0.75)) if positive.size else 0.0


def normalise_counts(values: np.ndarray, notes: list[str]) -> np.ndarray:
    """Return counts per million reads of each sample: counts / library size * 1e6.

    The library size is the sum over all genes of the table. It is each sample's own: nothing is
    learned from other samples.

    Args:
        values: counts (n_samples, n_genes), NaN where missing.
        notes: receives the range of library sizes.
    """
    library = np.nansum(values, axis=1, dtype=np.float64)
    notes.append(
        f"counts divided by library size, to counts per million ({library.min():.3g} to "
        f"{library.max():.3g} reads a sample)"
    )
    scale = np.divide(CPM, library, out=np.zeros_like(library), where=library > 0)
    normalised: np.ndarray = (values * scale[:, None]).astype(np.float32)
    return normalised
