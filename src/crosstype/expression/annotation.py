"""Names in an expression table that are neither a gene nor a sample.

Aligners add rows of summaries, quantifiers and biomaRt add columns of annotation, pandas adds row
numbers, and tables of patients hold clinical columns. Each may be numeric, and must not be taken
for a gene or a sample.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from crosstype.expression.genes.names import ENSEMBL
from crosstype.expression.genes.panels import pam50_among
from crosstype.expression.matrix import RawExpression
from crosstype.tcga import comparable, patient_of

SUMMARY = re.compile(r"^(__\w+|N_(unmapped|multimapping|noFeature|ambiguous))$", re.IGNORECASE)
"""Rows of htseq-count (`__no_feature`) and STAR (`N_unmapped`)."""
ROW_NUMBER = re.compile(
    r"^(unnamed: \d+|unnamed_\d+|level_\d+|index|row_?(names?|number|id))$", re.I
)
GENE_ANNOTATION = frozenset((
    "gene", "genes", "name", "hybridization_ref", "gene_names", "gene_symbols",
    "geneid", "gene_id", "gene_name", "gene_symbol", "gene_type", "gene_biotype", "biotype",
    "symbol", "hugo_symbol", "hgnc_symbol", "hgnc_id", "external_gene_name",
    "external_gene_id", "entrez", "entrezgene", "entrez_gene_id", "entrezgene_id",
    "ensembl_gene_id", "ensembl_gene_id_version", "ensembl_id", "ensembl", "transcript_id",
    "transcript_ids", "transcript_biotype", "description", "gene_description", "chr", "chrom",
    "chromosome", "chromosome_name", "seqname", "seqnames", "start", "end", "stop",
    "start_position", "end_position", "gene_start", "gene_end", "tx_start", "tx_end", "strand",
    "length", "gene_length", "transcript_length", "effective_length", "eff_length", "width",
    "exon_length", "n_exons", "exon_count", "band", "cytoband", "locus", "location",
    "map_location", "percentage_gc", "percentage_gene_gc_content", "gc_content", "probe",
    "probe_id", "probeset", "id_ref", "refseq", "uniprot", "class_code",
))  # fmt: skip
CLINICAL = frozenset((
    "label", "labels", "class", "classes", "target", "subtype", "pam50", "pam50_subtype",
    "group", "cluster", "cohort", "batch", "plate", "split", "fold", "set_name", "age",
    "age_at_diagnosis", "age_at_initial_pathologic_diagnosis", "gender", "sex", "race",
    "ethnicity", "menopause", "stage", "ajcc_stage", "pathologic_stage", "tumor_stage",
    "grade", "tumor_grade", "size", "tumor_size", "nodes", "bmi", "height", "weight", "tnm",
    "tmb", "hrd", "ploidy", "cellularity", "ki67", "tils", "er_status", "pr_status",
    "her2_status", "er", "hr_status", "vital_status", "status", "event", "time", "survival",
    "death", "days_to_death", "days_to_last_followup", "days_to_last_follow_up", "follow_up",
    "followup", "os", "dss", "dfi", "pfi", "dfs", "pfs", "rfs", "rfi", "mfs", "recurrence",
    "relapse", "treatment", "response", "purity", "library_size", "lib_size", "total_counts",
    "n_genes", "n_counts", "n_genes_by_counts", "pct_counts_mt", "percent_mito", "site",
    "hospital", "center", "tss", "patient", "patient_id", "sample", "sample_id", "case",
    "case_id", "barcode", "submitter_id", "sample_type",
))  # fmt: skip
ENDPOINT = re.compile(r"^(os|dss|dfi|pfi|dfs|pfs|rfs|rfi|mfs|survival|death)_"
                      r"(time|months?|days?|years?|status|event|censored?)$")  # fmt: skip
GENE = re.compile(
    r"^("
    r"[A-Z][A-Z0-9]*(orf\d+[A-Z0-9]*)?([-.@/_][A-Z0-9]+(orf\d+\w*)?)*@?"  # symbols
    r"|[A-Za-z]\w*-\w+\.\d+"  # clones such as LA16c-380H5.3
    r"|ENS[A-Z]*[GT]\d{11}(\.\d+)?(_PAR_Y)?|ENSGR\d{10}(\.\d+)?"
    r"|[^|?]+\|\d+|\?\|\d+"  # ESR1|2099
    r"|\d{1,9}"  # Entrez
    r"|[\w./-]+_(at|st)"  # probe sets
    r"|hsa-(mi[rR]|let)-[\w-]+|(XLOC|LOC|TCONS|NM|NR|XM|XR|Metazoa)_?\w*(\.\d+)?"
    r"|.*[A-Z0-9]_(HUMAN|ENSEMBL)|[a-zA-Z0-9]*sno\w+|\w*RNA\w*|7SK|hCG_?\d+|mt-\w+|\w+_sets?_\w+"
    r")$"
)
"""Gene symbols of HGNC, Ensembl, Entrez and RefSeq ids, clones and probe sets."""
SHOWN = 5
LEAST_PAM50 = 5
"""PAM50 genes along one axis of a table that show where its genes are."""


def folded(name: str) -> str:
    """Return a name in lower case, with `_` for every run of other signs."""
    return re.sub(r"[^a-z0-9]+", "_", name.strip().casefold()).strip("_")


def is_annotation(name: str) -> bool:
    """Return whether a name is that of annotation, a row number or a clinical column."""
    own = folded(name)
    known = own in GENE_ANNOTATION or own in CLINICAL
    return known or bool(ENDPOINT.match(own) or ROW_NUMBER.match(name.strip()))


def is_summary(name: str) -> bool:
    """Return whether a name is that of an aligner's summary."""
    return bool(SUMMARY.match(name.strip()))


def are_row_numbers(cells: Sequence[str]) -> bool:
    """Return whether cells are 0, 1, 2, ... or 1, 2, 3, ..., as pandas and R number rows."""
    return any(list(map(str, range(i, i + len(cells)))) == list(cells) for i in (0, 1))


def without_annotation(
    raw: RawExpression, known: Collection[str], keep: Collection[str]
) -> RawExpression:
    """Leave out genes and samples that are none, with a note that names them.

    Args:
        raw: as read.
        known: patients of the other tables; a sample of theirs stays, whatever its name.
        keep: names of genes that stay.
    """
    keys = {comparable(one) for one in known}
    genes = [g for g in dict.fromkeys(raw.genes) if g not in keep]
    no_genes = {g for g in genes if is_summary(g) or is_annotation(g)}
    no_samples = {
        s
        for s in raw.sample_ids
        if is_annotation(s) and comparable(patient_of(s)) not in keys
    }  # fmt: skip
    if not no_genes and not no_samples:
        return raw
    rows = [i for i, one in enumerate(raw.sample_ids) if one not in no_samples]
    columns = [i for i, one in enumerate(raw.genes) if one not in no_genes]
    notes = list(raw.notes)
    for what, names in (("genes", no_genes), ("samples", no_samples)):
        if names:
            in_order = [one for one in (*raw.genes, *raw.sample_ids) if one in names]
            notes.append(
                f"warning: left out, being no {what}: {listed(list(dict.fromkeys(in_order)), 12)}"
            )
    return replace(
        raw,
        values=raw.values[np.ix_(rows, columns)],
        sample_ids=tuple(raw.sample_ids[i] for i in rows),
        genes=tuple(raw.genes[i] for i in columns),
        notes=tuple(notes),
    )


def note_unrecognised(genes: Collection[str], notes: list[str]) -> None:
    """Note how many names look like no gene's, and which."""
    others = unrecognised(genes)
    if others:
        mouse = ", but like those of the mouse" if are_of_mouse(genes) else ""
        notes.append(
            f"warning: {len(others)} of {len(genes)} names look like no human gene symbol, Ensembl "
            f"or Entrez id{mouse}: {listed(others)}"
        )


def are_of_mouse(genes: Collection[str]) -> bool:
    """Return whether most names are written as symbols of mouse genes are, such as Esr1."""
    return 2 * sum(bool(re.match(r"^[A-Z][a-z0-9]*[a-z]", one)) for one in genes) > len(genes)


def unrecognised(genes: Collection[str]) -> list[str]:
    """Return the names that look like no gene's."""
    return [one for one in genes if not GENE.match(one)]


def is_gene_list(names: Sequence[str]) -> bool:
    """Return whether names are those of genes: PAM50 genes, Ensembl ids, or symbols of a panel."""
    n_pam50 = len(pam50_among(names))
    return n_pam50 >= LEAST_PAM50 or sum(bool(ENSEMBL.match(one)) for one in names) * 2 > len(names)


def listed(names: Sequence[str], most: int = SHOWN) -> str:
    """Return the first names, for a message."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
