"""Stain normalisation against outside implementations; properties of augmented views."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crosstype.slides.augment import draw_view, view_margin
from crosstype.slides.spec import AugmentationSpec, StainSpec
from crosstype.slides.stain import REFERENCE_MEAN, Macenko, Reinhard, _lab, fit_stain

from .conftest import glass, tissue_texture

REFERENCE = Path(__file__).parent / "reference" / "stain.npz"


@pytest.mark.parametrize("method", ["macenko", "reinhard"])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_equals_the_outside_implementation(method, number):
    with np.load(REFERENCE) as data:
        tile, expected = data[f"tile_{number}"], data[f"{method}_{number}"]
    normaliser = fit_stain(tile, StainSpec(method=method))
    difference = normaliser.transform(tile).astype(int) - expected
    assert np.abs(difference).max() <= 1  # both cut off decimals
    assert not normaliser.is_blank


@pytest.mark.parametrize("method", ["macenko", "reinhard"])
@pytest.mark.parametrize(
    "tile",
    [
        glass(32, 32),
        np.zeros((32, 32, 3), np.uint8),
        np.full((32, 32, 3), (200, 120, 170), np.uint8),
    ],
    ids=["glass", "black", "one colour"],
)
def test_blank_tiles_are_unchanged_with_a_note(method, tile):
    normaliser = fit_stain(tile, StainSpec(method=method))
    assert normaliser.is_blank
    assert np.array_equal(normaliser.transform(tile), tile)


def test_one_stain_and_noise_are_not_taken_for_two():
    rng = np.random.default_rng(0)
    purple = rng.normal((110, 60, 190), 5, (32, 32, 3)).astype(np.uint8)
    assert Macenko.fit(purple).is_blank


def test_no_method_changes_nothing():
    tile = tissue_texture(32, 32)
    normaliser = fit_stain(tile, StainSpec())
    assert np.array_equal(normaliser.transform(tile), tile)
    assert not normaliser.is_blank


@pytest.mark.parametrize("method", ["macenko", "reinhard"])
def test_two_stainings_of_one_tissue_become_alike(method):
    with np.load(REFERENCE) as data:
        tile = data["tile_0"]
    paler = (240 * ((tile + 1) / 240.0) ** 0.8).clip(0, 255).astype(np.uint8)
    one, other = (fit_stain(t, StainSpec(method=method)).transform(t) for t in (tile, paler))
    before = np.abs(tile.astype(int) - paler).mean()
    assert np.abs(one.astype(int) - other).mean() < before / 3


def test_a_slide_is_fitted_once_and_its_tiles_are_transformed_alike():
    tiles = np.stack([tissue_texture(32, 32, seed) for seed in range(4)])
    for kind in (Macenko, Reinhard):
        normaliser = kind.fit(tiles)
        whole = normaliser.transform(tiles)
        assert np.array_equal(whole[2], normaliser.transform(tiles[2]))
    mean = _lab(Reinhard.fit(tiles).transform(tiles).reshape(-1, 3)).mean(axis=0)
    assert np.allclose(mean, REFERENCE_MEAN, atol=0.2)


# ---- views

STILL = AugmentationSpec(n_views=1, brightness=0, contrast=0, saturation=0, hue=0)


def region(size_px, seed=0):
    side = size_px + 2 * view_margin(size_px)
    return tissue_texture(side, side, seed)


def test_views_derive_from_the_generator():
    spec = AugmentationSpec(n_views=1)
    draws = [draw_view(region(32), 32, spec, np.random.default_rng(s)) for s in (1, 1, 2)]
    assert np.array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])
    assert draws[0].shape == (32, 32, 3)
    assert draws[0].dtype == np.uint8


@settings(max_examples=60, deadline=None)
@given(size_px=st.integers(3, 70), seed=st.integers(0, 2**32))
def test_no_corner_is_filled(size_px, seed):
    side = size_px + 2 * view_margin(size_px)
    flat = np.full((side, side, 3), 120, np.uint8)
    assert (draw_view(flat, size_px, STILL, np.random.default_rng(seed)) == 120).all()


def test_the_margin_is_not_larger_than_needed():
    assert view_margin(256) <= 256 * 0.2072 + 3


def test_without_rotation_and_colour_a_view_is_the_tile():
    still = AugmentationSpec(
        n_views=1, brightness=0, contrast=0, saturation=0, hue=0, rotation=False
    )
    margin = view_margin(32)
    view = draw_view(region(32), 32, still, np.random.default_rng(0))
    assert np.array_equal(view, region(32)[margin:-margin, margin:-margin])
    tile = region(32)[:32, :32]
    assert np.array_equal(draw_view(tile, 32, still, np.random.default_rng(0)), tile)


def test_rotation_turns_around_the_middle():
    side = 33 + 2 * view_margin(33)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    rings = np.repeat((127 + 100 * np.cos(np.hypot(x, y) / 3))[..., None], 3, axis=2).astype(
        np.uint8
    )
    margin = view_margin(33)
    plain = rings[margin:-margin, margin:-margin].astype(int)
    for seed in range(5):
        view = draw_view(rings, 33, STILL, np.random.default_rng(seed))
        assert np.abs(view - plain).mean() < 2


def test_colour_changes_stay_within_their_bounds():
    flat = np.full((32, 32, 3), (100, 100, 100), np.uint8)
    bright = AugmentationSpec(1, brightness=0.2, contrast=0, saturation=0, hue=0, rotation=False)
    levels = [draw_view(flat, 32, bright, np.random.default_rng(s))[0, 0, 0] for s in range(200)]
    assert 79 <= min(levels) < 84
    assert 116 < max(levels) <= 120
    red = np.full((8, 8, 3), (200, 40, 40), np.uint8)
    hue = AugmentationSpec(1, brightness=0, contrast=0, saturation=0, hue=0.1, rotation=False)
    for seed in range(50):
        turned = draw_view(red, 8, hue, np.random.default_rng(seed))[0, 0].astype(int)
        assert turned[0] >= 195
        assert min(turned) == pytest.approx(40, abs=4)


def test_a_region_without_margin_is_refused():
    with pytest.raises(ValueError, match="expected 50 px each way"):
        draw_view(tissue_texture(32, 32), 32, STILL, np.random.default_rng(0))
