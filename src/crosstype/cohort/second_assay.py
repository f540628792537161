"""The cohort's patients as another assay measured them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from crosstype.cohort.cohort import ReadExpression
from crosstype.errors import CohortError
from crosstype.expression.matrix import AlignedExpression
from crosstype.expression.pipeline_state import align_genes
from crosstype.expression.sample_selection import select_samples
from crosstype.expression.spec import ExpressionSpec
from crosstype.expression.units import Unit, linear_scale_of

LEAST_PATIENTS = 2
"""Of each class so many patients must have been measured by the other assay."""


def read_other_assay(
    path: Path,
    spec: ExpressionSpec,
    cohort: AlignedExpression,
    labels: Mapping[str, str],
    read: ReadExpression,
) -> tuple[AlignedExpression, str]:
    """Return the patients of the cohort that another assay measured, and a note.

    The table's unit is recognised by itself. Its values are returned as amounts, to be brought to
    the cohort's unit by the scale of the training patients; z-scores stay z-scores.

    Args:
        path: the other expression table.
        spec: how the cohort's own table was read; its unit does not apply to the other.
        cohort: the cohort's expression, for its genes and unit.
        labels: class of each patient of the cohort.
        read: reads a file of expression.

    Returns:
        The cohort's genes by name, NaN where the other assay has none; unit linear, or zscore.

    Raises:
        TableError, CohortError: as `read`; too few patients or no gene in common; z-scores cannot
            be brought to the cohort's unit.
    """
    where = f"[evaluation] other_expression: {path.name}"
    found = read(path, replace(spec, unit="auto", counts="auto"), labels)
    _check_unit(where, found.unit, cohort.unit)
    samples, _, _ = select_samples(found)
    patients = [patient for patient in cohort.patient_ids if patient in samples]
    _check_classes(where, patients, labels)
    values, share = align_genes(
        found.values[[samples[patient] for patient in patients]], found.genes, cohort.genes
    )
    if not share:
        raise CohortError(
            f"{where}: found no gene of the cohort's table, such as {cohort.genes[0]!r}, but "
            f"{found.genes[0]!r}. Name genes alike in both (see [expression] gene_names)."
        )
    scale = linear_scale_of(found.values, found.unit)
    amounts = values if scale is None else scale.amounts(values).astype(values.dtype)
    unit = cohort.unit if scale is None else "linear"
    note = (
        f"{path.name}: {len(patients)} of {len(cohort.patient_ids)} patients and "
        f"{round(share * len(cohort.genes))} of {len(cohort.genes)} genes, unit {found.measure}"
    )
    return AlignedExpression(amounts, tuple(patients), cohort.genes, unit), note


def _check_unit(where: str, found: Unit, wanted: Unit) -> None:
    """Raise CohortError if one table is of z-scores and the other is not."""
    if (found == "zscore") != (wanted == "zscore"):
        raise CohortError(
            f"{where}: found unit {found}, which cannot be brought to the cohort's unit {wanted}. "
            "Give a table of amounts or logarithms where the cohort's is one, of z-scores where it "
            "is of z-scores."
        )


def _check_classes(where: str, patients: Sequence[str], labels: Mapping[str, str]) -> None:
    """Raise CohortError unless each class has enough patients for metrics."""
    counts = Counter(labels[patient] for patient in patients)
    rare = min(sorted(set(labels.values())), key=lambda name: counts[name])
    if counts[rare] < LEAST_PATIENTS:
        raise CohortError(
            f"{where}: found {len(patients)} patients of the cohort, of class {rare!r} "
            f"{counts[rare]}; expected at least {LEAST_PATIENTS} of each class. Give another table."
        )
