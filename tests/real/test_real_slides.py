"""Real slides, images and cut tiles through the command line, to features."""

from __future__ import annotations

import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from crosstype.cli.app import main

CASES = {  # place, setting, slides, tiles per slide
    "svs": ("slides", "", 1, (27, 27)),
    "images": ("breast_he_sections", "mpp = 0.65", 2, (35, 35)),
    "regions": ("tcga_he_regions", "mpp = 0.25", 4, (1, 9)),
    "cut tiles": ("figshare_28050083_layout/TCGA-BRCA-A2-DEEPMED-TILES.zip", "", 4, (9, 9)),
}


@pytest.mark.real
@pytest.mark.parametrize("case", CASES)
def test_real_pixels_become_features(
    case: str, real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, mpp, n_slides, (low, high) = CASES[case]
    config = tmp_path / "a.toml"
    config.write_text(
        f'[slides]\nfolder = "{real_data / place}"\n{mpp}\n[tiles]\nn_tiles = 35\n'
        '[features]\nencoder = "colour_texture"\n'
    )
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["crosstype", "features", str(config), "--out", str(out)])
    monkeypatch.setattr("sys.excepthook", sys.excepthook)
    with pytest.raises(SystemExit) as left:
        main()
    assert not left.value.code
    files = sorted((out / "features" / "colour_texture").glob("*.h5"))
    assert len(files) == n_slides
    for path in files:
        with h5py.File(path) as file:
            features = file["features"][:]
            assert low <= len(features) <= high
            assert np.isfinite(features).all()
    if case != "cut tiles":
        assert len(list((out / "tiles").glob("*.jpg"))) == n_slides
