"""Folders and zips of tiles."""

from __future__ import annotations

import io
import stat
import zipfile

import numpy as np
import pytest
from PIL import Image

from crosstype.errors import SlideError
from crosstype.slides.readers.tile_folder import find_tile_slides

from .conftest import tissue_texture


def jpeg(seed=0, size=32) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(tissue_texture(size, size, seed)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


PLACES = [(64, 0), (0, 0), (0, 1024), (256, 0), (1024, 0)]


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "BLOCKS_NORM_MACENKO"
    for slide in ("S2", "S (1)"):
        (root / slide).mkdir(parents=True)
        for seed, (x, y) in enumerate(PLACES):
            (root / slide / f"{slide}_({x},{y}).jpg").write_bytes(jpeg(seed))
    (root / "S2" / "overview.jpg").write_bytes(jpeg())
    (root / "S2" / "notes.txt").write_text("not an image")
    return root


@pytest.fixture
def archive(folder, tmp_path):
    path = tmp_path / "tiles.zip"
    with zipfile.ZipFile(path, "w") as file:
        for place in sorted(folder.rglob("*.*")):
            file.write(place, place.relative_to(folder.parent).as_posix())
    return path


def test_folder_and_zip_give_the_same_tiles_row_by_row(folder, archive):
    for in_folder, in_zip in zip(find_tile_slides(folder), find_tile_slides(archive), strict=True):
        assert in_folder.slide_id == in_zip.slide_id
        assert in_folder.tile_xy_px.tolist() == [[0, 0], [64, 0], [256, 0], [1024, 0], [0, 1024]]
        assert in_folder.tile_xy_px.dtype == np.int32
        assert np.array_equal(in_folder.tile_xy_px, in_zip.tile_xy_px)
        for a, b in zip(in_folder.read_tiles(), in_zip.read_tiles(), strict=True):
            assert np.array_equal(a, b)
            assert a.shape == (32, 32, 3)
    assert [slide.slide_id for slide in find_tile_slides(folder)] == ["S (1)", "S2"]


def test_single_tiles_can_be_read(archive):
    slide = find_tile_slides(archive)[1]
    every = list(slide.read_tiles())
    some = list(slide.read_tiles([3, 1]))
    assert np.array_equal(some[0], every[3])
    assert np.array_equal(some[1], every[1])


@pytest.mark.parametrize(
    "name", ["../x", "S/../../S_(0,0).jpg", "/etc/S_(0,0).jpg", "C:\\S\\S_(0,0).jpg", "..\\x.jpg"]
)
def test_entries_that_lead_out_of_the_zip_are_refused(archive, name):
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr(name, jpeg())
    with pytest.raises(SlideError, match=r"tiles\.zip: entry .* (leads out|absolute)"):
        find_tile_slides(archive)


def test_links_in_a_zip_are_refused(archive):
    link = zipfile.ZipInfo("S2/S2_(7,7).jpg")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr(link, "/etc/passwd")
    with pytest.raises(SlideError, match="is a link"):
        find_tile_slides(archive)


def test_two_tiles_at_one_place_are_refused(folder):
    (folder / "S2" / "S2_(64,0).png").write_bytes(b"")
    with pytest.raises(SlideError, match=r"2 tiles at \(64,0\)"):
        find_tile_slides(folder)


def test_damaged_tiles_name_themselves(folder, archive):
    path = folder / "S2" / "S2_(256,0).jpg"
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    with pytest.raises(SlideError, match=r"S2_\(256,0\)\.jpg: the tile is damaged"):
        list(find_tile_slides(folder)[1].read_tiles())
    whole = archive.read_bytes()
    place = whole.index(jpeg(3)[200:])
    archive.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    with pytest.raises(SlideError, match="cannot be read from the zip"):
        [list(slide.read_tiles()) for slide in find_tile_slides(archive)]


def test_png_tiles_and_other_sizes(tmp_path):
    (tmp_path / "S").mkdir()
    Image.fromarray(tissue_texture(16, 24)).save(tmp_path / "S" / "S_(0, 8).png")
    (slide,) = find_tile_slides(tmp_path)
    assert np.array_equal(next(slide.read_tiles()), tissue_texture(16, 24))
    Image.fromarray(tissue_texture(8, 8)[..., 0]).save(tmp_path / "S" / "S_(0, 8).png")
    with pytest.raises(SlideError, match="Expected 8-bit RGB"):
        next(slide.read_tiles())


def test_places_without_tiles_say_what_is_expected(tmp_path):
    (tmp_path / "text.zip").write_text("no zip")
    for path in (tmp_path, tmp_path / "text.zip", tmp_path / "absent"):
        with pytest.raises(SlideError, match=r"Expected <slide>/<slide>_\(x,y\)\.jpg"):
            find_tile_slides(path)


@pytest.mark.real
def test_real_archive(real_data):
    path = real_data / "figshare_28050083_layout" / "TCGA-BRCA-A2-DEEPMED-TILES.zip"
    slides = find_tile_slides(path)
    assert [len(slide.names) for slide in slides] == [9, 9, 9, 9]
    assert all(tile.shape == (256, 256, 3) for tile in slides[0].read_tiles())
