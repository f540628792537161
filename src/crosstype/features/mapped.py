"""Rows of a feature file straight from a memory map, where it holds plain numbers.

Training draws some hundred tiles of a large bag again and again. Through HDF5 that reads, and
checks the sums of, every chunk that holds one of them: most of the file. A map reads the rows.
"""

from __future__ import annotations

import mmap
from pathlib import Path

import h5py
import numpy as np
from h5py import h5z

HARMLESS = frozenset({h5z.FILTER_FLETCHER32})
"""Filters that leave values as they are: a checksum, which lies after each chunk."""


def mapped_rows(dataset: h5py.Dataset, rows: np.ndarray) -> np.ndarray | None:
    """Return rows of an open dataset, or None if they are not stored as plain numbers.

    No checksum is verified: the features stage reads every file whole, and so does what summarises
    a bag.

    Args:
        dataset: (n_rows, width), of a file opened by its path.
        rows: increasing, none beyond the last.

    Returns:
        Rows of the dataset's type; None where values are compressed or otherwise filtered, where
        a chunk holds less than the whole width or was never written, and where the file is shorter
        than it says.
    """
    if not _is_plain(dataset) or not len(rows):
        return None
    chunk_rows = dataset.chunks[0] if dataset.chunks else dataset.shape[0]
    n_bytes = chunk_rows * dataset.shape[1] * dataset.dtype.itemsize
    found = np.empty((len(rows), dataset.shape[1]), dataset.dtype)
    path = Path(dataset.file.filename)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        for first in np.unique(rows // chunk_rows) * chunk_rows:
            offset = _offset(dataset, int(first))
            if offset is None or offset + n_bytes > len(view):
                return None
            here = (rows >= first) & (rows < first + chunk_rows)
            # The map cannot be closed while an array looks at it, so none outlives this line.
            found[here] = np.ndarray((chunk_rows, dataset.shape[1]), dataset.dtype, view, offset)[
                rows[here] - first
            ]
    return found


def _is_plain(dataset: h5py.Dataset) -> bool:
    """Return whether each row lies in one piece in the file, its numbers as they are."""
    made = dataset.id.get_create_plist()
    filters = {made.get_filter(place)[0] for place in range(made.get_nfilters())}
    whole_width = dataset.chunks is None or dataset.chunks[1] == dataset.shape[1]
    inside = not dataset.external and not dataset.is_virtual and not dataset.file.userblock_size
    return filters <= HARMLESS and whole_width and inside and dataset.file.driver == "sec2"


def _offset(dataset: h5py.Dataset, first: int) -> int | None:
    """Return where in the file the chunk begins that begins with a row."""
    if dataset.chunks is None:
        place = dataset.id.get_offset()
    else:
        place = dataset.id.get_chunk_info_by_coord((first, 0)).byte_offset
    return None if place is None else int(place)
