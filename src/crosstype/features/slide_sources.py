"""Slides for feature extraction, and their files."""

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from crosstype.errors import ConfigError, Fault, SlideError, TableError
from crosstype.features.store import slide_id_of, table_slides
from crosstype.io.tables import open_table
from crosstype.slides.readers.tile_folder import TileSlide, find_tile_slides
from crosstype.slides.slide import HOW_TO_GIVE_MPP
from crosstype.slides.spec import SlidesSpec
from crosstype.tcga import patient_of
from crosstype.types import HOW_TO_NAME_SLIDES, MPP_COLUMNS, SLIDE_COLUMNS

SLIDE_SUFFIXES = (
    ".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".dcm", ".tif", ".tiff", ".vms", ".vmu",
    ".jpg", ".jpeg", ".png",
)  # fmt: skip


@dataclass(frozen=True)
class Source:
    """One slide to extract.

    Attributes:
        slide_id: its id.
        patient_id: its patient.
        path: the slide's file; for tiles, their folder or zip.
        mpp: micrometres per level-0 pixel from the slides table, None where blank.
        tiles: the slide's tiles, if only these exist.
    """

    slide_id: str
    patient_id: str
    path: Path
    mpp: float | None = None
    tiles: TileSlide | None = None

    @property
    def is_there(self) -> bool:
        """Whether the slide's file or its tiles exist."""
        return self.tiles is not None or self.path.is_file()

    def sha256(self, sha256_of: Callable[[Path], str]) -> str:
        """Return a hash of the slide: of the file's bytes, or of its tiles."""
        if self.tiles is None:
            return sha256_of(self.path)
        digest = hashlib.sha256("\n".join(self.tiles.names).encode())
        if self.path.is_dir():
            for name in self.tiles.names:
                digest.update(sha256_of(self.path / name).encode())
            return digest.hexdigest()
        with zipfile.ZipFile(self.path) as archive:
            for name in self.tiles.names:
                digest.update(f"{archive.getinfo(name).CRC:08x}".encode())
        return digest.hexdigest()


def find_sources(spec: SlidesSpec, table: Path | None, patient_column: str) -> list[Source]:
    """Return all slides to extract, sorted by id.

    With a slides table: its lines, whose files may be missing (a fault at extraction). Without:
    every slide in the folder, with patient `tcga.patient_of` of its name.

    Raises:
        ConfigError: no folder (or zip of tiles) is set, or it does not exist.
        TableError: the slides table is inconsistent.
        SlideError: there is no table, and no slide in the folder.
    """
    folder = spec.folder
    if folder is None or not folder.exists():
        raise ConfigError(f"[slides] folder: found {str(folder or '')!r}, expected a folder.")
    slides = _slides_of(folder)
    if table is None:
        if not slides:
            remedy = f"Expected files that end in {', '.join(SLIDE_SUFFIXES)}, or tiles."
            raise SlideError(Fault(str(folder), "no slide", remedy))
        return [slides[slide_id] for slide_id in sorted(slides)]
    mpps = table_mpps(table)
    sources = []
    for slide_id, patient_id in sorted(table_slides(table, patient_column).items()):
        found = slides.get(slide_id, Source(slide_id, patient_id, folder / slide_id))
        mpp = mpps.get(slide_id)
        sources.append(Source(slide_id, patient_id, found.path, mpp, found.tiles))
    return sources


def _slides_of(folder: Path) -> dict[str, Source]:
    """Return the slides of a folder by id: files, else tiles."""
    files = []
    if folder.is_dir():
        files = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in SLIDE_SUFFIXES]
        files = [p for p in files if p.is_file() and not p.name.startswith(".")]
    if files:
        return _by_id(files)
    if folder.is_dir() and not any(one.is_dir() for one in folder.iterdir()):
        return {}
    return {
        one.slide_id: Source(one.slide_id, patient_of(one.slide_id), folder, None, one)
        for one in find_tile_slides(folder)
    }


def _by_id(files: Sequence[Path]) -> dict[str, Source]:
    """Return slides by id; raise if two files have the same id."""
    slides: dict[str, Source] = {}
    faults = []
    for path in files:
        one = _source(path)
        if one.slide_id in slides:
            found = f"the same slide id as {slides[one.slide_id].path.name}"
            faults.append(Fault(path.name, found, "Rename or remove one of the two."))
        slides[one.slide_id] = one
    if faults:
        raise SlideError(faults)
    return slides


def _source(path: Path) -> Source:
    slide_id = slide_id_of(path.name)
    return Source(slide_id, patient_of(slide_id), path)


def table_mpps(path: Path) -> dict[str, float]:
    """Return the mpp of each slide of the slides table that has one."""
    table = open_table(path)
    column = table.name_among(MPP_COLUMNS)
    if column is None:
        return {}
    mpps: dict[str, float] = {}
    faults = []
    names = table.column_called("FILENAME", SLIDE_COLUMNS, HOW_TO_NAME_SLIDES)
    cells = zip(names, table.column(column), strict=True)
    for row, (name, text) in enumerate(cells):
        if not text:
            continue
        try:
            mpps[slide_id_of(name)] = float(text)
        except ValueError:
            found = f"{column} is {text!r}, not a number"
            faults.append(Fault(table.where(row), found, HOW_TO_GIVE_MPP))
    if faults:
        raise TableError(faults)
    return mpps
