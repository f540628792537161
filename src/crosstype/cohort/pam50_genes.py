"""The 50 genes of the PAM50 classifier, by today's symbols and by those they had before."""

from __future__ import annotations

from collections.abc import Iterable

PAM50_GENES: tuple[str, ...] = (
    "ACTR3B", "ANLN", "BAG1", "BCL2", "BIRC5", "BLVRA", "CCNB1", "CCNE1", "CDC20", "CDC6",
    "CDH3", "CENPF", "CEP55", "CXXC5", "EGFR", "ERBB2", "ESR1", "EXO1", "FGFR4", "FOXA1",
    "FOXC1", "GPR160", "GRB7", "KIF2C", "KRT14", "KRT17", "KRT5", "MAPT", "MDM2", "MELK",
    "MIA", "MKI67", "MLPH", "MMP11", "MYBL2", "MYC", "NAT1", "NDC80", "NUF2", "ORC6",
    "PGR", "PHGDH", "PTTG1", "RRM2", "SFRP1", "SLC39A6", "TMEM45B", "TYMS", "UBE2C", "UBE2T",
)  # fmt: skip
"""HGNC symbols of the genes of Parker et al. 2009 (J Clin Oncol 27:1160), sorted."""

FORMER_SYMBOLS: dict[str, str] = {
    "CDCA1": "NUF2",
    "KNTC2": "NDC80",
    "ORC6L": "ORC6",
    "API4": "BIRC5",
    "BLVR": "BLVRA",
    "C10ORF3": "CEP55",
    "CDC18L": "CDC6",
    "FKHL7": "FOXC1",
    "HNF3A": "FOXA1",
    "KNSL6": "KIF2C",
    "STMY3": "MMP11",
}
"""Former symbol, in capitals, to today's. The first three stand in the published PAM50 files."""

_KNOWN = frozenset(PAM50_GENES) | frozenset(FORMER_SYMBOLS)


def pam50_among(names: Iterable[str]) -> tuple[str, ...]:
    """Return those of the names that are PAM50 genes, today's and former symbols, as written.

    Case does not matter, nor what stands behind a bar: `NUF2|83540` of a TCGA table is `NUF2`.
    """
    return tuple(name for name in names if name.partition("|")[0].strip().upper() in _KNOWN)
