"""What a fitted model was given of slides, and whether other feature files are of the same kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py

from crosstype.errors import ConfigError, Fault, FeatureFileError
from crosstype.features.layouts import HDF5_SUFFIXES, first_number, read_attributes

MPP_TOLERANCE = 0.02
"""Share by which micrometres per pixel may differ and still be called the same."""
WORDS = {
    "encoder": "encoder",
    "n_features": "features per tile",
    "weights_sha256": "weights (SHA-256)",
    "transform": "transform",
    "tile_size_px": "tile size in pixels",
    "mpp": "micrometres per pixel (mpp)",
}


@dataclass(frozen=True)
class FeatureInput:
    """Tile features as a model was fitted on them; None where the files state nothing.

    Attributes:
        encoder: what made them; empty where neither files nor config said it.
        n_features: numbers per tile.
        weights_sha256: of the encoder's weights.
        transform: how tiles were prepared.
        tile_size_px: width of a tile in its own pixels.
        mpp: micrometres per pixel of the tile.
    """

    encoder: str
    n_features: int
    weights_sha256: str | None = None
    transform: str | None = None
    tile_size_px: float | None = None
    mpp: float | None = None


def stated_by(path: Path) -> dict[str, Any]:
    """Return what a feature file states of its features besides encoder and width.

    Raises:
        FeatureFileError: the file cannot be read.
    """
    if path.suffix not in HDF5_SUFFIXES:
        return {}
    try:
        with h5py.File(path, "r", locking=False) as file:
            about = read_attributes(file.attrs)
            for name in ("coords", "tile_xy_px"):
                if name in file:
                    about |= read_attributes(file[name].attrs)
    except (OSError, RuntimeError, KeyError) as error:
        raise FeatureFileError(
            Fault(path.name, f"cannot be read ({error})", "Extract or copy the file again.")
        ) from None
    size_px = first_number(about, "tile_size_px", "patch_size")
    size_um = first_number(about, "tile_size_um")
    mpp = first_number(about, "mpp")
    if mpp is None and size_px and size_um:
        mpp = size_um / size_px
    texts = {key: str(about[key]) for key in ("weights_sha256", "transform") if key in about}
    numbers = {"tile_size_px": size_px, "mpp": mpp}
    return texts | {key: value for key, value in numbers.items() if value is not None}


def feature_input_of(encoder: str, n_features: int, paths: Sequence[Path]) -> FeatureInput:
    """Return what all these files state alike; what they do not is left open."""
    stated = [stated_by(path) for path in paths]
    keys = ("weights_sha256", "transform", "tile_size_px", "mpp")
    alike = {
        key: stated[0].get(key)
        for key in keys
        if stated and all(one.get(key) == stated[0].get(key) for one in stated)
    }
    return FeatureInput(encoder, n_features, **alike)


def difference(found: FeatureInput, wanted: FeatureInput) -> str:
    """Return in words what makes features another kind than wanted; empty if nothing does."""
    for key, value in asdict(wanted).items():
        own = getattr(found, key)
        if key == "encoder" and not own:
            continue
        if value in (None, "") or own is None or _same(key, own, value):
            continue
        return f"found {WORDS[key]} {own!r}, expected {value!r}, on which this model was fitted"
    return ""


def _same(key: str, own: Any, wanted: Any) -> bool:
    if key == "mpp":
        return abs(float(own) / float(wanted) - 1) <= MPP_TOLERANCE
    return bool(own == wanted)


def check_stated_encoder(named: str | None, wanted: FeatureInput) -> None:
    """Raise ConfigError if the user names another encoder than the model's."""
    if named is not None and wanted.encoder and named != wanted.encoder:
        raise ConfigError(
            f"--encoder: found {named!r}, expected {wanted.encoder!r}, on whose features this "
            "model was fitted. Extract the slides with that one, or fit a model on these features."
        )
