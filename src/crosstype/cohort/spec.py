"""What a user may set about the cohort, its expression and its folds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class ClassSpec:
    """One class of the task: a name and the labels of the table that belong to it."""

    name: str
    """Name of the class, as it stands in every output."""

    labels: tuple[str, ...]
    """Values of the label column that belong to this class."""


@dataclass(frozen=True)
class CohortSpec:
    """Which tables make the cohort, and which patients of them."""

    labels: Path | None = None
    """Label table (csv, tsv or xlsx, gz or not), one row per patient or sample."""

    patient_column: str = "PATIENT"
    """Column of the label and slides tables that names the patient; other usual names, such as
    PATIENT_ID or case_id, are found."""

    label_column: str | None = None
    """Column of the label table that holds the label; unset: the one with the classes' labels."""

    label_source: Literal["auto", "rna", "ihc", "clinical", "unknown"] = "auto"
    """Where the labels come from. rna: computed from RNA, of which every page then warns; ihc: from
    immunohistochemistry; clinical: from records; auto: rna if they are PAM50 names, ihc if they
    name receptors, else unknown."""

    labels_from_pam50: Literal["none", "median", "robust", "er-balanced"] | None = None
    """Instead of a label table: labels are PAM50 calls of the expression table, centred so
    (`docs/pam50.md`). Classes then name LumA, LumB, Basal, Her2 and Normal, with or without
    `BRCA.` before it."""

    slides: Path | None = None
    """Slides table: the patient column and FILENAME (or slide_id), one row per slide."""

    expression: Path | None = None
    """Expression: a table, genes x samples or samples x genes (csv, tsv, xlsx, parquet, gz or not),
    an h5ad or h5mu file, or a folder of GDC STAR counts."""

    clinical: Path | None = None
    """Table with clinical covariates, by the patient column; unset: the label table."""

    covariates: tuple[str, ...] = ()
    """Columns of that table which models may see beside slides and expression, such as age, grade
    or stage; empty: none. Receptors by IHC nearly define the classes (`docs/models.md`)."""

    subgroups: tuple[str, ...] = ()
    """Columns of the clinical (or label) table by whose groups every metric is also given, such as
    histology, ER status, age or ancestry; the site always is one. OUT/subgroups.csv."""

    sites: tuple[str, ...] = ()
    """Only patients of these tissue source sites; empty: all."""

    exclude_sites: tuple[str, ...] = ()
    """No patients of these tissue source sites."""

    one_modality: Literal["leave_out", "train"] = "leave_out"
    """Patients with a label and slides or expression, but not both. leave_out: listed and left out;
    train: they teach every fold what they have and are never tested, so that all models are tested
    on the same patients. Under protocol site not where their site is tested."""

    site_column: str | None = None
    """Column of the label table with the site; unset: SITE if there, else the TCGA barcode's."""

    classes: tuple[ClassSpec, ...] = ()
    """The classes; with two, the second is the positive one."""

    shuffle_labels: int = 0
    """A check that nothing leaks: labels are dealt anew among the cohort's patients, by this seed,
    so that every honest figure is that of guessing; 0: labels stay where they are."""

    synthetic: bool = False
    """Whether the patients are made up; every page then says so."""


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

    outlier_factor: float = 1.5
    """Fences stand this many interquartile ranges outside the quartiles."""

    n_genes: int = 0
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

    least_genes: int = 5
    """Gene sets of which the table has fewer genes than this are left out of the spectrum."""


@dataclass(frozen=True)
class FoldsSpec:
    """How patients are dealt into training, validation and test."""

    protocol: Literal["strict", "site", "paper"] = "strict"
    """strict: nothing learned from test patients; site: strict, and no tissue source site in two
    folds; paper: the published settings, leaks included, and marked on every output."""

    repeats: int = 1
    """How often the cross-validation is repeated, with new folds and new initialisation."""

    n_folds: int = 5
    """Number of outer folds; each patient is a test patient once per repeat."""

    n_inner_folds: int = 4
    """Training patients are dealt into this many inner folds: each network of a model learns from
    all but one and is validated on that one; stacking and trust are fitted on them too."""

    n_train: int = 0
    """Only so many training patients in each fold, drawn class by class; fewer are always among
    more. Test patients stay the same, so that runs can be compared; 0: all."""

    seed: int = 0
    """All chance (folds, initialisation, batches, resampling) derives from this number."""

    file: Path | None = None
    """Outer folds from another tool instead of new ones: a STAMP `splits.json`, a CLAM, SurvPath
    or MCAT `splits_<k>.csv`, a Patho-Bench table, or a folder of one kind. n_folds and repeats
    then follow from it; train and val together are dealt into inner folds."""

    write: tuple[Literal["stamp", "clam", "patho_bench"], ...] = ()
    """The folds are also written for these tools, into OUT/splits/<tool>/repeat_<r>."""
