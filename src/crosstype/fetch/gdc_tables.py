"""The tables that a GDC fetch writes: manifest, sample sheet, slides and clinical data."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crosstype.files import write_text
from crosstype.terms import site_of

MANIFEST = ("id", "filename", "md5", "size", "state")
SAMPLE_SHEET = (
    "File ID", "File Name", "Data Category", "Data Type", "Project ID", "Case ID", "Sample ID",
    "Sample Type",
)  # fmt: skip
SLIDES = ("PATIENT", "FILENAME")
FIRST_CLINICAL = ("PATIENT", "SITE", "case_id", "project_id", "disease_type", "primary_site")
OTHER_TEXT = frozenset({"submitter_id", "project", "demographic", "diagnoses"})


@dataclass(frozen=True)
class Item:
    """A file of the GDC and whose it is.

    Attributes:
        file_id: its UUID.
        file_name: its name.
        kind: `expression` or `slides`.
        size: its bytes.
        md5: its MD5 in hexadecimal.
        state: as the GDC says, such as `released`.
        access: `open` or `controlled`.
        data_category: as the GDC says.
        data_type: as the GDC says.
        project_id: its project.
        patient_id: the patient's barcode; of several, all of them, separated by a comma.
        sample_id: the sample's barcode; of several likewise.
        sample_type: in the GDC's words; of several likewise.
        entity: barcode of the aliquot or slide, for a fixed order.
    """

    file_id: str
    file_name: str
    kind: str
    size: int
    md5: str
    state: str
    access: str
    data_category: str
    data_type: str
    project_id: str
    patient_id: str
    sample_id: str
    sample_type: str
    entity: str


def item_of(hit: Mapping[str, Any], kind: str) -> Item:
    """Return a hit of `/files`; KeyError, TypeError or ValueError where it is of another shape."""
    cases = list(hit["cases"])
    samples = [sample for case in cases for sample in case.get("samples", [])]
    entities = hit.get("associated_entities") or []
    return Item(
        file_id=str(hit["file_id"]),
        file_name=str(hit["file_name"]),
        kind=kind,
        size=int(hit["file_size"]),
        md5=str(hit["md5sum"]).lower(),
        state=str(hit.get("state", "")),
        access=str(hit["access"]),
        data_category=str(hit.get("data_category", "")),
        data_type=str(hit.get("data_type", "")),
        project_id=_joined(case["project"]["project_id"] for case in cases),
        patient_id=_joined(case["submitter_id"] for case in cases),
        sample_id=_joined(sample["submitter_id"] for sample in samples),
        sample_type=_joined(sample.get("sample_type", "") for sample in samples),
        entity=_joined(one.get("entity_submitter_id", "") for one in entities),
    )


def write_manifest(path: Path, items: Sequence[Item]) -> None:
    """Write a manifest as gdc-client reads it."""
    rows = [(one.file_id, one.file_name, one.md5, one.size, one.state) for one in items]
    _write(path, MANIFEST, rows, "\t")


def write_sample_sheet(path: Path, items: Sequence[Item]) -> None:
    """Write which sample each file is of, with the portal's columns."""
    rows = [
        (
            one.file_id, one.file_name, one.data_category, one.data_type, one.project_id,
            one.patient_id, one.sample_id, one.sample_type,
        )
        for one in items
    ]  # fmt: skip
    _write(path, SAMPLE_SHEET, rows, "\t")


def write_slides(path: Path, items: Sequence[Item]) -> None:
    """Write the slides table of a config."""
    _write(path, SLIDES, [(one.patient_id, one.file_name) for one in items], ",")


def write_clinical(path: Path, cases: Sequence[Mapping[str, Any]]) -> None:
    """Write one row per patient: demographic data and the diagnosis of the primary disease."""
    rows = [_clinical_row(case) for case in cases]
    others = sorted({name for row in rows for name in row} - set(FIRST_CLINICAL))
    names = (*FIRST_CLINICAL, *others)
    _write(path, names, [[row.get(name, "") for name in names] for row in rows], ",")


def _clinical_row(case: Mapping[str, Any]) -> dict[str, str]:
    patient = str(case.get("submitter_id", ""))
    row = {key: _cell(value) for key, value in case.items() if key not in OTHER_TEXT}
    row |= {"PATIENT": patient, "SITE": site_of(patient) or ""}
    row["project_id"] = str((case.get("project") or {}).get("project_id", ""))
    diagnoses = [one for one in case.get("diagnoses") or [] if isinstance(one, dict)]
    row["n_diagnoses"] = str(len(diagnoses))
    sections = {"demographic": case.get("demographic") or {}, "diagnosis": _primary(diagnoses)}
    for section, values in sections.items():
        row |= {f"{section}.{key}": _cell(value) for key, value in values.items()}
    return row


def _primary(diagnoses: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the diagnosis of the primary disease: said to be it, else the first by id."""
    if not diagnoses:
        return {}
    ranked = sorted(
        diagnoses,
        key=lambda one: (
            not _is_yes(one.get("diagnosis_is_primary_disease")),
            one.get("classification_of_tumor") != "primary",
            str(one.get("submitter_id")),
        ),
    )
    return ranked[0]


def _is_yes(value: object) -> bool:
    return str(value).lower() in ("true", "yes", "1")


def _cell(value: object) -> str:
    """Return a plain value as text; lists of plain values joined, anything deeper left out."""
    if isinstance(value, (list, tuple)):
        return "|".join(_cell(one) for one in value if not isinstance(one, (dict, list)))
    if value is None or isinstance(value, dict):
        return ""
    return str(value)


def _joined(values: Iterable[object]) -> str:
    return ", ".join(dict.fromkeys(str(value) for value in values))


def _write(
    path: Path, names: Sequence[str], rows: Iterable[Sequence[object]], separator: str
) -> None:
    """Write a table whole or not at all; blanks of any kind in a cell become one space."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow([" ".join(str(cell).split()) for cell in row])
    write_text(path, text.getvalue())
