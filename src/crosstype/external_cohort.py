"""Whom of an external cohort a model is judged on, and why nobody else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from crosstype.cohort.chosen import chosen_samples, usable_slides
from crosstype.cohort.cohort import LeftOut
from crosstype.cohort.expression import read_expression
from crosstype.cohort.labels import Labels
from crosstype.config.spec import RunSpec
from crosstype.files import sha256_of
from crosstype.predicting import Served

if TYPE_CHECKING:
    from crosstype.training.artefact import Artefact


def judged_patients(
    artefact: Artefact, spec: RunSpec, served: Served, labels: Labels
) -> tuple[list[int], list[LeftOut]]:
    """Return the rows of the patients to be judged, and everyone else of any table."""
    unserved = {one.patient_id: one for one in served.left_out}
    lacking = {} if spec.cohort.one_modality == "train" else _lacking(artefact, spec, served)
    place = {patient: row for row, patient in enumerate(served.patients.ids)}
    rows, left_out = [], []
    for patient in sorted({*place, *unserved, *labels.class_of, *labels.left_out}):
        if patient in labels.left_out:
            step, reason = labels.left_out[patient]
            left_out.append(LeftOut(patient, "site" if step == "site" else "labels", reason))
        elif patient not in labels.class_of:
            left_out.append(LeftOut(patient, "labels", "not in the label table"))
        elif patient in unserved:
            left_out.append(unserved[patient])
        elif patient not in place:
            left_out.append(LeftOut(patient, "slides", "nothing that the model looks at"))
        elif patient in lacking:
            left_out.append(lacking[patient])
        else:
            rows.append(place[patient])
    return rows, left_out


def _lacking(artefact: Artefact, spec: RunSpec, served: Served) -> dict[str, LeftOut]:
    """Return who of the served lacks a modality that the config names, and which."""
    parts = dict(zip(served.patients.ids, served.modalities, strict=True))
    shown = _with_slides(spec) if artefact.features is None else None
    measured = _with_expression(spec) if artefact.genes is None else None
    if shown is None and (spec.features.folder or spec.slides.folder):
        shown = {patient for patient, has in parts.items() if "image" in has}
    if measured is None and spec.cohort.expression:
        measured = {patient for patient, has in parts.items() if "genes" in has}
    lacking = {}
    for patient in parts:
        if measured is not None and patient not in measured:
            lacking[patient] = LeftOut(patient, "expression", "no expression that can be used")
        if shown is not None and patient not in shown:
            lacking[patient] = LeftOut(patient, "slides", "no usable slide")
    return lacking


def _with_slides(spec: RunSpec) -> set[str] | None:
    """Return who has slides, for a model that does not look at them; None: none are named."""
    from crosstype.features.sources import find_sources
    from crosstype.features.store import find_slides, inspect_slides

    cohort = spec.cohort
    if spec.features.folder is not None:
        asked = find_slides(spec.features, cohort.slides, cohort.patient_column)
        return set(usable_slides(inspect_slides(asked, spec.features, sha256_of))[0])
    if spec.slides.folder is not None:
        sources = find_sources(spec.slides, cohort.slides, cohort.patient_column)
        return {one.patient_id for one in sources if one.is_there}
    return None


def _with_expression(spec: RunSpec) -> set[str] | None:
    """Return who has expression, for a model that does not look at it; None: none is named."""
    if spec.cohort.expression is None:
        return None
    reading = replace(spec.expression, representation="genes", gene_sets=None)
    return set(chosen_samples(read_expression(spec.cohort.expression, reading, ()))[0])
