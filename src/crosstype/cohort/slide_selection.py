"""Which slides and which sample of a patient are used: primary tumours, and the first of several.

The rule for several samples of a patient: only tumours (TCGA sample types 01 to 09) that are no
metastases (06, 07) are used; of those with any value the first by `terms.aliquot_order`, so 01 goes
first. Slides follow the same rule for tissue, and all of a patient's make one bag. Ids that are no
TCGA barcodes are taken as tumours.
"""

from collections.abc import Sequence
from typing import Protocol

from crosstype.tcga import is_tumour, tissue_of


class SlideRow(Protocol):
    """A slide of the cohort; `features.store.FeatureRow` is one."""

    @property
    def slide_id(self) -> str:
        """File name without extension."""
        ...

    @property
    def patient_id(self) -> str:
        """Patient of the slide."""
        ...

    @property
    def n_tiles(self) -> int:
        """Number of tiles."""
        ...

    @property
    def fault(self) -> str:
        """Why the slide cannot be used; empty if it can."""
        ...


def usable_slides(
    slides: Sequence[SlideRow],
) -> tuple[dict[str, list[SlideRow]], dict[str, str], list[str]]:
    """Return each patient's usable slides, sorted; why others have none; and notes."""
    usable: dict[str, list[SlideRow]] = {}
    faults: dict[str, list[str]] = {}
    for row in sorted(slides, key=lambda row: row.slide_id):
        if row.fault:
            faults.setdefault(row.patient_id, []).append(row.fault)
        elif not is_tumour(row.slide_id):
            text = f"slide {row.slide_id} is of {tissue_of(row.slide_id)}"
            faults.setdefault(row.patient_id, []).append(text)
        else:
            usable.setdefault(row.patient_id, []).append(row)
    reasons = {
        patient: f"no usable slide: {'; '.join(found)}"
        for patient, found in faults.items()
        if patient not in usable
    }
    notes = [
        f"{patient}: a slide is left out: {text}"
        for patient, found in sorted(faults.items())
        if patient in usable
        for text in found
    ]
    n_several = sum(len(found) > 1 for found in usable.values())
    if n_several:
        notes.append(f"{n_several} patients have several slides, joined into one bag each")
    return usable, reasons, notes
