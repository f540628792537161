"""The tables of OUT/explanation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from crosstype.explain.attention import Attention, PatientAttention, rank_of
from crosstype.explain.attribution import Attributions
from crosstype.explain.tile_locations import SlideTiles, TileLocations
from crosstype.expression.genes.sets import MatchedSets
from crosstype.io.files import replacing
from crosstype.io.tables import write_table

ATTENTION_SCHEMA = {
    "patient_id": pl.String,
    "slide_id": pl.String,
    "model": pl.String,
    "tile": pl.Int64,
    "x_px": pl.Float64,
    "y_px": pl.Float64,
    "attention": pl.Float64,
    "contribution": pl.Float64,
    "rank": pl.Int64,
    "n_models": pl.Int64,
}
TOKEN_SCHEMA = {
    "patient_id": pl.String,
    "slide_id": pl.String,
    "model": pl.String,
    "token": pl.String,
    "tile": pl.Int64,
    "attention": pl.Float64,
}
NAMED = {"attributions.csv": "gene", "gene_sets.csv": "gene_set", "patients.csv": "patient_id"}
"""What a row of each of these tables is about; two columns make even an empty one a table."""


@dataclass(frozen=True)
class ModelExplanation:
    """One model, explained."""

    attributions: Attributions
    attention: Attention


def write_tables(
    done: Sequence[ModelExplanation],
    sets: MatchedSets | None,
    places: TileLocations,
    how: tuple[Path, int],
) -> None:
    """Write every table; one without rows still has its header.

    Args:
        done: the models, explained.
        sets: the gene sets among the table's genes.
        places: where the tiles are.
        how: folder of the tables, and how many tiles are listed for each gene token.
    """
    folder, n_tiles = how
    seen = [one.attributions for one in done if one.attributions.has_genes]
    tables = {
        "attributions.csv": [one.gene_table(sets) for one in seen],
        "gene_sets.csv": [one.set_table(sets) for one in seen] if sets else [],
        "patients.csv": [one.attributions.patient_table() for one in done],
    }
    for name, frames in tables.items():
        empty = pl.DataFrame(schema=dict.fromkeys(("model", NAMED[name]), pl.String))
        write_table(folder / name, pl.concat(frames) if frames else empty)
    _write_parts(
        folder / "attention.csv",
        ATTENTION_SCHEMA,
        (frame for it in _looked(done, places) for frame in _attention_rows(*it)),
    )
    _write_parts(
        folder / "gene_set_attention.csv",
        TOKEN_SCHEMA,
        (frame for it in _looked(done, places) for frame in _token_rows(*it, n_tiles)),
    )


def _looked(
    done: Sequence[ModelExplanation], places: TileLocations
) -> Iterator[tuple[str, str, PatientAttention, Sequence[SlideTiles]]]:
    """Give model, patient, where the model looked, and the patient's slides."""
    for one in done:
        for patient, looked in one.attention.patients():
            yield one.attention.model, patient, looked, places.of(patient)


def _write_parts(path: Path, schema: Mapping[str, Any], frames: Iterator[pl.DataFrame]) -> None:
    """Write a long table piece by piece, whole or not at all."""
    with replacing(path) as temporary, temporary.open("wb") as handle:
        pl.DataFrame(schema=schema).write_csv(handle, line_terminator="\n")
        for frame in frames:
            frame.write_csv(handle, include_header=False, line_terminator="\n")


def _attention_rows(
    model: str, patient_id: str, looked: PatientAttention, slides: Sequence[SlideTiles]
) -> Iterator[pl.DataFrame]:
    """Give one table per slide; ranks are over all tiles of the patient."""
    rank = rank_of(looked.attention)
    for slide in slides:
        xy = slide.tile_xy_px
        heard = looked.contribution
        columns = {
            "patient_id": [patient_id] * slide.n_tiles,
            "slide_id": [slide.slide_id] * slide.n_tiles,
            "model": [model] * slide.n_tiles,
            "tile": np.arange(slide.n_tiles),
            "x_px": None if xy is None else xy[:, 0],
            "y_px": None if xy is None else xy[:, 1],
            "attention": looked.attention[slide.bag],
            "contribution": None if heard is None else heard[slide.bag],
            "rank": rank[slide.bag],
            "n_models": [looked.n_models] * slide.n_tiles,
        }
        empty = [None] * slide.n_tiles
        filled = {name: empty if one is None else one for name, one in columns.items()}
        yield pl.DataFrame(filled, schema=ATTENTION_SCHEMA)


def _token_rows(
    model: str,
    patient_id: str,
    looked: PatientAttention,
    slides: Sequence[SlideTiles],
    n_tiles: int,
) -> Iterator[pl.DataFrame]:
    """Give one table per gene token: the tiles at which it looks most."""
    for token, attention in looked.tokens.items():
        rows = []
        for place in np.argsort(-attention, kind="stable")[:n_tiles].tolist():
            slide = next(one for one in slides if place < one.bag.stop)
            value = float(attention[place])
            rows.append((patient_id, slide.slide_id, model, token, place - slide.first, value))
        yield pl.DataFrame(rows, schema=TOKEN_SCHEMA, orient="row")
