"""Files that are no table are named; layouts with lines around the table are read."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from crosstype.errors import TableError
from crosstype.io.number_table import read_number_table
from crosstype.io.tables import Table, open_table, parse_numbers, read_grid

BODY = "gene\tP1\tP2\nESR1\t1.5\t40\nTP53\t3\t4\n"


def put(folder: Path, data: bytes | str, name: str = "table.tsv") -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def first(table: Table) -> Sequence[int]:
    return [0]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "pointer of Git LFS"),
        (b"<!DOCTYPE html>\n<html><body>404</body></html>", "web page"),
        (b"\n  <HTML>\n", "web page"),
        (gzip.compress(b"X\n\0\0\0\3\0\4\1\0", mtime=0), r"R object \(.rds\)"),
        (b"RDX3\nX\n", "R workspace"),
        (b"%PDF-1.7\n", "PDF"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 20, "Excel 97"),
        (b'{"a": 1}', "JSON"),
        (b"ARROW1\0\0", "Feather"),
        (b"#1.3\n2\t2\t0\t0\nid\tP1\tP2\n", r"GCT 1\.3"),
        (b"!Series_title\t\"x\"\n!Series_status\t\"y\"\n", "GEO series matrix without a table"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_named(tmp_path: Path, data: bytes, what: str) -> None:
    with pytest.raises(TableError, match=f"table.tsv: .*{what}"):
        read_number_table(put(tmp_path, data), first)


@pytest.mark.parametrize(
    "text",
    [
        BODY,
        "#1.2\n2\t2\n" + BODY,
        '!Series_title\t"a"\n\n!series_matrix_table_begin\n' + BODY + "!series_matrix_table_end\n",
        "# one comment\n#another\n" + BODY,
        "Supplementary Table 1\t\t\n" + BODY,
        "Supplementary Table 1\t\t\n\t\t\n" + BODY,
        BODY.replace("\nESR1", "\ngene_id\tnormalized_count\tnormalized_count\nESR1"),
        BODY.replace("\n", "\r\n"),
        "\ufeff" + BODY,
        BODY.replace("40", " 40 "),
    ],
)
def test_lines_around_the_table_change_no_number(tmp_path: Path, text: str) -> None:
    table = read_number_table(put(tmp_path, text), first)
    assert (table.names, table.texts[0][1]) == (("P1", "P2"), ["ESR1", "TP53"])
    np.testing.assert_array_equal(table.values, np.float32([[1.5, 40], [3, 4]]))


def test_a_second_header_of_several_kinds_is_refused(tmp_path: Path) -> None:
    text = BODY.replace("\nESR1", "\ngene_id\traw_count\tscaled_estimate\nESR1")
    with pytest.raises(TableError, match=r"several kinds of values \(raw_count, scaled_estimate\)"):
        read_number_table(put(tmp_path, text), first)


def test_genes_and_titles_that_look_like_the_start_of_another_format_are_read(
    tmp_path: Path,
) -> None:
    for corner in ("A", "X", "version", "html"):
        text = BODY.replace("gene", corner, 1)
        assert read_number_table(put(tmp_path, text), first).names == ("P1", "P2")


def test_equal_faults_are_one_with_their_number(tmp_path: Path) -> None:
    rows = "".join(f"G{i}\t1,{i:03}.5\tabc\t0,5\n" for i in range(30))
    table = read_grid(put(tmp_path, "gene\ta\tb\tc\n" + rows))
    _, faults = parse_numbers(table, [1, 2, 3])
    texts = [str(fault) for fault in faults]
    assert len(texts) == 3
    assert all("30 such cells" in text for text in texts)
    assert "Expected no thousands separators" in texts[0]
    assert "with a decimal point, or an empty cell" in texts[1]
    assert "found a comma" in texts[2]


def test_words_for_missing_are_missing_in_every_column(tmp_path: Path) -> None:
    words = ["NA", "n/a", "NaN", "None", "-", "", "[Not Available]", "#N/A", "null", " NA\u200b"]
    text = "id,x\n" + "".join(f"P{i},{word}\n" for i, word in enumerate(words))
    table = open_table(put(tmp_path, text))
    assert table.filled("x") == [""] * len(words)
    assert open_table(put(tmp_path, "id,x\nP1,NAT1\nP2,0\n")).filled("x") == ["NAT1", "0"]
