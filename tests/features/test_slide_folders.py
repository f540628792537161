"""Slides are found in their folder, or one folder down as gdc-client leaves them."""

from __future__ import annotations

from pathlib import Path

import pytest

from crosstype.errors import SlideError
from crosstype.features.slide_sources import find_sources, list_sources
from crosstype.slides.spec import SlidesSpec


def make(folder: Path, *names: str) -> SlidesSpec:
    for name in names:
        path = folder / "slides" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return SlidesSpec(folder=folder / "slides")


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["1a/a.svs", "2b/b.svs", "2b/logs.parcel", "2b/b.svs.partial"], ["a", "b"]),
        (["a.svs", "thumbnails/a.jpg"], ["a"]),
        (["a.mrxs", "a/Slidedat.ini"], ["a"]),
        (["1a/a.tif", ".hidden/b.svs"], ["a"]),
        (["1a/a.jpg", "2b/b.png"], ["a", "b"]),
        (["1a/a.svs", "1a/c.svs"], ["a", "c"]),
    ],
)
def test_slides_may_be_one_folder_down(tmp_path: Path, names: list[str], found: list[str]) -> None:
    spec = make(tmp_path, *names)
    assert [one.slide_id for one in find_sources(spec, None, "PATIENT")] == found


def test_two_slides_of_one_name_in_two_folders_are_refused(tmp_path: Path) -> None:
    spec = make(tmp_path, "1a/a.svs", "2b/a.svs")
    with pytest.raises(SlideError, match=r"2b/a\.svs: the same slide id as 1a/a\.svs"):
        find_sources(spec, None, "PATIENT")


def test_listed_slides_are_found_in_both_places_and_in_other_spelling(tmp_path: Path) -> None:
    names = ("a.svs", "sub/b.svs", "C 1.tif", "masks/a.png", "masks2/a.png")
    spec = make(tmp_path, *names)
    table = tmp_path / "slides.csv"
    table.write_text(
        "PATIENT,FILENAME,MPP\np,a.svs,NA\nq,b.svs,0.5\nr,c_1.tif,\ns,zz.svs,\nt,NA,\n"
    )
    listing = list_sources(spec, table, "PATIENT")
    assert [(one.slide_id, one.mpp, one.is_there) for one in listing.sources] == [
        ("a", None, True),
        ("b", 0.5, True),
        ("c_1", None, True),
        ("zz", None, False),
    ]
    assert listing.sources[2].path.name == "C 1.tif"
    said = ["1 of 5 rows name no slide", "1 of 4 listed slides have a file", "1 listed slides are"]
    assert [one in note for one, note in zip(said, listing.notes, strict=True)] == [True] * 3
