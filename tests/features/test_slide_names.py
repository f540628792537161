"""Slides are matched with files under another spelling of their name, or the nearest is named."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest

from crosstype.errors import FeatureFileError
from crosstype.features.formats.open import write_features
from crosstype.features.slide_names import match_files
from crosstype.features.spec import FeaturesSpec
from crosstype.features.store import list_slides

UUID = "0f3a9c1e-1b2c-4d5e-8f90-a1b2c3d4e5f6"
OTHER = "11111111-2222-4333-8444-555555555555"
BARCODE = "TCGA-A2-A04P-01Z-00-DX1"


def matched(listed: list[str], there: list[str]) -> dict[str, str]:
    found = match_files(listed, {name: Path(f"{name}.h5") for name in there})
    assert set(found.missing) == set(listed).difference(found.files)
    return {one: path.stem for one, path in found.files.items()}


@pytest.mark.parametrize(
    ("listed", "there", "difference"),
    [
        ("Präparat 1", unicodedata.normalize("NFD", "Präparat 1"), "Unicode form"),
        (unicodedata.normalize("NFD", "Präparat 1"), "Präparat 1", "Unicode form"),
        ("a", "a.svs", "slide suffix"),
        ("a", "a.ome.tif", ""),
        ("a.svs", "a", "slide suffix"),
        ("1001.0", "1001", "Unicode form"),
        ("Case-7", "case-7", "case"),
        ("case 7", "case_7", "blanks"),
        ("case 7", "case\u00a0 7 ", "blanks"),
        ("ca\u200bse7", "case7", "Unicode form"),
        ("case 7", "case%207.svs", "slide suffix"),
        ("a", "a (1)", "copy"),
        ("a", "a - Copy", "copy"),
        ("a", "a.svs (2)", "copy"),
        (f"{BARCODE}.{UUID}", BARCODE, "UUID"),
        (BARCODE, f"{BARCODE}.{UUID}", "UUID"),
        (f"{BARCODE}.{UUID}", f"{BARCODE.lower()}.svs", "UUID"),
        (f"P7.{UUID}", "P7", "UUID"),
        (f"{BARCODE}.{UUID}", f"{BARCODE}.{OTHER}", ""),
        (f"P7.{UUID}", f"P7.{OTHER}", ""),
        ("a (1)", "a (2)", ""),
        ("P1", "P10", ""),
        ("TCGA-A2-A04P-01Z-00-DX2", BARCODE, ""),
    ],
)
def test_one_difference_is_bridged_and_said(listed: str, there: str, difference: str) -> None:
    found = match_files([listed], {there: Path(f"{there}.h5")})
    assert bool(found.files) == bool(difference)
    assert [difference in note for note in found.notes] == [True] * bool(difference)


def test_an_equal_name_goes_first_and_what_is_ambiguous_is_missing() -> None:
    assert matched(["a", "A"], ["a"]) == {"a": "a"}
    assert matched(["a", "A"], ["a", "A"]) == {"a": "a", "A": "A"}
    assert matched(["a b"], ["a_b", "A b"]) == {}
    assert matched(["A b", "a_B"], ["a b"]) == {}
    assert matched([f"{BARCODE}.{UUID}", f"{BARCODE}.{OTHER}"], [BARCODE]) == {}
    assert matched([BARCODE], [f"{BARCODE}.{UUID}", f"{BARCODE}.{OTHER}"]) == {}
    assert matched(["a"], ["a (1)", "a (2)"]) == {}
    assert matched(["S (1)", "S (2)", "S (3)"], ["S (1)", "S (2)"]) == {
        "S (1)": "S (1)",
        "S (2)": "S (2)",
    }


def test_missing_slides_are_one_line_with_the_nearest_file(tmp_path: Path) -> None:
    folder = tmp_path / "features"
    for name in ("slide-0041_v2", "slide-0042_v2"):
        write_features(folder / f"{name}.h5", np.ones((2, 3)))
    table = tmp_path / "slides.csv"
    table.write_text("PATIENT,FILENAME\np,slide-0042.svs\nq,slide-0041.svs\nr,zzz\n")
    listing = list_slides(FeaturesSpec(folder=folder), table, "PATIENT")
    (note,) = listing.notes
    assert note.startswith("3 listed slides are missing, first slide-0041 ")
    assert "nearest file 'slide-0041_v2.h5'" in note
    assert "features holds 2 files such as 'slide-0041_v2.h5'" in note


@pytest.mark.parametrize(
    ("listed", "there", "near"),
    [
        (f"{BARCODE}.{UUID}", f"{BARCODE}.{OTHER}", True),
        ("slide-0042", "slide-0043", True),
        ("case 12345 HE", "Case_12345 HE recut and scanned again in 2021 by another lab", True),
        ("alpha", "omega", False),
        ("P1", "Q7", False),
    ],
)
def test_the_nearest_file_is_named(tmp_path: Path, listed: str, there: str, near: bool) -> None:
    write_features(tmp_path / f"{there}.h5", np.ones((2, 3)))
    (tmp_path / "slides.csv").write_text(f"PATIENT,FILENAME\np,{listed}.svs\n")
    (note,) = list_slides(FeaturesSpec(folder=tmp_path), tmp_path / "slides.csv", "PATIENT").notes
    assert (f"nearest file '{there}.h5'" in note) == near


def test_a_folder_without_features_is_described(tmp_path: Path) -> None:
    (tmp_path / "features_uni_v1").mkdir()
    (tmp_path / "a.npy").write_bytes(b"x")
    found = "no .h5 or .pt file, but 1 file with .npy and 1 folder such as 'features_uni_v1'"
    with pytest.raises(FeatureFileError, match=found):
        list_slides(FeaturesSpec(folder=tmp_path), None, "PATIENT")


def test_without_a_table_suffixes_in_names_are_no_part_of_the_patient(tmp_path: Path) -> None:
    for name in ("P1.svs", "P2", "P2 (1)", "P3", "P3.svs"):
        write_features(tmp_path / f"{name}.h5", np.ones((2, 3)))
    found = list_slides(FeaturesSpec(folder=tmp_path), None, "PATIENT").slides
    assert [one[:2] for one in found] == [
        ("P1", "P1"),
        ("P2", "P2"),
        ("P2 (1)", "P2"),
        ("P3", "P3"),
        ("P3.svs", "P3.svs"),
    ]


def test_suffixes_in_capitals_are_feature_files_too(tmp_path: Path) -> None:
    write_features(tmp_path / "a.H5", np.ones((2, 3)))
    assert [one[0] for one in list_slides(FeaturesSpec(folder=tmp_path), None, "P").slides] == ["a"]
