"""Units of expression: recognition from the values, and conversion to amounts and back."""

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np

Unit = Literal["linear", "log", "zscore"]
"""Scale of the values: amounts, logarithms of amounts, or z-scores."""
Measure = Literal["counts", "tpm", "fpkm", "rsem", "linear", "log", "zscore"]
"""Unit of the values; the first five are amounts."""

LARGEST_LOGARITHM = 30.0
"""log2 of a billion reads: upper bound of logarithms of expression."""
GENOME_WIDE = 5000
"""Number of genes from which a sample's sum or upper quartile shows its normalisation."""
TPM_SUM, RSEM_QUARTILE = 1e6, 1000.0
"""TPM sum to a million; TCGA's normalised RSEM has its upper quartile at 1,000."""
CPM = 1e6
MOST_NEGATIVE = 0.05
"""Share of amounts below 0 that batch correction leaves; the pan-cancer RSEM has 0.6%."""
FEW_ABOVE, SHARE_ABOVE, MOST_ABOVE = 2, 0.005, 10
"""Values of a sample above `LARGEST_LOGARITHM` that a table of logarithms may have: a number, then
a share of its genes up to a number. A foreign column, or one extreme gene."""
SHARE_OF_PANEL = 0.05
"""That share for panels, among whose few genes two may well be amounts above it."""
MOST_SKEW, MOST_SKEW_OF_PANEL = 2.5, 1.5
"""Mean by median of the positive values of a sample, up to which they may be logarithms; of panels,
which have fewer genes that are hardly expressed."""
EXPECTED_COUNTS = 0.2
"""Share of whole numbers among amounts above 0 from which they are counts that RSEM or another
quantifier split between genes."""
UNEQUAL = 2.0
"""Ratio of the 95% to the 5% quantile of the samples' upper quartiles, from which library size is
taken to be left in."""
N_INSPECTED = 50
"""Number of samples whose sums and quartiles are inspected."""


def unit_of(measure: Measure) -> Unit:
    """Return the scale of a measure: amounts, logarithms or z-scores."""
    return measure if measure in ("log", "zscore") else "linear"


def recognise_measure(values: np.ndarray) -> tuple[Measure, str]:
    """Recognise the unit of a table of expression; return it with the evidence as text.

    Args:
        values: (n_samples, n_genes), NaN where missing.

    Returns:
        `zscore` if there are negatives, gene means are near 0 and standard deviations near 1;
        `log` if there are other negatives, or hardly a value above 30 in most samples, and not only
        integers; `counts` if all are integers, or most are and samples are genome-wide (expected
        counts of RSEM); `tpm` if genome-wide samples sum to a million; `rsem` if
        their upper quartile is 1,000; else `linear`: amounts of unknown kind.
    """
    if np.isnan(values).all():
        return "linear", "no value at all"
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    span = f"values from {low:.4g} to {high:.4g}"
    if low < 0:
        return _measure_with_negatives(values, span, low)
    if all(_whole(rows) for rows in values):
        return "counts", f"{span}, all of them whole numbers"
    if may_be_logarithms(values):
        return "log", f"{span}, {_few_above(values)}, not whole numbers"
    return _amounts(values, span)


def may_be_logarithms(values: np.ndarray) -> bool:
    """Return whether values may be logarithms of expression, by most samples.

    So they may if the median sample has none above `LARGEST_LOGARITHM`, or hardly any and is not
    skewed as amounts are.
    """
    if not (values > LARGEST_LOGARITHM).any():
        return True
    above = float(np.median((values > LARGEST_LOGARITHM).sum(axis=1)))
    n_genes = values.shape[1]
    if above > max(
        min(FEW_ABOVE, SHARE_OF_PANEL * n_genes), min(SHARE_ABOVE * n_genes, MOST_ABOVE)
    ):
        return False
    kept = np.where((values > 0) & (values <= LARGEST_LOGARITHM), values, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # samples without any value
        skew = np.nanmedian(np.nanmean(kept, axis=1) / np.nanmedian(kept, axis=1))
    return bool(skew <= (MOST_SKEW if n_genes >= GENOME_WIDE else MOST_SKEW_OF_PANEL))


def _few_above(values: np.ndarray) -> str:
    """Return how many values are above `LARGEST_LOGARITHM`, in words."""
    n_above = int((values > LARGEST_LOGARITHM).sum())
    n_genes = int((values > LARGEST_LOGARITHM).any(axis=0).sum())
    if not n_above:
        return f"none above {LARGEST_LOGARITHM:.0f}"
    return f"only {n_above} above {LARGEST_LOGARITHM:.0f}, of {n_genes} genes"


def are_log_counts(values: np.ndarray) -> bool:
    """Return whether values are log2(count + 1) of the whole counts of a genome."""
    if values.shape[1] < GENOME_WIDE or np.nanmin(values) < 0:
        return False
    low = values[:N_INSPECTED]
    low = np.exp2(low[(low > 0) & (low < 7)].astype(np.float64)) - 1  # where rounding hides nothing
    return bool(low.size) and float(np.mean(np.abs(low - np.round(low)) < 0.02)) > 0.99


def library_size_note(values: np.ndarray, measure: Measure) -> list[str]:
    """Return a warning if amounts of a genome do not look divided by library size; else nothing."""
    if values.shape[1] < GENOME_WIDE or measure != "linear" or len(values) < 2:
        return []
    quartiles = np.array([_upper_quartile(row) for row in values])
    low, high = np.quantile(quartiles[quartiles > 0], [0.05, 0.95]) if quartiles.any() else (1, 1)
    if high < UNEQUAL * low:
        return []
    return [
        f"warning: upper quartiles of samples differ {high / low:.1f}-fold: the amounts do not "
        "look divided by library size. If they are counts, set [expression] unit to counts"
    ]


def _whole(row: np.ndarray) -> bool:
    """Return whether a sample's values are whole numbers or missing."""
    return bool(((row == np.round(row)) | np.isnan(row)).all())


def _measure_with_negatives(values: np.ndarray, span: str, low: float) -> tuple[Measure, str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # genes without any value
        means, spreads = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
        mean, spread = float(np.nanmedian(np.abs(means))), float(np.nanmedian(spreads))
    evidence = f"{span}; median |gene mean| {mean:.2g}, median gene SD {spread:.2g}"
    if mean < 0.5 and 0.5 < spread < 2.0:
        return "zscore", evidence
    if may_be_logarithms(values):
        floor = "; the floor is that of log2(x + 0.001)" if abs(low - np.log2(1e-3)) < 0.01 else ""
        return "log", evidence + floor
    return "linear", evidence


def _amounts(values: np.ndarray, span: str) -> tuple[Measure, str]:
    """Recognise TPM and TCGA's RSEM among amounts by sums and quartiles of samples."""
    if values.shape[1] >= GENOME_WIDE:
        values = values[:N_INSPECTED]
        positive = values[values > 0]
        whole = float(np.mean(positive == np.round(positive))) if positive.size else 0.0
        if whole > EXPECTED_COUNTS:
            return "counts", f"{span}, {whole:.0%} of those above 0 whole: expected counts (RSEM)"
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

    The library size is the sum over all genes of the table, for each sample separately.

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


TOIL_OFFSET = 1e-3
"""UCSC Xena's Toil tables are log2(x + 0.001), and their lowest value is that of x = 0."""


@dataclass(frozen=True)
class LinearScale:
    """Conversion between values of a table and amounts.

    Attributes:
        is_log: whether values are log2(amount + offset); else they are the amounts.
        offset: of the logarithm.
        lowest: lowest amount: 0, unless the table has a lower one, or log2 without offset.
    """

    is_log: bool
    offset: float
    lowest: float

    def amounts(self, values: np.ndarray) -> np.ndarray:
        """Return float64 amounts; NaN stays NaN."""
        exact = np.asarray(values, dtype=np.float64)
        found: np.ndarray = np.exp2(exact) - self.offset if self.is_log else exact
        return found

    def values(self, amounts: np.ndarray) -> np.ndarray:
        """Return float32 values in the table's unit; amounts are clipped at the lowest."""
        clipped = np.maximum(amounts, self.lowest)
        found = np.log2(clipped + self.offset) if self.is_log else clipped
        return np.asarray(found, dtype=np.float32)


def linear_scale_of(values: np.ndarray, unit: Unit) -> LinearScale | None:
    """Return the linear scale of a table's values; None for z-scores, which have none.

    Logarithms are assumed to have base 2: log2(x + 1) if none is negative, log2(x + 0.001) if the
    lowest is that of x = 0, else log2(x), whose lowest amount is the lowest of the table.

    Args:
        values: (n_samples, n_genes) of training patients, NaN where missing.
        unit: unit of the values.
    """
    if unit == "zscore":
        return None
    low = 0.0 if np.isnan(values).all() else float(np.nanmin(values))
    if unit == "linear":
        return LinearScale(is_log=False, offset=0.0, lowest=min(0.0, low))
    if low >= 0:
        return LinearScale(is_log=True, offset=1.0, lowest=0.0)
    if abs(low - np.log2(TOIL_OFFSET)) < 0.01:
        return LinearScale(is_log=True, offset=TOIL_OFFSET, lowest=0.0)
    return LinearScale(is_log=True, offset=0.0, lowest=float(np.exp2(low)))


def median_ratios(amounts: np.ndarray, medians: np.ndarray) -> np.ndarray:
    """Return the size factor of each sample relative to reference medians.

    The median, over genes, of the ratio of the reference median to the sample's amount (after the
    median of ratios, Anders & Huber 2010). Genes that are 0 or missing in either are left out; 1
    for a sample without any other.

    Args:
        amounts: (n_samples, n_genes), NaN where missing.
        medians: (n_genes,), of the reference samples.
    """
    factors = np.ones(len(amounts))
    for row, own in enumerate(amounts):
        usable = (own > 0) & (medians > 0)
        if usable.any():
            factors[row] = np.median(medians[usable] / own[usable])
    return factors
