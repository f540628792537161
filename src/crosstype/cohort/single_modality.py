"""Single-modality patients: with a label and an image or expression; for training only."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from crosstype.cohort.labels import Labels
from crosstype.cohort.slide_selection import SlideRow
from crosstype.expression.matrix import AlignedExpression
from crosstype.io import schema
from crosstype.types import Modality


@dataclass(frozen=True)
class SingleModality:
    """Patients with one modality; all sequences share one order.

    Attributes:
        patient_ids: sorted.
        labels: class name of each.
        sites: tissue source site of each, empty where unknown.
        modalities: the modality that each has.
        slides: usable slides of each; none where it is expression.
        expression: of those who have it, by patient.
    """

    patient_ids: tuple[str, ...]
    labels: tuple[str, ...]
    sites: tuple[str, ...]
    modalities: tuple[Modality, ...]
    slides: tuple[tuple[SlideRow, ...], ...]
    expression: AlignedExpression


def single_modality_patients(
    labels: Labels, usable: Collection[str], samples: Collection[str]
) -> dict[str, Modality]:
    """Return the patients with a class and one modality, and that modality."""
    found = {}
    for patient in sorted(labels.class_of):
        if (patient in usable) != (patient in samples):
            found[patient] = Modality.IMAGE if patient in usable else Modality.GENES
    return found


def join_single_modality(
    found: Mapping[str, Modality],
    labels: Labels,
    usable: Mapping[str, Sequence[SlideRow]],
    expression: AlignedExpression,
) -> SingleModality:
    """Return these patients with labels, sites and inputs."""
    return SingleModality(
        tuple(found),
        tuple(labels.class_of[patient] for patient in found),
        tuple(labels.site_of[patient] for patient in found),
        tuple(found.values()),
        tuple(tuple(usable.get(patient, ())) for patient in found),
        expression,
    )


def write_single_modality(path: Path, patients: SingleModality) -> None:
    """Write single_modality.csv."""
    columns = (
        patients.patient_ids,
        patients.labels,
        patients.sites,
        [str(one) for one in patients.modalities],
        [len(rows) for rows in patients.slides],
        [sum(row.n_tiles for row in rows) for rows in patients.slides],
    )
    rows = list(zip(*columns, strict=True))
    schema.SINGLE_MODALITY.write_as(path, schema.SINGLE_MODALITY.frame(rows))


def read_single_modality(path: Path) -> pl.DataFrame:
    """Read what `write_single_modality` wrote."""
    return schema.SINGLE_MODALITY.read_from(path)
