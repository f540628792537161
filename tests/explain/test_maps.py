"""Maps are tile-exact, coordinates reach GeoJSON as they are, and names stay text."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import h5py
import numpy as np
import pytest
from PIL import Image

from crosstype.explain.attention import PatientAttention
from crosstype.explain.maps import (
    MapLayer,
    Pictures,
    Subject,
    draw_map,
    draw_tiles,
    plot_strip,
    tile_box,
    tile_geojson,
    write_geojson,
    write_svg,
)
from crosstype.explain.spec import ExplanationSpec
from crosstype.explain.tile_locations import SlideTiles, TileLocations
from crosstype.features.formats.open import write_features

HOSTILE = '<script>alert(1)</script> $x^2$ "&'


def slide(xy: list[tuple[float, float]], size: float = 100.0, name: str = "S") -> SlideTiles:
    return SlideTiles(name, 0, len(xy), np.array(xy, dtype=np.float64), size)


def shown(values: list[float], *, diverging: bool = False) -> MapLayer:
    return MapLayer("title", "note", np.array(values), diverging=diverging, unit="")


@pytest.mark.parametrize("scale", [1.0, 2.0, 3.7, 10.0])
def test_a_tile_lands_on_its_own_pixels(scale: float) -> None:
    thumbnail = Image.new("RGB", (300, 200), (255, 255, 255))
    thumbnail.info["scale_px"] = scale
    x, y, size = 40 * scale, 30 * scale, 20 * scale
    page = np.asarray(draw_map(slide([(x, y)], size), shown([1.0]), thumbnail))[:200, :300]
    changed = (page != 255).any(axis=2)
    rows, columns = changed.nonzero()
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (40, 59, 30, 49)
    assert changed.sum() == 400


@pytest.mark.parametrize("zoom", [0.013, 0.2, 0.31, 1.7])
def test_neighbours_share_no_pixel_and_leave_none_out(zoom: float) -> None:
    edges = [tile_box(100.0 * n, 0.0, 100.0, zoom) for n in range(50)]
    for one, after in pairwise(edges):
        assert after[0] in (one[2] + 1, one[2])  # the same pixel only where tiles are smaller
        if zoom * 100 >= 2:
            assert after[0] == one[2] + 1


def test_the_highest_tile_has_the_last_colour_and_0_the_middle() -> None:
    assert shown([0.0, 2.0, 1.0]).colours().sum(axis=1).argmax() == 1
    two = shown([-1.0, 0.0, 1.0], diverging=True).colours().astype(int)
    assert two[1].min() > 230  # nearly white
    assert np.abs(two[0] - two[2]).max() > 60


def test_without_a_slide_tiles_lie_on_white_paper() -> None:
    page = draw_map(slide([(0, 0), (300, 100)]), shown([1.0, 0.5]), None)
    inside = np.asarray(page)[: page.height - 76]
    assert (inside[0, 0] != 255).any()
    assert (inside[-1, 0] == 255).all()


def test_tiles_without_coordinates_have_no_map() -> None:
    nowhere = SlideTiles("S", 0, 2)
    with pytest.raises(ValueError, match="S: tiles without coordinates"):
        draw_map(nowhere, shown([1.0, 2.0]), None)
    with pytest.raises(ValueError, match="S: tiles without coordinates"):
        tile_geojson(nowhere, {})


def test_tiles_stand_side_by_side_in_their_order() -> None:
    tiles = [np.full((8, 8, 3), value, dtype=np.uint8) for value in (10, 200)]
    page = np.asarray(draw_tiles([("highest", tiles), ("lowest", tiles[::-1])]))
    assert [int(page[60, x, 0]) for x in (60, 190)] == [10, 200]
    assert [int(page[60 + 154, x, 0]) for x in (60, 190)] == [200, 10]


def test_geojson_has_each_tile_where_it_lies(tmp_path: Path) -> None:
    one = slide([(0, 0), (1024, 512)], 256.0, HOSTILE)
    write_geojson(tmp_path / "a.geojson", tile_geojson(one, {"attention": np.array([0.25, 0.75])}))
    text = (tmp_path / "a.geojson").read_text()
    assert "<script" not in text
    found = json.loads(text)
    assert found["type"] == "FeatureCollection"
    last = found["features"][1]
    ring = [[1024, 512], [1280, 512], [1280, 768], [1024, 768], [1024, 512]]
    assert last["geometry"] == {"type": "Polygon", "coordinates": [ring]}
    assert last["properties"]["measurements"] == {"attention": 0.75}
    assert last["properties"]["objectType"] == "detection"
    assert found["features"][0]["id"].startswith(HOSTILE)


def test_a_strip_takes_names_as_text(tmp_path: Path) -> None:
    figure = plot_strip(HOSTILE, np.array([0.5, 0.3, 0.2]), np.array([0.1, -0.2, 0.0]))
    write_svg(tmp_path / "a.svg", figure)
    text = (tmp_path / "a.svg").read_text()
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in re.sub(r"&#x3c;", "&lt;", text)
    write_svg(tmp_path / "b.svg", plot_strip(HOSTILE, np.array([0.5, 0.3, 0.2]), None))
    assert (tmp_path / "b.svg").stat().st_size


def test_hostile_names_stay_in_their_folder(tmp_path: Path) -> None:
    quoted, outside = '"onmouseover="alert(1)', "../../<img src=x onerror=alert(1)>"
    attention = np.array([0.25, 0.75])
    pictures = Pictures(tmp_path / "in", {}, None, ExplanationSpec(tokens=(outside,)))
    looked = PatientAttention(attention, attention - 0.5, 1, {outside: attention})
    for name in (HOSTILE, quoted, outside):
        own = slide([(0, 0), (100, 0)], name=name)
        pictures.draw(Subject("concat", name, 0.5), looked, [own])
        pictures.draw(Subject("concat", name, 0.5), looked, [SlideTiles(name, 0, 2)])
    drawn = pictures.finish()
    made = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.relative_to(tmp_path / "in").as_posix() for path in made} == set(drawn["file"])
    assert len(made) == drawn.height == 3 * (3 + 1 + 1)
    assert {path.parent.name for path in made} == {"maps", "strips", "geojson"}
    assert not any(set('<>"') & set(path.name) for path in made)
    for path in made:
        if path.suffix != ".png":
            text = path.read_text(encoding="utf-8")
            assert "<script" not in text
            assert "<img" not in text
    for path in (tmp_path / "in" / "strips").iterdir():
        names = {key for one in ElementTree.parse(path).iter() for key in one.attrib}
        assert "onmouseover" not in names


def test_places_follow_the_bag_slide_by_slide(tmp_path: Path) -> None:
    first, second = np.array([[0, 0], [256, 0]]), np.array([[512, 768]])
    about: dict[str, str | int | float] = {"footprint_px": 256, "slide_id": "?"}
    write_features(tmp_path / "b.h5", np.zeros((1, 3), np.float32), second, about)
    write_features(tmp_path / "a.h5", np.zeros((2, 3), np.float32), first, about)
    write_features(tmp_path / "c.h5", np.zeros((4, 3), np.float32), None, about)
    paths = [tmp_path / f"{name}.h5" for name in "bca"]
    places = TileLocations({"P": paths}, {path: path.stem.upper() for path in paths}, {})
    found = places.of("P")
    assert [(one.slide_id, one.first, one.n_tiles) for one in found] == [
        ("A", 0, 2), ("B", 2, 1), ("C", 3, 4),
    ]  # fmt: skip
    assert found[1].tile_xy_px is not None
    assert found[1].tile_xy_px.tolist() == [[512, 768]]
    assert found[1].footprint_px == 256
    assert found[2].tile_xy_px is None
    assert not places.faults


def test_unreadable_coordinates_are_noted(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:  # STAMP's, of which nobody knows the mpp
        file["feats"] = np.zeros((2, 3), np.float32)
        file["coords"] = np.zeros((2, 2), np.float32)
        file.attrs.update({"unit": "um", "tile_size_um": 256.0, "stamp_version": "2.0.0"})
    path = tmp_path / "a.h5"
    unknown, known = (TileLocations({"P": [path]}, {path: "A"}, mpps) for mpps in ({}, {"A": 0.5}))
    assert unknown.of("P")[0].tile_xy_px is None
    assert "mpp" in unknown.faults["A"]
    assert known.of("P")[0].footprint_px == 512
    assert not known.faults
