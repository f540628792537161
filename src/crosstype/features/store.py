"""Store of feature files: listing and inspection of slides, and lazy reading of bags.

Training samples some hundred tiles of a large bag at each step. HDF5 would read and verify every
chunk with one of them, most of the file; so rows of uncompressed data are read by a memory map.
"""

import mmap
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np
from h5py import h5z

from crosstype.errors import ConfigError, Fault, FeatureFileError
from crosstype.features.formats.open import HDF5_SUFFIXES, SUFFIXES, open_features
from crosstype.features.slide_names import (
    holdings,
    match_files,
    missing_note,
    owner_of,
    slide_id_of,
)
from crosstype.features.slides_table import read_slides_table
from crosstype.features.spec import FeaturesSpec
from crosstype.features.tile_kind import FeatureInput, minority_faults, stated_by
from crosstype.io import schema
from crosstype.tcga import patient_of, section_of

HARMLESS = frozenset({h5z.FILTER_FLETCHER32})
"""Filters that do not change values: a checksum after each chunk."""


def mapped_rows(dataset: h5py.Dataset, rows: np.ndarray) -> np.ndarray | None:
    """Return rows of an open dataset by a memory map, or None if they are not plain numbers.

    Checksums are not verified here; the features stage and bag summaries read whole files.

    Args:
        dataset: (n_rows, width), of a file opened by its path.
        rows: increasing, none beyond the last.

    Returns:
        Rows of the dataset's type; None if values are compressed or otherwise filtered, a chunk is
        narrower than the dataset or was never written, or the file is truncated.
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
            # The map cannot be closed while an array refers to it, so none outlives this line.
            found[here] = np.ndarray((chunk_rows, dataset.shape[1]), dataset.dtype, view, offset)[
                rows[here] - first
            ]
    return found


def _is_plain(dataset: h5py.Dataset) -> bool:
    """Return whether each row is contiguous and unfiltered in the file."""
    creation = dataset.id.get_create_plist()
    filters = {creation.get_filter(index)[0] for index in range(creation.get_nfilters())}
    whole_width = dataset.chunks is None or dataset.chunks[1] == dataset.shape[1]
    inside = not dataset.external and not dataset.is_virtual and not dataset.file.userblock_size
    return filters <= HARMLESS and whole_width and inside and dataset.file.driver == "sec2"


def _offset(dataset: h5py.Dataset, first: int) -> int | None:
    """Return the offset in the file of the chunk that starts with row `first`."""
    if dataset.chunks is None:
        offset = dataset.id.get_offset()
    else:
        offset = dataset.id.get_chunk_info_by_coord((first, 0)).byte_offset
    return None if offset is None else int(offset)


FOLDERS = (".", "h5_files", "pt_files")
"""Subfolders with feature files; the last two are CLAM's."""

CHUNK_VALUES = 1 << 23
"""Values per block of inspection (32 MB as float32), to bound memory."""

NO_FILE = "no feature file"
"""Fault of a listed slide without a file: its patient is left out, which is no failure."""
COPY_OF = "the same file as "
"""Start of the fault of a slide whose file is another slide's of the patient; no failure either."""


@dataclass(frozen=True)
class FeatureRow:
    """One listed slide, a line of features.csv.

    Attributes:
        slide_id: file name without suffix.
        patient_id: its patient.
        n_tiles: number of tiles; 0 if the file cannot be used.
        n_features: features per tile; 0 if unknown.
        encoder: name of the encoder; empty if unknown.
        sha256: of the feature file; empty if it cannot be read.
        fault: why the slide cannot be used; empty if it can.
    """

    slide_id: str
    patient_id: str
    n_tiles: int
    n_features: int
    encoder: str
    sha256: str
    fault: str

    @property
    def failed(self) -> bool:
        """Whether the file is there and cannot be used."""
        return bool(self.fault) and self.fault != NO_FILE and not self.is_copy

    @property
    def is_copy(self) -> bool:
        """Whether the file is a copy of another slide's file."""
        return self.fault.startswith(COPY_OF)


@dataclass(frozen=True)
class SlideListing:
    """The listed slides.

    Attributes:
        slides: (slide_id, patient_id, path of the feature file) each, sorted.
        notes: names that were matched, slides that are missing, rows without a slide.
    """

    slides: list[tuple[str, str, Path]]
    notes: tuple[str, ...] = ()


def find_slides(
    spec: FeaturesSpec, slides_table: Path | None, patient_column: str
) -> list[tuple[str, str, Path]]:
    """Return the slides of `list_slides` without its notes."""
    return list_slides(spec, slides_table, patient_column).slides


def list_slides(spec: FeaturesSpec, slides_table: Path | None, patient_column: str) -> SlideListing:
    """List the slides and their feature files.

    With a slides table: its lines (files may be missing, a fault in `inspect_slides`). Without:
    every feature file of the folder, with patient `tcga.patient_of` of its name.

    Raises:
        ConfigError: no folder is set, or it does not exist.
        TableError: as `read_slides_table`.
        FeatureFileError: there is no table, and no feature file in the folder.
    """
    if spec.folder is None or not spec.folder.is_dir():
        raise ConfigError(f"[features] folder: found {str(spec.folder)!r}, expected a folder.")
    files = feature_files_in(spec.folder)
    if slides_table is None:
        if not files:
            found = f"no .h5 or .pt file, but {holdings(spec.folder, files)}"
            raise FeatureFileError(Fault(str(spec.folder), found, "Name the folder of features."))
        return SlideListing(_unlisted(files))
    listed = read_slides_table(slides_table, patient_column)
    matched = match_files(listed.patient_of, files)
    slides = [
        (slide_id, patient_id, matched.files.get(slide_id, spec.folder / f"{slide_id}.h5"))
        for slide_id, patient_id in sorted(listed.patient_of.items())
    ]
    notes = [*listed.notes, *matched.notes]
    if matched.missing:
        notes.append(missing_note(len(slides), matched.missing, files, spec.folder))
    return SlideListing(slides, tuple(notes))


def _unlisted(files: Mapping[str, Path]) -> list[tuple[str, str, Path]]:
    """Return the slides of a folder by the names of its files, without slide suffixes in them."""
    ids = {name: slide_id_of(name) for name in files}
    once = {one for one, count in Counter(ids.values()).items() if count == 1}
    slides = []
    for name, path in files.items():
        slide_id = ids[name] if ids[name] in once else name
        slides.append((slide_id, patient_of(owner_of(slide_id, once)), path))
    return sorted(slides)


def feature_files_in(folder: Path) -> dict[str, Path]:
    """Return the folder's feature files by name without suffix; HDF5 is preferred to `.pt`."""
    found: dict[str, Path] = {}
    for subfolder in FOLDERS:
        if not (folder / subfolder).is_dir():
            continue
        for path in sorted((folder / subfolder).iterdir()):
            suffix = path.suffix.lower()
            if suffix not in SUFFIXES or path.name.startswith("."):
                continue
            known = found.get(path.stem)
            if known is None or (known.suffix.lower() == ".pt" and suffix in HDF5_SUFFIXES):
                found[path.stem] = path
    return found


def inspect_slides(
    slides: Sequence[tuple[str, str, Path]],
    spec: FeaturesSpec,
    sha256_of: Callable[[Path], str],
) -> list[FeatureRow]:
    """Inspect every feature file; return one row per slide, with faults as text.

    Faults: a file that is missing, damaged or no feature file, features of a wrong shape, no tiles,
    NaN or infinite features, a copy of another file of the patient, and tiles of another kind than
    the majority's (`tile_kind`).

    Args:
        slides: (slide_id, patient_id, path) each.
        spec: names the encoder of files without metadata.
        sha256_of: returns a file's SHA-256.

    Raises:
        FeatureFileError: two kinds of tiles are equally common.
    """
    rows = [
        _inspect(slide_id, patient_id, path, spec, sha256_of)
        for slide_id, patient_id, path in slides
    ]
    rows = without_copies(rows)
    files = {slide_id: path for slide_id, _, path in slides}
    kinds, faults = {}, {}
    for row in rows:
        try:
            if not row.fault:
                kinds[row.slide_id] = kind_of(row, files[row.slide_id])
        except FeatureFileError as error:
            faults[row.slide_id] = str(error)
    faults |= minority_faults(kinds, spec.folder.name if spec.folder else "features")
    return [
        replace(row, n_tiles=0, fault=faults[row.slide_id]) if row.slide_id in faults else row
        for row in rows
    ]


def kind_of(row: FeatureRow, path: Path) -> FeatureInput:
    """Return the kind of a usable file's tiles."""
    return FeatureInput(row.encoder, row.n_features, **stated_by(path))


def without_copies(
    rows: Sequence[FeatureRow], digests: Mapping[str, str] | None = None
) -> list[FeatureRow]:
    """Return the rows, with a fault for each slide that is another slide of the same patient.

    Of identical slides a diagnostic section is kept rather than a frozen one, then the one with the
    shortest name, then the first.

    Args:
        rows: of all slides.
        digests: SHA-256 of each slide; None: those of the feature files.
    """

    def content_of(row: FeatureRow) -> tuple[str, str]:
        return row.patient_id, digests[row.slide_id] if digests else row.sha256

    def order_of(row: FeatureRow) -> tuple[bool, int, str]:
        return section_of(row.slide_id) == "frozen", len(row.slide_id), row.slide_id

    kept: dict[tuple[str, str], str] = {}
    for row in sorted(rows, key=order_of):
        if not row.fault:
            kept.setdefault(content_of(row), row.slide_id)
    return [
        row
        if row.fault or kept[content_of(row)] == row.slide_id
        else replace(row, n_tiles=0, fault=f"{COPY_OF}{kept[content_of(row)]}")
        for row in rows
    ]


def _inspect(
    slide_id: str,
    patient_id: str,
    path: Path,
    spec: FeaturesSpec,
    sha256_of: Callable[[Path], str],
) -> FeatureRow:
    row = FeatureRow(slide_id, patient_id, 0, 0, spec.encoder or "", "", "")
    try:
        with open_features(path) as features:
            n_tiles, n_features = features.shape
            row = replace(row, n_features=n_features, encoder=features.encoder or row.encoder)
            step = max(1, CHUNK_VALUES // n_features)
            for start in range(0, n_tiles, step):
                bad = ~np.isfinite(features.rows[start : start + step]).all(axis=1)
                if bad.any():
                    tile = start + int(np.argmax(bad))
                    found = f"NaN or infinite features, first in tile {tile}"
                    raise FeatureFileError(Fault(path.name, found, "Extract the slide again."))
        return replace(row, n_tiles=n_tiles, sha256=sha256_of(path))
    except FeatureFileError as error:
        return replace(row, fault=str(error) if path.exists() else NO_FILE)


def write_feature_rows(path: Path, rows: Sequence[FeatureRow]) -> None:
    """Write features.csv, one line per slide asked for."""
    schema.FEATURES.write_as(path, schema.FEATURES.frame(rows))


def read_feature_rows(path: Path) -> list[FeatureRow]:
    """Read features.csv; raises TableError if it is not what `write_feature_rows` wrote."""
    table = schema.FEATURES.read_from(path)
    return [FeatureRow(*row) for row in table.select(list(schema.FEATURES.polars())).iter_rows()]


def bag_length(paths: Sequence[Path]) -> int:
    """Return the total number of tiles of a patient's slides."""
    return sum(_length(path) for path in paths)


def _length(path: Path) -> int:
    with open_features(path) as features:
        return features.shape[0]


def read_bag(paths: Sequence[Path], rows: np.ndarray | None = None) -> np.ndarray:
    """Return a patient's bag: tile features of all slides, concatenated in the order of their ids.

    Args:
        paths: feature files of the patient's slides, in any order.
        rows: indices of tiles of the bag, in the order of the result; None: all.

    Returns:
        float32 (n_tiles, n_features).

    Raises:
        FeatureFileError: a file is damaged, or the slides differ in the number of features.
        IndexError: a row is beyond the last tile.
    """
    parts: list[np.ndarray] = []
    start = 0
    wanted = None if rows is None else np.unique(np.asarray(rows, dtype=np.int64))
    for path in sorted(paths, key=lambda path: path.stem):
        with open_features(path) as features:
            stop = start + features.shape[0]
            if wanted is None:
                part = features.rows[:]
            else:
                own = wanted[(wanted >= start) & (wanted < stop)] - start
                part = _rows(features.rows, own)
            parts.append(np.asarray(part, dtype=np.float32))
            start = stop
    widths = {part.shape[1] for part in parts}
    if len(widths) > 1:
        where = ", ".join(path.name for path in paths)
        found = f"slides of one patient with {sorted(widths)} features per tile"
        raise FeatureFileError(Fault(where, found, "Use one encoder for all slides."))
    bag = np.concatenate(parts)
    if rows is None or wanted is None:
        return bag
    if wanted.size and (wanted[0] < 0 or wanted[-1] >= start):
        raise IndexError(f"tile {int(wanted[-1])} of a bag of {start} tiles")
    selected: np.ndarray = bag[np.searchsorted(wanted, rows)]
    return selected


def _rows(source: h5py.Dataset | np.ndarray, own: np.ndarray) -> np.ndarray:
    """Return increasing rows of an open dataset, by the faster way."""
    if isinstance(source, h5py.Dataset):
        mapped = mapped_rows(source, own)
        if mapped is not None:
            return mapped
    if len(own) * 16 > source.shape[0]:
        # HDF5 reads single rows slowly; a dense selection is taken from the whole.
        dense: np.ndarray = source[:][own]
        return dense
    sparse: np.ndarray = source[own]
    return sparse
