"""A new table brought to the unit of the table that a model was fitted on, or refused.

What is done is said; where the result would be a number that nobody can vouch for, it is an error.
"""

from __future__ import annotations

import numpy as np

from crosstype.cohort.expression import Expression
from crosstype.cohort.gene_input import COUNTS, GeneInput, Kind, offset_of
from crosstype.cohort.linear_scale import LinearScale
from crosstype.errors import CohortError

UNKNOWN = ("linear", "log")
"""Amounts, or logarithms of amounts, of which it is not known what they count."""
WORDS: dict[str, str] = {
    "linear": "amounts whose unit the values do not show",
    "log": "logarithms",
    "zscore": "z-scores",
    "tpm": "TPM",
    "fpkm": "FPKM",
    "rsem": "RSEM",
}
SCALED = 'fit the model with [expression] representation = "scaled" (docs/assays.md)'


def converted(
    where: str, found: Expression, kind: Kind, wanted: GeneInput
) -> tuple[np.ndarray, list[str]]:
    """Return a table's values in the unit of the training table, and what was done, in words.

    Args:
        where: name of the table.
        found: the new table.
        kind: its kind.
        wanted: what the model was fitted on.

    Raises:
        CohortError: z-scores meet anything else; the step between logarithms and amounts is not
            exact; amounts are of another kind and the model does not bring patients to one level.
    """
    notes: list[str] = []
    if (found.unit == "zscore") != (wanted.unit == "zscore"):
        raise _refused(where, kind, wanted, "z-scores compare a gene with other patients")
    if found.unit == "zscore":
        return found.values, notes
    if wanted.representation == "ranks":
        if kind != wanted.kind:
            notes.append(
                f"conversion: {_words(kind)} serve where {_words(wanted.kind)} were trained on, "
                "for the model sees ranks within each patient"
            )
        return found.values, notes
    values = _in_unit(where, found, kind, wanted, notes)
    if not _alike(kind, wanted.kind):
        if wanted.representation != "scaled":
            why = "another unit shifts every gene, and with it every probability"
            raise _refused(where, kind, wanted, why, SCALED)
        notes.append(
            f"conversion: {_words(kind)} serve where {_words(wanted.kind)} were trained on: each "
            "patient's amounts are multiplied by one number, to the level of the training patients"
        )
    elif kind != wanted.kind:
        notes.append(
            f"unit: {_words(kind)} here, {_words(wanted.kind)} in training; nothing tells "
            "them apart, so only the level of the genes is compared"
        )
    return values, notes


def _in_unit(
    where: str, found: Expression, kind: Kind, wanted: GeneInput, notes: list[str]
) -> np.ndarray:
    """Return the values as amounts or as logarithms, whichever the model was fitted on."""
    offset = offset_of(found.values, found.unit)
    if found.unit == wanted.unit and offset == wanted.offset:
        return found.values
    if offset is None or wanted.offset is None:
        raise _refused(where, kind, wanted, "the step between the two is not exactly known")
    own = LinearScale(found.unit == "log", offset, 0.0)
    theirs = LinearScale(wanted.unit == "log", wanted.offset, 0.0)
    notes.append(f"conversion: {_formula(own, theirs)}, base 2 taken for granted")
    return theirs.values(own.amounts(found.values))


def _formula(own: LinearScale, theirs: LinearScale) -> str:
    amount = f"2^x - {own.offset:g}" if own.is_log else "x"
    return f"log2({amount} + {theirs.offset:g})" if theirs.is_log else amount


def _alike(kind: Kind, wanted: Kind) -> bool:
    """Return whether two kinds may be the same amounts; counts are known for what they are."""
    unknown = kind in UNKNOWN or wanted in UNKNOWN
    return kind == wanted or (unknown and not {kind, wanted} & set(COUNTS))


def _refused(
    where: str, kind: Kind, wanted: GeneInput, why: str, otherwise: str = ""
) -> CohortError:
    remedy = "Give a table of that unit" + (f", or {otherwise}" if otherwise else "")
    return CohortError(
        f"{where}: found {_words(kind)}, expected {_words(wanted.kind)}, on which this model was "
        f"fitted: {why}. {remedy}; state --unit if the unit was not recognised."
    )


def _words(kind: Kind) -> str:
    return WORDS.get(kind, kind)
