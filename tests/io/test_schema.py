"""The schema of tables: a run's tables match it, and each table is in its folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from crosstype.errors import TableError
from crosstype.io import schema
from crosstype.io.schema import MARK, REAL, TABLES, TEXT, WHOLE, Column, TableSchema

ROOT = Path(__file__).parents[2]
CLASSES = ("Luminal", "Basal/Her2")
TABLE = TableSchema(
    "some.csv",
    "a patient",
    (
        Column("patient_id", TEXT, "who"),
        Column("n", WHOLE, "how many"),
        Column("share_<class>", REAL, "of each class"),
        Column("slope_<shown_class>", REAL, "of each class, of two the second"),
    ),
)


def schema_of(path: Path, out: Path) -> TableSchema:
    place = path.relative_to(out)
    folder = "" if place.parent == Path() else place.parent.as_posix()
    found = [one for one in TABLES if (one.folder, one.name) == (folder, place.name)]
    assert len(found) == 1, f"{place} has {len(found)} schemas"
    return found[0]


def test_every_table_of_a_run_matches_its_schema(finished: tuple[Any, Path]) -> None:
    out = finished[1]
    paths = sorted(out.rglob("*.csv"))
    assert len(paths) > 25
    for path in paths:
        table = schema_of(path, out)
        kinds = table.polars(CLASSES)
        header = path.read_text(encoding="utf-8").splitlines()[0]
        frame = table.read_if_there(path.parent, CLASSES)
        if frame.is_empty() and table.folder:  # nothing to tell: two columns
            assert list(kinds)[:2] == header.split(",")[:2]
            continue
        assert header.split(",") == list(kinds), path.name
        assert dict(frame.schema) == kinds, path.name


def test_a_leaking_protocol_marks_the_tables_that_may_be_marked(tiny: Any, tmp_path: Path) -> None:
    tiny.change(protocol="paper", models=("gene_only",))
    out = tmp_path / "out"
    tiny.run(out)
    for path in sorted(out.rglob("*.csv")):
        table = schema_of(path, out)
        frame = pl.read_csv(path)
        more = [MARK] if table.is_marked and frame.height else []
        assert frame.columns == [*table.polars(CLASSES), *more], path.name


def test_every_table_is_used_and_documented() -> None:
    sources = [
        path.read_text(encoding="utf-8")
        for path in (ROOT / "src").rglob("*.py")
        if path.name != "schema.py"
    ]
    page = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    names = {id(one): name for name, one in vars(schema).items() if isinstance(one, TableSchema)}
    assert len({(one.folder, one.name) for one in TABLES}) == len(TABLES) == len(names)
    for table in TABLES:
        used = re.compile(rf"\b{names[id(table)]}\b")
        assert any(used.search(text) for text in sources), table.name
        assert f"#### `{f'{table.folder}/{table.name}'.lstrip('/')}`" in page
        assert table.row
        assert all(one.meaning for one in table.columns)


def test_columns_of_classes_take_the_place_of_one() -> None:
    two = {"patient_id": TEXT, "n": WHOLE, "share_a": REAL, "share_b": REAL, "slope_b": REAL}
    assert TABLE.polars("ab") == two
    assert list(TABLE.polars("abc"))[-3:] == ["slope_a", "slope_b", "slope_c"]
    assert list(TABLE.polars()) == ["patient_id", "n"]


def test_written_and_read_it_is_the_same(tmp_path: Path) -> None:
    frame = TABLE.frame([("007", 3, 0.1, None, 1 / 3)], "ab")
    TABLE.write(tmp_path, frame, "ab")
    text = (tmp_path / "some.csv").read_text(encoding="utf-8")
    assert text == "patient_id,n,share_a,share_b,slope_b\n007,3,0.1,,0.3333333333333333\n"
    assert TABLE.read(tmp_path, "ab").equals(frame)
    assert TABLE.read_if_there(tmp_path, "ab").equals(frame)
    by_column = {"n": [3], "patient_id": "007", "share_a": [0.1], "share_b": None}
    assert TABLE.frame(by_column | {"slope_b": [1 / 3]}, "ab").equals(frame)


def test_a_table_that_is_not_there_or_has_no_rows_is_empty(tmp_path: Path) -> None:
    nothing = TABLE.frame(classes="ab")
    assert TABLE.read_if_there(tmp_path, "ab").equals(nothing)
    (tmp_path / "some.csv").write_text("patient_id,n\n")
    assert TABLE.read_if_there(tmp_path, "ab").schema == nothing.schema
    with pytest.raises(TableError, match="no column 'share_a'"):
        TABLE.read(tmp_path, "ab")


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.drop("n"),
        lambda frame: frame.with_columns(more=1),
        lambda frame: frame.cast({"n": pl.Int32}),
        lambda frame: frame.select("n", "patient_id", pl.exclude("n", "patient_id")),
    ],
    ids=["a column lacks", "a column too many", "another type", "another order"],
)
def test_another_table_is_not_written(tmp_path: Path, change: Any) -> None:
    with pytest.raises(ValueError, match=r"some\.csv: found"):
        TABLE.write(tmp_path, change(TABLE.frame([("a", 1, 0.5, 0.5, 1.0)], "ab")), "ab")
    assert not list(tmp_path.iterdir())
