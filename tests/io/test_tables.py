from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from crosstype.errors import TableError
from crosstype.io.tables import parse_numbers, read_grid, read_stage_table, read_table, write_table


def put(folder: Path, data: bytes | str, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


@pytest.mark.parametrize("separator", [",", "\t", ";", "|"])
def test_cells_are_read_as_written_whatever_the_separator(tmp_path: Path, separator: str) -> None:
    rows = [["id", "gene", "n"], ["007", "NA", "1.50"], ["1e5", "SEPT1", ""]]
    text = "\n".join(separator.join(row) for row in rows)
    frame = read_table(put(tmp_path, text))
    assert frame.columns == rows[0]
    assert [list(row) for row in frame.iter_rows()] == rows[1:]


def test_decimal_commas_do_not_pass_for_separators(tmp_path: Path) -> None:
    frame = read_table(put(tmp_path, "id;a;b\nx;1,5;2,5\ny;3,5;4,5\n"))
    assert frame.columns == ["id", "a", "b"]


def test_a_header_one_field_short_names_all_but_the_first_column(tmp_path: Path) -> None:
    frame = read_table(put(tmp_path, "s1\ts2\ng1\t1\t2\ng2\t3\t4\n"))
    assert frame.columns == ["", "s1", "s2"]
    assert frame["s2"].to_list() == ["2", "4"]
    with pytest.raises(TableError, match="ends in a separator"):
        read_table(put(tmp_path, "a,b\n1,2,\n3,4,\n"))


def test_ragged_rows_are_counted_by_length(tmp_path: Path) -> None:
    with pytest.raises(TableError) as raised:
        read_table(put(tmp_path, "# note\na,b\n1,2\n1,2,3\n\n4\n5,6\n"))
    wheres = [fault.where for fault in raised.value.faults]
    assert wheres == ["table.csv line 5 and 1 more", "table.csv line 4"]


def test_quoted_fields_keep_separators_line_ends_and_quotes(tmp_path: Path) -> None:
    frame = read_table(put(tmp_path, 'a,b\n"x,1","said ""no"""\n"two\nlines",y\n'))
    assert frame.rows() == [("x,1", 'said "no"'), ("two\nlines", "y")]
    with pytest.raises(TableError, match="line 2: a quotation"):
        read_table(put(tmp_path, 'a,b\n"x,1\n2,y\n'))


def test_a_single_hash_line_with_as_many_fields_is_the_header(tmp_path: Path) -> None:
    assert read_table(put(tmp_path, "#id,label\n1,x\n")).columns == ["#id", "label"]
    assert read_table(put(tmp_path, "# gene-model: v36\nid,label\n1,x\n")).columns == [
        "id",
        "label",
    ]


def test_gzip_is_recognised_by_content_and_a_cut_is_a_fault(tmp_path: Path) -> None:
    data = gzip.compress(b"a,b\n1,2\n" * 50)
    assert read_table(put(tmp_path, data)).height == 99
    with pytest.raises(TableError, match="cut off or damaged"):
        read_table(put(tmp_path, data[:-9], "table.tsv.gz"))


def test_a_folder_and_a_missing_file_are_table_errors(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent.csv"):
        with pytest.raises(TableError):
            read_table(path)


def test_old_mac_line_ends_trailing_blank_rows_and_unnamed_blank_columns(tmp_path: Path) -> None:
    frame = read_table(put(tmp_path, "a,b,\r1,2,\r,,\r"))
    assert frame.columns == ["a", "b"]
    assert frame.rows() == [("1", "2")]


def test_numbers_missing_text_and_infinities_are_distinguished(tmp_path: Path) -> None:
    table = read_grid(put(tmp_path, "g,a,b\nx, 1.5,NA\ny,abc,-\nz,2e3,inf\n"))
    values, faults = parse_numbers(table, [1, 2])
    np.testing.assert_array_equal(values[:, 0], np.float32([1.5, np.nan, 2000.0]))
    assert [fault.where for fault in faults] == [
        "table.csv line 3, column 'a'",
        "table.csv line 4, column 'b'",
    ]


def test_a_stage_table_comes_back_exactly(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    numbers = np.random.default_rng(0).normal(size=50) * 10.0 ** np.arange(-25, 25)
    frame = pl.DataFrame({"id": [f"{i:03d}" for i in range(50)], "x": numbers})
    write_table(path, frame)
    assert b"\r" not in path.read_bytes()
    back = read_stage_table(path, {"id": pl.String, "x": pl.Float64})
    assert back.equals(frame)
    with pytest.raises(TableError, match=r"no column 'idd'. Nearest columns: 'id'"):
        read_stage_table(path, ["idd"])
    with pytest.raises(TableError):
        read_stage_table(path, {"x": pl.Int64})
    write_table(path, frame.clear())
    assert read_stage_table(path, ["id", "x"]).height == 0


def test_the_separator_is_that_of_every_row(tmp_path: Path) -> None:
    frame = read_table(put(tmp_path, "id;a,b\nP1;1\n"))
    assert frame.columns == ["id", "a,b"]
    assert frame.row(0) == ("P1", "1")
