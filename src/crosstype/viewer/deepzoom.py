"""Slides as OpenSeadragon asks for them: a pyramid of small pictures (Deep Zoom)."""

from __future__ import annotations

import io
from collections import OrderedDict
from pathlib import Path
from threading import Lock

from crosstype.errors import Fault, SlideError

TILE_PX, OVERLAP_PX, QUALITY = 254, 1, 85
MOST_OPEN = 8


class DeepZoom:
    """Slides that are open, the last used ones; several threads may ask at once."""

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
        """Return the slide's pyramid, opened once; the least used one beyond eight is closed."""
        import openslide
        from openslide.deepzoom import DeepZoomGenerator

        with self._lock:
            if path in self._open:
                self._open.move_to_end(path)
                return self._open[path][1]
            try:
                slide = openslide.open_slide(path)
            except (OSError, openslide.OpenSlideError) as error:
                found = f"cannot be opened ({error})"
                raise SlideError(Fault(path.name, found, "Look at the file.")) from error
            generator = DeepZoomGenerator(slide, TILE_PX, OVERLAP_PX)
            self._open[path] = (slide, generator)
            if len(self._open) > MOST_OPEN:
                old, _ = self._open.popitem(last=False)[1]
                old.close()  # type: ignore[attr-defined]
            return generator
