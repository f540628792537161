"""External splits: those of STAMP, CLAM (SurvPath, MCAT) and Patho-Bench, read and written.

Formats are recognised by content; `docs/formats.md` shows the layouts. External splits can be the
outer folds of a cohort.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from crosstype.cohort.cohort import Cohort, LeftOut, check_class_sizes
from crosstype.errors import CohortError, ConfigError, Fault, TableError
from crosstype.folds.assign import OuterFold
from crosstype.folds.spec import FoldsSpec
from crosstype.io.files import write_text
from crosstype.io.tables import Table, open_table
from crosstype.tcga import patient_of

CLAM_FILE = re.compile(r"^splits_(\d+)\.csv$")
CLAM_BOOL_FILE = re.compile(r"^splits_(\d+)_bool\.csv$")
FOLD_COLUMN = re.compile(r"^fold_(\d+)$")
ROLES = ("train", "val", "test")
EXPECTED = (
    "Expected a splits.json (STAMP), splits_<k>.csv with columns train, val, test (CLAM, SurvPath, "
    "MCAT), or a table with case_id and fold_0, fold_1, ... (Patho-Bench)."
)


@dataclass(frozen=True)
class ExternalSplit:
    """One split as written in its file.

    Attributes:
        where: file and number of the split, for messages.
        train: ids of patients or slides for training.
        val: ids for validation.
        test: ids for test.
    """

    where: str
    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]


def split_files(path: Path) -> list[Path]:
    """Return the files of the splits: the file itself, or those in a folder, by number.

    Raises:
        TableError: there are no splits, or splits of more than one tool.
    """
    if not path.is_dir():
        return [path]
    names = sorted(one.name for one in path.iterdir() if one.is_file())
    plain = sorted((n for n in names if CLAM_FILE.match(n)), key=_number)
    kinds = {
        "splits.json": [name for name in names if name == "splits.json"],
        "splits_<k>.csv": plain
        or sorted((n for n in names if CLAM_BOOL_FILE.match(n)), key=_number),
        "tsv": [name for name in names if name.endswith(".tsv")],
    }
    found = {kind: files for kind, files in kinds.items() if files}
    if not found:
        raise TableError(Fault(f"{path.name}/", "no splits are in this folder", EXPECTED))
    if len(found) > 1 or len(found.get("tsv", [])) > 1:
        listed = ", ".join(name for files in found.values() for name in files[:2])
        remedy = "Let [folds] file name one of them."
        raise TableError(Fault(f"{path.name}/", f"more than one set of splits: {listed}", remedy))
    return [path / name for files in found.values() for name in files]


def read_splits(path: Path) -> list[ExternalSplit]:
    """Read all splits of a file or folder, in the order of their numbers.

    If no split has test ids, as in SurvPath and MCAT, the validation ids are test ids.

    Raises:
        TableError: the format is unknown, a file is damaged, or a split is empty.
    """
    splits = [split for file in split_files(path) for split in _read_file(file)]
    if not any(split.test for split in splits):
        splits = [replace(split, val=(), test=split.val) for split in splits]
    faults = [
        Fault(split.where, f"no id for {'training' if split.test else 'test'}", EXPECTED)
        for split in splits
        if not split.test or not (split.train or split.val)
    ]
    if faults or not splits:
        raise TableError(faults or Fault(path.name, "no split", EXPECTED))
    return splits


def _number(name: str) -> int:
    return int(re.sub(r"\D", "", name))


def _read_file(path: Path) -> list[ExternalSplit]:
    try:
        start = path.read_bytes()[:200].removeprefix(b"\xef\xbb\xbf").lstrip()
    except OSError as error:
        found = f"cannot be read ({error.strerror})"
        raise TableError(Fault(path.name, found, EXPECTED)) from None
    if start[:1] in (b"{", b"["):
        return _read_stamp(path)
    table = open_table(path)
    if any(FOLD_COLUMN.match(name) for name in table.names):
        return _read_patho_bench(table)
    if "train" in table.names and ("val" in table.names or "test" in table.names):
        return [_read_clam(table)]
    found = f"columns {', '.join(repr(name) for name in table.names[:4])}"
    raise TableError(Fault(path.name, found, EXPECTED))


def _read_stamp(path: Path) -> list[ExternalSplit]:
    """Read {"splits": [{"train_patients": [...], "test_patients": [...]}]}."""
    remedy = 'Expected {"splits": [{"train_patients": [...], "test_patients": [...]}]}.'
    try:
        content = json.loads(path.read_bytes().decode("utf-8-sig"))
    except ValueError as error:
        raise TableError(Fault(path.name, f"is not valid JSON ({error})", remedy)) from None
    listed = content.get("splits") if isinstance(content, dict) else None
    if not isinstance(listed, list):
        raise TableError(Fault(path.name, "no list called splits", remedy))
    splits, faults = [], []
    for number, one in enumerate(listed):
        where = f"{path.name} split {number}"
        held = one if isinstance(one, dict) else {}
        train, test = held.get("train_patients"), held.get("test_patients")
        if isinstance(train, list) and isinstance(test, list):
            splits.append(ExternalSplit(where, tuple(map(str, train)), (), tuple(map(str, test))))
        else:
            faults.append(Fault(where, "no lists train_patients and test_patients", remedy))
    if faults:
        raise TableError(faults)
    return splits


def _read_clam(table: Table) -> ExternalSplit:
    """Read columns of ids (CLAM, SurvPath, MCAT), or CLAM's table of True and False."""
    columns = {role: table.column(role) for role in ROLES if role in table.names}
    cells = {cell.lower() for column in columns.values() for cell in column}
    if cells <= {"true", "false"}:
        ids = table.cells["0"].str.strip_chars().to_list()
        named = {
            role: tuple(
                one for one, cell in zip(ids, column, strict=True) if cell.lower() == "true"
            )
            for role, column in columns.items()
        }
    else:
        named = {role: tuple(cell for cell in column if cell) for role, column in columns.items()}
    return ExternalSplit(table.path.name, *(named.get(role, ()) for role in ROLES))


def _read_patho_bench(table: Table) -> list[ExternalSplit]:
    """Read one row per slide or case, and train, val or test in each column fold_<k>."""
    key = next((name for name in ("case_id", "slide_id") if name in table.names), "")
    if not key:
        found = "columns fold_<k>, but neither case_id nor slide_id"
        raise TableError(Fault(table.path.name, found, EXPECTED))
    ids = table.column(key)
    folds = sorted((name for name in table.names if FOLD_COLUMN.match(name)), key=_number)
    splits, faults = [], []
    for name in folds:
        role_of = table.column(name)
        for row, role in enumerate(role_of):
            if role and role not in ROLES:
                where = f"{table.where(row)}, column {name!r}"
                faults.append(Fault(where, f"{role!r}", "Expected train, val, test or nothing."))
        ids_of = {
            role: tuple(one for one, cell in zip(ids, role_of, strict=True) if cell == role)
            for role in ROLES
        }
        splits.append(ExternalSplit(f"{table.path.name} {name}", *ids_of.values()))
    if faults:
        raise TableError(faults)
    return splits


def split_outputs(spec: FoldsSpec) -> list[str]:
    """Return the split files, relative to OUT, whose names are known before a run."""
    first = {"stamp": "splits.json", "clam": "splits_0.csv", "patho_bench": "k=all.tsv"}
    repeats = spec.repeats if spec.file is None else 1
    return [
        f"splits/{kind}/repeat_{r}/{first[kind]}" for kind in spec.write for r in range(repeats)
    ]


def write_splits(folder: Path, table: pl.DataFrame, cohort: Cohort, kinds: Sequence[str]) -> None:
    """Write the folds in formats of other tools, into folder/<tool>/repeat_<r>.

    Inner fold 0 is the validation set of formats that have one.

    Args:
        folder: OUT/splits.
        table: patient_id, repeat, fold and role, as `make_folds` returns it.
        cohort: labels and slides of the patients.
        kinds: `stamp`, `clam`, `patho_bench`.
    """
    slides = dict(zip(cohort.patient_ids, cohort.slide_ids, strict=True))
    labels = dict(zip(cohort.patient_ids, cohort.labels, strict=True))
    for repeat, rows in table.group_by("repeat", maintain_order=True):
        roles = [
            dict(part.sort("patient_id").select("patient_id", "role").iter_rows())
            for _, part in rows.group_by("fold", maintain_order=True)
        ]
        name = f"repeat_{repeat[0]}"
        if "stamp" in kinds:
            _write_stamp(folder / "stamp" / name, roles)
        if "clam" in kinds:
            _write_clam(folder / "clam" / name, roles, slides)
        if "patho_bench" in kinds:
            _write_patho_bench(folder / "patho_bench" / name, roles, slides, labels)


Roles = Sequence[Mapping[str, str]]
Slides = Mapping[str, Sequence[str]]


def _write_stamp(folder: Path, roles: Roles) -> None:
    splits = [
        {
            "train_patients": [one for one, role in held.items() if role != "test"],
            "test_patients": [one for one, role in held.items() if role == "test"],
        }
        for held in roles
    ]
    text = json.dumps({"splits": splits}, indent=4, ensure_ascii=False)
    write_text(folder / "splits.json", text + "\n")


def _write_clam(folder: Path, roles: Roles, slides: Slides) -> None:
    for fold, held in enumerate(roles):
        columns = {
            name: [slide for one, role in held.items() if role == ours for slide in slides[one]]
            for name, ours in zip(ROLES, ("train", "validation", "test"), strict=True)
        }
        n = max(map(len, columns.values()))
        index: dict[str, Any] = {"index": range(n)}
        filled = {name: [*column, *[None] * (n - len(column))] for name, column in columns.items()}
        frame = pl.DataFrame(index | filled, schema_overrides=dict.fromkeys(ROLES, pl.String))
        text = ",train,val,test\n" + frame.write_csv(include_header=False)  # pandas' nameless index
        write_text(folder / f"splits_{fold}.csv", text)


def _write_patho_bench(
    folder: Path, roles: Roles, slides: Slides, labels: Mapping[str, str]
) -> None:
    short = {"train": "train", "validation": "val", "test": "test", "": ""}
    classes = sorted(set(labels.values()))
    rows = [
        [patient, slide, str(classes.index(labels[patient]))]
        + [short[held.get(patient, "")] for held in roles]
        for patient in sorted({one for held in roles for one in held})
        for slide in slides[patient]
    ]
    names = ["case_id", "slide_id", "label", *(f"fold_{number}" for number in range(len(roles)))]
    frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
    write_text(folder / "k=all.tsv", frame.write_csv(separator="\t"))
    named = "".join(f"  {i}: {json.dumps(name)}\n" for i, name in enumerate(classes))
    write_text(
        folder / "config.yaml",
        "task_col: label\nsample_col: case_id\nextra_cols: []\nmetrics: [macro-ovr-auc]\n"
        f"label_dict:\n{named}",
    )


SUFFIXES = (".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".h5", ".pt", ".0")
"""Suffixes of ids: of slides, of feature files, and .0, which pandas appends to numbers."""


def assign_external_splits(
    cohort: Cohort, spec: FoldsSpec, path: Path
) -> tuple[Cohort, list[OuterFold], list[str]]:
    """Read external splits and assign the cohort's patients to them.

    A split with a test patient that was tested before starts a new repeat. Training and validation
    patients are pooled, and assigned to inner folds later.

    Args:
        cohort: patients and their slides; splits may have ids of either.
        spec: n_folds and repeats must be the splits' or the default.
        path: file or folder.

    Returns:
        The cohort without patients in no split, who are listed in `left_out`; the outer folds; and
        notes.

    Raises:
        TableError: the file is damaged, or a patient is in test and in training of one split.
        CohortError: no id is in the cohort, a split has no test or training patient of the cohort,
            or repeats have different test patients.
        ConfigError: n_folds or repeats contradict the splits.
    """
    splits = read_splits(path)
    name_of = _names(cohort)
    patients = [_patients(split, name_of) for split in splits]
    written = {one for split in splits for one in (*split.train, *split.val, *split.test)}
    unknown = sorted(one for one in written if _patient(one, name_of) is None)
    if len(unknown) == len(written):
        raise CohortError(
            f"{path.name}: none of its {len(written)} ids is in the cohort. Found "
            f"{unknown[0]!r}, expected ids such as {cohort.patient_ids[0]!r}, or of their slides."
        )
    _check(splits, patients)
    folds = _in_repeats(patients)
    _check_repeats(folds, path.name)
    _check_numbers(folds, spec, path.name)
    notes = [
        f"folds are those of {path.name}; splits: {len(folds)}, repeats: {folds[-1].repeat + 1}"
    ]
    notes.append("its training and validation patients together are assigned to inner folds")
    if unknown:
        notes.append(
            f"{path.name}: ids that are not in the cohort: {len(unknown)} ({_some(unknown)})"
        )
    cohort = _without(cohort, set().union(*(a | b for a, b in patients)), path.name)
    never = sorted(set(cohort.patient_ids).difference(*(test for test, _ in patients)))
    if never:
        notes.append(f"patients tested by no split: {len(never)} ({_some(never)})")
    return cohort, folds, notes


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _names(cohort: Cohort) -> dict[str, str]:
    """Return the patient of each id: patient ids and slide ids."""
    slides = zip(cohort.patient_ids, cohort.slide_ids, strict=True)
    names = {slide: patient for patient, several in slides for slide in several}
    return names | {patient: patient for patient in cohort.patient_ids}


def _patient(written: str, name_of: Mapping[str, str]) -> str | None:
    """Return the patient of an id (of a patient, a slide or a barcode); None if unknown."""
    bare = next((written.removesuffix(end) for end in SUFFIXES if written.endswith(end)), written)
    candidates = (written, bare, patient_of(written))
    return next((name_of[one] for one in candidates if one in name_of), None)


def _patients(split: ExternalSplit, name_of: Mapping[str, str]) -> tuple[set[str], set[str]]:
    """Return the cohort's test patients of a split, and its other patients."""
    test = {_patient(one, name_of) for one in split.test}
    rest = {_patient(one, name_of) for one in (*split.train, *split.val)}
    return {one for one in test if one}, {one for one in rest if one}


def _check(splits: Sequence[ExternalSplit], patients: Sequence[tuple[set[str], set[str]]]) -> None:
    """Raise if a patient is in test and training of one split, or a split has none of either."""
    faults = []
    for split, (test, rest) in zip(splits, patients, strict=True):
        if test & rest:
            both = sorted(test & rest)
            found = f"patients in test and in training at once: {len(both)} ({_some(both)})"
            remedy = "All slides of a patient must be on one side. Correct the split."
            faults.append(Fault(split.where, found, remedy))
    if faults:
        raise TableError(faults)
    for split, (test, rest) in zip(splits, patients, strict=True):
        if not test or not rest:
            role = "test" if not test else "training"
            raise CohortError(
                f"{split.where}: no patient of the cohort is left for {role}. Look into "
                "left_out.csv, or leave this split out."
            )


def _in_repeats(patients: Sequence[tuple[set[str], set[str]]]) -> list[OuterFold]:
    """Number the splits; a split with an already tested patient starts a new repeat."""
    folds: list[OuterFold] = []
    repeat, tested = 0, set[str]()
    for test, rest in patients:
        if test & tested:
            repeat, tested = repeat + 1, set()
        number = sum(one.repeat == repeat for one in folds)
        folds.append(OuterFold(repeat, number, frozenset(test), frozenset(rest)))
        tested |= test
    return folds


def _check_repeats(folds: Sequence[OuterFold], name: str) -> None:
    """Raise unless every repeat has the same test patients, so that repeats can be pooled."""
    tested: dict[int, frozenset[str]] = {}
    for one in folds:
        tested[one.repeat] = tested.get(one.repeat, frozenset()) | one.test
    for repeat, patients in tested.items():
        different = sorted(patients ^ tested[0])
        if different:
            raise CohortError(
                f"{name}: its splits test some patients again before all are tested: repeat "
                f"{repeat} and repeat 0 differ by {len(different)} test patients "
                f"({_some(different)}). "
                "Expected a cross-validation, a repeated one, or one test set; or let [folds] file "
                "name a single split."
            )


def _check_numbers(folds: Sequence[OuterFold], spec: FoldsSpec, name: str) -> None:
    """Raise if n_folds or repeats are set and differ from those of the splits."""
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
    """Return the cohort without patients in no split; they become rows of left_out."""
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
