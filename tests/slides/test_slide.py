"""Slides of every kind: their mpp, their regions, and errors of broken ones."""

from __future__ import annotations

import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from crosstype.errors import SlideError
from crosstype.slides.open import open_slide
from crosstype.slides.readers import image as image_slide
from crosstype.slides.readers import jpeg_tiff
from crosstype.slides.readers import openslide as openslide_slide
from crosstype.slides.readers.jpeg_tiff import find_tiled_levels
from crosstype.slides.slide import check_resolution

from .conftest import tissue_texture, with_blobs, write_png, write_svs, zero_half_of_tile


def by_openslide(path, x, y, size, level=0):
    with openslide.OpenSlide(path) as handle:
        scale = round(handle.level_downsamples[level])
        image = handle.read_region((x * scale, y * scale), level, (size, size))
        canvas = Image.new("RGB", image.size, (255, 255, 255))
        canvas.paste(image, mask=image.getchannel("A"))
        return np.asarray(canvas)


def one_line(error) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert text.endswith(".")
    return text


# ---- mpp


def test_mpp_comes_from_the_table_then_the_slide_then_the_config(svs, tmp_path):
    assert open_slide(svs).mpp == 0.5
    assert open_slide(svs, mpp=0.25).mpp == 0.25
    assert open_slide(svs, default_mpp=0.25).mpp == 0.5
    silent = write_svs(tmp_path / "silent.svs", tissue_texture(128, 128), mpp=None)
    assert open_slide(silent, default_mpp=0.25).mpp == 0.25


def test_missing_mpp_is_an_error_that_names_both_remedies(tmp_path):
    silent = write_svs(tmp_path / "silent.svs", tissue_texture(128, 128), mpp=None)
    picture = write_png(tmp_path / "picture.png", tissue_texture(50, 50))
    for path in (silent, picture):
        with pytest.raises(SlideError) as error:
            open_slide(path)
        text = one_line(error)
        assert path.name in text
        assert "column MPP of the slides table" in text
        assert "[slides]" in text
    with pytest.raises(SlideError, match="nominal 20x"):
        open_slide(silent)


@pytest.mark.parametrize("mpp", [0.0, -1.0, 0.01, 50.0, float("nan"), float("inf")])
def test_absurd_mpp_is_refused(svs, mpp):
    with pytest.raises(SlideError, match=r"outside 0\.05 to 20") as error:
        open_slide(svs, mpp=mpp)
    one_line(error)


# ---- regions


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(x=st.integers(-100, 800), y=st.integers(-100, 600), size=st.integers(1, 200))
def test_fast_reader_equals_openslide_anywhere(svs, x, y, size):
    with open_slide(svs) as slide:
        pixels = slide.read_region(x, y, size, 0.5)
        assert slide.is_fast(0)
    assert np.array_equal(pixels, by_openslide(svs, x, y, size))


@pytest.mark.parametrize("ycbcr", [False, True])
def test_fast_reader_equals_openslide_on_all_levels_and_colours(tmp_path, ycbcr):
    path = write_svs(tmp_path / "s.svs", tissue_texture(512, 640), ycbcr=ycbcr)
    with open_slide(path) as slide:
        for level, mpp in ((0, 0.5), (1, 2.0)):
            pixels = slide.read_region(64, 32, 100, mpp)
            scale = 4**level
            assert slide.is_fast(level)
            assert np.array_equal(pixels, by_openslide(path, 64 // scale, 32 // scale, 100, level))


def test_where_readers_differ_openslide_is_used(svs, monkeypatch):
    monkeypatch.setattr(openslide_slide.JpegTiff, "read", lambda self, level, box: np.zeros(1))
    with open_slide(svs) as slide:
        pixels = slide.read_region(100, 100, 64, 0.5)
        assert not slide.is_fast(0)
    assert np.array_equal(pixels, by_openslide(svs, 100, 100, 64))


def test_whole_multiples_are_averaged_and_others_resampled(tmp_path):
    source = tissue_texture(300, 400)
    with open_slide(write_png(tmp_path / "p.png", source), mpp=0.25) as slide:
        assert np.array_equal(slide.read_region(7, 9, 100, 0.25), source[9:109, 7:107])
        halved = slide.read_region(10, 20, 50, 0.5).astype(float)
        means = source[20:120, 10:110].reshape(50, 2, 50, 2, 3).mean(axis=(1, 3))
        assert np.abs(halved - means).max() <= 0.5
        assert slide.footprint_px(256, 0.5) == 512
        assert slide.footprint_px(256, 0.4) == pytest.approx(256 * 1.6)
        wide, left = slide.read_region(0, 0, 100, 0.4), slide.read_region(0, 0, 50, 0.4)
        right = slide.read_region(80, 0, 50, 0.4)
        assert np.abs(np.hstack([left, right]).astype(int) - wide[:50]).max() <= 1
        assert slide.read_region(0, 0, 64, 0.125).shape == (64, 64, 3)


def test_a_level_within_two_percent_is_taken_as_it_is(tmp_path):
    source = tissue_texture(100, 100)
    with open_slide(write_png(tmp_path / "p.png", source), mpp=0.2528) as slide:
        assert slide.footprint_px(40, 0.5) == 80
    with open_slide(write_png(tmp_path / "p.png", source), mpp=0.499) as slide:
        assert np.array_equal(slide.read_region(0, 0, 60, 0.5), source[:60, :60])


def test_outside_the_slide_is_white(tmp_path):
    source = tissue_texture(40, 60)
    with open_slide(write_png(tmp_path / "p.png", source), mpp=0.5) as slide:
        pixels = slide.read_region(-10, -10, 100, 0.5)
        assert np.array_equal(pixels[10:50, 10:70], source)
        pixels[10:50, 10:70] = 255
        assert (pixels == 255).all()
        assert (slide.read_region(500, 500, 8, 0.5) == 255).all()


def test_transparency_is_white(tmp_path):
    source = np.dstack([tissue_texture(20, 20), np.zeros((20, 20), np.uint8)])
    source[:, 10:, 3] = 255
    with open_slide(write_png(tmp_path / "p.png", source), mpp=0.5) as slide:
        pixels = slide.read_region(0, 0, 20, 0.5)
    assert (pixels[:, :10] == 255).all()
    assert np.array_equal(pixels[:, 10:], source[:, 10:, :3])


@pytest.mark.parametrize("strip_px", [1 << 24, 5000])
def test_thumbnail_is_the_mean_whatever_the_strips(svs, monkeypatch, strip_px):
    monkeypatch.setattr("crosstype.slides.slide.STRIP_PX", strip_px)
    with open_slide(svs) as slide:
        thumbnail = slide.thumbnail(4.0)
        whole = slide.read_region(0, 0, 784, 0.5)[:592].astype(float)
    assert thumbnail.shape == (74, 98, 3)
    means = whole.reshape(74, 8, 98, 8, 3).mean(axis=(1, 3))
    assert np.abs(thumbnail - means).mean() < 2.0  # from level 1, which JPEG changed once more


def test_plain_images_of_all_kinds(tmp_path):
    source = tissue_texture(64, 80)
    Image.fromarray(source).save(tmp_path / "a.jpg", quality=95)
    tifffile.imwrite(tmp_path / "b.tif", source, photometric="rgb")
    tifffile.imwrite(tmp_path / "c.tif", source, photometric="rgb", compression="lzw")
    tifffile.imwrite(tmp_path / "d.tif", source[..., 0])
    for name, exact in (("a.jpg", False), ("b.tif", True), ("c.tif", True)):
        with open_slide(tmp_path / name, mpp=0.5) as slide:
            assert slide.size_px == (80, 64)
            pixels = slide.read_region(0, 0, 64, 0.5)
        assert np.array_equal(pixels, source[:, :64]) or not exact
        assert np.abs(pixels.astype(int) - source[:, :64]).mean() < 8
    with open_slide(tmp_path / "d.tif", mpp=0.5) as slide:
        assert np.array_equal(slide.read_region(0, 0, 64, 0.5)[..., 2], source[:, :64, 0])


# ---- broken input


def test_damaged_tile_names_its_place_and_harms_no_other(tmp_path, monkeypatch):
    path = write_svs(tmp_path / "s.svs", tissue_texture(320, 320))
    column, row = zero_half_of_tile(path, 7)
    sound = by_openslide(path, 192, 192, 128)
    for is_fast in (True, False):
        if not is_fast:
            monkeypatch.setattr(openslide_slide, "FAST_VENDORS", ())
        with open_slide(path) as slide:
            for _ in range(2):
                with pytest.raises(SlideError) as error:
                    slide.read_region(64 * column, 64 * row, 64, 0.5)
                assert f"x {64 * column} to {64 * column + 64}, y {64 * row}" in one_line(error)
                assert np.array_equal(slide.read_region(192, 192, 128, 0.5), sound)
            assert slide.is_fast(0) == is_fast


@pytest.mark.parametrize("share", [0.001, 0.3, 0.7, 0.95])
def test_truncated_svs(svs, tmp_path, share):
    path = tmp_path / "cut.svs"
    data = svs.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(SlideError) as error:
        open_slide(path, mpp=0.5)
    assert "cut.svs" in one_line(error)


def test_tiles_behind_the_end_of_the_file_are_counted(svs, tmp_path):
    path = tmp_path / "cut.svs"
    path.write_bytes(svs.read_bytes())
    cut_off(path, 3000)
    with pytest.raises(SlideError, match=r"truncated: \d+ of its tiles are beyond its end"):
        find_tiled_levels(path, [(784, 592), (196, 148)])


def test_tiles_that_the_scanner_left_out_are_read_by_openslide(tmp_path):
    path = write_svs(tmp_path / "s.svs", tissue_texture(320, 320))
    with tifffile.TiffFile(path, mode="r+b") as file:
        tag = file.pages.first.tags["TileByteCounts"]
        tag.overwrite([0 if i == 7 else n for i, n in enumerate(tag.value)])
    with open_slide(path) as slide:
        assert np.array_equal(slide.read_region(100, 40, 80, 0.5), by_openslide(path, 100, 40, 80))
        assert slide.is_fast(0)


def test_few_tiles_are_remembered(svs, monkeypatch):
    monkeypatch.setattr(jpeg_tiff, "CACHE_BYTES", 3 * 64 * 64 * 3)
    with open_slide(svs) as slide:
        whole = slide.read_region(0, 0, 500, 0.5)
        assert len(slide._fast._tiles) == 3
    assert np.array_equal(whole, by_openslide(svs, 0, 0, 500))


def cut_off(path, n):
    path.write_bytes(path.read_bytes()[:-n])


def test_broken_files_in_one_line_each(tmp_path):
    (tmp_path / "text.svs").write_text("this is no slide")
    (tmp_path / "empty.svs").write_bytes(b"")
    tifffile.imwrite(tmp_path / "deep.tif", np.zeros((9, 9, 3), np.uint16), photometric="rgb")
    tifffile.imwrite(tmp_path / "cut.tif", tissue_texture(64, 64), photometric="rgb")
    cut_off(tmp_path / "cut.tif", 1000)
    (tmp_path / "no_pages.tif").write_bytes(b"II*\0\0\0\0\0")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing more")
    (tmp_path / "folder.svs").mkdir()
    names = ["text.svs", "empty.svs", "deep.tif", "cut.tif", "no_pages.tif", "broken.jpg"]
    for name in [*names, "folder.svs", "absent.svs"]:
        with pytest.raises(SlideError) as error:
            open_slide(tmp_path / name, mpp=0.5)
        assert name in one_line(error)


def test_damaged_images_are_errors_when_read(tmp_path):
    Image.fromarray(tissue_texture(64, 64)).save(tmp_path / "a.jpg")
    write_png(tmp_path / "b.png", tissue_texture(64, 64))
    for name in ("a.jpg", "b.png"):
        cut_off(tmp_path / name, 900)
        with open_slide(tmp_path / name, mpp=0.5) as slide, pytest.raises(SlideError) as error:
            slide.read_region(0, 0, 64, 0.5)
        assert "damaged" in one_line(error)


def test_images_too_large_to_decode_whole_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(image_slide, "MOST_PX", 1000)
    with pytest.raises(SlideError, match="tiled pyramidal TIFF"):
        open_slide(write_png(tmp_path / "p.png", tissue_texture(64, 64)), mpp=0.5)


# ---- real slides


@pytest.mark.real
def test_fast_reader_equals_openslide_on_a_real_svs(real_data):
    path = real_data / "slides" / "CMU-1-small.svs"
    with open_slide(path) as slide:
        assert slide.mpp == 0.499
        whole = np.vstack(
            [slide.read_region(0, y, 2220, slide.mpp)[:500] for y in range(0, 2967, 500)]
        )
        assert slide.is_fast(0)
    with openslide.OpenSlide(path) as handle:
        reference = np.asarray(handle.read_region((0, 0), 0, (2220, 2967)).convert("RGB"))
    assert np.array_equal(whole[:2967], reference)


@pytest.mark.real
def test_real_plain_images(real_data):
    for path in sorted((real_data / "tcga_he_regions").glob("*.tif")):
        with open_slide(path, mpp=0.25) as slide:
            assert slide.size_px == (1000, 1000)
            assert slide.read_region(0, 0, 256, 0.5).std() > 20
    path = next((real_data / "breast_he_sections").glob("*.jpg"))
    with open_slide(path, mpp=0.65) as slide:
        assert slide.thumbnail(8.0).shape == (806, 754, 3)


def test_blobs_are_where_they_were_put(tmp_path):
    source = with_blobs(100, 100, (50, 50, 20))
    with open_slide(write_png(tmp_path / "p.png", source), mpp=1.0) as slide:
        assert slide.thumbnail(2.0)[25, 25].min() < 200 < slide.thumbnail(2.0)[2, 2].min()


# ---- resolution


@pytest.mark.parametrize(
    ("mpp", "wanted", "refused"),
    [
        (5.0, 0.5, True),  # a resolution tag off by ten
        (2.5, 0.25, True),
        (1.0, 0.5, True),
        (0.5, 0.25, True),
        (0.65, 0.5, False),  # warned of while it is extracted
        (0.55, 0.5, False),
        (0.5052, 0.5, False),
        (0.25, 0.5, False),
        (0.05, 0.5, False),
    ],
)
def test_a_slide_coarser_than_its_tiles_is_refused(svs, mpp, wanted, refused):
    with open_slide(svs, mpp=mpp) as slide:
        if not refused:
            return check_resolution(slide, wanted)
        with pytest.raises(SlideError) as error:
            check_resolution(slide, wanted)
        text = one_line(error)
        assert text.startswith(f"{svs.name}: {mpp:g} micrometres per pixel (mpp), coarser than")
        assert f"the {wanted:g} of [tiles] mpp" in text
        assert "column MPP of the slides table" in text
    return None
