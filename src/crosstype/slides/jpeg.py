"""JPEG decoding that refuses damaged data; most decoders return grey or white for it, silently."""

from __future__ import annotations

import numpy as np
import simplejpeg  # type: ignore[import-untyped]
from numpy.typing import NDArray

START = b"\xff\xd8"
_ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"
AS_RGB = _ADOBE + b"\x00"
"""Marker that says: the three components are red, green and blue."""
AS_YCBCR = _ADOBE + b"\x01"
"""Marker that says: the three components are luminance and two colour differences."""


class DamagedJpegError(ValueError):
    """The data is not a whole, valid JPEG; the message says why."""


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
        prefix: markers and tables that belong behind its start (TIFF keeps them apart).

    Raises:
        DamagedJpegError: the decoder met anything that a valid JPEG does not hold.
    """
    if not data.startswith(START):
        raise DamagedJpegError("it does not start like a JPEG")
    try:
        pixels = simplejpeg.decode_jpeg(START + prefix + data[2:] if prefix else data, strict=True)
    except ValueError as error:
        raise DamagedJpegError(str(error)) from None
    return np.asarray(pixels, dtype=np.uint8)
