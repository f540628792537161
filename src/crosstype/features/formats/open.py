"""Lazy reading of feature files of crosstype, TRIDENT, CLAM and STAMP, and writing of ours."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from crosstype.errors import Fault, FeatureFileError
from crosstype.io.files import replacing

FORMAT = "crosstype"
VERSION = 1
HDF5_SUFFIXES = (".h5", ".hdf5")
SUFFIXES = (*HDF5_SUFFIXES, ".pt")
DATASETS = ("features", "feats")
ENCODER_ATTRIBUTES = ("encoder", "extractor")
REMEDY = "Extract or copy the file again."


@dataclass(frozen=True)
class OpenFeatures:
    """Features of one slide while its file is open.

    Attributes:
        rows: array-like (n_tiles, n_features); slicing it reads only those rows.
        encoder: name of the encoder, if the file has it.
    """

    rows: Any
    encoder: str | None

    @property
    def shape(self) -> tuple[int, int]:
        """Number of tiles and of features per tile."""
        n_tiles, n_features = self.rows.shape
        return int(n_tiles), int(n_features)


class SingleBag:
    """The rows of a dataset of shape (1, n_rows, width), a batch of one bag; read lazily."""

    def __init__(self, dataset: h5py.Dataset) -> None:
        """Wrap an open dataset."""
        self._dataset = dataset
        self.shape = tuple(dataset.shape[1:])
        self.dtype = dataset.dtype
        self.file = dataset.file

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Return some rows, (n, width)."""
        found: np.ndarray = self._dataset[0, rows]
        return found


def read_positions(dataset: h5py.Dataset) -> np.ndarray:
    """Return the positions of tiles, (n_tiles, 2), also of a batch of one bag."""
    xy: np.ndarray = dataset[:].astype(np.float64)
    return xy[0] if xy.ndim == 3 and xy.shape[0] == 1 else xy


@contextmanager
def open_features(path: Path) -> Iterator[OpenFeatures]:
    """Open a feature file: HDF5 `features` or STAMP's `feats`, or CLAM's `.pt` tensor.

    Raises:
        FeatureFileError: the file is missing, damaged, or has no features with one row of numbers
            per tile; also if reading fails while it is open.
    """
    if not path.is_file():
        raise FeatureFileError(Fault(path.name, "there is no such file", "Put it there."))
    try:
        if path.suffix.lower() == ".pt":
            yield _checked(path, _load_tensor(path), None)
        else:
            with h5py.File(path, "r", locking=False) as file:
                key = next((name for name in DATASETS if name in file), None)
                if key is None:
                    found = f"neither 'features' nor 'feats' among {sorted(file)[:5]}"
                    raise FeatureFileError(Fault(path.name, found, "Give a file of features."))
                yield _checked(path, file[key], _encoder_of(file, file[key]))
    except (OSError, RuntimeError, KeyError, EOFError) as error:
        found = f"cannot be read, the file is damaged ({str(error).splitlines()[0][:120]})"
        raise FeatureFileError(Fault(path.name, found, REMEDY)) from error


def stored_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes with strings of fixed length.

    Those are covered by HDF5's checksums. Strings of variable length are in a heap without
    checksum, where a flipped bit is not detected, or sends HDF5 into an endless loop.
    """
    return {key: _fixed(one) if isinstance(one, str) else one for key, one in attributes.items()}


def _fixed(text: str) -> np.ndarray:
    data = text.encode()
    return np.array(data, dtype=h5py.string_dtype("utf-8", max(1, len(data))))


def read_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes with strings as str, of fixed or variable length."""
    return {
        key: one.decode("utf-8", "replace") if isinstance(one, bytes) else one
        for key, one in attributes.items()
    }


def first_number(about: Mapping[str, Any], *keys: str) -> float | None:
    """Return the first of these attributes that is a number."""
    for key in keys:
        try:
            value = float(about[key])
        except (KeyError, ValueError, TypeError):
            continue
        if np.isfinite(value):
            return value
    return None


def _checked(path: Path, rows: Any, encoder: str | None) -> OpenFeatures:
    """Return the features if there is one row of floating-point or whole numbers per tile."""
    if not isinstance(rows, (h5py.Dataset, np.ndarray)) or rows.dtype.kind not in "fiu":
        found = "the features are not numbers"
        raise FeatureFileError(Fault(path.name, found, REMEDY))
    if len(rows.shape) == 3 and rows.shape[0] == 1:
        rows = SingleBag(rows) if isinstance(rows, h5py.Dataset) else rows[0]
    if len(rows.shape) != 2:
        found = f"features of shape {tuple(rows.shape)}"
        remedy = "Expected (n_tiles, n_features), or one bag of them: (1, n_tiles, n_features)."
        raise FeatureFileError(Fault(path.name, found, remedy))
    if rows.shape[0] == 0 or rows.shape[1] == 0:
        found = f"no tiles: features of shape {tuple(rows.shape)}"
        raise FeatureFileError(Fault(path.name, found, "Leave the slide out or extract it again."))
    return OpenFeatures(rows, encoder)


def _encoder_of(file: Any, dataset: Any) -> str | None:
    for attributes in (read_attributes(file.attrs), read_attributes(dataset.attrs)):
        for key in ENCODER_ATTRIBUTES:
            if key in attributes:
                return str(attributes[key])
    return None


def _load_tensor(path: Path) -> np.ndarray:
    """Return the tensor of a `.pt` file; no code in the file is executed."""
    import pickle
    import struct

    import torch

    # Exceptions of torch's unpickler for files that are not tensors.
    corruption = (pickle.UnpicklingError, struct.error, LookupError, TypeError, ValueError)

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (*corruption, AttributeError, AssertionError) as error:
        found = "holds more than a tensor, or is damaged; code in it was not run"
        raise FeatureFileError(Fault(path.name, found, "Save the bare tensor.")) from error
    if isinstance(content, dict):
        content = next((content[key] for key in DATASETS if key in content), None)
    if not isinstance(content, torch.Tensor):
        raise FeatureFileError(Fault(path.name, "holds no tensor", "Save the bare tensor."))
    if content.is_floating_point():
        content = content.float()
    array: np.ndarray = content.detach().contiguous().numpy()
    return array


def read_views(path: Path) -> np.ndarray | None:
    """Return the augmented views of a slide's tiles, (n_views, n_tiles, n_features), or None.

    Raises:
        FeatureFileError: the file is damaged.
    """
    if path.suffix.lower() not in HDF5_SUFFIXES:
        return None
    try:
        with h5py.File(path, "r") as file:
            if "views" not in file:
                return None
            views: np.ndarray = file["views"][:].astype(np.float32)
            return views
    except (OSError, RuntimeError, KeyError) as error:
        found = f"its views cannot be read ({error})"
        raise FeatureFileError(Fault(path.name, found, "Extract the slide again.")) from None


def write_features(
    path: Path,
    features: np.ndarray,
    tile_xy_px: np.ndarray | None = None,
    attributes: Mapping[str, str | int | float] | None = None,
) -> None:
    """Write one slide's features in crosstype's layout, atomically and with checksums.

    Args:
        path: the `.h5` file.
        features: (n_tiles, n_features), at least one tile.
        tile_xy_px: (n_tiles, 2) int32, level-0 top-left corners.
        attributes: slide_id, slide_sha256, encoder, tile_size_px, mpp, ...

    Raises:
        ValueError: there is no tile, or arrays differ in length.
    """
    if features.ndim != 2 or not features.shape[0]:
        raise ValueError(f"features of shape {features.shape}, expected (n_tiles >= 1, n_features)")
    if tile_xy_px is not None and tile_xy_px.shape != (len(features), 2):
        raise ValueError(f"tile_xy_px of shape {tile_xy_px.shape}, expected ({len(features)}, 2)")
    # The file must be closed before it is renamed: HDF5 writes its metadata on closing.
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        chunks = (min(len(features), 256), features.shape[1])
        file.create_dataset("features", data=features, chunks=chunks, fletcher32=True)
        if tile_xy_px is not None:
            xy = tile_xy_px.astype(np.int32)
            file.create_dataset("tile_xy_px", data=xy, chunks=True, fletcher32=True)
        about = {"format": FORMAT, "version": VERSION, **(attributes or {})}
        file.attrs.update(stored_attributes(about))
