"""Incremental, atomic writing of one slide's features."""

import io
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from crosstype.errors import Fault, FeatureFileError
from crosstype.features.formats.open import FORMAT, VERSION, stored_attributes
from crosstype.io.files import replacing

CHUNK_TILES = 256
LIBRARY = "v110"
"""From HDF5 1.10 on metadata have checksums too, attributes included."""
DAMAGED = "damaged_tile_xy_px"
"""Dataset with the positions of damaged tiles, which are left out."""
CACHE_BYTES = 64 << 20
"""Chunk cache of HDF5, so that each chunk is written once."""


class FeatureWriter:
    """Writer of batches of features in tile order, in the memory of one batch."""

    def __init__(self, file: h5py.File, name: str, most_tiles: int) -> None:
        """Write at most `most_tiles` tiles into an open file; `name` is for messages."""
        self._file = file
        self._chunk_tiles = max(1, min(CHUNK_TILES, most_tiles))
        self._name = name
        self.n_tiles = 0

    def append(
        self, tile_xy_px: np.ndarray, features: np.ndarray, views: np.ndarray | None = None
    ) -> None:
        """Add the next tiles.

        Args:
            tile_xy_px: (n, 2) int32, level-0 top-left corners.
            features: (n, n_features) float32.
            views: (n_views, n, n_features) float32, or None.

        Raises:
            FeatureFileError: a feature is NaN or infinite.
        """
        self._check(tile_xy_px, features, "features")
        end, width = self.n_tiles + len(features), features.shape[1]
        self._longer("tile_xy_px", (2,), "i4", end)[self.n_tiles :] = tile_xy_px
        self._longer("features", (width,), "f4", end)[self.n_tiles :] = features
        if views is not None:
            for view in views:
                self._check(tile_xy_px, view, "features of a view")
            grown = self._longer("views", (len(views), width), "f4", end)
            grown[:, self.n_tiles :] = views
        self.n_tiles = end

    def leave_out(self, tile_xy_px: np.ndarray) -> None:
        """Write the positions of damaged tiles, which have no features; (n, 2) int32."""
        if len(tile_xy_px):
            self._file.create_dataset(
                DAMAGED, data=tile_xy_px, dtype="i4", chunks=True, fletcher32=True
            )

    def _check(self, tile_xy_px: np.ndarray, features: np.ndarray, what: str) -> None:
        """Raise if a feature is not finite, with its tile."""
        bad = ~np.isfinite(features).all(axis=1)
        if bad.any():
            x, y = tile_xy_px[int(np.argmax(bad))]
            found = f"the encoder gave NaN or infinite {what}, first for the tile at ({x},{y})"
            remedy = 'Check its weights; [features] precision = "fp32" is the safest.'
            raise FeatureFileError(Fault(self._name, found, remedy))

    def _longer(self, name: str, sides: tuple[int, ...], kind: str, end: int) -> h5py.Dataset:
        """Return a dataset resized to `end` tiles; the first axis of views is the view."""
        shape, limit = ((*sides[:-1], n, sides[-1]) for n in (0, None))
        if name not in self._file:
            chunks = (*(1 for _ in sides[:-1]), self._chunk_tiles, sides[-1])
            self._file.create_dataset(
                name, shape, kind, maxshape=limit, chunks=chunks, fletcher32=True
            )
        dataset = self._file[name]
        dataset.resize(end, axis=len(sides) - 1)
        return dataset


@contextmanager
def writing_features(
    path: Path, attributes: Mapping[str, str | int | float], most_tiles: int
) -> Iterator[FeatureWriter]:
    """Yield a writer; on success the file is closed, synced and renamed to `path`.

    Args:
        path: the `.h5` file.
        attributes: slide_id, slide_sha256, encoder, weights_sha256, transform, spec_hash, ...
        most_tiles: largest number of tiles; small slides get small files.

    Raises:
        OSError: the disk is full or cannot be written; `path` is unchanged.
    """
    with creating_hdf5(path) as file:
        about = {"format": FORMAT, "version": VERSION, **attributes}
        file.attrs.update(stored_attributes(about))
        yield FeatureWriter(file, path.stem, most_tiles)


@contextmanager
def creating_hdf5(path: Path) -> Iterator[h5py.File]:
    """Yield a new HDF5 file; on success it is closed, synced and renamed to `path`.

    Raises:
        OSError: the disk is full or cannot be written; `path` is unchanged.
    """
    _remove_abandoned(path)
    with replacing(path) as temporary, temporary.open("wb+", buffering=0) as raw:
        disk = _Disk(raw)
        try:
            with h5py.File(disk, "w", libver=LIBRARY, rdcc_nbytes=CACHE_BYTES) as file:
                yield file
        except (OSError, RuntimeError):
            disk.check(path)  # HDF5's error may follow from a failed write
            raise
        disk.check(path)


class _Disk(io.RawIOBase):
    """A file that defers the first failure to write.

    HDF5 cannot close a file whose last writes failed, and crashes the program at exit. So writes
    report success to HDF5, and the failure is raised once the file is closed.
    """

    def __init__(self, raw: io.FileIO) -> None:
        self._raw = raw
        self._failure: OSError | None = None

    def check(self, path: Path) -> None:
        """Raise the deferred failure, if any."""
        if self._failure is not None:
            raise OSError(self._failure.errno, self._failure.strerror, str(path))

    def write(self, data: Any, /) -> int:
        """Write all data, or defer the failure."""
        rest = memoryview(data).cast("B")
        n_bytes = len(rest)
        try:
            while len(rest):
                rest = rest[self._raw.write(rest) :]
        except OSError as error:
            self._failure = self._failure or error
        return n_bytes

    def truncate(self, size: int | None = None, /) -> int:
        """Change the length, or defer the failure."""
        try:
            return self._raw.truncate(size)
        except OSError as error:
            self._failure = self._failure or error
            return size or 0

    def readinto(self, buffer: Any, /) -> int:
        """Read; data beyond the end are zeros."""
        view = memoryview(buffer).cast("B")
        n_read = self._raw.readinto(view) or 0
        view[n_read:] = bytes(len(view) - n_read)
        return len(view)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Set the position."""
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        """Return the position."""
        return self._raw.tell()


def _remove_abandoned(path: Path) -> None:
    """Remove temporary files of killed processes."""
    if sys.platform == "win32":
        return
    for one in path.parent.glob(f".{path.name}.*.tmp"):
        writer = one.name.removesuffix(".tmp").rpartition(".")[2]
        if writer.isdigit() and not _is_running(int(writer)):
            one.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True
