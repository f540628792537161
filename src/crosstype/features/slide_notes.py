"""Sentences on the listed slides: faults by kind, copies, sections."""

import re
from collections import Counter
from collections.abc import Sequence

from crosstype.features.slide_names import original_of
from crosstype.features.store import FeatureRow
from crosstype.tcga import section_of

MOST_KINDS = 4
"""Kinds of faults that are told."""
NUMBER = re.compile(r"\d[\d.]*")


def row_notes(rows: Sequence[FeatureRow]) -> list[str]:
    """Return sentences on all slides: faults, copies, identical files, frozen sections."""
    notes = [*_fault_notes(rows), *_copy_notes(rows), *_identical_notes(rows)]
    return [*notes, *_section_notes(rows), *_encoder_notes(rows)]


def _fault_notes(rows: Sequence[FeatureRow]) -> list[str]:
    """Return a sentence on each kind of fault, the most frequent first."""
    kinds: dict[str, list[str]] = {}
    for row in rows:
        if row.failed:
            found = row.fault.partition(": ")[2] or row.fault
            kinds.setdefault(NUMBER.sub("#", found), []).append(row.fault)
    listed = sorted(kinds.values(), key=len, reverse=True)
    notes = [
        f"{len(faults)} of {len(rows)} slides cannot be used: {faults[0]}"
        for faults in listed[:MOST_KINDS]
    ]
    n_more = sum(map(len, listed[MOST_KINDS:]))
    return [*notes, *([f"{n_more} more have other faults, see features.csv."] if n_more else [])]


def _copy_notes(rows: Sequence[FeatureRow]) -> list[str]:
    """Return sentences on copies, and on slides that only have the names of copies."""
    copies = [row for row in rows if row.is_copy]
    used = {row.slide_id for row in rows if not row.fault}
    named = [one for one in sorted(used) if original_of(one) != one and original_of(one) in used]
    notes = []
    if copies:
        notes.append(
            f"{len(copies)} of {len(rows)} slides are copies and left out, the files being "
            f"identical, first {copies[0].slide_id}: {copies[0].fault}."
        )
    if named:
        notes.append(
            f"{len(named)} slides are named like copies and have other contents, first {named[0]}; "
            "both are used. Remove the one that is not meant."
        )
    return notes


def _identical_notes(rows: Sequence[FeatureRow]) -> list[str]:
    """Return a warning of identical files of different patients."""
    patients: dict[str, list[FeatureRow]] = {}
    for row in rows:
        if not row.fault and row.sha256:
            patients.setdefault(row.sha256, []).append(row)
    shared = [found for found in patients.values() if len({row.patient_id for row in found}) > 1]
    if not shared:
        return []
    first, second = shared[0][:2]
    return [
        f"Warning: {sum(map(len, shared))} feature files are identical to one of another patient, "
        f"first {first.slide_id} of {first.patient_id} and {second.slide_id} of "
        f"{second.patient_id}. Look whether one was copied under a wrong name."
    ]


def _section_notes(rows: Sequence[FeatureRow]) -> list[str]:
    """Return a sentence if frozen sections are mixed with diagnostic ones."""
    counts = Counter(section_of(row.slide_id) for row in rows if row.is_copy or not row.fault)
    if not counts["frozen"] or not counts["diagnostic"]:
        return []
    return [
        f"{counts['frozen']} frozen sections (TS, MS, BS) are among {counts['diagnostic']} "
        "diagnostic slides (DX), which look different. List one kind only to keep them apart."
    ]


def _encoder_notes(rows: Sequence[FeatureRow]) -> list[str]:
    """Return a sentence if only some files state an encoder."""
    usable = [row for row in rows if not row.fault]
    unnamed = [row for row in usable if not row.encoder]
    if not unnamed or len(unnamed) == len(usable):
        return []
    other = next(row.encoder for row in usable if row.encoder)
    return [
        f"{len(unnamed)} of {len(usable)} feature files state no encoder, first "
        f"{unnamed[0].slide_id}; they are taken for {other!r} as the others are."
    ]
