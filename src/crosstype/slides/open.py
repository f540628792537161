"""Opening of slides of any supported format."""

from pathlib import Path

from crosstype.errors import Fault, SlideError
from crosstype.slides.slide import (
    Slide,
)


def open_slide(path: Path, mpp: float | None = None, default_mpp: float | None = None) -> Slide:
    """Open a slide in any format of OpenSlide, or a plain JPEG, PNG or TIFF image.

    Args:
        path: the file.
        mpp: micrometres per level-0 pixel; overrides the file's metadata.
        default_mpp: the same, for files without it.

    Raises:
        SlideError: there is no such file, it is damaged or no slide, or its mpp is unknown.
    """
    from crosstype.slides.readers.image import ImageSlide, is_image
    from crosstype.slides.readers.openslide import OpenSlideSlide, knows

    start = _first_bytes(path)
    if knows(path):
        return OpenSlideSlide(path, mpp, default_mpp)
    if is_image(start):
        return ImageSlide(path, mpp, default_mpp)
    found = f"neither a slide nor an image; it starts with {start[:12]!r}"
    raise SlideError(Fault(path.name, found, "Give SVS, NDPI, MRXS, DICOM, TIFF, JPEG or PNG."))


def _first_bytes(path: Path) -> bytes:
    """Return a file's first bytes; raise if it is missing, a folder or empty."""
    try:
        with path.open("rb") as handle:
            start = handle.read(32)
    except FileNotFoundError:
        fault = Fault(path.name, f"there is no such slide ({path})", "Check the path.")
        raise SlideError(fault) from None
    except IsADirectoryError:
        remedy = "Give a file; folders of tiles are named <slide>/<slide>_(x,y).jpg."
        raise SlideError(Fault(path.name, "a folder, not a slide", remedy)) from None
    except OSError as error:
        found = f"cannot be read ({error.strerror})"
        raise SlideError(Fault(path.name, found, "Check the file and its rights.")) from None
    if not start:
        raise SlideError(Fault(path.name, "the file is empty", "Copy or download it again."))
    return start
