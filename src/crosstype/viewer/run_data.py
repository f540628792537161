"""Data of a run for the viewer: patients, slides, tiles, attention and expression."""

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from crosstype.config.read import read_config
from crosstype.config.run_spec import RunSpec
from crosstype.errors import UsageError
from crosstype.expression.matrix import AlignedExpression, load_expression
from crosstype.features.formats.convert import read_slide
from crosstype.features.slide_names import match_files
from crosstype.features.slide_sources import find_sources
from crosstype.features.store import feature_files_in, read_feature_rows
from crosstype.io import schema
from crosstype.types import file_name_of
from crosstype.workflow.features import feature_folder

EXPLANATION = "explanation"
MOST_GENES = 12


class RunData:
    """A finished run, read on demand.

    Attributes:
        out: folder of the run.
    """

    def __init__(self, out: Path) -> None:
        """Open a run; raises UsageError if the folder holds none."""
        self.out = out
        if not (out / "config.toml").is_file() or not (out / "cohort.csv").is_file():
            raise UsageError(
                f"{out}: found no config.toml and cohort.csv, expected the OUT of a run. "
                "`crosstype run CONFIG --out OUT` makes one."
            )

    @cached_property
    def spec(self) -> RunSpec:
        """The run's settings."""
        return read_config(self.out / "config.toml")

    @cached_property
    def slide_paths(self) -> Mapping[str, Path]:
        """The file of each slide, where the run knows slides; no other file is ever opened."""
        if self.spec.slides.folder is None:
            return {}
        column = self.spec.cohort.patient_column
        sources = find_sources(self.spec.slides, self.spec.cohort.slides, column)
        return {one.slide_id: one.path for one in sources if one.is_there and one.tiles is None}

    @cached_property
    def slides_of(self) -> Mapping[str, tuple[str, ...]]:
        """Usable slides of each patient."""
        found: dict[str, tuple[str, ...]] = {}
        for row in read_feature_rows(self.out / schema.FEATURES.name):
            if not row.fault:
                found[row.patient_id] = (*found.get(row.patient_id, ()), row.slide_id)
        return found

    @cached_property
    def feature_files(self) -> Mapping[str, Path]:
        """The feature file of each slide."""
        found = feature_files_in(feature_folder(self.spec, self.out))
        ids = [slide for slides in self.slides_of.values() for slide in slides]
        return match_files(ids, found).files

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in order."""
        return tuple(one.name for one in self.spec.cohort.classes)

    @cached_property
    def predictions(self) -> pl.DataFrame:
        """Mean probability of each patient and model over the repeats; may have no rows."""
        table = schema.PREDICTIONS.read_if_there(self.out, self.classes)
        means = [pl.col(f"probability_{name}").mean() for name in self.classes]
        return table.group_by("patient_id", "model", maintain_order=True).agg(means)

    @cached_property
    def models(self) -> list[str]:
        """Models that predicted, as in the table."""
        return self.predictions["model"].unique(maintain_order=True).to_list()

    @cached_property
    def expression(self) -> AlignedExpression:
        """The cohort's expression."""
        return load_expression(self.out / "expression.npz")

    @cached_property
    def standardised(self) -> np.ndarray:
        """Expression, patients x genes, as z-scores over the cohort."""
        return self.expression.standardised()

    def patients(self) -> list[dict[str, Any]]:
        """Return one entry per patient: id, label, site, slides, and each model's probabilities."""
        probabilities: dict[str, dict[str, list[float]]] = {}
        for row in self.predictions.iter_rows(named=True):
            shares = [row[f"probability_{name}"] for name in self.classes]
            probabilities.setdefault(row["patient_id"], {})[row["model"]] = shares
        cohort = schema.COHORT.read(self.out)
        return [
            {
                "id": row["patient_id"],
                "label": row["label"],
                "site": row["site"] or "",
                "slides": list(self.slides_of.get(row["patient_id"], ())),
                "probabilities": probabilities.get(row["patient_id"], {}),
            }
            for row in cohort.iter_rows(named=True)
        ]

    def genes_of(self, patient: str, search: str = "") -> list[dict[str, Any]]:
        """Return genes of a patient: those that begin with `search`, else the most unusual ones.

        `z` is the patient's z-score over the cohort, `percentile` their place in it, 0 to 100.
        """
        if patient not in self.expression.patient_ids:
            return []
        row = self.expression.patient_ids.index(patient)
        own = self.standardised[row]
        if search:
            wanted = search.upper()
            places = [
                i for i, g in enumerate(self.expression.genes) if g.upper().startswith(wanted)
            ]
        else:
            places = np.argsort(-np.abs(np.nan_to_num(own)), kind="stable").tolist()
        return [
            {
                "gene": self.expression.genes[place],
                "z": None if np.isnan(own[place]) else round(float(own[place]), 2),
                "percentile": round(
                    float((self.standardised[:, place] <= own[place]).mean() * 100)
                ),
            }
            for place in places[:MOST_GENES]
        ]

    def tiles(self, slide: str) -> dict[str, Any]:
        """Return a slide's tiles: side and corners in level-0 pixels; none without coordinates."""
        path = self.feature_files.get(slide)
        nothing: dict[str, Any] = {"size_px": 0, "xy_px": []}
        if path is None:
            return nothing
        one = read_slide(path, lambda _, stated: stated)
        if one.tile_xy_px is None or not one.footprint_px:
            return nothing
        return {"size_px": one.footprint_px, "xy_px": one.tile_xy_px.tolist()}

    def tissue(self, slide: str) -> list[Any]:
        """Return the rings of a slide's tissue in level-0 pixels; none if no outline was made."""
        path = self.out / "tiles" / f"{file_name_of(slide)}.geojson"
        if not path.is_file():
            return []
        found = json.loads(path.read_text(encoding="utf-8"))["features"]
        shapes = [one["geometry"] for one in found if "-tissue-" in str(one.get("id", ""))]
        rings: list[Any] = []
        for shape in shapes:
            parts = shape["coordinates"]
            rings += (
                [ring for part in parts for ring in part] if "Multi" in shape["type"] else parts
            )
        return rings

    def maps(self, slide: str) -> list[dict[str, Any]]:
        """Return the maps of a slide: one per model and quantity.

        `shows` is `attention` or `contribution`, or the gene set named as `token`, of whose tiles
        only the highest are known. `tiles` are numbers in the slide, `values` theirs. `weight` is
        what the networks count for in this patient's predictions, 0 to 1; None: not known.
        """
        found = []
        for table, column in (
            (self._attention, "attention"),
            (self._attention, "contribution"),
            (self._set_attention, "attention"),
        ):
            own = table.filter(pl.col("slide_id") == slide)
            keys = ["model", *[key for key in ("token",) if key in own.columns]]
            known = own.drop_nulls(column)
            for (model, *token), part in known.group_by(keys, maintain_order=True):
                one = {"model": model, "shows": column, "token": token[0] if token else ""}
                one |= {"tiles": part["tile"].to_list(), "values": part[column].to_list()}
                found.append(one | {"weight": self._weights.get((slide, str(model)))})
        return found

    @cached_property
    def _weights(self) -> dict[tuple[str, str], float]:
        """Residual weights of the networks, by slide and model."""
        known = schema.PATIENTS.read_if_there(self.out / EXPLANATION)
        return {
            (slide, row["model"]): row["residual_weight"]
            for row in known.iter_rows(named=True)
            for slide in self.slides_of.get(row["patient_id"], ())
        }

    @cached_property
    def _attention(self) -> pl.DataFrame:
        return schema.ATTENTION.read_if_there(self.out / EXPLANATION)

    @cached_property
    def _set_attention(self) -> pl.DataFrame:
        return schema.GENE_SET_ATTENTION.read_if_there(self.out / EXPLANATION)
