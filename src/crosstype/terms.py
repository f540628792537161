"""The words of the field as types: units, identifiers and modalities."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NewType
from urllib.parse import quote, unquote

Microns = NewType("Microns", float)
SlidePixels = NewType("SlidePixels", int)
TilePixels = NewType("TilePixels", int)

TCGA_BARCODE = re.compile(r"^TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}", re.IGNORECASE)

PATIENT_COLUMNS = (
    "PATIENT", "PATIENT_ID", "patient id", "case_id", "case id", "bcr_patient_barcode",
    "submitter_id", "cases.submitter_id", "sample_id", "sample id", "sampleid", "sample",
)  # fmt: skip
"""What tables call the column of the patient; the first is the default. Case does not matter."""
SLIDE_COLUMNS = ("FILENAME", "file name", "file_name", "slide_id", "slide")
"""The same for the column of the slide's file."""
MPP_COLUMNS = ("MPP", "um_per_px", "microns_per_pixel")
"""The same for the column of micrometres per pixel."""
OVER_CLASSES = ("macro", "micro", "all")
"""Stand where a class's name stands in tables of metrics: no class may be called so."""
HOW_TO_NAME_PATIENTS = "Name the patients' column as patient_column under [cohort]."
HOW_TO_NAME_SLIDES = "Call the column of the slides' files FILENAME."


class Modality(StrEnum):
    """What a model can look at."""

    IMAGE = "image"
    GENES = "genes"
    CLINICAL = "clinical"


def patient_of(identifier: str) -> str:
    """Return the patient of a sample or file id: 12 characters of a TCGA barcode, else the id."""
    text = identifier.strip()
    return text[:12].upper() if TCGA_BARCODE.match(text) else text


def sample_type_of(identifier: str) -> str | None:
    """Return the two-digit TCGA sample type (`01` primary, `06` metastasis, `11` normal), or None.

    Slide and sample barcodes hold it in characters 14 and 15.
    """
    match = re.match(r"^TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}-(\d{2})", identifier.strip(), re.IGNORECASE)
    return match.group(1) if match else None


ALIQUOT = re.compile(
    r"^TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}-(\d{2}[A-Z])-(\d{2})([A-Z])-([A-Z0-9]{4})", re.IGNORECASE
)
ANALYTES = "HRT"
"""RNA analytes in the order in which they are preferred."""


def aliquot_order(identifier: str) -> tuple[object, ...]:
    """Return a sort key that puts first the sample of a patient that is to be used.

    Lower sample types and vials go first (01A before 01B); of replicate aliquots of one vial
    analyte H before R before T, then the highest plate and portion, as the Broad Institute's GDAC
    Firehose chooses them.
    """
    text = identifier.strip().upper()
    match = ALIQUOT.match(text)
    if match is None:
        return (text[:16], 0, (), text)
    vial, portion, analyte, plate = match.groups()
    rank = ANALYTES.find(analyte) if analyte in ANALYTES else len(ANALYTES)
    latest = tuple(-ord(letter) for letter in plate + portion)
    return (f"{text[:13]}{vial}", rank, latest, text)


def site_of(patient_id: str) -> str | None:
    """Return the tissue source site of a TCGA-like id (`A2` of `TCGA-A2-A04P`), or None."""
    return patient_id[5:7].upper() if TCGA_BARCODE.match(patient_id) else None


def file_name_of(identifier: str) -> str:
    """Return an id as a safe file name (percent-encoded; never `.`, `..` or a path)."""
    name = quote(identifier, safe=" ()+,=@")
    return name.replace(".", "%2E") if set(name) <= {"."} else name


def identifier_of(file_name: str) -> str:
    """Return the id that `file_name_of` encoded."""
    return unquote(file_name)
