"""The cohort: labels, slides and expression joined by identifier, with a list of exclusions."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from crosstype.cohort.label_columns import check_label_columns
from crosstype.cohort.labels import Labels, normal_like_rows, read_labels, shuffled_labels
from crosstype.cohort.labels_from_pam50 import labels_from_calls
from crosstype.cohort.matching import spelled_as, spelling_note
from crosstype.cohort.single_modality import (
    SingleModality,
    join_single_modality,
    single_modality_patients,
)
from crosstype.cohort.slide_selection import SlideRow, usable_slides
from crosstype.cohort.spec import CohortSpec
from crosstype.cohort.unlabelled import Unlabelled, unlabelled_patients
from crosstype.errors import CohortError, ConfigError
from crosstype.expression.genes.selection import exclude_genes
from crosstype.expression.matrix import AlignedExpression, load_expression, save_expression
from crosstype.expression.pipeline_state import align_genes
from crosstype.expression.read import Expression, read_expression
from crosstype.expression.sample_selection import select_samples
from crosstype.expression.spec import ExpressionSpec
from crosstype.io import schema
from crosstype.tcga import patient_of

__all__ = [
    "AlignedExpression",
    "Cohort",
    "LeftOut",
    "SlideRow",
    "build_cohort",
    "check_class_sizes",
    "load_expression",
    "save_expression",
    "write_cohort",
    "write_left_out",
]

ReadExpression = Callable[[Path, ExpressionSpec, Collection[str]], Expression]
Step = Literal["labels", "site", "slides", "expression", "folds"]


@dataclass(frozen=True)
class LeftOut:
    """An excluded patient of an input table, and the first step that excluded them."""

    patient_id: str
    step: Step
    reason: str


@dataclass(frozen=True)
class Cohort:
    """Patients with a label, at least one slide and expression; all sequences share one order.

    Attributes:
        patient_ids: sorted.
        labels: class name of each patient.
        sites: tissue source site of each patient, empty where unknown.
        slide_ids: sorted ids of each patient's usable slides, which make one bag.
        n_tiles: tiles of each patient's slides together.
        expression: values of the patients in that order.
        notes: findings and decisions.
        left_out: all other patients of any table, sorted.
        provenance: source of the labels, if recognised.
        normal_like: normal-like samples of the table, of no cohort patient; same genes.
        single_modality: patients with one modality, for training only; same genes.
        unlabelled: patients with slides and expression and without a class; same genes.
    """

    patient_ids: tuple[str, ...]
    labels: tuple[str, ...]
    sites: tuple[str, ...]
    slide_ids: tuple[tuple[str, ...], ...]
    n_tiles: tuple[int, ...]
    expression: AlignedExpression
    notes: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    provenance: str
    normal_like: AlignedExpression | None = None
    single_modality: SingleModality | None = None
    unlabelled: Unlabelled | None = None


def build_cohort(
    spec: CohortSpec,
    expression_spec: ExpressionSpec,
    slides: Sequence[SlideRow],
    n_folds: int,
    read: ReadExpression = read_expression,
) -> Cohort:
    """Join labels, slides and expression by patient, checked in this order.

    Args:
        spec: tables, columns, classes and sites.
        expression_spec: how `read` reads a file of expression.
        slides: one row per listed slide, faulty ones included.
        n_folds: each class must have at least so many patients.
        read: as `read_expression`.

    Raises:
        ConfigError, TableError, CohortError: a table is not set, damaged or contradicts another.
    """
    people = {row.patient_id for row in slides}
    labels = read_labels(spec, people) if spec.labels_from_pam50 is None else None
    people |= labels.patients if labels else set()
    expression = _read_spelled(spec, people, lambda path: read(path, expression_spec, people))
    usable, slide_reasons, notes = usable_slides(slides)
    samples, sample_reasons, sample_notes = select_samples(expression)
    labels = labels or labels_from_calls(spec, expression, samples)
    everyone, reasons = people.union(samples, sample_reasons), (slide_reasons, sample_reasons)
    kept = _complete(spec, labels, usable, samples)
    classes, warnings = _classes(spec, labels, kept, n_folds)
    own = _aligned(expression, {patient: samples[patient] for patient in kept})
    aligned, gene_notes = exclude_genes(own, expression_spec)
    warnings += check_label_columns(_table_of(spec).name, aligned, classes, expression_spec)
    same_genes = partial(_of_same_genes, expression, aligned)
    single = _single_modality(spec, labels, usable, samples, same_genes)
    return Cohort(
        patient_ids=tuple(kept),
        labels=classes,
        sites=tuple(labels.site_of[patient] for patient in kept),
        slide_ids=tuple(tuple(row.slide_id for row in usable[patient]) for patient in kept),
        n_tiles=tuple(sum(row.n_tiles for row in usable[patient]) for patient in kept),
        expression=aligned,
        notes=(*warnings, *expression.notes, *notes, *sample_notes, *labels.notes, *gene_notes),
        left_out=_left_out(everyone.difference(kept, single.patient_ids), labels, reasons, usable),
        provenance=labels.provenance,
        normal_like=_normal_like(expression, samples, labels, aligned),
        single_modality=single,
        unlabelled=unlabelled_patients(spec, labels, usable, samples, same_genes),
    )


def _read_spelled(
    spec: CohortSpec, people: Collection[str], read: Callable[[Path], Expression]
) -> Expression:
    """Read expression, with patients spelled as in the other tables."""
    path = _table_of(spec)
    expression = read(path)
    of_sample = {sample: patient_of(sample) for sample in expression.sample_ids}
    spelled = spelled_as(of_sample.values(), people)
    return replace(
        expression,
        sample_ids=tuple(spelled.get(of_sample[one], one) for one in expression.sample_ids),
        notes=(*expression.notes, *spelling_note(path.name, spelled)),
    )


def _table_of(spec: CohortSpec) -> Path:
    if spec.expression is None:
        raise ConfigError("[cohort] expression is not set. Name the expression table.")
    return spec.expression


def _classes(
    spec: CohortSpec, labels: Labels, kept: Sequence[str], n_folds: int
) -> tuple[tuple[str, ...], list[str]]:
    """Return each patient's class, and a warning if labels were shuffled; check their sizes."""
    classes, warnings = shuffled_labels([labels.class_of[patient] for patient in kept], spec)
    check_class_sizes(classes, [one.name for one in spec.classes], n_folds)
    return classes, warnings


def _complete(
    spec: CohortSpec, labels: Labels, usable: Collection[str], samples: Collection[str]
) -> list[str]:
    """Return the patients with all inputs, sorted; raises CohortError if there are none."""
    kept = sorted(set(labels.class_of) & set(usable) & set(samples))
    if not kept:
        raise CohortError(_nobody_in_common(spec, labels, usable, samples))
    return kept


def _normal_like(
    expression: Expression, samples: Mapping[str, int], labels: Labels, cohort: AlignedExpression
) -> AlignedExpression:
    """Return the table's normal-like samples that are of no cohort patient; may have no rows."""
    rows = normal_like_rows(expression, samples, labels.normal_like, cohort.patient_ids)
    return _of_same_genes(expression, cohort, rows)


def _single_modality(
    spec: CohortSpec,
    labels: Labels,
    usable: Mapping[str, Sequence[SlideRow]],
    samples: Mapping[str, int],
    of_same_genes: Callable[[Mapping[str, int]], AlignedExpression],
) -> SingleModality:
    """Return the single-modality patients, if they are used for training."""
    may_train = spec.single_modality == "train"
    found = single_modality_patients(labels, usable, samples) if may_train else {}
    rows = {patient: samples[patient] for patient in found if patient in samples}
    return join_single_modality(found, labels, usable, of_same_genes(rows))


def _of_same_genes(
    expression: Expression, cohort: AlignedExpression, rows: Mapping[str, int]
) -> AlignedExpression:
    """Return these rows of the table, with the cohort's genes."""
    values, _ = align_genes(_aligned(expression, rows).values, expression.genes, cohort.genes)
    return AlignedExpression(values, tuple(rows), cohort.genes, cohort.unit)


def _aligned(expression: Expression, rows: Mapping[str, int]) -> AlignedExpression:
    """Return these rows of the table, each under its name."""
    values = expression.values[list(rows.values())]
    return AlignedExpression(values, tuple(rows), expression.genes, expression.unit)


def check_class_sizes(labels: Sequence[str], classes: Sequence[str], n_folds: int) -> None:
    """Raise CohortError if fewer than two classes have patients or one has fewer than folds."""
    counts = Counter(labels)
    sizes = ", ".join(f"{name} {counts[name]}" for name in classes)
    present = [name for name in classes if counts[name]]
    if len(present) < 2:
        only = present[0] if present else "none"
        raise CohortError(
            f"cohort: found patients of one class only, {only!r} ({sizes}); expected at least two "
            "classes. Look into left_out.csv, or add patients."
        )
    small = [name for name in classes if counts[name] < n_folds]
    if small:
        raise CohortError(
            f"cohort: class {small[0]!r} has {counts[small[0]]} patients, fewer than the "
            f"{n_folds} folds ({sizes}). Lower [folds] n_folds or add patients."
        )


def _left_out(
    patients: Collection[str],
    labels: Labels,
    reasons: tuple[Mapping[str, str], Mapping[str, str]],
    usable: Collection[str],
) -> tuple[LeftOut, ...]:
    """Return the first step that excluded each patient; reasons: of slides, of expression."""
    found = []
    for patient in sorted(patients):
        if patient in labels.left_out:
            step, reason = labels.left_out[patient]
            found.append(LeftOut(patient, _step(step), reason))
        elif patient not in labels.class_of and labels.labelled_from_expression:
            reason = reasons[1].get(patient, "not in the expression table")
            found.append(
                LeftOut(patient, "labels", f"no expression to call a label from: {reason}")
            )
        elif patient not in labels.class_of:
            found.append(LeftOut(patient, "labels", "not in the label table"))
        elif patient not in usable:
            found.append(LeftOut(patient, "slides", reasons[0].get(patient, "no slide")))
        else:
            reason = reasons[1].get(patient, "not in the expression table")
            found.append(LeftOut(patient, "expression", reason))
    return tuple(found)


def _step(name: str) -> Step:
    return "site" if name == "site" else "labels"


def _nobody_in_common(
    spec: CohortSpec, labels: Labels, usable: Collection[str], samples: Collection[str]
) -> str:
    """Return how many patients each table has, with an example of each."""

    def described(name: str, ids: Collection[str]) -> str:
        return f"{name} {len(ids)}" + (f" (such as {min(ids)!r})" if ids else "")

    tables = ", ".join(
        (
            described(spec.labels.name if spec.labels else "labels", labels.class_of),
            described("usable slides", usable),
            described(spec.expression.name if spec.expression else "expression", samples),
        )
    )
    return (
        f"cohort: nobody has a label, a slide and expression. Patients found: {tables}. "
        "Expected the same ids in all three."
    )


def write_cohort(path: Path, cohort: Cohort) -> None:
    """Write cohort.csv."""
    n_slides = [len(ids) for ids in cohort.slide_ids]
    columns = (cohort.patient_ids, cohort.labels, cohort.sites, n_slides, cohort.n_tiles)
    schema.COHORT.write_as(path, schema.COHORT.frame(list(zip(*columns, strict=True))))


def write_left_out(path: Path, left_out: Sequence[LeftOut]) -> None:
    """Write left_out.csv."""
    schema.LEFT_OUT.write_as(path, schema.LEFT_OUT.frame(left_out))
