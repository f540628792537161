"""Tiles with their attention as GeoJSON that QuPath opens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from crosstype.explanation.places import SlideTiles
from crosstype.files import write_text


def tile_geojson(slide: SlideTiles, measured: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return a slide's tiles as a FeatureCollection of QuPath detections.

    Coordinates are level-0 pixels from the top left. Each tile has its measurements, such as
    `attention`.

    Args:
        slide: a slide whose tiles have coordinates.
        measured: name of each measurement, and its value for each tile.

    Raises:
        ValueError: the tiles have no coordinates.
    """
    if slide.tile_xy_px is None:
        raise ValueError(f"{slide.slide_id}: tiles without coordinates")
    size = slide.footprint_px
    features = []
    for place, (x, y) in enumerate(slide.tile_xy_px.tolist()):
        right, bottom = x + size, y + size
        ring = [[x, y], [right, y], [right, bottom], [x, bottom], [x, y]]
        values = {
            name: float(one[place]) for name, one in measured.items() if np.isfinite(one[place])
        }
        features.append(
            {
                "type": "Feature",
                "id": f"{slide.slide_id}-tile-{place}",
                "geometry": {"type": "Polygon", "coordinates": [ring]},
                "properties": {
                    "objectType": "detection",
                    "name": f"tile {place}",
                    "measurements": values,
                },
            }
        )
    return {"type": "FeatureCollection", "features": features}


def write_geojson(path: Path, collection: Mapping[str, Any]) -> None:
    """Write GeoJSON; no name in it can end a script of a page that holds it."""
    text = json.dumps(collection, ensure_ascii=False).replace("<", "\\u003c")
    write_text(path, text + "\n")
