"""Settings of expression."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from crosstype.types import Between


@dataclass(frozen=True)
class ExpressionSpec:
    """Reading and preprocessing of expression; fitted on training patients only."""

    unit: Literal["auto", "counts", "tpm", "fpkm", "rsem", "linear", "log", "zscore"] = "auto"
    """Unit of the table's values; auto: recognised from the values, and reported. linear: amounts
    of any other kind."""

    counts: Literal["auto", "per_million", "raw"] = "auto"
    """Whether counts are divided by library size, to counts per million, or kept raw. auto: divided
    if there are at least 5,000 genes, since the sum over a panel is not the library size."""

    duplicate_genes: Literal["mean", "sum", "highest", "first", "error"] = "mean"
    """Rule for several rows of the same gene: their mean, their sum, the row of highest mean, the
    first row, or an error."""

    gene_names: Path | None = None
    """Table of two columns, identifier and symbol, to rename genes (Ensembl, Entrez)."""

    keep_genes: tuple[str, ...] = ()
    """Names that stay as genes although they look like annotation or clinical columns, or separate
    the classes."""

    sample_sheet: Path | None = None
    """Sample sheet of a folder of GDC files; unset: the one in the folder or its parent."""

    gdc_column: Literal[
        "tpm_unstranded",
        "unstranded",
        "stranded_first",
        "stranded_second",
        "fpkm_unstranded",
        "fpkm_uq_unstranded",
    ] = "tpm_unstranded"
    """Column of the GDC's STAR count files."""

    gdc_gene_types: tuple[str, ...] = ("protein_coding",)
    """Gene types of the GDC's files; empty: all."""

    layer: str | None = None
    """Layer of an AnnData or MuData file; unset: X."""

    modality: str | None = None
    """Modality of a MuData file; unset: rna, or the only one."""

    imputation: Literal["median", "mean"] = "median"
    """Missing values are imputed with the gene's median or mean over the training patients."""

    outliers: Literal["protocol", "keep", "remove"] = "protocol"
    """Values outside the interquartile fences: kept, or set to missing. protocol: kept under
    strict and site, removed under paper."""

    outlier_factor: Annotated[float, Between(0)] = 1.5
    """Distance of the fences from the quartiles, in interquartile ranges."""

    n_genes: Annotated[int, Between(0)] = 0
    """Number of genes, those of highest variance in the training patients; 0: all."""

    drop_zero_genes: bool = False
    """Whether genes with a zero in any training patient are dropped, as in the paper."""

    exclude_pam50: bool = False
    """Whether the 50 PAM50 genes, former symbols included, are excluded from all models, baselines
    included, so that labels computed from these genes cannot be reproduced from them."""

    representation: Literal["genes", "scaled", "ranks", "spectrum"] = "genes"
    """Expression input of models. genes: each gene; scaled: each gene, with one size factor per
    patient to the level of the training patients; ranks: normal scores of the ranks of genes within
    each patient, for other assays (`docs/assays.md`); spectrum: enrichment of each gene set within
    each sample (ssGSEA), after `exclude_pam50`; needs `gene_sets`."""

    gene_sets: Path | None = None
    """GMT file (gz or not) of the gene sets of the spectrum."""

    least_genes: Annotated[int, Between(1, 100_000)] = 5
    """Gene sets with fewer genes than this in the table are dropped from the spectrum."""
