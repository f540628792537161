"""Another tool's splits as the outer folds of this cohort: ids to patients, splits to repeats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from crosstype.cohort.cohort import Cohort, LeftOut, check_class_sizes
from crosstype.cohort.dealing import OuterFold
from crosstype.cohort.spec import FoldsSpec
from crosstype.cohort.splits import Split, read_splits
from crosstype.errors import CohortError, ConfigError, Fault, TableError
from crosstype.terms import patient_of

SUFFIXES = (".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".h5", ".pt", ".0")
"""What may hang on an id: suffixes of slides and feature files; what pandas makes of a number."""


def place_splits(
    cohort: Cohort, spec: FoldsSpec, path: Path
) -> tuple[Cohort, list[OuterFold], list[str]]:
    """Read splits and place the cohort's patients in them.

    A split that tests a patient who was tested already begins a new repeat. Patients for training
    and for validation are one pool, which is dealt into inner folds later.

    Args:
        cohort: patients and their slides; ids of either may stand in the splits.
        spec: n_folds and repeats must be the splits' own or the default.
        path: file or folder.

    Returns:
        The cohort without patients of no split, who are listed in `left_out`; the outer folds; and
        notes.

    Raises:
        TableError: the file is damaged, or a patient is in test and in training of one split.
        CohortError: nobody is in common, a split tests nobody of the cohort, or repeats do not
            test the same patients.
        ConfigError: n_folds or repeats contradict the splits.
    """
    splits = read_splits(path)
    name_of = _names(cohort)
    placed = [_patients(split, name_of) for split in splits]
    written = {one for split in splits for one in (*split.train, *split.val, *split.test)}
    unknown = sorted(one for one in written if _patient(one, name_of) is None)
    if len(unknown) == len(written):
        raise CohortError(
            f"{path.name}: none of its {len(written)} ids is in the cohort. Found "
            f"{unknown[0]!r}, expected ids such as {cohort.patient_ids[0]!r}, or of their slides."
        )
    _check(splits, placed)
    folds = _in_repeats(placed)
    _check_repeats(folds, path.name)
    _check_numbers(folds, spec, path.name)
    notes = [
        f"folds are those of {path.name}; splits: {len(folds)}, repeats: {folds[-1].repeat + 1}"
    ]
    notes.append("its patients for training and validation together are dealt into inner folds")
    if unknown:
        notes.append(
            f"{path.name}: ids that are not in the cohort: {len(unknown)} ({_some(unknown)})"
        )
    cohort = _without(cohort, set().union(*(a | b for a, b in placed)), path.name)
    never = sorted(set(cohort.patient_ids).difference(*(test for test, _ in placed)))
    if never:
        notes.append(f"patients tested by no split: {len(never)} ({_some(never)})")
    return cohort, folds, notes


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _names(cohort: Cohort) -> dict[str, str]:
    """Return the patient behind each id: the patient's own and those of the slides."""
    slides = zip(cohort.patient_ids, cohort.slide_ids, strict=True)
    names = {slide: patient for patient, several in slides for slide in several}
    return names | {patient: patient for patient in cohort.patient_ids}


def _patient(written: str, name_of: Mapping[str, str]) -> str | None:
    """Return whose id it is: a patient's, a slide's, or a barcode's; None if nobody's."""
    bare = next((written.removesuffix(end) for end in SUFFIXES if written.endswith(end)), written)
    candidates = (written, bare, patient_of(written))
    return next((name_of[one] for one in candidates if one in name_of), None)


def _patients(split: Split, name_of: Mapping[str, str]) -> tuple[set[str], set[str]]:
    """Return the cohort's patients of a split: those tested, and the others."""
    test = {_patient(one, name_of) for one in split.test}
    rest = {_patient(one, name_of) for one in (*split.train, *split.val)}
    return {one for one in test if one}, {one for one in rest if one}


def _check(splits: Sequence[Split], placed: Sequence[tuple[set[str], set[str]]]) -> None:
    """Raise if a patient is tested and learned from in one split, or a split has nobody left."""
    faults = []
    for split, (test, rest) in zip(splits, placed, strict=True):
        if test & rest:
            both = sorted(test & rest)
            found = f"patients in test and in training at once: {len(both)} ({_some(both)})"
            remedy = "All slides of a patient must be on one side. Mend the split."
            faults.append(Fault(split.where, found, remedy))
    if faults:
        raise TableError(faults)
    for split, (test, rest) in zip(splits, placed, strict=True):
        if not test or not rest:
            what = "test" if not test else "learn from"
            raise CohortError(
                f"{split.where}: nobody of the cohort is left to {what}. Look into left_out.csv, "
                "or leave this split out."
            )


def _in_repeats(placed: Sequence[tuple[set[str], set[str]]]) -> list[OuterFold]:
    """Number the splits: one that tests somebody again begins a new repeat."""
    folds: list[OuterFold] = []
    repeat, tested = 0, set[str]()
    for test, rest in placed:
        if test & tested:
            repeat, tested = repeat + 1, set()
        number = sum(one.repeat == repeat for one in folds)
        folds.append(OuterFold(repeat, number, frozenset(test), frozenset(rest)))
        tested |= test
    return folds


def _check_repeats(folds: Sequence[OuterFold], name: str) -> None:
    """Raise unless every repeat tests the same patients, so that repeats can be pooled."""
    tested: dict[int, frozenset[str]] = {}
    for one in folds:
        tested[one.repeat] = tested.get(one.repeat, frozenset()) | one.test
    for repeat, patients in tested.items():
        odd = sorted(patients ^ tested[0])
        if odd:
            raise CohortError(
                f"{name}: its splits test some patients again before all are tested: repeat "
                f"{repeat} and repeat 0 differ by {len(odd)} test patients ({_some(odd)}). "
                "Expected a cross-validation, a repeated one, or one test set; or let [folds] file "
                "name a single split."
            )


def _check_numbers(folds: Sequence[OuterFold], spec: FoldsSpec, name: str) -> None:
    """Raise if n_folds or repeats were set to something else than the splits have."""
    repeats = folds[-1].repeat + 1
    n_folds = sum(one.repeat == 0 for one in folds)
    for key, value, found in (
        ("n_folds", spec.n_folds, n_folds),
        ("repeats", spec.repeats, repeats),
    ):
        if value not in (getattr(FoldsSpec(), key), found):
            raise ConfigError(
                f"[folds] {key}: found {value}, but {name} has {found}. Remove {key}; it follows "
                "from the file."
            )


def _without(cohort: Cohort, named: set[str], name: str) -> Cohort:
    """Return the cohort without patients of no split; they become rows of left_out."""
    kept = [i for i, patient in enumerate(cohort.patient_ids) if patient in named]
    gone = [patient for patient in cohort.patient_ids if patient not in named]
    labels = tuple(cohort.labels[i] for i in kept)
    check_class_sizes(labels, sorted(set(cohort.labels)), 1)
    rows = [LeftOut(patient, "folds", f"in no split of {name}") for patient in gone]
    held = cohort.expression
    ids = tuple(cohort.patient_ids[i] for i in kept)
    return replace(
        cohort,
        patient_ids=ids,
        labels=labels,
        sites=tuple(cohort.sites[i] for i in kept),
        slide_ids=tuple(cohort.slide_ids[i] for i in kept),
        n_tiles=tuple(cohort.n_tiles[i] for i in kept),
        expression=replace(held, values=held.values[np.array(kept)], patient_ids=ids),
        left_out=tuple(sorted((*cohort.left_out, *rows), key=lambda row: row.patient_id)),
    )
