"""Expression as a file gave it, whatever its format: samples x genes, nothing decided yet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from crosstype.cohort.unit import Measure


@dataclass(frozen=True)
class RawExpression:
    """What a reader of one format returns.

    Attributes:
        values: float32 (n_samples, n_genes); NaN where missing.
        sample_ids: one id per row, verbatim.
        genes: one name per column as written, possibly repeated or empty.
        notes: what was found, in words.
        unit: what the format says of the unit; None where it says nothing.
    """

    values: np.ndarray
    sample_ids: tuple[str, ...]
    genes: tuple[str, ...]
    notes: tuple[str, ...]
    unit: Measure | None = None
