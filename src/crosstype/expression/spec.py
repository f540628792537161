"""What a user may set about the cohort, its expression and its folds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from crosstype.types import Between


@dataclass(frozen=True)
class ExpressionSpec:
    """How expression values are prepared; fitted on training patients only."""

    unit: Literal["auto", "counts", "tpm", "fpkm", "rsem", "linear", "log", "zscore"] = "auto"
    """Unit of the table's values; auto: recognised from the values, and said. linear: amounts of
    any other kind."""

    counts: Literal["auto", "per_million", "raw"] = "auto"
    """Counts are divided by their sample's sum, to counts per million, or left as they are. auto:
    divided if there are at least 5,000 genes; a panel's sum is no library size."""

    duplicate_genes: Literal["mean", "sum", "highest", "first", "error"] = "mean"
    """What becomes of rows that name the same gene: their mean, their sum, the row of highest
    mean, the first row, or an error."""

    gene_names: Path | None = None
    """Table of two columns, identifier and symbol, by which genes are renamed (Ensembl, Entrez)."""

    sample_sheet: Path | None = None
    """Sample sheet of a folder of GDC files; unset: the one in the folder or beside it."""

    gdc_column: Literal[
        "tpm_unstranded",
        "unstranded",
        "stranded_first",
        "stranded_second",
        "fpkm_unstranded",
        "fpkm_uq_unstranded",
    ] = "tpm_unstranded"
    """Column of the GDC's STAR count files that is read."""

    gdc_gene_types: tuple[str, ...] = ("protein_coding",)
    """Types of gene that are read from the GDC's files; empty: all."""

    layer: str | None = None
    """Layer of an AnnData or MuData file; unset: X."""

    modality: str | None = None
    """Modality of a MuData file; unset: rna, or the only one."""

    imputation: Literal["median", "mean"] = "median"
    """Missing values become the gene's median or mean over the training patients."""

    outliers: Literal["protocol", "keep", "remove"] = "protocol"
    """Values outside the interquartile fences: kept, or set to missing. protocol: kept under
    strict and site, removed under paper."""

    outlier_factor: Annotated[float, Between(0)] = 1.5
    """Fences stand this many interquartile ranges outside the quartiles."""

    n_genes: Annotated[int, Between(0)] = 0
    """Only this many genes, those of highest variance in the training patients; 0: all."""

    drop_zero_genes: bool = False
    """Genes that hold a zero in any training patient are dropped, as the paper did."""

    exclude_pam50: bool = False
    """The 50 PAM50 genes, former symbols included, are withheld from every model, baselines
    included. Labels that were called from these genes cannot then be read off them."""

    representation: Literal["genes", "scaled", "ranks", "spectrum"] = "genes"
    """What models see of expression. genes: each gene; scaled: each gene, every patient's amounts
    multiplied by one number to the level of the training patients; ranks: normal scores of each
    gene's rank in the patient by itself, for patients of another assay (`docs/assays.md`);
    spectrum: each gene set's enrichment in the sample by itself (ssGSEA), after `exclude_pam50`;
    needs `gene_sets`."""

    gene_sets: Path | None = None
    """GMT file (gz or not) of the gene sets that make the spectrum."""

    least_genes: Annotated[int, Between(1, 100_000)] = 5
    """Gene sets of which the table has fewer genes than this are left out of the spectrum."""
