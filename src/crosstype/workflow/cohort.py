"""The cohort stage: join labels, slides and expression, and assign the folds."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from crosstype.cohort.cohort import Cohort, build_cohort, write_cohort, write_left_out
from crosstype.cohort.covariates import (
    COVARIATES,
    covariate_notes,
    read_covariates,
    write_covariates,
)
from crosstype.cohort.labels import COMPUTED
from crosstype.cohort.single_modality import write_single_modality
from crosstype.cohort.spec import CohortSpec
from crosstype.cohort.subgroups import SUBGROUPS, read_subgroups, write_subgroups
from crosstype.cohort.unlabelled import UNLABELLED, UNLABELLED_EXPRESSION, write_unlabelled
from crosstype.config.run_spec import RunSpec
from crosstype.errors import CohortError
from crosstype.expression.cache import ExpressionCache, expression_files
from crosstype.expression.genes.sets import read_gene_sets
from crosstype.expression.matrix import save_expression
from crosstype.expression.pipeline_state import outlier_cost
from crosstype.expression.spec import ExpressionSpec
from crosstype.expression.transformers import ShiftLog
from crosstype.features.encoders.catalog import pretraining_note
from crosstype.features.store import FeatureRow, read_feature_rows
from crosstype.folds.external_splits import split_files, split_outputs, write_splits
from crosstype.folds.folds import fold_cohort
from crosstype.io.files import HashCache
from crosstype.io.tables import write_table
from crosstype.workflow.stage import Stage

OUTPUTS = (
    "cohort.csv",
    "left_out.csv",
    "folds.csv",
    "expression.npz",
    "normal_like.npz",
    "single_modality.csv",
    "single_modality.npz",
    "outliers.csv",
    UNLABELLED,
    UNLABELLED_EXPRESSION,
    SUBGROUPS,
)

LABELS_FROM_RNA = (
    "labels are computed from RNA, as PAM50 names are. Models that use the genes are evaluated by "
    "a label made of them. If yours are not, set [cohort] label_source."
)

LEAST_GENES = ExpressionSpec().least_genes


class JoinCohort(Stage):
    """Join the tables and assign the folds: cohort.csv, left_out.csv, folds.csv."""

    name = "cohort"
    modules = (
        "crosstype.workflow.cohort",
        "crosstype.folds.external_splits",
        "crosstype.expression.genes.ssgsea",
    )

    def settings(self) -> Any:
        """Return the settings without paths: the files' contents count instead."""
        spec = self.of.spec
        unplaced = replace(spec.cohort, labels=None, slides=None, expression=None, clinical=None)
        folds = replace(spec.folds, file=None)
        return [unplaced, unplaced_expression(spec.expression), folds, self.of.protocol]

    def inputs(self) -> dict[str, Path]:
        """Return the user's tables and features.csv."""
        return _inputs(self.of.spec, self.of.out)

    def outputs(self) -> list[str]:
        """Return the tables of the cohort, and the folds for other tools."""
        covariates = [COVARIATES] if self.of.spec.cohort.covariates else []
        return [*OUTPUTS, *split_outputs(self.of.spec.folds), *covariates]

    def run(self) -> Mapping[str, Any]:
        """Write the tables; return notes, provenance and the classes' sizes."""
        spec, out = self.of.spec, self.of.out
        rows = read_feature_rows(out / "features.csv")
        cache = ExpressionCache(out / ".stages" / "expression", self.hashes.sha256_of)
        cohort = _represented(_joined(spec, rows, cache), spec.expression)
        cohort, folds, fold_notes = fold_cohort(cohort, spec.folds, self.of.protocol)
        write_table(out / "folds.csv", folds)
        write_splits(out / "splits", folds, cohort, spec.folds.write)
        _write(cohort, spec, out)
        notes = _covariates(spec.cohort, cohort.patient_ids, out / COVARIATES)
        sizes = [f"{cohort.labels.count(name)} {name}" for name in self.of.classes]
        return {
            "notes": [*_provenance_notes(cohort, rows), *cohort.notes, *fold_notes, *notes],
            "provenance": cohort.provenance,
            "summary": f"{len(cohort.labels)} patients ({', '.join(sizes)})",
            "messages": [*excluded_lines(cohort), *shown_notes(cohort.notes)],
        }


MOST_REASONS = 5
NAMES = re.compile(r"\b(sample|slide|patient) \S+|TCGA-\S+")


def excluded_lines(cohort: Cohort) -> list[str]:
    """Return how many patients are not in the cohort, by reason, in at most six lines."""
    reasons = Counter(
        NAMES.sub(lambda found: found[1] or "a sample", one.reason) for one in cohort.left_out
    )
    first = reasons.most_common(MOST_REASONS)
    lines = [f"left out: {n} patient{'s' * (n > 1)}, {reason}" for reason, n in first]
    others = reasons.total() - sum(n for _, n in first)
    return [*lines, *[f"left out: {others} patients, for other reasons"] * bool(others)]


LONGEST = 300
PER_PATIENT = re.compile(r"^TCGA-\S+: |another sample is used$|: a slide is left out: ")


def shown_notes(notes: Sequence[str]) -> list[str]:
    """Return the notes for the terminal: without those on one patient, and cut to a line."""
    kept = [note for note in notes if not PER_PATIENT.search(note)]
    return [note if len(note) <= LONGEST else f"{note[:LONGEST]} ... (run.json)" for note in kept]


def check_tables(spec: RunSpec, slides: Sequence[FeatureRow], out: Path, hashes: HashCache) -> None:
    """Check the tables before any slide is read.

    Args:
        spec: the settings.
        slides: every listed slide; existing ones count as usable.
        out: folder of the run; keeps the expression that is read.
        hashes: fingerprints of files.
    """
    cache = ExpressionCache(out / ".stages" / "expression", hashes.sha256_of)
    cohort = _joined(spec, slides, cache)
    if spec.cohort.covariates:
        read_covariates(spec.cohort, cohort.patient_ids)
    read_subgroups(spec.cohort, cohort.patient_ids, cohort.sites)


def _joined(spec: RunSpec, slides: Sequence[FeatureRow], cache: ExpressionCache) -> Cohort:
    """Return the cohort, each of whose classes must reach every fold."""
    least = spec.folds.n_folds if spec.folds.file is None else 1
    return build_cohort(spec.cohort, of_genes(spec.expression), slides, least, cache.read)


def unplaced_expression(spec: ExpressionSpec) -> ExpressionSpec:
    """Return the settings without paths: the files' contents count instead."""
    return replace(spec, gene_names=None, sample_sheet=None, gene_sets=None)


def of_genes(spec: ExpressionSpec) -> ExpressionSpec:
    """Return the settings by which genes are read; the representation plays no part."""
    return replace(spec, representation="genes", gene_sets=None, least_genes=LEAST_GENES)


def _represented(cohort: Cohort, spec: ExpressionSpec) -> Cohort:
    """Return the cohort in the representation that models use; excluded genes are removed before.

    Ranks and scaled values are made where a model is fitted; only their unit is checked here.
    """
    if spec.representation in ("ranks", "scaled") and cohort.expression.unit == "zscore":
        raise CohortError(
            f"[expression] representation: found {spec.representation!r} and a table of z-scores, "
            "which compare a gene with other patients and not genes of a patient. Set it to "
            "'genes', or give a table of amounts or logarithms."
        )
    if spec.representation != "spectrum" or spec.gene_sets is None:
        return cohort
    from crosstype.expression.genes.ssgsea import spectrum_of

    gene_sets = read_gene_sets(spec.gene_sets)
    spectra, notes = spectrum_of(cohort.expression, gene_sets, spec.least_genes)
    beside = cohort.single_modality
    if beside is not None and beside.expression.patient_ids:
        theirs, _ = spectrum_of(beside.expression, gene_sets, spec.least_genes)
        beside = replace(beside, expression=theirs)
    cohort = replace(cohort, expression=spectra, single_modality=beside)
    unlabelled = cohort.unlabelled
    if unlabelled is not None and unlabelled.reasons:
        theirs, _ = spectrum_of(unlabelled.expression, gene_sets, spec.least_genes)
        cohort = replace(cohort, unlabelled=replace(unlabelled, expression=theirs))
    return replace(cohort, notes=(*cohort.notes, *notes))


def _provenance_notes(cohort: Cohort, rows: Sequence[FeatureRow]) -> list[str]:
    """Return warnings on the origin of the labels and on the encoder's training data."""
    encoders = sorted({row.encoder for row in rows if not row.fault})
    notes = [pretraining_note(one, cohort.patient_ids) for one in encoders]
    from_rna = cohort.provenance.startswith(COMPUTED)
    return [*([f"Warning: {LABELS_FROM_RNA}"] if from_rna else []), *notes]


def _covariates(spec: CohortSpec, patient_ids: Sequence[str], path: Path) -> list[str]:
    """Write the cohort's covariates, if any, and return notes on them."""
    path.unlink(missing_ok=True)  # of a run that had some
    if not spec.covariates:
        return []
    found = read_covariates(spec, patient_ids)
    write_covariates(path, found)
    return covariate_notes(found)


def _inputs(spec: RunSpec, out: Path) -> dict[str, Path]:
    """Return the input files of the cohort, by names that do not depend on their location."""
    tables = {
        "labels": spec.cohort.labels,
        "clinical": spec.cohort.clinical,
        "gene_names": spec.expression.gene_names,
        "sample_sheet": spec.expression.sample_sheet,
        "gene_sets": spec.expression.gene_sets,
    }
    inputs = {f"{key}: {path.name}": path for key, path in tables.items() if path is not None}
    if spec.cohort.expression is not None:
        files = expression_files(spec.cohort.expression)
        inputs |= {f"expression: {path.name}": path for path in files}
    if spec.folds.file is not None:
        inputs |= {f"splits: {path.name}": path for path in split_files(spec.folds.file)}
    return {**inputs, "features.csv": out / "features.csv"}


def _write(cohort: Cohort, spec: RunSpec, out: Path) -> None:
    """Write the tables of the cohort and of outlier removal."""
    write_cohort(out / "cohort.csv", cohort)
    write_left_out(out / "left_out.csv", cohort.left_out)
    save_expression(out / "expression.npz", cohort.expression)
    if cohort.normal_like is not None:
        save_expression(out / "normal_like.npz", cohort.normal_like)
    if cohort.unlabelled is not None:
        write_unlabelled(out / UNLABELLED, cohort.unlabelled.reasons)
        save_expression(out / UNLABELLED_EXPRESSION, cohort.unlabelled.expression)
    groups = read_subgroups(spec.cohort, cohort.patient_ids, cohort.sites)
    write_subgroups(out / SUBGROUPS, groups)
    if cohort.single_modality is not None:
        write_single_modality(out / "single_modality.csv", cohort.single_modality)
        save_expression(out / "single_modality.npz", cohort.single_modality.expression)
    held = cohort.expression
    logged = ShiftLog().fit_transform(held.values) if held.unit == "linear" else held.values
    cost = outlier_cost(logged, cohort.labels, held.genes, spec.expression.outlier_factor)
    write_table(out / "outliers.csv", cost)
