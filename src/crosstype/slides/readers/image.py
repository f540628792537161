"""Reader of plain JPEG, PNG and TIFF images as slides, with mpp from table or config."""

import threading
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from crosstype.errors import Fault, SlideError
from crosstype.slides.readers import jpeg_tiff
from crosstype.slides.slide import WHITE, Level, Slide, resolve_mpp

PNG = b"\x89PNG\r\n\x1a\n"
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MOST_PX = 500_000_000
"""Plain images are decoded whole: up to 1.5 GB. Larger ones must be tiled."""
AGAIN = "Copy or download it again."
AS_RGB8 = "Save it as 8-bit RGB."


def is_image(start: bytes) -> bool:
    """Whether a file's first bytes are those of a JPEG, PNG or TIFF."""
    return start.startswith((jpeg_tiff.START, PNG, *TIFF))


class ImageSlide(Slide):
    """One image, decoded whole when first read."""

    def __init__(
        self, path: Path, mpp: float | None = None, default_mpp: float | None = None
    ) -> None:
        """Read an image's header.

        The resolution in such files is that of a printer or screen, so it is not used.

        Raises:
            SlideError: its mpp is unknown, or it is damaged, too large, or not 8-bit.
        """
        size_px = _size_px(path)
        if size_px[0] * size_px[1] > MOST_PX:
            found = f"{size_px[0]} x {size_px[1]} px in one piece, more than {MOST_PX:,}"
            remedy = "Convert it to a tiled pyramidal TIFF, e.g. with `vips tiffsave`."
            raise SlideError(Fault(path.name, found, remedy))
        own_mpp = resolve_mpp(path.name, (mpp, default_mpp))
        super().__init__(path, own_mpp, [Level(size_px, 1.0)])
        self._pixels: NDArray[np.uint8] | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Release the pixels."""
        self._pixels = None

    def _read_level(
        self,
        level: int,  # noqa: ARG002  there is only one
        box_px: tuple[int, int, int, int],
    ) -> NDArray[np.uint8]:
        with self._lock:
            if self._pixels is None:
                self._pixels = _decode(self.path)
            pixels = self._pixels
        left, top, right, bottom = box_px
        return pixels[top:bottom, left:right].copy()


def _size_px(path: Path) -> tuple[int, int]:
    """Return width and height from an image's header, without decoding it."""
    with path.open("rb") as handle:
        start = handle.read(24)
    try:
        if start.startswith(jpeg_tiff.START):
            return jpeg_tiff.jpeg_size_px(path.read_bytes())
        if start.startswith(PNG):
            return int.from_bytes(start[16:20], "big"), int.from_bytes(start[20:24], "big")
        with jpeg_tiff.open_tiff(path) as file:
            page = file.pages.first
            _check_tiff(path, page)
            return page.imagewidth, page.imagelength
    except LookupError:
        raise _damaged(path, ValueError("its directory of pages is missing")) from None
    except (jpeg_tiff.DamagedJpegError, tifffile.TiffFileError, ValueError, OSError) as error:
        raise _damaged(path, error) from None


def _check_tiff(path: Path, page: tifffile.TiffPage) -> None:
    """Raise if strips or tiles are missing or beyond the end of the file, or are not 8-bit."""
    size = path.stat().st_size
    ends = np.add(page.dataoffsets, page.databytecounts)
    if not len(ends) or not all(page.databytecounts):
        raise SlideError(Fault(path.name, "a TIFF without all its pixels", AGAIN))
    if int(ends.max()) > size:
        found = f"the file is cut off: it has {size:,} bytes of at least {int(ends.max()):,}"
        raise SlideError(Fault(path.name, found, AGAIN))
    shades = tifffile.PHOTOMETRIC(page.photometric).name
    if page.bitspersample != 8 or shades not in ("RGB", "YCBCR", "MINISBLACK"):
        found = f"a TIFF of {page.bitspersample}-bit {shades} pixels"
        raise SlideError(Fault(path.name, found, AS_RGB8))


def _decode(path: Path) -> NDArray[np.uint8]:
    """Return an image as (height, width, 3) RGB."""
    data = path.read_bytes()
    try:
        if data.startswith(jpeg_tiff.START):
            return jpeg_tiff.decode_jpeg(data)
        if data.startswith(PNG):
            return _as_rgb(path, imagecodecs.png_decode(data))
        with jpeg_tiff.open_tiff(path) as file:
            return _as_rgb(path, file.pages.first.asarray())
    except (jpeg_tiff.DamagedJpegError, imagecodecs.PngError, ValueError, RuntimeError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> SlideError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return SlideError(Fault(path.name, f"the image is damaged ({reason})", AGAIN))


def _as_rgb(path: Path, pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return grey, RGB or RGBA pixels as RGB on white."""
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        found = f"an image of {pixels.dtype} values, {pixels.ndim} axes"
        raise SlideError(Fault(path.name, found, AS_RGB8))
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[2] in (2, 4):
        alpha = pixels[..., -1:].astype(np.uint16)
        mixed = (pixels[..., :-1] * alpha + WHITE * (WHITE - alpha) + WHITE // 2) // WHITE
        pixels = mixed.astype(np.uint8)
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    if pixels.shape[2] != 3:
        raise SlideError(Fault(path.name, f"{pixels.shape[2]} colour channels", AS_RGB8))
    return np.ascontiguousarray(pixels)
