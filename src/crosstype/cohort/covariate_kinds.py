"""What a column of covariates holds: numbers, ranks such as stage and grade, or categories."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal

from crosstype.tables import MISSING

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
    """Return what a column holds, judged by every cell that says something."""
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
    """Return whether a column's name speaks of ER, PR, HER2 or of the subtype itself."""
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
