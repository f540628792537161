"""The genes of the 21-gene recurrence panel, by today's symbols and by those they had before."""

from __future__ import annotations

from collections.abc import Iterable

CANCER_GENES: tuple[str, ...] = (
    "AURKA", "BAG1", "BCL2", "BIRC5", "CCNB1", "CD68", "CTSV", "ERBB2", "ESR1", "GRB7", "GSTM1",
    "MKI67", "MMP11", "MYBL2", "PGR", "SCUBE2",
)  # fmt: skip
"""The 16 cancer genes of Paik et al. 2004 (N Engl J Med 351:2817), sorted."""
REFERENCE_GENES: tuple[str, ...] = ("ACTB", "GAPDH", "GUSB", "RPLP0", "TFRC")
"""The five reference genes of the same panel."""
PANEL_GENES = (*CANCER_GENES, *REFERENCE_GENES)
"""All 21."""

_FORMER = frozenset(
    ("STK15", "STK6", "API4", "SURVIVIN", "CTSL2", "HER2", "MKI-67", "KI67", "STMY3", "PR", "RPLPO")
)
_KNOWN = frozenset(PANEL_GENES) | _FORMER


def panel_among(names: Iterable[str]) -> tuple[str, ...]:
    """Return those of the names that are genes of the panel, as written.

    Case does not matter, nor what stands behind a bar: `ESR1|2099` of a TCGA table is `ESR1`.
    """
    return tuple(name for name in names if name.partition("|")[0].strip().upper() in _KNOWN)
