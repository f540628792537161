"""Direct reader of JPEG tiles in TIFF and SVS files, and strict JPEG decoding.

Faster than OpenSlide with the same pixels: tiles are read by offset, decoded once, cached and
cropped. `readers.openslide` uses it only for levels where both agree. Decoding raises on damaged
data, for which most decoders silently return grey or white.
"""

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simplejpeg  # type: ignore[import-untyped]
import tifffile
from numpy.typing import NDArray

from crosstype.errors import Fault, SlideError

START = b"\xff\xd8"
_ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"
AS_RGB = _ADOBE + b"\x00"
"""Marker for components red, green and blue."""
AS_YCBCR = _ADOBE + b"\x01"
"""Marker for components luminance and two colour differences."""


class DamagedJpegError(ValueError):
    """The data is not a complete, valid JPEG."""


def jpeg_size_px(data: bytes) -> tuple[int, int]:
    """Return width and height from a JPEG's header.

    Raises:
        DamagedJpegError: there is no readable header.
    """
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data, strict=True)
    except ValueError as error:
        raise DamagedJpegError(str(error)) from None
    return int(width), int(height)


def decode_jpeg(data: bytes, prefix: bytes = b"") -> NDArray[np.uint8]:
    """Return a JPEG as (height, width, 3) RGB, decoded as OpenSlide does.

    Args:
        data: the JPEG.
        prefix: markers and tables to insert after its start (TIFF stores them separately).

    Raises:
        DamagedJpegError: the data is not a valid JPEG.
    """
    if not data.startswith(START):
        raise DamagedJpegError("it does not start like a JPEG")
    try:
        pixels = simplejpeg.decode_jpeg(START + prefix + data[2:] if prefix else data, strict=True)
    except ValueError as error:
        raise DamagedJpegError(str(error)) from None
    return np.asarray(pixels, dtype=np.uint8)


CACHE_BYTES = 64 << 20
"""Size of the least-recently-used cache of decoded tiles."""
JPEG, RGB, YCBCR = 7, 2, 6
_QUIET = logging.NullHandler()


@dataclass(frozen=True)
class TiledLevel:
    """One resolution of a tiled TIFF.

    Attributes:
        size_px: width and height.
        tile_px: width and height of its tiles.
        offsets: position of each tile in the file, row by row.
        n_bytes: length of each tile in the file; 0 for tiles that the scanner left out.
        prefix: markers and tables that all tiles share.
    """

    size_px: tuple[int, int]
    tile_px: tuple[int, int]
    offsets: NDArray[np.int64]
    n_bytes: NDArray[np.int64]
    prefix: bytes

    @property
    def n_columns(self) -> int:
        """Tiles per row."""
        return -(-self.size_px[0] // self.tile_px[0])

    def tile_box_px(self, index: int) -> tuple[int, int, int, int]:
        """Return left, top, right, bottom of a tile."""
        row, column = divmod(index, self.n_columns)
        width, height = self.tile_px
        return column * width, row * height, (column + 1) * width, (row + 1) * height


class JpegTiff:
    """The JPEG-tiled levels of one file; thread-safe."""

    def __init__(self, path: Path, levels: Sequence[TiledLevel | None]) -> None:
        """Open `path`, whose `levels` are those of OpenSlide; None: not JPEG-tiled."""
        self.path = path
        self.levels = tuple(levels)
        self._descriptor = os.open(path, os.O_RDONLY)
        self._tiles: OrderedDict[tuple[int, int], NDArray[np.uint8]] = OrderedDict()
        self._n_bytes = 0
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the file and clear the cache."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1
        self._tiles.clear()

    def read(self, level: int, box_px: tuple[int, int, int, int]) -> NDArray[np.uint8] | None:
        """Return a box inside a level, or None if a tile of it was left out by the scanner.

        Raises:
            SlideError: a tile is damaged; with its position.
        """
        tiled = self.levels[level]
        if tiled is None:
            return None
        left, top, right, bottom = box_px
        width, height = tiled.tile_px
        if (right - left, bottom - top) == tiled.tile_px and not (left % width or top % height):
            index = top // height * tiled.n_columns + left // width
            return self._decode(level, tiled, index) if tiled.n_bytes[index] else None
        pixels = np.empty((bottom - top, right - left, 3), np.uint8)
        for row in range(top // height, -(-bottom // height)):
            for column in range(left // width, -(-right // width)):
                tile = self._tile(level, tiled, row * tiled.n_columns + column)
                if tile is None:
                    return None
                x, y = column * width, row * height
                x0, x1, y0, y1 = (
                    max(left, x),
                    min(right, x + width),
                    max(top, y),
                    min(bottom, y + height),
                )
                cut = tile[y0 - y : y1 - y, x0 - x : x1 - x]
                pixels[y0 - top : y1 - top, x0 - left : x1 - left] = cut
        return pixels

    def _tile(self, level: int, tiled: TiledLevel, index: int) -> NDArray[np.uint8] | None:
        """Return a decoded tile, from the cache if possible."""
        key = (level, index)
        with self._lock:
            known = self._tiles.get(key)
            if known is not None:
                self._tiles.move_to_end(key)
                return known
        if not tiled.n_bytes[index]:
            return None
        tile = self._decode(level, tiled, index)
        with self._lock:
            if key not in self._tiles:
                self._tiles[key] = tile
                self._n_bytes += tile.nbytes
            while self._n_bytes > CACHE_BYTES and len(self._tiles) > 1:
                self._n_bytes -= self._tiles.popitem(last=False)[1].nbytes
        return tile

    def _decode(self, level: int, tiled: TiledLevel, index: int) -> NDArray[np.uint8]:
        """Read and strictly decode a tile."""
        data = os.pread(self._descriptor, int(tiled.n_bytes[index]), int(tiled.offsets[index]))
        try:
            tile = decode_jpeg(data, tiled.prefix)
            if tile.shape[:2] != tiled.tile_px[::-1]:
                raise DamagedJpegError(f"it measures {tile.shape[1]} x {tile.shape[0]} px")
        except DamagedJpegError as error:
            left, top, right, bottom = tiled.tile_box_px(index)
            where = f"{self.path.name} level {level}, x {left} to {right}, y {top} to {bottom} px"
            found = f"the JPEG tile there is damaged ({error})"
            raise SlideError(Fault(where, found, "Copy or download the slide again.")) from None
        return tile


def open_tiff(path: Path) -> tifffile.TiffFile:
    """Open a TIFF without tifffile's log messages."""
    tifffile.logger().addHandler(_QUIET)
    return tifffile.TiffFile(path)


def find_tiled_levels(
    path: Path, sizes_px: Sequence[tuple[int, int]]
) -> tuple[TiledLevel | None, ...]:
    """Return the JPEG-tiled level of each size, None where there is none.

    Raises:
        SlideError: the file is cut off before its last tile.
    """
    try:
        with open_tiff(path) as file:
            pages = [page for page in file.pages if isinstance(page, tifffile.TiffPage)]
            found = {_size_px(page): _tiled_level(page) for page in pages if _is_jpeg_tiled(page)}
    except (tifffile.TiffFileError, ValueError, IndexError, KeyError, OSError):
        return tuple(None for _ in sizes_px)  # OpenSlide reads it or raises
    levels = tuple(found.get(size) for size in sizes_px)
    _check_whole(path, levels)
    return levels


def _size_px(page: tifffile.TiffPage) -> tuple[int, int]:
    return page.imagewidth, page.imagelength


def _is_jpeg_tiled(page: tifffile.TiffPage) -> bool:
    """Whether a page holds plain 8-bit colour JPEG tiles."""
    kind = (page.compression, page.samplesperpixel, page.bitspersample, page.planarconfig)
    return bool(page.is_tiled and kind == (JPEG, 3, 8, 1) and page.photometric in (RGB, YCBCR))


def _tiled_level(page: tifffile.TiffPage) -> TiledLevel:
    tables = page.jpegtables or b""
    colours = AS_RGB if page.photometric == RGB else AS_YCBCR
    return TiledLevel(
        size_px=_size_px(page),
        tile_px=(page.tilewidth, page.tilelength),
        offsets=np.array(page.dataoffsets, dtype=np.int64),
        n_bytes=np.array(page.databytecounts, dtype=np.int64),
        prefix=colours + tables[2:-2],
    )


def _check_whole(path: Path, levels: Sequence[TiledLevel | None]) -> None:
    """Raise if tiles are beyond the end of the file."""
    size = path.stat().st_size
    tiled = [level for level in levels if level is not None]
    n_lost = sum(int(np.sum(level.offsets + level.n_bytes > size)) for level in tiled)
    if n_lost:
        found = f"the file is truncated: {n_lost} of its tiles are beyond its end"
        raise SlideError(Fault(path.name, found, "Copy or download it again."))
