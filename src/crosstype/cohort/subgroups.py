"""Groups of patients by site, histology, receptors, age or any column, for subgroup metrics."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from crosstype.cohort.covariates import kind_of, number_of, same_words, values_of
from crosstype.cohort.labels import patient_rows
from crosstype.cohort.spec import CohortSpec
from crosstype.errors import ConfigError, TableError
from crosstype.io import schema
from crosstype.io.tables import open_table

SUBGROUPS = schema.SUBGROUPS_OF.name
SITE = "site"
UNRECORDED = "not recorded"
MOST_NUMBERS = 6
"""A column with more different numbers than this is cut into ranges."""
DECADES = (40, 50, 60, 70)


def read_subgroups(
    spec: CohortSpec, patient_ids: Sequence[str], sites: Sequence[str]
) -> pl.DataFrame:
    """Return the group of each patient in each column: patient_id, column, group.

    The site always is one, where there are several. Numbers are cut into ranges: years of age by
    decade from 40 to 70, others into thirds of the patients.

    Args:
        spec: names the columns and their table.
        patient_ids: the cohort.
        sites: tissue source site of each, empty where unknown.

    Raises:
        ConfigError: columns are named and no table is set.
        TableError: a column is absent (names the nearest), or a patient has two values.
    """
    frames = []
    if len(set(sites)) > 1:
        frames.append(_frame(patient_ids, SITE, [one or UNRECORDED for one in sites]))
    if spec.subgroups:
        frames += _named(spec, patient_ids)
    return pl.concat([schema.SUBGROUPS_OF.frame(), *frames])


def write_subgroups(path: Path, groups: pl.DataFrame) -> None:
    """Write subgroups_of.csv."""
    schema.SUBGROUPS_OF.write_as(path, groups)


def _named(spec: CohortSpec, patient_ids: Sequence[str]) -> list[pl.DataFrame]:
    path = spec.clinical or spec.labels
    if path is None:
        raise ConfigError("[cohort] subgroups: no table is set. Set clinical.")
    table = open_table(path)
    rows = patient_rows(table, spec.patient_column, patient_ids)
    frames, faults = [], []
    for name in spec.subgroups:
        cells, own = values_of(table, name, {one: rows.get(one, []) for one in patient_ids})
        faults += own
        if not own:
            frames.append(_frame(patient_ids, name, grouped(name, cells)))
    if faults:
        raise TableError(faults)
    return frames


def grouped(name: str, cells: Sequence[str]) -> list[str]:
    """Return the group that each cell of a column belongs to."""
    numbers = [number_of(cell, "number") for cell in cells]
    known = [one for one in numbers if one is not None]
    there = [cell for cell in cells if cell]
    if kind_of(there) == "number" and len(set(known)) > MOST_NUMBERS:
        cuts = _cuts(name, known)
        return [UNRECORDED if one is None else _range(one, cuts) for one in numbers]
    first: dict[str, str] = {}
    for cell in there:  # the first spelling of a value names its group
        first.setdefault(same_words(cell), cell.strip())
    return [first[same_words(cell)] if cell else UNRECORDED for cell in cells]


def _cuts(name: str, known: Sequence[float]) -> tuple[float, ...]:
    years = "age" in name.lower() and 18 <= float(np.median(known)) <= 100
    if years:
        return DECADES
    low, high = np.quantile(known, [1 / 3, 2 / 3])
    return (float(low), float(high)) if low < high else (float(low),)


def _range(value: float, cuts: Sequence[float]) -> str:
    """Return the range that a number lies in; each begins at its cut."""
    below = [cut for cut in cuts if cut <= value]
    above = [cut for cut in cuts if cut > value]
    if not below:
        return f"below {above[0]:g}"
    return f"{below[-1]:g} to below {above[0]:g}" if above else f"{below[-1]:g} and more"


def _frame(patient_ids: Sequence[str], name: str, groups: Sequence[str]) -> pl.DataFrame:
    rows = zip(patient_ids, [name] * len(patient_ids), groups, strict=True)
    return schema.SUBGROUPS_OF.frame(list(rows))
