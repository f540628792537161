"""Tissue, its outline, and the tiles over it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image, ImageFilter
from scipy import ndimage

from crosstype.slides.open import open_slide
from crosstype.slides.spec import TilesSpec, TissueSpec
from crosstype.slides.thumbnail import draw_thumbnail, tissue_geojson, tissue_outlines, write_image
from crosstype.slides.tiles import select_tiles, spread_choice, tissue_shares
from crosstype.slides.tissue import Tissue, find_tissue, find_tissue_on

from .conftest import glass, tissue_texture, with_blobs, write_png

MPP = 8.0


def found(pixels, **options) -> Tissue:
    return find_tissue_on(pixels, MPP, 16.0, TissueSpec(**options))


# ---- tissue


def test_blobs_are_found():
    tissue = found(with_blobs(300, 400, (100, 100, 60), (280, 180, 80)))
    y, x = np.mgrid[:300, :400]
    truth = ((x - 100) ** 2 + (y - 100) ** 2 < 60**2) | ((x - 280) ** 2 + (y - 180) ** 2 < 80**2)
    overlap = (tissue.mask & truth).sum() / (tissue.mask | truth).sum()
    assert overlap > 0.95
    assert tissue.reason == ""
    assert tissue.area_mm2 == pytest.approx(truth.sum() * 64e-6, rel=0.05)


def test_specks_are_dropped_and_holes_filled_by_area():
    pixels = with_blobs(300, 400, (100, 100, 80), (300, 200, 8))
    y, x = np.mgrid[:300, :400]
    hole = (x - 100) ** 2 + (y - 100) ** 2 < 9**2
    pixels[hole] = glass(300, 400)[hole]
    kept = found(pixels, minimum_speck_um2=1_000, minimum_hole_um2=1_000)
    tidied = found(pixels, minimum_speck_um2=30_000, minimum_hole_um2=60_000)
    assert kept.mask[200, 300]
    assert not kept.mask[100, 100]
    assert not tidied.mask[200, 300]
    assert tidied.mask[100, 100]


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (np.full((200, 200, 3), 255, np.uint8), "of one colour throughout"),
        (glass(200, 200), "blank"),
        (np.clip(glass(200, 200) - np.array([0, 14, 4]), 0, 255).astype(np.uint8), "blank"),
        (np.zeros((200, 200, 3), np.uint8), "black"),
        (np.full((200, 200, 3), (200, 120, 170), np.uint8), "of one colour throughout"),
        (np.full((1, 1, 3), 255, np.uint8), "of one colour throughout"),
        (with_blobs(200, 200, (100, 100, 4)), "as large as a piece of tissue"),
    ],
    ids=["white", "glass", "tinted glass", "black", "pink", "one pixel", "speck"],
)
def test_slides_without_tissue_say_so(pixels, reason):
    tissue = found(pixels)
    assert not tissue.mask.any()
    assert reason in tissue.reason
    assert np.isnan(tissue.threshold)


def test_uneven_light_is_not_tissue():
    shade = np.linspace(1.0, 0.85, 300)[None, :, None]
    assert not found((glass(200, 300) * shade).astype(np.uint8)).mask.any()


def test_tissue_from_edge_to_edge_is_not_halved():
    assert found(tissue_texture(200, 200)).mask.mean() > 0.99


def test_pen_marks_are_flagged_and_can_be_excluded():
    pixels = with_blobs(300, 400, (150, 150, 80))
    for column, ink in ((250, (30, 60, 190)), (300, (20, 120, 60)), (350, (15, 15, 18))):
        pixels[40:200, column : column + 25] = ink
    tissue = found(pixels)
    assert tissue.flags.pen == pytest.approx(3 * 160 * 25 / 120_000, rel=0.25)
    assert not tissue.mask[:, 240:].any()
    kept = found(pixels, exclude_pen=False, exclude_blur=False)
    assert kept.mask[100, 262]
    assert found(with_blobs(300, 400, (150, 150, 80))).flags.pen == 0


def test_black_borders_are_flagged_and_never_tissue():
    pixels = with_blobs(300, 400, (200, 150, 80))
    pixels[:, :40] = (4, 3, 5)
    tissue = found(pixels)
    assert tissue.flags.border == pytest.approx(0.1, abs=0.01)
    assert not tissue.mask[:, :38].any()
    assert tissue.mask[150, 200]


def test_blur_is_flagged_and_can_be_excluded():
    pixels = with_blobs(300, 600, (150, 150, 100), (450, 150, 100))
    soft = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(5))
    pixels[:, 300:] = np.asarray(soft)[:, 300:]
    kept = found(pixels, exclude_blur=False)
    assert 0.25 < kept.flags.blur < 0.6
    assert kept.mask[150, 450]
    tissue = found(pixels)
    assert not tissue.mask[150, 450]
    assert tissue.mask[150, 150]
    all_soft = found(np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(9))))
    assert all_soft.reason == "" or "blurred" in all_soft.reason


def test_small_slides_get_a_finer_thumbnail(tmp_path):
    path = write_png(tmp_path / "p.png", tissue_texture(200, 300))
    with open_slide(path, mpp=0.5) as slide:
        assert find_tissue(slide, TissueSpec()).mpp == 0.5
        assert find_tissue(slide, TissueSpec()).mask.shape == (200, 300)


# ---- outline


def enclosed(ring) -> float:
    x, y = np.array(ring[:-1]).T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) / 2


def test_geojson_is_valid_and_has_the_area_of_the_mask(tmp_path):
    mask = np.zeros((60, 80), bool)
    mask[5:45, 5:45] = True
    mask[15:30, 15:30] = False
    mask[20:25, 20:25] = True  # an island in the hole
    mask[50:, 60:] = True  # touches the corner
    mask[45, 45] = True  # touches diagonally: a piece of its own
    nothing = glass(60, 80)
    tissue = Tissue(mask, nothing, 10.0, 5.0, 0.2, found(nothing).flags)
    path = write_png(tmp_path / "S 1.png", np.zeros((600, 800, 3), np.uint8))
    with open_slide(path, mpp=0.5) as slide:
        collection = json.loads(
            json.dumps(tissue_geojson(tissue, slide, tissue_outlines(tissue.mask)))
        )
    assert collection["type"] == "FeatureCollection"
    assert len(collection["features"]) == ndimage.label(mask)[1] == 4
    area = 0.0
    for feature in collection["features"]:
        assert feature["properties"]["objectType"] == "annotation"
        assert feature["geometry"]["type"] == "Polygon"
        outer, *holes = feature["geometry"]["coordinates"]
        for ring in (outer, *holes):
            assert ring[0] == ring[-1]
            assert len(ring) >= 4
            assert np.all(np.array(ring) >= 0)
            assert np.all(np.array(ring) <= (800, 600))
        area += abs(enclosed(outer)) - sum(abs(enclosed(hole)) for hole in holes)
    assert area / 100 == pytest.approx(mask.sum(), rel=0.03)
    assert [len(f["geometry"]["coordinates"]) for f in collection["features"]].count(2) == 1


# ---- tiles


@pytest.fixture
def slide(tmp_path):
    pixels = with_blobs(700, 1000, (300, 350, 260), (780, 350, 180))
    with open_slide(write_png(tmp_path / "S.png", pixels), mpp=4.0) as opened:
        yield opened


SPEC = TilesSpec(size_px=32, mpp=4.0)


def test_tiles_lie_on_the_grid_in_order_and_on_tissue(slide):
    tissue = find_tissue(slide, TissueSpec(thumbnail_mpp=4.0))
    tiles = select_tiles(tissue, slide, SPEC)
    assert tiles.tile_xy_px.dtype == np.int32
    assert (tiles.tile_xy_px % 32 == 0).all()
    keys = [(y, x) for x, y in tiles.tile_xy_px.tolist()]
    assert keys == sorted(set(keys))
    for (x, y), share in zip(tiles.tile_xy_px, tiles.tissue_share, strict=True):
        assert share == pytest.approx(tissue.mask[y : y + 32, x : x + 32].mean(), abs=1e-6)
        assert share >= 0.5
    assert tiles.n_candidates == len(keys) > 200


def test_overlap_and_minimum_tissue(slide):
    tissue = find_tissue(slide, TissueSpec())
    unlabelled = select_tiles(tissue, slide, SPEC)
    overlapping = select_tiles(tissue, slide, TilesSpec(size_px=32, mpp=4.0, overlap_px=16))
    assert (overlapping.tile_xy_px % 16 == 0).all()
    assert len(overlapping.tile_xy_px) > 3.5 * len(unlabelled.tile_xy_px)
    full = select_tiles(tissue, slide, TilesSpec(size_px=32, mpp=4.0, minimum_tissue=1.0))
    assert 0 < len(full.tile_xy_px) < len(unlabelled.tile_xy_px)


def test_shares_are_exact_between_mask_pixels():
    rng = np.random.default_rng(0)
    mask = rng.random((30, 40)) < 0.5
    tissue = Tissue(mask, np.zeros((30, 40, 3), np.uint8), 7.0, 7.0, 0.1, found(glass(9, 9)).flags)
    fine = np.repeat(np.repeat(mask, 7, axis=0), 7, axis=1)
    x_px, y_px = np.arange(0, 200, 13, dtype=np.int32), np.arange(0, 150, 11, dtype=np.int32)
    shares = tissue_shares(tissue, x_px, y_px, 45.0)
    for i, y in enumerate(y_px):
        for j, x in enumerate(x_px):
            assert shares[i, j] == pytest.approx(fine[y : y + 45, x : x + 45].mean(), abs=1e-9)


def test_choice_is_deterministic_rich_and_spread(slide):
    tissue = find_tissue(slide, TissueSpec())
    every = select_tiles(tissue, slide, SPEC)
    spec = TilesSpec(size_px=32, mpp=4.0, n_tiles=35, seed=3)
    tiles = select_tiles(tissue, slide, spec)
    again = select_tiles(tissue, slide, spec)
    assert np.array_equal(tiles.tile_xy_px, again.tile_xy_px)
    other = select_tiles(tissue, slide, TilesSpec(size_px=32, mpp=4.0, n_tiles=35, seed=4))
    assert not np.array_equal(tiles.tile_xy_px, other.tile_xy_px)
    assert len(tiles.tile_xy_px) == 35
    assert tiles.tissue_share.mean() > every.tissue_share.mean()

    def reach(chosen):
        gaps = every.tile_xy_px[:, None].astype(float) - chosen[None]
        return np.hypot(*gaps.transpose(2, 0, 1)).min(axis=1).max()

    rng = np.random.default_rng(0)
    at_random = [every.tile_xy_px[rng.permutation(len(every.tile_xy_px))[:35]] for _ in range(20)]
    assert reach(tiles.tile_xy_px) < np.median([reach(choice) for choice in at_random])
    left = (tiles.tile_xy_px[:, 0] < 580).sum()
    assert 15 <= left <= 30  # both pieces of tissue, by their size (2 : 1)


def test_fewer_candidates_than_requested_are_all_taken(slide):
    tissue = find_tissue(slide, TissueSpec())
    every = select_tiles(tissue, slide, SPEC)
    many = select_tiles(tissue, slide, TilesSpec(size_px=32, mpp=4.0, n_tiles=10_000))
    assert np.array_equal(many.tile_xy_px, every.tile_xy_px)


def test_poor_tiles_are_not_chosen_while_rich_ones_are_left():
    tile_xy_px = np.array([[i * 10, 0] for i in range(100)], np.int32)
    share = np.where(np.arange(100) < 60, 1.0, 0.5).astype(np.float32)
    assert (spread_choice(tile_xy_px, share, 10, seed=0) < 60).all()


def test_a_slide_smaller_than_one_tile_has_none_with_a_note(slide):
    tissue = find_tissue(slide, TissueSpec())
    tiles = select_tiles(tissue, slide, TilesSpec(size_px=1024, mpp=4.0))
    assert tiles.tile_xy_px.shape == (0, 2)
    assert "smaller than a tile (4096 um)" in tiles.reason


def test_a_slide_without_tissue_has_no_tiles_with_a_reason(tmp_path):
    with open_slide(write_png(tmp_path / "p.png", glass(400, 400)), mpp=4.0) as slide:
        tiles = select_tiles(find_tissue(slide, TissueSpec()), slide, SPEC)
    assert not len(tiles.tile_xy_px)
    assert "blank" in tiles.reason


def test_a_region_of_half_a_millimetre_yields_one_tile(tmp_path):
    path = write_png(tmp_path / "p.png", tissue_texture(1000, 1000))
    with open_slide(path, mpp=0.25) as slide:
        tiles = select_tiles(find_tissue(slide, TissueSpec()), slide, TilesSpec())
    assert tiles.tile_xy_px.tolist() == [[0, 0]]
    assert tiles.footprint_px == 512


def test_drawing_shows_tissue_and_tiles(slide, tmp_path):
    tissue = find_tissue(slide, TissueSpec())
    tiles = select_tiles(tissue, slide, TilesSpec(size_px=32, mpp=4.0, n_tiles=35))
    outlines = tissue_outlines(tissue.mask)
    image = draw_thumbnail(tissue, tiles, outlines)
    plain = draw_thumbnail(tissue, select_tiles(tissue, slide, TilesSpec(size_px=9999)), outlines)
    assert max(image.size) <= 2048
    assert np.any(np.asarray(image) != np.asarray(plain))
    write_image(tmp_path / "S.jpg", image)
    with Image.open(tmp_path / "S.jpg") as written:
        assert written.size == image.size


@pytest.mark.real
def test_real_sections(real_data):
    for path in sorted((real_data / "breast_he_sections").glob("*.jpg")):
        with open_slide(path, mpp=0.65) as slide:
            tissue = find_tissue(slide, TissueSpec())
            tiles = select_tiles(tissue, slide, TilesSpec(n_tiles=35))
        assert 0.1 < tissue.mask.mean() < 0.25
        assert len(tiles.tile_xy_px) == 35
        assert tiles.tissue_share.min() > 0.95
    for path in sorted((real_data / "tcga_he_regions").glob("*.tif")):
        with open_slide(path, mpp=0.25) as slide:
            tissue = find_tissue(slide, TissueSpec())
            assert len(select_tiles(tissue, slide, TilesSpec(n_tiles=35)).tile_xy_px) == 1
