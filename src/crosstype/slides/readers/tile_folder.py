"""Reader of slides that exist only as tiles: folders or zips of `<slide>/<slide>_(x,y).jpg`."""

import re
import stat
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from crosstype.errors import Fault, SlideError
from crosstype.slides.readers.jpeg_tiff import START, DamagedJpegError, decode_jpeg

TILE_NAME = re.compile(r"^(?P<slide>.+)_\((?P<x>\d{1,9}), ?(?P<y>\d{1,9})\)\.(?:jpe?g|png)$", re.I)
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png")
MOST_TILE_BYTES = 64 << 20
LAYOUT = "Expected <slide>/<slide>_(x,y).jpg."


@dataclass(frozen=True)
class TileSlide:
    """A slide that exists only as tiles, in a folder or in a zip that is not unpacked.

    Attributes:
        source: the folder or zip.
        slide_id: the slide's name.
        tile_xy_px: (n, 2) int32, x and y from the tiles' names, row by row.
        names: path of each tile in the source, in the same order.
    """

    source: Path
    slide_id: str
    tile_xy_px: NDArray[np.int32]
    names: tuple[str, ...]

    def read_tiles(self, indices: Iterable[int] | None = None) -> Iterator[NDArray[np.uint8]]:
        """Yield tiles, (height, width, 3) uint8 RGB, in the order of `names` or of `indices`.

        Raises:
            SlideError: a tile is damaged; with its name.
        """
        selected = range(len(self.names)) if indices is None else indices
        if self.source.is_dir():
            for index in selected:
                name = self.names[index]
                yield _decode(f"{self.source.name}/{name}", (self.source / name).read_bytes())
            return
        with zipfile.ZipFile(self.source) as archive:
            for index in selected:
                name = self.names[index]
                yield _decode(f"{self.source.name}/{name}", _read_entry(archive, name))


def find_tile_slides(path: Path) -> list[TileSlide]:
    """Return the slides in a folder or zip of tiles, by name; tiles may be at any depth.

    Raises:
        SlideError: no file has the name of a tile, two tiles of a slide have the same position, or
            the zip is damaged or has entries outside itself. All faults at once.
    """
    names = _zip_names(path) if zipfile.is_zipfile(path) else _folder_names(path)
    tiles: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
    for name in names:
        path_inside = PurePosixPath(name)
        match = TILE_NAME.match(path_inside.name)
        if match and match["slide"] == path_inside.parent.name:
            tiles[match["slide"]].append((int(match["y"]), int(match["x"]), name))
    if not tiles:
        raise SlideError(Fault(path.name, "holds no tiles", LAYOUT))
    faults = [fault for slide in tiles for fault in _twins(path.name, slide, tiles[slide])]
    if faults:
        raise SlideError(faults)
    return [_tile_slide(path, slide, sorted(tiles[slide])) for slide in sorted(tiles)]


def _tile_slide(path: Path, slide: str, tiles: list[tuple[int, int, str]]) -> TileSlide:
    tile_xy_px = np.array([(x, y) for y, x, _ in tiles], dtype=np.int32)
    names = tuple(name for _, _, name in tiles)
    return TileSlide(path, slide, tile_xy_px, names)


def _twins(source: str, slide: str, tiles: list[tuple[int, int, str]]) -> Iterator[Fault]:
    """Yield a fault for each position of more than one tile of a slide."""
    names_at: dict[tuple[int, int], list[str]] = defaultdict(list)
    for y, x, name in tiles:
        names_at[x, y].append(name)
    for (x, y), names in names_at.items():
        if len(names) > 1:
            found = f"slide {slide} has {len(names)} tiles at ({x},{y}): {', '.join(names)}"
            yield Fault(source, found, "Keep one of them.")


def _folder_names(path: Path) -> list[str]:
    """Return the images under a folder, as paths relative to it."""
    if not path.is_dir():
        found = "neither a folder nor a zip" if path.exists() else f"is not there ({path})"
        raise SlideError(Fault(path.name, found, LAYOUT))
    files = (file for file in path.rglob("*") if file.suffix.lower() in IMAGE_ENDINGS)
    return [file.relative_to(path).as_posix() for file in files if file.is_file()]


def _zip_names(path: Path) -> list[str]:
    """Return the images in a zip; raise if any entry is outside it."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    except (zipfile.BadZipFile, OSError) as error:
        raise SlideError(Fault(path.name, f"damaged zip ({error})", "Copy it again.")) from None
    faults = []
    for entry in entries:
        reason = _escape(entry)
        if reason:
            remedy = "Do not use this zip; make it anew from its folder."
            faults.append(Fault(path.name, f"entry {entry.filename!r} {reason}", remedy))
    if faults:
        raise SlideError(faults)
    names = [entry.filename for entry in entries]
    return [name for name in names if name.lower().endswith(IMAGE_ENDINGS)]


def _escape(entry: zipfile.ZipInfo) -> str:
    """Return why a zip entry is unsafe (a path outside the zip); empty if it is not."""
    name = entry.orig_filename.replace("\\", "/")
    if name.startswith("/") or re.match(r"^[A-Za-z]:", name):
        return "is an absolute path"
    if ".." in PurePosixPath(name).parts:
        return "leads out of the zip"
    if stat.S_ISLNK(entry.external_attr >> 16):
        return "is a link"
    return "holds a zero byte in its name" if "\0" in name else ""


def _read_entry(archive: zipfile.ZipFile, name: str) -> bytes:
    """Return an entry's bytes, checked against its checksum."""
    where = f"{Path(str(archive.filename)).name}/{name}"
    size = archive.getinfo(name).file_size
    if size > MOST_TILE_BYTES:
        found = f"{size:,} bytes for one tile, more than {MOST_TILE_BYTES:,}"
        raise SlideError(Fault(where, found, "Give tiles, not whole images."))
    try:
        return archive.read(name)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
        found = f"cannot be read from the zip ({error})"
        raise SlideError(Fault(where, found, "Copy the zip again.")) from None


def _decode(where: str, data: bytes) -> NDArray[np.uint8]:
    """Return a tile's pixels; JPEG by content, else PNG."""
    try:
        if data.startswith(START):
            return decode_jpeg(data)
        pixels = imagecodecs.png_decode(data)
    except (DamagedJpegError, imagecodecs.PngError, ValueError) as error:
        found = f"the tile is damaged ({error})"
        raise SlideError(Fault(where, found, "Copy it again.")) from None
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        found = f"{pixels.dtype} pixels of shape {pixels.shape}"
        raise SlideError(Fault(where, found, "Expected 8-bit RGB."))
    return np.asarray(pixels, dtype=np.uint8)
