"""The tables of OUT/explanation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from crosstype.explain.attention import Attention, PatientAttention, rank_of
from crosstype.explain.attribution import Attributions
from crosstype.explain.tile_locations import SlideTiles, TileLocations
from crosstype.expression.genes.sets import MatchedSets
from crosstype.io import schema
from crosstype.io.files import replacing
from crosstype.io.tables import write_table


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
        schema.ATTRIBUTIONS: [one.gene_table(sets) for one in seen],
        schema.GENE_SETS: [one.set_table(sets) for one in seen] if sets else [],
        schema.PATIENTS: [one.attributions.patient_table() for one in done],
    }
    for table, frames in tables.items():
        if frames:
            table.write(folder, pl.concat(frames), done[0].attributions.classes)
        else:  # two columns make even an empty one a table
            first = [one.name for one in table.columns[:2]]
            write_table(folder / table.name, pl.DataFrame(schema=dict.fromkeys(first, pl.String)))
    attention = (one for it in _looked(done, places) for one in _attention_rows(*it))
    _write_parts(folder, schema.ATTENTION, attention)
    tokens = (one for it in _looked(done, places) for one in _token_rows(*it, n_tiles))
    _write_parts(folder, schema.GENE_SET_ATTENTION, tokens)


def _looked(
    done: Sequence[ModelExplanation], places: TileLocations
) -> Iterator[tuple[str, str, PatientAttention, Sequence[SlideTiles]]]:
    """Yield model, patient, attention, and the patient's slides."""
    for one in done:
        for patient, looked in one.attention.patients():
            yield one.attention.model, patient, looked, places.of(patient)


def _write_parts(folder: Path, table: schema.TableSchema, frames: Iterator[pl.DataFrame]) -> None:
    """Write a long table piece by piece, whole or not at all."""
    with replacing(folder / table.name) as temporary, temporary.open("wb") as handle:
        table.frame().write_csv(handle, line_terminator="\n")
        for frame in frames:
            frame.write_csv(handle, include_header=False, line_terminator="\n")


def _attention_rows(
    model: str, patient_id: str, looked: PatientAttention, slides: Sequence[SlideTiles]
) -> Iterator[pl.DataFrame]:
    """Give one table per slide; ranks are over all tiles of the patient."""
    rank = rank_of(looked.attention)
    for slide in slides:
        xy = slide.tile_xy_px
        contribution = looked.contribution
        columns = {
            "patient_id": patient_id,
            "slide_id": slide.slide_id,
            "model": model,
            "tile": np.arange(slide.n_tiles),
            "x_px": None if xy is None else xy[:, 0],
            "y_px": None if xy is None else xy[:, 1],
            "attention": looked.attention[slide.bag],
            "contribution": None if contribution is None else contribution[slide.bag],
            "rank": rank[slide.bag],
            "n_models": looked.n_models,
        }
        yield schema.ATTENTION.frame(columns)


def _token_rows(
    model: str,
    patient_id: str,
    looked: PatientAttention,
    slides: Sequence[SlideTiles],
    n_tiles: int,
) -> Iterator[pl.DataFrame]:
    """Yield one table per gene token: its tiles of highest attention."""
    for token, attention in looked.tokens.items():
        rows = []
        for place in np.argsort(-attention, kind="stable")[:n_tiles].tolist():
            slide = next(one for one in slides if place < one.bag.stop)
            value = float(attention[place])
            rows.append((patient_id, slide.slide_id, model, token, place - slide.first, value))
        yield schema.GENE_SET_ATTENTION.frame(rows)
