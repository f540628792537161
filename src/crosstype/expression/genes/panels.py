"""Genes of PAM50 and of the 21-gene recurrence panel, by current and former symbols."""

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
"""Former symbol, in capitals, to current symbol. The first three are in the published files."""

_KNOWN = frozenset(PAM50_GENES) | frozenset(FORMER_SYMBOLS)


def pam50_among(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of PAM50 genes, by current or former symbol, as written.

    Case and the part after a bar are ignored: `NUF2|83540` of a TCGA table is `NUF2`.
    """
    return tuple(name for name in names if name.partition("|")[0].strip().upper() in _KNOWN)


PAM50_ENTREZ: dict[str, str] = {
    "57180": "ACTR3B", "54443": "ANLN", "573": "BAG1", "596": "BCL2", "332": "BIRC5",
    "644": "BLVRA", "891": "CCNB1", "898": "CCNE1", "991": "CDC20", "990": "CDC6",
    "83540": "NUF2", "1001": "CDH3", "1063": "CENPF", "55165": "CEP55", "51523": "CXXC5",
    "1956": "EGFR", "2064": "ERBB2", "2099": "ESR1", "9156": "EXO1", "2264": "FGFR4",
    "3169": "FOXA1", "2296": "FOXC1", "26996": "GPR160", "2886": "GRB7", "11004": "KIF2C",
    "10403": "NDC80", "3861": "KRT14", "3872": "KRT17", "3852": "KRT5", "4137": "MAPT",
    "4193": "MDM2", "9833": "MELK", "8190": "MIA", "4288": "MKI67", "79083": "MLPH",
    "4320": "MMP11", "4605": "MYBL2", "4609": "MYC", "9": "NAT1", "23594": "ORC6",
    "5241": "PGR", "26227": "PHGDH", "9232": "PTTG1", "6241": "RRM2", "6422": "SFRP1",
    "25800": "SLC39A6", "120224": "TMEM45B", "7298": "TYMS", "11065": "UBE2C", "29089": "UBE2T",
}  # fmt: skip
"""Entrez Gene id to symbol, as in the annotation published with the classifier."""

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
_PANEL_SYMBOLS = frozenset(PANEL_GENES) | _FORMER


def panel_among(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of genes of the 21-gene panel, as written.

    Case and the part after a bar are ignored: `ESR1|2099` of a TCGA table is `ESR1`.
    """
    return tuple(name for name in names if name.partition("|")[0].strip().upper() in _PANEL_SYMBOLS)
