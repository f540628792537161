"""Settings of the cohort."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from crosstype.types import Between


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
    """Columns of that table that models use besides slides and expression, such as age, grade
    or stage; empty: none. Receptors by IHC nearly define the classes (`docs/models.md`)."""

    subgroups: tuple[str, ...] = ()
    """Columns of the clinical (or label) table by whose groups every metric is also given, such as
    histology, ER status, age or ancestry; the site always is one. OUT/subgroups.csv."""

    sites: tuple[str, ...] = ()
    """Only patients of these tissue source sites; empty: all."""

    exclude_sites: tuple[str, ...] = ()
    """No patients of these tissue source sites."""

    single_modality: Literal["leave_out", "train"] = "leave_out"
    """Patients with a label and slides or expression, but not both. leave_out: listed and left out;
    train: they are training patients of every fold and never tested, so that all models are tested
    on the same patients. Under protocol site not where their site is tested."""

    site_column: str | None = None
    """Column of the label table with the site; unset: SITE if there, else the TCGA barcode's."""

    classes: tuple[ClassSpec, ...] = ()
    """The classes; with two, the second is the positive one."""

    shuffle_labels: Annotated[int, Between(0, 2**32 - 1)] = 0
    """A check for leaks: labels are permuted among the cohort's patients, with this seed,
    so that results without leaks are at chance; 0: not permuted."""

    synthetic: bool = False
    """Whether the patients are simulated; every page is then marked."""
