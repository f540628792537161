"""Tables and pictures that the paper's figures need, from the user's own data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path

import numpy as np
import polars as pl

from crosstype.cohort.aligned import load_expression
from crosstype.explanation.architecture import architecture_of
from crosstype.explanation.example_genes import Fitted, GeneExamples
from crosstype.explanation.example_tiles import TileExamples
from crosstype.explanation.out_of_fold import HeldOut, fitted_models
from crosstype.explanation.vectors import vector_maps
from crosstype.models.catalog import NETWORKS
from crosstype.tables import read_stage_table, write_table
from crosstype.training.bench import Bench

FACTS = "examples.csv"
N_GENES = 24


def write_examples(
    bench: Bench, models: Sequence[str], folder: Path, tiles: TileExamples
) -> list[str]:
    """Write the tables and pictures of the paper's figures; return notes on what failed.

    Args:
        bench: the trained run.
        models: the explained ones, whose patients' vectors are mapped.
        folder: OUT/explanation; attributions.csv stands there.
        tiles: where pixels are to be had.
    """
    networks = [name for name in dict.fromkeys(bench.plan.training.models) if name in NETWORKS]
    built = [architecture_of(next(fitted_models(bench, one))) for one in networks]
    write_table(folder / "architecture.csv", pl.concat(built))
    maps = [
        vector_maps(held, bench.plan.seed) for one in models for held in _first_repeat(bench, one)
    ]
    write_table(folder / "vector_maps.csv", pl.concat(maps))
    fitted = _fitted(bench, next(fitted_models(bench, models[0])))
    chosen = _genes_gone_by(folder, fitted)
    genes = GeneExamples(fitted, chosen)
    sample = tiles.first_shown(genes.patients.ids)
    write_table(folder / "sample_profile.csv", genes.profile(sample))
    write_table(folder / "expression_spread.csv", genes.spread())
    write_table(folder / "expression_steps.csv", genes.steps())
    facts = {"patient_id": sample, **genes.facts(sample), **tiles.draw(sample, folder)}
    write_table(folder / FACTS, pl.DataFrame({"key": list(facts), "value": list(facts.values())}))
    return [f"{slide}, the example, cannot be shown: {why}" for slide, why in tiles.faults.items()]


def _first_repeat(bench: Bench, model: str) -> Iterator[HeldOut]:
    return takewhile(lambda held: held.job.repeat == 0, fitted_models(bench, model))


def _fitted(bench: Bench, held: HeldOut) -> Fitted:
    """Return a fold's fitted preprocessing with who taught it and who did not."""
    fold = bench.folds[held.job.repeat, held.job.fold]
    on_everyone = bench.plan.protocol.preprocessing_on_everyone
    taught = {*fold.train, *(patient for part in fold.inner for patient in part)}
    teachers = bench.patients if on_everyone else bench.patients.select(sorted(taught))
    names = load_expression(bench.plan.out / "expression.npz").genes
    return Fitted(held, teachers, names, bench.plan.expression.outlier_factor, on_everyone)


def _genes_gone_by(folder: Path, fitted: Fitted) -> list[int]:
    """Return the kept genes of highest attribution, of the first model that sees genes.

    Without one: those of highest spread among the teachers.
    """
    place = {gene: number for number, gene in enumerate(fitted.kept_genes)}
    table = read_stage_table(folder / "attributions.csv", ["model", "gene"])
    if table.height:
        ranked = table.filter(pl.col("model") == table["model"][0])["gene"]
        return [place[gene] for gene in ranked if gene in place][:N_GENES]
    spread = fitted.held.classifier.preparation.gene_spread
    return [int(one) for one in np.argsort(-spread, kind="stable")[:N_GENES]]
