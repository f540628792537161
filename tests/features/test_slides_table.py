"""The slides table: missing values, ids in other forms, and contradictions."""

from __future__ import annotations

from pathlib import Path

import pytest

from crosstype.errors import TableError
from crosstype.features.slides_table import read_slides_table, table_mpps
from crosstype.io.tables import MISSING

WORDS = ["NA", "N/A", "nan", "None", "-", "", "[Not Available]", " null ", "#N/A"]


def table_of(folder: Path, *rows: str, header: str = "PATIENT,FILENAME") -> Path:
    path = folder / "slides.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


@pytest.mark.parametrize("word", WORDS)
def test_a_word_for_missing_is_no_slide_and_no_mpp(tmp_path: Path, word: str) -> None:
    assert word.strip().casefold() in MISSING
    path = table_of(
        tmp_path, f"p,{word},0.5", f"q,b.svs,{word}", "r,c.svs,0.25", header="PATIENT,FILENAME,MPP"
    )
    listed = read_slides_table(path, "PATIENT")
    assert listed.patient_of == {"b": "q", "c": "r"}
    assert listed.notes == (
        f"slides.csv: 1 of 3 rows name no slide, first line 2 (FILENAME is {word.strip()!r}).",
    )
    assert table_mpps(path) == {"c": 0.25}


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (["NA,a.svs", "-,b.svs", "p,c.svs"], r"no PATIENT \('NA'\), in 2 rows with a slide"),
        (["p,NA", "q,NA"], "no row names a slide"),
        (["p,a.svs", "q,a.svs"], "slide 'a' of slides.csv line 2 for q, but it is p's"),
        (
            ["TCGA-A2-0001,TCGA-A2-0002-01Z-00-DX1.svs", "TCGA-A2-0002,TCGA-A2-0001-01Z-00-DX1"],
            "is of TCGA-A2-0002 by its barcode, and of TCGA-A2-0001 by the table; so are 2 of 2",
        ),
        ([f"p{i},a.svs" for i in range(20)], "14 more rows list a slide again"),
    ],
)
def test_contradictions_are_refused_with_a_count(
    tmp_path: Path, rows: list[str], found: str
) -> None:
    with pytest.raises(TableError, match=found) as raised:
        read_slides_table(table_of(tmp_path, *rows), "PATIENT")
    assert len(str(raised.value).splitlines()) <= 6


def test_mpps_that_are_no_numbers_are_one_line(tmp_path: Path) -> None:
    rows = [f'p{i},{i}.svs,"0,25"' for i in range(9)]
    path = table_of(tmp_path, *rows, header="PATIENT,FILENAME,MPP")
    with pytest.raises(TableError, match=r"MPP is '0,25', not a number \(and 8 more") as raised:
        table_mpps(path)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("written", "read"),
    [("1000.0", "1000"), ("1000", "1000"), ("0.0", "0"), ("007", "007"), ("007.0", "007.0"),
     ("1000.5", "1000.5"), ("A.0", "A.0"), ("p\u200b1", "p1"), ("Mu\u0308ller", "M\u00fcller")],
)  # fmt: skip
def test_ids_are_read_in_one_form_and_that_is_said(tmp_path: Path, written: str, read: str) -> None:
    listed = read_slides_table(table_of(tmp_path, f"{written},a.svs"), "PATIENT")
    assert listed.patient_of == {"a": read}
    said = [f"slides.csv, column PATIENT: 1 ids are read in another form, first {written!r}"]
    assert [note.partition(" as ")[0] for note in listed.notes] == said * (written != read)
