"""Pictures of attention: a map over the slide, the tiles that count most, or a ranked strip."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from crosstype.explanation.pixels import LONGEST_SIDE_PX, SHOWN_TILE_PX
from crosstype.explanation.places import SlideTiles
from crosstype.files import replacing, write_text

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
class Shown:
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
        """Return the colour of each tile, (tiles, 3) uint8; told apart with any colour vision."""
        low, high = self.limits
        return _colours((self.values - low) / (high - low), diverging=self.diverging)


def _colours(share: np.ndarray, *, diverging: bool) -> np.ndarray:
    from matplotlib import colormaps

    colour_map = colormaps["PuOr_r" if diverging else "cividis"]
    rgb: np.ndarray = np.round(255 * colour_map(np.clip(share, 0, 1))[:, :3]).astype(np.uint8)
    return rgb


def draw_map(slide: SlideTiles, shown: Shown, thumbnail: Image.Image | None) -> Image.Image:
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


def _draw_legend(page: Image.Image, top_px: int, shown: Shown) -> None:
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
    """Plot the tiles in the order of their attention, and what the line hears of each.

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
            heard = contribution[order]
            # As a picture where they are many: thousands of marks would be a file of megabytes.
            crowded = len(rank) > 500
            panels[1].plot(rank, heard, ".", markersize=3, color=VERMILION, rasterized=crowded)
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
