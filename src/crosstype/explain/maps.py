"""Pictures of attention: a map over the slide, the tiles that count most, or a ranked strip.

Pixels behind an explanation: a slide's thumbnail, and some of its tiles.

Tiles with their attention as GeoJSON that QuPath opens.

Draws maps, tiles, strips and GeoJSON from the tables, and lists the files.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from crosstype.errors import SlideError
from crosstype.explain.attention import PatientAttention, rank_of
from crosstype.explain.spec import ExplanationSpec
from crosstype.explain.tile_locations import SlideTiles
from crosstype.features.slide_sources import Source
from crosstype.io.files import replacing, write_text
from crosstype.io.schema import DRAWN
from crosstype.slides.open import open_slide
from crosstype.slides.slide import Slide
from crosstype.slides.thumbnail import write_image
from crosstype.types import file_name_of

LONGEST_SIDE_PX = 768
SHOWN_TILE_PX = 128


@dataclass(frozen=True)
class Pixels:
    """What could be read of a slide.

    Attributes:
        thumbnail: of the whole slide; its `info["scale_px"]` is the number of level-0 pixels per
            pixel. None if only tiles are there, or nothing.
        tiles: the requested ones, (height, width, 3) uint8 each; none without the slide.
    """

    thumbnail: Image.Image | None = None
    tiles: Sequence[np.ndarray] = field(default_factory=tuple)


def read_pixels(
    source: Source | None, default_mpp: float | None, slide: SlideTiles, tiles: Sequence[int]
) -> Pixels:
    """Read a slide's thumbnail and these of its tiles.

    Args:
        source: the slide; None, or one that is not there: nothing is read.
        default_mpp: micrometres per level-0 pixel of slides that state none.
        slide: where its tiles are.
        tiles: places of the tiles wanted.

    Raises:
        SlideError: the slide is damaged.
    """
    if source is None or not source.is_there:
        return Pixels()
    if source.tiles is not None:
        return Pixels(None, _cut_tiles(source, slide, tiles))
    with open_slide(source.path, source.mpp, default_mpp) as opened:
        thumbnail = read_thumbnail(opened, LONGEST_SIDE_PX)
        return Pixels(thumbnail, [_tile(opened, slide, place) for place in tiles])


def read_thumbnail(opened: Slide, longest_side_px: int) -> Image.Image:
    """Return the slide, its longer side at most so long; `info["scale_px"]` as of `Pixels`."""
    mpp = max(opened.mpp, max(opened.size_px) * opened.mpp / longest_side_px)
    thumbnail = Image.fromarray(opened.thumbnail(mpp))
    thumbnail.info["scale_px"] = mpp / opened.mpp
    return thumbnail


def _tile(opened: Slide, slide: SlideTiles, place: int) -> np.ndarray:
    assert slide.tile_xy_px is not None
    x, y = (round(one) for one in slide.tile_xy_px[place].tolist())
    mpp = slide.footprint_px * opened.mpp / SHOWN_TILE_PX
    return opened.read_region(x, y, SHOWN_TILE_PX, mpp)


def _cut_tiles(source: Source, slide: SlideTiles, tiles: Sequence[int]) -> list[np.ndarray]:
    """Return tiles that lie in files of their own, found by where they lie."""
    assert source.tiles is not None
    assert slide.tile_xy_px is not None
    known = {(int(x), int(y)): n for n, (x, y) in enumerate(source.tiles.tile_xy_px.tolist())}
    wanted = [tuple(int(one) for one in slide.tile_xy_px[place]) for place in tiles]
    numbers = [known[x, y] for x, y in wanted if (x, y) in known]
    return [next(iter(source.tiles.read_tiles([number]))) for number in numbers]


FOOT_PX = 76
LEAST_WIDTH_PX = 560
TILE_OPACITY = 0.6
INK, PAPER = (26, 26, 26), (255, 255, 255)
BLUE, VERMILION, QUIET = "#0072B2", "#D55E00", "#595959"  # Okabe and Ito 2008
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "crosstype",
    "text.parse_math": False,
}


@dataclass(frozen=True)
class MapLayer:
    """What a map shows.

    Attributes:
        title: one line above the legend.
        note: one line below it.
        values: of each tile.
        diverging: whether 0 divides the colours (contributions), or they rise from 0 (attention).
        unit: words at the end of the legend.
    """

    title: str
    note: str
    values: np.ndarray
    diverging: bool
    unit: str

    @property
    def limits(self) -> tuple[float, float]:
        """Return the values of the first and the last colour."""
        most = float(np.abs(self.values).max(initial=0.0)) or 1.0
        return (-most if self.diverging else 0.0, most)

    def colours(self) -> np.ndarray:
        """Return the colour of each tile, (tiles, 3) uint8, for any colour vision."""
        low, high = self.limits
        return _colours((self.values - low) / (high - low), diverging=self.diverging)


def _colours(share: np.ndarray, *, diverging: bool) -> np.ndarray:
    from matplotlib import colormaps

    colour_map = colormaps["PuOr_r" if diverging else "cividis"]
    rgb: np.ndarray = np.round(255 * colour_map(np.clip(share, 0, 1))[:, :3]).astype(np.uint8)
    return rgb


def draw_map(slide: SlideTiles, shown: MapLayer, thumbnail: Image.Image | None) -> Image.Image:
    """Return a heat map: every tile where it lies, over the thumbnail, with a legend below.

    Args:
        slide: tiles with coordinates.
        shown: what is shown of them.
        thumbnail: the whole slide, with level-0 pixels per pixel in `info["scale_px"]`; None: white
            paper that reaches to the last tile.

    Raises:
        ValueError: the tiles have no coordinates.
    """
    if slide.tile_xy_px is None:
        raise ValueError(f"{slide.slide_id}: tiles without coordinates")
    zoom, plain = _background(slide, thumbnail)
    filled = plain.copy()
    draw = ImageDraw.Draw(filled)
    order = np.argsort(shown.values, kind="stable")  # where tiles overlap the highest is on top
    colours = shown.colours()
    for place in order.tolist():
        x, y = slide.tile_xy_px[place]
        box = tile_box(x, y, slide.footprint_px, zoom)
        draw.rectangle(box, fill=tuple(colours[place].tolist()))
    heat = Image.blend(plain, filled, TILE_OPACITY)
    page = Image.new("RGB", (max(heat.width, LEAST_WIDTH_PX), heat.height + FOOT_PX), PAPER)
    page.paste(heat, (0, 0))
    _draw_legend(page, heat.height, shown)
    return page


def tile_box(x_px: float, y_px: float, size_px: float, zoom: float) -> tuple[int, int, int, int]:
    """Return the map's pixels that a tile covers, the last ones included.

    A pixel is the tile's if its centre lies in the tile, so that neighbours never share one.
    """
    left, top, right, bottom = (
        int(np.ceil(edge * zoom - 0.5)) for edge in (x_px, y_px, x_px + size_px, y_px + size_px)
    )
    return left, top, max(left, right - 1), max(top, bottom - 1)


def _background(slide: SlideTiles, thumbnail: Image.Image | None) -> tuple[float, Image.Image]:
    """Return map pixels per level-0 pixel, and the map without tiles."""
    if thumbnail is not None:
        return 1 / float(thumbnail.info["scale_px"]), thumbnail.convert("RGB")
    assert slide.tile_xy_px is not None
    width, height = slide.tile_xy_px.max(axis=0) + slide.footprint_px
    zoom = LONGEST_SIDE_PX / max(width, height)
    return zoom, Image.new("RGB", (round(width * zoom) or 1, round(height * zoom) or 1), PAPER)


def _draw_legend(page: Image.Image, top_px: int, shown: MapLayer) -> None:
    """Draw title, colours with their values, and note."""
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    low, high = shown.limits
    draw.text((8, top_px + 6), shown.title, INK, font)
    bar = _colours(np.linspace(0, 1, 256), diverging=shown.diverging)
    strip = Image.fromarray(np.tile(bar[None], (14, 1, 1)))
    strip = Image.blend(Image.new("RGB", strip.size, PAPER), strip, TILE_OPACITY)  # as over glass
    begin = 8
    first = f"{low:.3g}"
    draw.text((begin, top_px + 29), first, INK, font)
    begin += round(draw.textlength(first, font)) + 6
    page.paste(strip, (begin, top_px + 30))
    draw.text((begin + 262, top_px + 29), f"{high:.3g} {shown.unit}", INK, font)
    draw.text((8, top_px + 52), shown.note, INK, font)


def draw_tiles(rows: Sequence[tuple[str, Sequence[np.ndarray]]]) -> Image.Image:
    """Return tiles side by side, one row for each group.

    Args:
        rows: words above each row, and its tiles, (height, width, 3) uint8 each.
    """
    font, head = ImageFont.load_default(13), 22
    step = SHOWN_TILE_PX + 4
    width = max(LEAST_WIDTH_PX, *(len(tiles) * step for _, tiles in rows))
    page = Image.new("RGB", (width, len(rows) * (step + head)), PAPER)
    draw = ImageDraw.Draw(page)
    for number, (words, tiles) in enumerate(rows):
        top = number * (step + head)
        draw.text((4, top + 3), words, INK, font)
        for place, tile in enumerate(tiles):
            picture = Image.fromarray(tile).resize((SHOWN_TILE_PX, SHOWN_TILE_PX))
            page.paste(picture, (place * step, top + head))
    return page


def plot_strip(title: str, attention: np.ndarray, contribution: np.ndarray | None) -> Figure:
    """Plot the tiles in the order of their attention, and each one's contribution.

    For tiles without coordinates.
    """
    import matplotlib as mpl

    n_panels = 1 if contribution is None else 2
    order = np.argsort(-attention, kind="stable")
    rank = np.arange(1, len(order) + 1)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.8, 0.9 + 1.1 * n_panels), layout="constrained")
        panels = figure.subplots(n_panels, 1, sharex=True, squeeze=False)[:, 0]
        panels[0].fill_between(rank, attention[order] * len(order), step="mid", color=BLUE)
        panels[0].axhline(1, color=QUIET, linewidth=0.8, linestyle=":")
        panels[0].set_ylabel("attention\n(1: even)")
        panels[0].set_title(title, fontsize=8, loc="left")
        if contribution is not None:
            ordered = contribution[order]
            # As a picture where they are many: thousands of marks would be a file of megabytes.
            crowded = len(rank) > 500
            panels[1].plot(rank, ordered, ".", markersize=3, color=VERMILION, rasterized=crowded)
            panels[1].axhline(0, color=QUIET, linewidth=0.8)
            panels[1].set_ylabel("contribution\n(logit)")
        panels[-1].set_xlabel("tiles, highest attention first")
    return figure


def write_svg(path: Path, figure: Figure) -> None:
    """Write a figure as SVG; the same figure gives the same bytes."""
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context(STYLE):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=nothing)
    write_text(path, buffer.getvalue())


def write_png(path: Path, image: Image.Image) -> None:
    """Write a PNG, whole or not at all."""
    with replacing(path) as temporary:
        image.save(temporary, format="PNG", compress_level=1)


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


PerTile = Float[np.ndarray, " tiles"]


@dataclass(frozen=True)
class Subject:
    """Who is drawn.

    Attributes:
        model: name.
        patient_id: at whom.
        residual_weight: mean share of the networks' correction in the model's predictions, 0 to 1.
    """

    model: str
    patient_id: str
    residual_weight: float


@dataclass
class Pictures:
    """Where pictures go, and what was drawn.

    Attributes:
        folder: OUT/explanation.
        sources: slides by id, as far as they are there.
        default_mpp: micrometres per level-0 pixel of slides that state none.
        spec: how much is drawn.
        drawn: one row per file.
        faults: slides that could not be read, in words.
        measured: of each slide, who it is, its tiles, and the measurements of its GeoJSON.
    """

    folder: Path
    sources: Mapping[str, Source]
    default_mpp: float | None
    spec: ExplanationSpec
    drawn: list[tuple[str, ...]] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)
    measured: dict[str, tuple[str, SlideTiles, dict[str, PerTile]]] = field(default_factory=dict)

    def draw(self, who: Subject, looked: PatientAttention, slides: Sequence[SlideTiles]) -> None:
        """Draw one patient: a map for each slide with coordinates, else a strip."""
        placed = [one for one in slides if one.tile_xy_px is not None]
        if len(placed) < len(slides):
            name = f"strips/{file_name_of(who.patient_id)}.{who.model}.svg"
            title = f"{who.patient_id}, {who.model}. {_weight_in_words(who.residual_weight)}"
            figure = plot_strip(title, looked.attention, looked.contribution)
            write_svg(self.folder / name, figure)
            self._list(who, "", "strip", name)
        for slide in placed:
            self._draw_slide(who, looked, slide)

    def finish(self) -> pl.DataFrame:
        """Write each slide's GeoJSON, all models in one; return the list of what was drawn."""
        for slide_id, (patient_id, slide, measured) in sorted(self.measured.items()):
            name = f"geojson/{file_name_of(slide_id)}.geojson"
            write_geojson(self.folder / name, tile_geojson(slide, measured))
            self._list(Subject("", patient_id, 0.0), slide_id, "geojson", name)
        return DRAWN.frame(self.drawn)

    def _draw_slide(self, who: Subject, looked: PatientAttention, slide: SlideTiles) -> None:
        attention = looked.attention[slide.bag]
        self._measure(who, looked, slide)
        order = np.argsort(-attention, kind="stable")
        n_shown = min(self.spec.n_tiles_shown, len(order))
        ends = (order[:n_shown], order[::-1][:n_shown])
        pixels = self._pixels(slide, [*ends[0].tolist(), *ends[1].tolist()])
        stem = f"{file_name_of(slide.slide_id)}.{who.model}"
        for kind, shown in self._maps(who, looked, slide).items():
            ending = (
                "" if kind == first_map(who.residual_weight, looked) else f".{file_name_of(kind)}"
            )
            name = f"maps/{stem}{ending}.png"
            write_png(self.folder / name, draw_map(slide, shown, pixels.thumbnail))
            self._list(who, slide.slide_id, kind, name)
        if n_shown and len(pixels.tiles) == 2 * n_shown:
            words = ("highest attention", "lowest attention")
            parts = (pixels.tiles[:n_shown], pixels.tiles[n_shown:])
            name = f"maps/{stem}.tiles.jpg"
            write_image(self.folder / name, draw_tiles(list(zip(words, parts, strict=True))))
            self._list(who, slide.slide_id, "tiles", name)

    def _maps(
        self, who: Subject, looked: PatientAttention, slide: SlideTiles
    ) -> dict[str, MapLayer]:
        """Return what is shown of a slide, by kind of map."""
        n_tiles, note = len(looked.attention), _weight_in_words(who.residual_weight)

        def attention(title: str, values: PerTile) -> MapLayer:
            times = values[slide.bag] * n_tiles
            return MapLayer(f"{who.model}: {title}", note, times, diverging=False, unit="x even")

        maps = {"attention": attention("attention of its networks", looked.attention)}
        if looked.contribution is not None:
            title = f"{who.model}: contribution of each tile to its ridge base model"
            values = looked.contribution[slide.bag]
            maps["contribution"] = MapLayer(title, note, values, diverging=True, unit="logit")
        for name in self.spec.tokens:
            if name in looked.tokens:
                title = f"attention of gene token {name}"
                maps[f"token {name}"] = attention(title, looked.tokens[name])
        return maps

    def _measure(self, who: Subject, looked: PatientAttention, slide: SlideTiles) -> None:
        """Keep a slide's measurements; those of a second model carry its name."""
        known = self.measured.setdefault(slide.slide_id, (who.patient_id, slide, {}))[2]
        tag = f" {who.model}" if known else ""
        known[f"attention{tag}"] = looked.attention[slide.bag]
        known[f"attention rank{tag}"] = rank_of(looked.attention)[slide.bag].astype(np.float64)
        if looked.contribution is not None:
            known[f"contribution{tag}"] = looked.contribution[slide.bag]

    def _pixels(self, slide: SlideTiles, tiles: Sequence[int]) -> Pixels:
        """Return a slide's pixels; of one that cannot be read none, and that is noted."""
        try:
            return read_pixels(self.sources.get(slide.slide_id), self.default_mpp, slide, tiles)
        except SlideError as error:
            self.faults[slide.slide_id] = str(error)
            return Pixels()

    def _list(self, who: Subject, slide_id: str, kind: str, name: str) -> None:
        self.drawn.append((who.model, who.patient_id, slide_id, kind, name))


def first_map(residual_weight: float, looked: PatientAttention) -> str:
    """Return which map stands for a model: what decides most of its predictions.

    Attention, if the mean residual weight is 0.5 or more; else contributions.
    """
    return "attention" if residual_weight >= 0.5 or looked.contribution is None else "contribution"


def _weight_in_words(residual_weight: float) -> str:
    return f"Weight of the networks in its predictions: {residual_weight:.0%} (mean)."
