"""Augmented views are used in training only."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from crosstype.features.formats.open import write_features
from crosstype.training.patients import Bags

N_TILES = 5


def write_slide(path: Path, plain: float, views: list[float]) -> None:
    write_features(path, np.full((N_TILES, 3), plain, dtype=np.float32))
    if views:
        with h5py.File(path, "a") as file:
            stacked = [np.full((N_TILES, 3), value, dtype=np.float32) for value in views]
            file.create_dataset("views", data=np.stack(stacked), fletcher32=True)


def test_training_draws_plain_tiles_and_every_view(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.h5", 0, [1, 2])
    write_slide(tmp_path / "b.h5", 0, [1, 2])
    bags = Bags({"P": (tmp_path / "b.h5", tmp_path / "a.h5")})
    rng = np.random.default_rng(0)
    drawn = [bags.draw("P", 100, rng) for _ in range(60)]
    assert all(bag.shape == (2 * N_TILES, 3) for bag in drawn)
    assert {float(bag.mean()) for bag in drawn} == {0.0, 1.0, 2.0}
    assert len(bags.draw("P", 4, rng)) == 4


def test_reading_and_summaries_never_see_a_view(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.h5", 0, [1, 2])
    bags = Bags({"P": (tmp_path / "a.h5",)})
    rng = np.random.default_rng(0)
    assert not bags.read("P").any()
    assert not bags.summary("P").any()
    assert not any(bags.sample("P", 3, rng).any() for _ in range(20))


def test_a_patient_with_a_slide_without_views_is_drawn_plain(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.h5", 0, [1])
    write_slide(tmp_path / "b.h5", 0, [])
    bags = Bags({"P": (tmp_path / "a.h5", tmp_path / "b.h5")})
    rng, same = np.random.default_rng(0), np.random.default_rng(0)
    assert not any(bags.draw("P", 3, rng).any() for _ in range(20))
    for _ in range(20):
        bags.sample("P", 3, same)
    assert rng.integers(1 << 30) == same.integers(1 << 30)
