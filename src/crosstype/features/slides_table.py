"""The slides table: the patient, and the micrometres per pixel, of each slide."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crosstype.errors import Fault, TableError
from crosstype.features.slide_names import slide_id_of
from crosstype.io.identifiers import note_on_ids
from crosstype.io.tables import Table, is_missing, open_table
from crosstype.slides.slide import HOW_TO_GIVE_MPP
from crosstype.tcga import TCGA_BARCODE, patient_of
from crosstype.types import (
    HOW_TO_NAME_PATIENTS,
    HOW_TO_NAME_SLIDES,
    MPP_COLUMNS,
    PATIENT_COLUMNS,
    SLIDE_COLUMNS,
)

MOST_LINES = 5
"""Lines that faults of one kind may take, and one with the number of others."""


@dataclass(frozen=True)
class ListedSlides:
    """The slides of a slides table.

    Attributes:
        patient_of: the patient of each slide.
        notes: rows without a slide, and ids that are read in another form.
    """

    patient_of: dict[str, str]
    notes: tuple[str, ...]


def read_slides_table(path: Path, patient_column: str) -> ListedSlides:
    """Read the slides table; rows whose FILENAME is missing are no slides.

    Raises:
        TableError: a slide without patient, listed twice, or of two patients; no slide at all; or
            barcodes of slides that are other patients'.
    """
    table = open_table(path)
    patients = table.column_called(patient_column, PATIENT_COLUMNS, HOW_TO_NAME_PATIENTS)
    names = table.column_called("FILENAME", SLIDE_COLUMNS, HOW_TO_NAME_SLIDES)
    rows = [row for row, name in enumerate(names) if not is_missing(name) and slide_id_of(name)]
    if not rows:
        found = f"no row names a slide (FILENAME is {names[0]!r} in the first)"
        raise TableError(Fault(path.name, found, "Fill in the slides' files."))
    owners = [(row, slide_id_of(names[row]), patients[row]) for row in rows]
    faults = [*_without_patient(table, owners, patient_column), *_of_others(table, owners)]
    patient_of_slide = _distinct(table, owners, faults)
    if faults:
        raise TableError(faults)
    where = f"{path.name}, column {patient_column}"
    notes = note_on_ids(where, [patients[row] for row in rows])
    without = sorted(set(range(len(names))).difference(rows))
    if without:
        first = without[0]
        notes.append(
            f"{path.name}: {len(without)} of {len(names)} rows name no slide, first "
            f"{table.where(first).removeprefix(path.name).strip()} (FILENAME is {names[first]!r})."
        )
    return ListedSlides(patient_of_slide, tuple(notes))


def _without_patient(
    table: Table, owners: Sequence[tuple[int, str, str]], column: str
) -> list[Fault]:
    """Return one fault for all slides whose patient is missing."""
    rows = [(row, cell) for row, _, cell in owners if is_missing(cell)]
    if not rows:
        return []
    row, cell = rows[0]
    found = f"no {column} ({cell!r}), in {len(rows)} rows with a slide"
    return [Fault(table.where(row), found, "Fill it in or remove the line.")]


def _of_others(table: Table, owners: Sequence[tuple[int, str, str]]) -> list[Fault]:
    """Return one fault for all slides whose TCGA barcode is another patient's."""
    rows = [
        (row, slide_id, patient)
        for row, slide_id, patient in owners
        if TCGA_BARCODE.match(slide_id) and TCGA_BARCODE.match(patient)
        if patient_of(slide_id) != patient_of(patient)
    ]
    if not rows:
        return []
    row, slide_id, patient = rows[0]
    found = (
        f"the slide {slide_id!r} is of {patient_of(slide_id)} by its barcode, and of {patient} by "
        f"the table; so are {len(rows)} of {len(owners)} rows"
    )
    return [Fault(table.where(row), found, "Look whether a column is shifted or sorted alone.")]


def _distinct(
    table: Table, owners: Sequence[tuple[int, str, str]], faults: list[Fault]
) -> dict[str, str]:
    """Return the patient of each slide; append a fault for each slide that is listed twice."""
    patient_of_slide: dict[str, str] = {}
    first_row: dict[str, int] = {}
    twice: list[Fault] = []
    for row, slide_id, patient in owners:
        patient_id = patient_of(patient)
        if slide_id in patient_of_slide:
            other = patient_of_slide[slide_id]
            whose = "again" if other == patient_id else f"for {patient_id}, but it is {other}'s"
            found = f"slide {slide_id!r} of {table.where(first_row[slide_id])} {whose}"
            twice.append(Fault(table.where(row), found, "Remove one of the two lines."))
        else:
            patient_of_slide[slide_id] = patient_id
            first_row[slide_id] = row
    faults += twice[:MOST_LINES]
    if len(twice) > MOST_LINES:
        found = f"{len(twice) - MOST_LINES} more rows list a slide again"
        faults.append(Fault(table.path.name, found, "Remove them."))
    return patient_of_slide


def table_mpps(path: Path) -> dict[str, float]:
    """Return the mpp of each slide of the slides table that has one.

    Raises:
        TableError: text that is neither a number nor a word for a missing value.
    """
    table = open_table(path)
    column = table.name_among(MPP_COLUMNS)
    if column is None:
        return {}
    mpps: dict[str, float] = {}
    unread: list[tuple[int, str]] = []
    names = table.column_called("FILENAME", SLIDE_COLUMNS, HOW_TO_NAME_SLIDES)
    cells = zip(names, table.column(column), strict=True)
    for row, (name, text) in enumerate(cells):
        if is_missing(text) or is_missing(name):
            continue
        try:
            mpps[slide_id_of(name)] = float(text)
        except ValueError:
            unread.append((row, text))
    if unread:
        row, text = unread[0]
        more = f" (and {len(unread) - 1} more rows like it)" if len(unread) > 1 else ""
        found = f"{column} is {text!r}, not a number{more}"
        raise TableError(Fault(table.where(row), found, HOW_TO_GIVE_MPP))
    return mpps
