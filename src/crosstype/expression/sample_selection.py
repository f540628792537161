"""Sample selection: one primary tumour sample per patient.

Only tumours (TCGA sample types 01 to 09) other than metastases (06, 07) are used; of several with
any value, the first by `tcga.aliquot_order`, so that 01 is preferred. Slides follow the same rule
for tissue, and all slides of a patient form one bag. Samples whose ids are not TCGA barcodes count
as tumours.
"""

import numpy as np

from crosstype.expression.read import Expression
from crosstype.tcga import aliquot_order, is_tumour, patient_of, sample_type_of, tissue_of


def select_samples(expression: Expression) -> tuple[dict[str, int], dict[str, str], list[str]]:
    """Return each patient's row of the table, the reason why others have none, and notes."""
    present = ~np.isnan(expression.values).all(axis=1)
    order = sorted(range(len(present)), key=lambda i: aliquot_order(expression.sample_ids[i]))
    selected: dict[str, int] = {}
    reasons: dict[str, str] = {}
    several: list[str] = []
    for i in order:
        sample = expression.sample_ids[i]
        patient = patient_of(sample)
        if not is_tumour(sample):
            reasons.setdefault(patient, f"sample {sample} is of {tissue_of(sample)}")
        elif not present[i]:
            reasons.setdefault(patient, f"expression of sample {sample} is missing entirely")
        elif patient in selected:
            several.append(sample)
        else:
            selected[patient] = i
    notes = []
    if any(sample_type_of(sample) for sample in expression.sample_ids):
        notes.append(
            "samples: primary tumours only; of several the first vial, and of that the latest plate"
        )
    if several:
        notes.append(f"further samples of the same patient not used: {', '.join(several)}")
    used = {patient: reason for patient, reason in reasons.items() if patient in selected}
    notes += [f"{patient}: {reason}; another sample is used" for patient, reason in used.items()]
    return selected, {p: r for p, r in reasons.items() if p not in selected}, notes
