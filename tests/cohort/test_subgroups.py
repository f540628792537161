"""Groups of patients from any column: ranges, spellings, and what is not recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from crosstype.cohort.spec import ClassSpec, CohortSpec
from crosstype.cohort.subgroups import grouped, read_subgroups
from crosstype.errors import ConfigError, TableError

CLASSES = (ClassSpec("Luminal", ("LumA",)), ClassSpec("Basal", ("Basal",)))
IDS = ("TCGA-AA-0001", "TCGA-AA-0002", "TCGA-BB-0003", "TCGA-BB-0004")
TABLE = """\
PATIENT,age,er,Subtype
TCGA-BB-0003,61,Positive,LumA
TCGA-AA-0001,50,positive ,Basal
TCGA-AA-0002,[Not Available],Negative,LumA
"""


def spec_of(folder: Path, text: str, *names: str) -> CohortSpec:
    (folder / "clinical.csv").write_text(text, encoding="utf-8")
    return CohortSpec(clinical=folder / "clinical.csv", subgroups=names, classes=CLASSES)


def groups_of(table: pl.DataFrame, column: str) -> dict[str, str]:
    part = table.filter(pl.col("column") == column)
    return dict(part.select("patient_id", "group").iter_rows())


def test_site_is_a_column_wherever_there_are_several() -> None:
    none = CohortSpec(classes=CLASSES)
    table = read_subgroups(none, IDS, ("AA", "AA", "BB", ""))
    assert groups_of(table, "site") == dict(
        zip(IDS, ("AA", "AA", "BB", "not recorded"), strict=True)
    )
    assert read_subgroups(none, IDS, ("AA",) * 4).is_empty()


def test_columns_are_joined_by_patient_and_spellings_are_one(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, TABLE, "er")
    found = groups_of(read_subgroups(spec, IDS, ("",) * 4), "er")
    assert found[IDS[0]] == found[IDS[2]]
    assert found[IDS[0]].lower() == "positive"
    assert found[IDS[1]] == "Negative"
    assert found[IDS[3]] == "not recorded"  # has no row


def test_years_of_age_are_cut_by_decade() -> None:
    ages = ["39.9", "40", "49", "50", "59.5", "60", "70", "88", ""]
    assert grouped("age_at_diagnosis", ages) == [
        "below 40", "40 to below 50", "40 to below 50", "50 to below 60", "50 to below 60",
        "60 to below 70", "70 and more", "70 and more", "not recorded",
    ]  # fmt: skip


def test_other_numbers_are_cut_into_thirds_as_numpy_cuts_them() -> None:
    values = np.random.default_rng(0).normal(size=90)
    groups = grouped("ki67", [str(value) for value in values])
    low, high = np.quantile(values, [1 / 3, 2 / 3])
    for value, group in zip(values, groups, strict=True):
        assert group.startswith("below") == (value < low)
        assert group.endswith("and more") == (value >= high)
    assert sorted(groups.count(one) for one in set(groups)) == [30, 30, 30]


def test_few_different_numbers_are_groups_as_they_stand() -> None:
    assert grouped("grade", ["1", "2", "3", "2", ""]) == ["1", "2", "3", "2", "not recorded"]


def test_two_values_of_a_patient_are_one_line(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, TABLE + "TCGA-AA-0001,50,Negative,Basal\n", "er")
    with pytest.raises(TableError) as caught:
        read_subgroups(spec, IDS, ("",) * 4)
    assert len(caught.value.faults) == 1
    said = str(caught.value)
    assert "\n" not in said
    assert "clinical.csv line 5" in said
    assert "TCGA-AA-0001 has 'positive" in said


def test_a_column_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="age"):
        read_subgroups(spec_of(tmp_path, TABLE, "agee"), IDS, ("",) * 4)


def test_columns_without_a_table_are_an_error() -> None:
    spec = CohortSpec(subgroups=("age",), classes=CLASSES)
    with pytest.raises(ConfigError, match="subgroups: no table is set"):
        read_subgroups(spec, IDS, ("",) * 4)
