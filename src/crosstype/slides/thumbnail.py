"""Tissue outlines as GeoJSON for QuPath, and thumbnails with outlines and tiles."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage
from skimage.measure import find_contours

from crosstype.io.files import replacing
from crosstype.slides.slide import Slide
from crosstype.slides.tiles import Tiles
from crosstype.slides.tissue import Tissue

Ring = list[list[float]]
Polygons = list[list[NDArray[np.float64]]]
"""Per piece of tissue its outer ring, then its holes; each (n, 2) x, y in mask pixels."""


def tissue_outlines(mask: NDArray[np.bool_]) -> Polygons:
    """Return the polygons of a mask: each its outer ring, then its holes.

    A ring is (n, 2) x, y in mask pixels, pixel centres at .5; its first point is also its last.
    """
    labels, _ = ndimage.label(mask)
    padded = np.pad(labels, 1)
    pieces: dict[int, list[NDArray[np.float64]]] = defaultdict(list)
    field = np.pad(mask, 1).astype(np.float32)
    for contour in find_contours(field, 0.5):  # type: ignore[no-untyped-call]
        low, high = np.floor(contour[0]).astype(int), np.ceil(contour[0]).astype(int)
        label = int(max(padded[tuple(low)], padded[tuple(high)]))
        pieces[label].append(contour[:, ::-1] - 0.5)
    return [sorted(rings, key=_area, reverse=True) for _, rings in sorted(pieces.items())]


def tissue_geojson(tissue: Tissue, slide: Slide, polygons: Polygons) -> dict[str, Any]:
    """Return the tissue as a GeoJSON FeatureCollection, one annotation per piece.

    Coordinates are level-0 pixels from the top left, as QuPath has them; holes are inner rings.
    `polygons` are `tissue_outlines` of the tissue's mask.
    """
    features = [
        {
            "type": "Feature",
            "id": f"{slide.slide_id}-tissue-{number}",
            "geometry": {
                "type": "Polygon",
                "coordinates": [_ring(ring, tissue.scale_px, slide.size_px) for ring in rings],
            },
            "properties": {
                "objectType": "annotation",
                "classification": {"name": "Tissue", "color": [0, 128, 0]},
            },
        }
        for number, rings in enumerate(polygons, start=1)
    ]
    return {"type": "FeatureCollection", "features": features}


def _ring(ring: NDArray[np.float64], scale_px: float, size_px: tuple[int, int]) -> Ring:
    """Return a ring in level-0 pixels inside the slide, without points on a straight line."""
    before, after = ring[:-1] - np.roll(ring[:-1], 1, axis=0), ring[1:] - ring[:-1]
    is_corner = np.abs(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]) > 1e-9
    corners = ring[:-1][is_corner]
    scaled = np.clip(corners * scale_px, 0, np.array(size_px, dtype=float)).round(1)
    return [*scaled.tolist(), scaled[0].tolist()]


def _area(ring: NDArray[np.float64]) -> float:
    """Return the area that a ring encloses."""
    x, y = ring[:-1].T
    return abs(float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))) / 2


LONGEST_SIDE_PX = 1536
TISSUE_COLOUR = (0, 150, 60)
TILE_COLOUR = (20, 60, 220)


def draw_thumbnail(tissue: Tissue, tiles: Tiles, polygons: Polygons) -> Image.Image:
    """Return the thumbnail with tissue outlined in green and the tiles framed in blue.

    `polygons` are `tissue_outlines` of the tissue's mask.
    """
    height, width = tissue.mask.shape
    zoom = min(LONGEST_SIDE_PX / max(height, width), 4.0)
    size_px = (max(1, round(width * zoom)), max(1, round(height * zoom)))
    image = Image.fromarray(tissue.thumbnail).resize(size_px, Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(image)
    for rings in polygons:
        for ring in rings:
            draw.line([(x * zoom, y * zoom) for x, y in ring.tolist()], TISSUE_COLOUR, width=2)
    per_px = zoom / tissue.scale_px
    for x, y in tiles.tile_xy_px.tolist():
        right, bottom = x + tiles.footprint_px, y + tiles.footprint_px
        frame = [value * per_px for value in (x, y, right, bottom)]
        draw.rectangle(frame, outline=TILE_COLOUR, width=2)
    return image


def write_image(path: Path, image: Image.Image) -> None:
    """Write a JPEG atomically."""
    with replacing(path) as temporary:
        image.save(temporary, format="JPEG", quality=85)
