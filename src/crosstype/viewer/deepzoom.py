"""Slides as Deep Zoom pyramids for OpenSeadragon."""

import io
from collections import OrderedDict
from pathlib import Path
from threading import Lock

from PIL import Image

from crosstype.errors import Fault, SlideError

TILE_PX, OVERLAP_PX, QUALITY = 254, 1, 85
MOST_OPEN, MOST_IMAGES = 8, 2
ANY_MPP = 1.0
"""Plain images state no micrometres per pixel; pictures of them need none."""


class ImagePyramid:
    """A plain image at every level of the pyramid, in memory.

    OpenSlide's own pyramid would scale the whole image anew for every small picture, and several
    threads would decode one image at once, which leaves parts of it grey.

    Attributes:
        level_dimensions: (width, height) of each level, the smallest, one pixel, first.
        level_tiles: columns and rows of each level.
    """

    def __init__(self, image: Image.Image) -> None:
        """Halve an RGB image until one pixel is left."""
        self._levels = [image]
        while max(self._levels[0].size) > 1:
            self._levels.insert(0, self._levels[0].reduce(2))
        self.level_count = len(self._levels)
        self.level_dimensions = tuple(one.size for one in self._levels)
        self.level_tiles = tuple(
            (-(-width // TILE_PX), -(-height // TILE_PX)) for width, height in self.level_dimensions
        )

    def get_tile(self, level: int, place: tuple[int, int]) -> Image.Image:
        """Return one picture; neighbours overlap by a pixel on each side."""
        image = self._levels[level]
        column, row = place
        left, top = (max(0, one * TILE_PX - OVERLAP_PX) for one in (column, row))
        right = min(image.width, (column + 1) * TILE_PX + OVERLAP_PX)
        bottom = min(image.height, (row + 1) * TILE_PX + OVERLAP_PX)
        return image.crop((left, top, right, bottom))

    def close(self) -> None:
        """Let go of the pixels."""
        self._levels = []


class DeepZoom:
    """Cache of open slides, the last used ones; thread-safe."""

    def __init__(self) -> None:
        """Open nothing yet."""
        self._open: OrderedDict[Path, tuple[object, object]] = OrderedDict()
        self._lock = Lock()

    def description(self, path: Path) -> dict[str, int]:
        """Return width and height in level-0 pixels, side and overlap of the pictures."""
        width, height = self._generator(path).level_dimensions[-1]
        return {"width": width, "height": height, "tile_px": TILE_PX, "overlap_px": OVERLAP_PX}

    def picture(self, path: Path, level: int, column: int, row: int) -> bytes | None:
        """Return one picture as JPEG; None if the slide has none there."""
        generator = self._generator(path)
        if not 0 <= level < generator.level_count:
            return None
        columns, rows = generator.level_tiles[level]
        if not (0 <= column < columns and 0 <= row < rows):
            return None
        buffer = io.BytesIO()
        generator.get_tile(level, (column, row)).save(buffer, "jpeg", quality=QUALITY)
        return buffer.getvalue()

    def _generator(self, path: Path):  # type: ignore[no-untyped-def]
        """Return the slide's pyramid, opened once; those least used are closed."""
        with self._lock:
            if path not in self._open:
                self._open[path] = _opened(path)
                images = [
                    one for one, held in self._open.items() if isinstance(held[0], ImagePyramid)
                ]
                for old in [*images[:-MOST_IMAGES], *list(self._open)[:-MOST_OPEN]]:
                    if old in self._open:
                        self._open.pop(old)[0].close()  # type: ignore[attr-defined]
            self._open.move_to_end(path)
            return self._open[path][1]


def _opened(path: Path) -> tuple[object, object]:
    """Return the open slide and its pyramid."""
    import openslide
    from openslide.deepzoom import DeepZoomGenerator

    from crosstype.slides.readers.image import ImageSlide
    from crosstype.slides.readers.openslide import knows

    if not knows(path):
        with ImageSlide(path, ANY_MPP) as image:
            pyramid = ImagePyramid(Image.fromarray(image.thumbnail(ANY_MPP)))
        return pyramid, pyramid
    try:
        slide = openslide.open_slide(path)
    except (OSError, openslide.OpenSlideError) as error:
        found = f"cannot be opened ({error})"
        raise SlideError(Fault(path.name, found, "Check the file.")) from error
    return slide, DeepZoomGenerator(slide, TILE_PX, OVERLAP_PX)
