"""Slides for feature extraction, and their files."""

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crosstype.errors import ConfigError, Fault, SlideError
from crosstype.features.slide_names import match_files, missing_note, owner_of, slide_id_of
from crosstype.features.slides_table import read_slides_table, table_mpps
from crosstype.slides.readers.tile_folder import TILE_NAME, TileSlide, find_tile_slides
from crosstype.slides.spec import SlidesSpec
from crosstype.tcga import patient_of

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


@dataclass(frozen=True)
class SourceListing:
    """The listed slides to extract.

    Attributes:
        sources: sorted by id.
        notes: names that were matched, slides that are missing, rows without a slide.
    """

    sources: list[Source]
    notes: tuple[str, ...] = ()


def find_sources(spec: SlidesSpec, table: Path | None, patient_column: str) -> list[Source]:
    """Return the slides of `list_sources` without its notes."""
    return list_sources(spec, table, patient_column).sources


def list_sources(spec: SlidesSpec, table: Path | None, patient_column: str) -> SourceListing:
    """List all slides to extract.

    With a slides table: its lines, whose files may be missing (a fault at extraction). Without:
    every slide in the folder, with patient `tcga.patient_of` of its name. Slides may be one folder
    down, as gdc-client leaves them.

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
        owners = {one: patient_of(owner_of(one, slides)) for one in slides}
        return SourceListing(
            [replace(slides[one], patient_id=owners[one]) for one in sorted(slides)]
        )
    listed, mpps = read_slides_table(table, patient_column), table_mpps(table)
    absent = set(listed.patient_of).difference(slides)
    if absent:
        below = [p for p in _slide_files(folder, "*/*") if slide_id_of(p.name) in absent]
        slides = slides | _by_id(below, folder)
    files = {name: one.path for name, one in slides.items()}
    found = match_files(listed.patient_of, files)
    name_of = {one.path: name for name, one in slides.items() if one.tiles is None}
    sources = []
    for slide_id, patient_id in sorted(listed.patient_of.items()):
        path = found.files.get(slide_id, folder / slide_id)
        name = name_of.get(path, slide_id)
        tiles = slides[name].tiles if name in slides else None
        sources.append(Source(slide_id, patient_id, path, mpps.get(slide_id), tiles))
    notes = [*listed.notes, *found.notes]
    if found.missing and folder.is_dir():
        notes.append(missing_note(len(sources), found.missing, files, folder))
    return SourceListing(sources, tuple(notes))


def _slides_of(folder: Path) -> dict[str, Source]:
    """Return the slides of a folder by id: files, else files one folder down, else tiles."""
    files = _slide_files(folder, "*")
    if not files and not _holds_tiles(folder):
        files = _slide_files(folder, "*/*")
    if files:
        return _by_id(files, folder)
    if folder.is_dir() and not any(one.is_dir() for one in folder.iterdir()):
        return {}
    return {
        one.slide_id: Source(one.slide_id, patient_of(one.slide_id), folder, None, one)
        for one in find_tile_slides(folder)
    }


def _holds_tiles(folder: Path) -> bool:
    """Return whether there is a tile at any depth, or a zip instead of a folder."""
    return not folder.is_dir() or any(TILE_NAME.match(path.name) for path in folder.rglob("*"))


def _slide_files(folder: Path, pattern: str) -> list[Path]:
    """Return the slides among a folder's files; images with the name of a tile are none."""
    if not folder.is_dir():
        return []
    return [
        path
        for path in sorted(folder.glob(pattern))
        if path.suffix.lower() in SLIDE_SUFFIXES
        if not TILE_NAME.match(path.name) and not path.name.startswith(".")
        if not path.parent.name.startswith(".") or path.parent == folder
        if path.is_file()
    ]


def _by_id(files: Sequence[Path], folder: Path) -> dict[str, Source]:
    """Return slides by id; raise if two files have the same id."""
    slides: dict[str, Source] = {}
    faults = []
    for path in files:
        one = _source(path)
        if one.slide_id in slides:
            found = f"the same slide id as {slides[one.slide_id].path.relative_to(folder)}"
            where = str(path.relative_to(folder))
            faults.append(Fault(where, found, "Rename or remove one of the two."))
        slides[one.slide_id] = one
    if faults:
        raise SlideError(faults)
    return slides


def _source(path: Path) -> Source:
    slide_id = slide_id_of(path.name)
    return Source(slide_id, patient_of(slide_id), path)
