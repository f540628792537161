"""Draws what the tables say: maps, tiles, strips and GeoJSON, and lists what was drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float

from crosstype.errors import SlideError
from crosstype.explanation.attention import Looked, rank_of
from crosstype.explanation.geojson import tile_geojson, write_geojson
from crosstype.explanation.maps import (
    Shown,
    draw_map,
    draw_tiles,
    plot_strip,
    write_png,
    write_svg,
)
from crosstype.explanation.pixels import Pixels, read_pixels
from crosstype.explanation.places import SlideTiles
from crosstype.explanation.spec import ExplanationSpec
from crosstype.features.sources import Source
from crosstype.slides.drawing import write_image
from crosstype.terms import file_name_of

DRAWN_SCHEMA = dict.fromkeys(("model", "patient_id", "slide_id", "kind", "file"), pl.String)
PerTile = Float[np.ndarray, " tiles"]


@dataclass(frozen=True)
class Subject:
    """Who is drawn.

    Attributes:
        model: who looked.
        patient_id: at whom.
        trust: mean share of the networks' correction in the model's predictions, 0 to 1.
    """

    model: str
    patient_id: str
    trust: float


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
    drawn: list[dict[str, str]] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)
    measured: dict[str, tuple[str, SlideTiles, dict[str, PerTile]]] = field(default_factory=dict)

    def draw(self, who: Subject, looked: Looked, slides: Sequence[SlideTiles]) -> None:
        """Draw one patient: a map for each slide with coordinates, else a strip."""
        placed = [one for one in slides if one.tile_xy_px is not None]
        if len(placed) < len(slides):
            name = f"strips/{file_name_of(who.patient_id)}.{who.model}.svg"
            title = f"{who.patient_id}, {who.model}. {_weight_in_words(who.trust)}"
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
        return pl.DataFrame(self.drawn, schema=DRAWN_SCHEMA)

    def _draw_slide(self, who: Subject, looked: Looked, slide: SlideTiles) -> None:
        attention = looked.attention[slide.bag]
        self._measure(who, looked, slide)
        order = np.argsort(-attention, kind="stable")
        n_shown = min(self.spec.n_tiles_shown, len(order))
        ends = (order[:n_shown], order[::-1][:n_shown])
        pixels = self._pixels(slide, [*ends[0].tolist(), *ends[1].tolist()])
        stem = f"{file_name_of(slide.slide_id)}.{who.model}"
        for kind, shown in self._maps(who, looked, slide).items():
            ending = "" if kind == first_map(who.trust, looked) else f".{file_name_of(kind)}"
            name = f"maps/{stem}{ending}.png"
            write_png(self.folder / name, draw_map(slide, shown, pixels.thumbnail))
            self._list(who, slide.slide_id, kind, name)
        if n_shown and len(pixels.tiles) == 2 * n_shown:
            words = ("highest attention", "lowest attention")
            parts = (pixels.tiles[:n_shown], pixels.tiles[n_shown:])
            name = f"maps/{stem}.tiles.jpg"
            write_image(self.folder / name, draw_tiles(list(zip(words, parts, strict=True))))
            self._list(who, slide.slide_id, "tiles", name)

    def _maps(self, who: Subject, looked: Looked, slide: SlideTiles) -> dict[str, Shown]:
        """Return what is shown of a slide, by kind of map."""
        n_tiles, note = len(looked.attention), _weight_in_words(who.trust)

        def attention(title: str, values: PerTile) -> Shown:
            times = values[slide.bag] * n_tiles
            return Shown(f"{who.model}: {title}", note, times, diverging=False, unit="x even")

        maps = {"attention": attention("attention of its networks", looked.attention)}
        if looked.contribution is not None:
            title = f"{who.model}: what its line hears of each tile"
            heard = looked.contribution[slide.bag]
            maps["contribution"] = Shown(title, note, heard, diverging=True, unit="logit")
        for name in self.spec.tokens:
            if name in looked.tokens:
                title = f"attention of gene token {name}"
                maps[f"token {name}"] = attention(title, looked.tokens[name])
        return maps

    def _measure(self, who: Subject, looked: Looked, slide: SlideTiles) -> None:
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
        row = (who.model, who.patient_id, slide_id, kind, name)
        self.drawn.append(dict(zip(DRAWN_SCHEMA, row, strict=True)))


def first_map(trust: float, looked: Looked) -> str:
    """Return which map stands for a model: what decides most of its predictions.

    Attention, if its networks weigh half or more in the mean; else what the line hears.
    """
    return "attention" if trust >= 0.5 or looked.contribution is None else "contribution"


def _weight_in_words(trust: float) -> str:
    return f"Weight of the networks in its predictions: {trust:.0%} (mean)."
