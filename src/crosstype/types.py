"""Types of identifiers, modalities and bounds of settings."""

from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import Annotated, Any, get_origin, get_type_hints
from urllib.parse import quote, unquote

PATIENT_COLUMNS = (
    "PATIENT", "PATIENT_ID", "patient id", "case_id", "case id", "bcr_patient_barcode",
    "submitter_id", "cases.submitter_id", "sample_id", "sample id", "sampleid", "sample",
)  # fmt: skip
"""Names of the patient column in tables; the first is the default. Case is ignored."""
SLIDE_COLUMNS = ("FILENAME", "file name", "file_name", "slide_id", "slide")
"""The same for the column of the slide's file."""
MPP_COLUMNS = ("MPP", "um_per_px", "microns_per_pixel")
"""The same for the column of micrometres per pixel."""
OVER_CLASSES = ("macro", "micro", "all")
"""Values of the class column in tables of metrics, which no class may have as its name."""
HOW_TO_NAME_PATIENTS = "Name the patients' column as patient_column under [cohort]."
HOW_TO_NAME_SLIDES = "Call the column of the slides' files FILENAME."


@dataclass(frozen=True)
class Between:
    """Bounds of a setting, both included, in the annotation of its field."""

    low: int | float
    high: int | float = inf


def bounds_of(spec: type[Any]) -> dict[str, Between]:
    """Return the bounds of a spec's fields, by name, for fields with bounds."""
    hints = get_type_hints(spec, include_extras=True)
    return {
        name: hint.__metadata__[0] for name, hint in hints.items() if get_origin(hint) is Annotated
    }


class Modality(StrEnum):
    """Modality of a model's input."""

    IMAGE = "image"
    GENES = "genes"
    CLINICAL = "clinical"


def file_name_of(identifier: str) -> str:
    """Return an id as a safe file name (percent-encoded; never `.`, `..` or a path)."""
    name = quote(identifier, safe=" ()+,=@")
    return name.replace(".", "%2E") if set(name) <= {"."} else name


def identifier_of(file_name: str) -> str:
    """Return the id that `file_name_of` encoded."""
    return unquote(file_name)
