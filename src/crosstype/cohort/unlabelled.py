"""Unlabelled patients: with slides and expression but no class; predicted, never trained on."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from crosstype.cohort.labels import Labels, is_asked_for
from crosstype.cohort.spec import CohortSpec
from crosstype.expression.matrix import AlignedExpression
from crosstype.io import schema
from crosstype.tcga import site_of

UNLABELLED, UNLABELLED_EXPRESSION = schema.UNLABELLED.name, "unlabelled.npz"


@dataclass(frozen=True)
class Unlabelled:
    """Patients without a class.

    Attributes:
        reasons: why each has none, by patient, sorted.
        expression: theirs, in that order.
    """

    reasons: dict[str, str]
    expression: AlignedExpression


def unlabelled_patients(
    spec: CohortSpec,
    labels: Labels,
    usable: Collection[str],
    samples: Mapping[str, int],
    of_same_genes: Callable[[Mapping[str, int]], AlignedExpression],
) -> Unlabelled:
    """Return the patients with slides and expression but no class, with the reason.

    Normal-like patients, where no class has them, are among these; patients of a site that is not
    excluded by site are not.
    """
    reasons = {}
    for patient in sorted(set(usable) & set(samples) - set(labels.class_of)):
        step, reason = labels.left_out.get(patient, ("labels", "not in the label table"))
        site = labels.site_of.get(patient, site_of(patient) or "")
        if step == "labels" and is_asked_for(site, spec):
            reasons[patient] = reason
    return Unlabelled(reasons, of_same_genes({one: samples[one] for one in reasons}))


def write_unlabelled(path: Path, reasons: dict[str, str]) -> None:
    """Write unlabelled.csv."""
    schema.UNLABELLED.write_as(path, schema.UNLABELLED.frame(list(reasons.items())))


def read_unlabelled(path: Path) -> dict[str, str]:
    """Return what `write_unlabelled` wrote."""
    return dict(schema.UNLABELLED.read_from(path).select("patient_id", "reason").iter_rows())
