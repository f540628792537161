"""Which slides and which sample of a patient are used: primary tumours, and the first of several.

The rule for several samples of a patient: only tumours (TCGA sample types 01 to 09) that are no
metastases (06, 07) are used; of those with any value the first by `terms.aliquot_order`, so 01 goes
first. Slides follow the same rule for tissue, and all of a patient's make one bag. Ids that are no
TCGA barcodes say nothing of the tissue and are taken as tumours.
"""

from __future__ import annotations

import numpy as np

from crosstype.expression.read import Expression
from crosstype.tcga import aliquot_order, is_tumour, patient_of, sample_type_of, tissue_of


def select_samples(expression: Expression) -> tuple[dict[str, int], dict[str, str], list[str]]:
    """Return each patient's row of the table; why others have none; and notes."""
    present = ~np.isnan(expression.values).all(axis=1)
    order = sorted(range(len(present)), key=lambda i: aliquot_order(expression.sample_ids[i]))
    chosen: dict[str, int] = {}
    reasons: dict[str, str] = {}
    several: list[str] = []
    for i in order:
        sample = expression.sample_ids[i]
        patient = patient_of(sample)
        if not is_tumour(sample):
            reasons.setdefault(patient, f"sample {sample} is of {tissue_of(sample)}")
        elif not present[i]:
            reasons.setdefault(patient, f"expression of sample {sample} is missing entirely")
        elif patient in chosen:
            several.append(sample)
        else:
            chosen[patient] = i
    notes = []
    if any(sample_type_of(sample) for sample in expression.sample_ids):
        notes.append(
            "samples: primary tumours only; of several the first vial, and of that the latest plate"
        )
    if several:
        notes.append(f"further samples of the same patient not used: {', '.join(several)}")
    used = {patient: reason for patient, reason in reasons.items() if patient in chosen}
    notes += [f"{patient}: {reason}; another sample is used" for patient, reason in used.items()]
    return chosen, {p: r for p, r in reasons.items() if p not in chosen}, notes
