"""How far the inputs of an external cohort lie from those of training, in a sentence."""

from __future__ import annotations

import numpy as np
import polars as pl

NOTABLE = 0.5
"""Standardised difference from which an input counts as shifted."""


def shift_sentence(table: pl.DataFrame) -> str:
    """Return how many inputs of each kind have shifted, and the worst of each.

    Args:
        table: shift.csv: input, kind, standardised_difference, worst first.
    """
    parts = []
    for (kind,), rows in table.group_by("kind", maintain_order=True):
        known = rows.drop_nulls("standardised_difference")
        if known.is_empty():
            parts.append(f"none of {rows.height} {kind}s is there")
            continue
        far = known.filter(pl.col("standardised_difference").abs() >= NOTABLE)
        worst = known.row(0, named=True)
        middle = float(np.median(known["standardised_difference"].abs().to_numpy()))
        parts.append(
            f"{far.height} of {rows.height} {kind}s lie {NOTABLE:g} training SD or more off, worst "
            f"{worst['input']} ({worst['standardised_difference']:+.2f}); median "
            f"{middle:.2f}"
        )
    return f"shift: {'; '.join(parts) or 'no input'}"
