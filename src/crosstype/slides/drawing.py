"""The picture for the eye: a slide's thumbnail with its tissue and the chosen tiles."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

from crosstype.files import replacing
from crosstype.slides.outline import Polygons
from crosstype.slides.tiles import Tiles
from crosstype.slides.tissue import Tissue

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
    """Write a JPEG, whole or not at all."""
    with replacing(path) as temporary:
        image.save(temporary, format="JPEG", quality=85)
