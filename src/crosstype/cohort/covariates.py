"""Clinical covariates: columns of a table, joined by patient, each of one kind.

What a column of covariates holds: numbers, ranks such as stage and grade, or categories.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Shaped

from crosstype.cohort.labels import class_of_each_label, find_label_column, patient_rows
from crosstype.cohort.spec import CohortSpec
from crosstype.errors import ConfigError, Fault, TableError
from crosstype.io import schema
from crosstype.io.tables import MISSING, Table, open_table

Kind = Literal["number", "rank", "category"]

UNKNOWN = MISSING | {
    "[not evaluated]", "[not applicable]", "[unknown]", "[discrepancy]", "[completed]",
    "not available", "not evaluated", "not applicable", "not reported", "unknown", "unspecified",
    "'--", "stage x", "grade x", "gx", "tx", "nx", "mx",
}  # fmt: skip
"""Words that record nothing: those of all tables, and those of clinical ones."""
STAGE = re.compile(r"^(?:stage)?\s*(0|iv|iii|ii|i)\s*([abc]?)\d?$")
GRADE = re.compile(r"^(?:grade|g)?\s*([1-4])$")
TNM = re.compile(r"^[cp]?([tnm])\s*([0-4])\s*([abcd]?)(?:mi)?\s*(?:\(.*\))?$")
ROMAN = {"0": 0, "i": 1, "ii": 2, "iii": 3, "iv": 4}
RECEPTOR_WORDS = frozenset(
    {"er", "pr", "pgr", "esr1", "her2", "erbb2", "neu", "tnbc", "ihc", "receptor", "hr", "subtype"}
)
RECEPTOR_PARTS = ("estrogen", "progesteron", "her2", "erbb2", "triplenegative", "pam50")


def same_words(cell: str) -> str:
    """Return a cell so that spellings of one value are equal: `50.0` and `50`, `Pos` and `pos`."""
    text = " ".join(cell.split()).casefold()
    number = _number(text)
    if number is None:
        return text
    return str(int(number)) if number.is_integer() else repr(number)


def kind_of(cells: Sequence[str]) -> Kind:
    """Return the kind of a column, from its cells with a value."""
    there = {same_words(cell) for cell in cells} - UNKNOWN
    kinds: tuple[Kind, ...] = ("number", "rank")
    for kind in kinds:
        if there and all(number_of(word, kind) is not None for word in there):
            return kind
    return "category"


def number_of(cell: str, kind: Kind) -> float | None:
    """Return the number or rank that a cell stands for; None if it is none.

    Stage I, IA, IB, IC, II, ... rank 1, 1, 1 1/3, 1 2/3, 2, ...; T, N and M likewise; grade 1 to 4.
    """
    text = " ".join(cell.split()).casefold()
    if kind == "number":
        return _number(text)
    if kind == "category":
        return None
    if match := GRADE.match(text):
        return float(match[1])
    if match := STAGE.match(text):
        return ROMAN[match[1]] + _part(match[2])
    match = TNM.match(text)
    return int(match[2]) + _part(match[3]) if match else None


def looks_like_receptor(name: str) -> bool:
    """Return whether a column's name refers to ER, PR, HER2 or the subtype itself."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    words = re.findall(r"[a-z0-9]+", spaced.casefold())
    return bool(RECEPTOR_WORDS.intersection(words)) or any(
        part in "".join(words) for part in RECEPTOR_PARTS
    )


def _number(text: str) -> float | None:
    try:
        value = float(text.replace("_", "?"))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _part(letter: str) -> float:
    return "abcd".index(letter) / 3 if letter else 0.0


COVARIATES = schema.COVARIATES.name
MOST_LEVELS = 100
"""A column with more different words than this names things; it is no category."""
FEWEST_MEASURED = 10
"""A column of words among so many different numbers was meant to hold numbers."""
WARNING = (
    "Warning: covariates that look like hormone receptors, HER2 or the subtype: {names}. "
    "Receptors by IHC nearly define Luminal against Basal/Her2; what models with covariates then "
    "show is not what slides or RNA are worth."
)


@dataclass(frozen=True)
class Covariates:
    """Clinical covariates of some patients, as written in the table.

    Attributes:
        patient_ids: in the order of the rows.
        names: names of the columns.
        kinds: of each column; recognised from all patients together, values are not used
            beyond that.
        words: cells, patients x covariates; empty where nothing was recorded.
    """

    patient_ids: tuple[str, ...]
    names: tuple[str, ...]
    kinds: tuple[Kind, ...]
    words: Shaped[np.ndarray, "patients covariates"]

    def words_of(self, patient_ids: Sequence[str]) -> Shaped[np.ndarray, "wanted covariates"]:
        """Return the cells of these patients; empty for patients without a row."""
        rows = {patient: row for row, patient in enumerate(self.patient_ids)}
        nothing = np.full(len(self.names), "", dtype=self.words.dtype)
        found = [self.words[rows[one]] if one in rows else nothing for one in patient_ids]
        return np.array(found, dtype=self.words.dtype).reshape(len(found), len(self.names))


def read_covariates(spec: CohortSpec, patient_ids: Sequence[str]) -> Covariates:
    """Read the covariates of these patients; missing for patients not in the table.

    Rows of a metastasis or of normal tissue are not used. Several rows of a patient must not
    disagree; an empty one does not.

    Raises:
        ConfigError: no table is set, or a covariate is the label or the patient column.
        TableError: a column is absent (names the nearest), is empty for all patients, or mixes
            numbers and words; a patient has two values.
    """
    path = spec.clinical or spec.labels
    if path is None:
        raise ConfigError("[cohort] covariates: no table is set. Set clinical.")
    table = open_table(path)
    _check_no_label(spec, table)
    rows = patient_rows(table, spec.patient_column, patient_ids)
    words, faults = [], list[Fault]()
    for name in spec.covariates:
        found, own = values_of(table, name, {one: rows.get(one, []) for one in patient_ids})
        words.append(found)
        faults += own or _column_faults(table.path.name, name, found)
    if faults:
        raise TableError(faults)
    return _of(tuple(patient_ids), spec.covariates, words)


def write_covariates(path: Path, covariates: Covariates) -> None:
    """Write covariates.csv: patient_id, then each covariate as written in its table."""
    rows = zip(covariates.patient_ids, *covariates.words.T.tolist(), strict=True)
    table = schema.COVARIATES.frame(list(rows), covariates.names)
    schema.COVARIATES.write_as(path, table, covariates.names)


def load_covariates(path: Path) -> Covariates:
    """Read what `write_covariates` wrote."""
    table = schema.COVARIATES.read_from(path)
    names = tuple(name for name in table.columns if name != "patient_id")
    return _of(tuple(table["patient_id"]), names, [table[name].to_list() for name in names])


def covariate_notes(covariates: Covariates) -> list[str]:
    """Return which covariates models use, and a warning if some nearly define the classes."""
    texts = []
    for column, (name, kind) in enumerate(zip(covariates.names, covariates.kinds, strict=True)):
        words = [word for word in covariates.words[:, column].tolist() if word]
        lacking = len(covariates.patient_ids) - len(words)
        levels = len({same_words(word) for word in words})
        what = {"number": "number", "rank": "rank"}.get(kind, f"{levels} categories")
        texts.append(f"{name} ({what}, {lacking} missing)")
    notes = [f"Clinical covariates besides slides and expression: {', '.join(texts)}."]
    suspect = [name for name in covariates.names if looks_like_receptor(name)]
    return notes + ([WARNING.format(names=", ".join(suspect))] if suspect else [])


def _of(
    patient_ids: tuple[str, ...], names: tuple[str, ...], columns: Sequence[Sequence[str]]
) -> Covariates:
    kinds = tuple(kind_of(column) for column in columns)
    return Covariates(patient_ids, names, kinds, np.array(columns, dtype=np.str_).T)


def _check_no_label(spec: CohortSpec, table: Table) -> None:
    """Raise if a covariate is the label or the patient column."""
    taken = {"patient_id", spec.patient_column}
    if spec.labels == table.path:
        known = list(class_of_each_label(spec))
        taken.add(spec.label_column or find_label_column(table, known))
    for name in spec.covariates:
        if name in taken:
            raise ConfigError(
                f"[cohort] covariates: {name!r} is the column of the patient or of the label. "
                "Remove it."
            )


def values_of(
    table: Table, name: str, rows_of: Mapping[str, Sequence[int]]
) -> tuple[list[str], list[Fault]]:
    """Return a column's value for each patient, and a fault for each patient with two values."""
    try:
        cells = table.column(name)
    except TableError as error:
        return [], list(error.faults)
    found, faults = [], []
    for patient, rows in rows_of.items():
        values = {same_words(cells[row]): row for row in reversed(rows)}
        values = {words: row for words, row in values.items() if words not in UNKNOWN}
        if len(values) > 1:
            listed = ", ".join(repr(cells[row]) for row in sorted(values.values()))
            where = f"{table.where(max(values.values()))}, column {name!r}"
            faults.append(Fault(where, f"{patient} has {listed}", "Keep one of them."))
        found.append(cells[min(values.values())] if values else "")
    return found, faults


def _column_faults(file_name: str, name: str, words: Sequence[str]) -> list[Fault]:
    """Return the faults of a column: empty, too many levels, or words among numbers."""
    where = f"{file_name}, column {name!r}"
    there = [word for word in words if word]
    if not there:
        found = f"nothing is recorded for any of the {len(words)} patients of the cohort"
        return [Fault(where, found, "Remove it from [cohort] covariates.")]
    if kind_of(words) != "category":
        return []
    levels = Counter(same_words(word) for word in there)
    numbers = {word for word in levels if number_of(word, "number") is not None}
    if len(numbers) > FEWEST_MEASURED and 2 * len(numbers) > len(levels):
        odd = next(word for word in there if same_words(word) not in numbers)
        found = f"{odd!r} is not a number, as {len(numbers)} other values are"
        return [Fault(where, found, "Correct it or leave the cell empty.")]
    if len(levels) > MOST_LEVELS:
        found = f"{len(levels)} different words"
        return [Fault(where, found, f"Expected at most {MOST_LEVELS}. Group them, or remove it.")]
    return []
