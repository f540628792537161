"""Expression before and after each step of one fold's fitted preprocessing.

A patient's slide in small, and some of its tiles with their augmented views.

Tables and pictures that the paper's figures need, from the user's own data.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float
from PIL import Image

from crosstype.crossval.worker import WorkerData
from crosstype.errors import SlideError
from crosstype.explain.figures.architecture import architecture_of
from crosstype.explain.figures.embeddings import vector_maps
from crosstype.explain.maps import read_thumbnail, write_png
from crosstype.explain.out_of_fold import HeldOut, fitted_models
from crosstype.explain.tile_locations import TileLocations
from crosstype.expression.matrix import load_expression
from crosstype.expression.transformers import OutlierRemover
from crosstype.features.slide_sources import Source
from crosstype.features.tile_batches import (
    ExtractionRecipe,
    TileSet,
    cut_tiles,
    grid_tiles,
    pixel_batches,
    stain_of,
)
from crosstype.io import schema
from crosstype.models.catalog import NETWORKS
from crosstype.slides.open import open_slide
from crosstype.slides.spec import AugmentationSpec
from crosstype.slides.thumbnail import write_image
from crosstype.training.patients import Patients

N_PATIENTS = 10
QUANTILES = {"low": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "high": 0.95}
Z = "standardise"
BEFORE = {"ranks": "normal scores of ranks", "shift_log": "log(1 + x)", "scaled": "scaled amounts"}

Values = Float[np.ndarray, "patients genes"]


@dataclass(frozen=True)
class Fitted:
    """One fold's fitted preprocessing, as its models have it.

    Attributes:
        held: a model of the fold, with its test patients.
        fitted_on: patients on whom the preprocessing was fitted.
        genes: names of the table's genes.
        factor: of the interquartile fences.
        on_everyone: whether test patients are among them: a leak.
    """

    held: HeldOut
    fitted_on: Patients
    genes: Sequence[str]
    factor: float
    on_everyone: bool

    @property
    def pipeline(self) -> Any:
        """Return the fitted steps."""
        return self.held.classifier.preparation.expression

    @property
    def kept_genes(self) -> list[str]:
        """Return the names of the genes that the fitted steps keep."""
        places = np.flatnonzero(self.held.classifier.preparation.kept)
        return [self.genes[int(place)] for place in places]

    def before(self, patients: Patients) -> Values:
        """Return kept genes as they are before z-scoring."""
        place = list(self.pipeline.named_steps).index(Z)
        steps = self.pipeline[:place]
        return np.asarray(steps.transform(patients.genes) if place else patients.genes)

    def both(self, patients: Patients) -> tuple[Values, Values]:
        """Return kept genes before z-scoring, and their z-scores."""
        before = self.before(patients)
        return before, np.asarray(self.pipeline.named_steps[Z].transform(before))

    def standardised(self, patients: Patients) -> Values:
        """Return kept genes' z-scores."""
        return self.both(patients)[1]

    @cached_property
    def removes(self) -> bool:
        """Whether this run takes outliers away."""
        return "outliers" in self.pipeline.named_steps

    @cached_property
    def remover(self) -> OutlierRemover:
        """Return the run's outlier removal; where it has none, the one that it would have."""
        if self.removes:
            fitted: OutlierRemover = self.pipeline.named_steps["outliers"]
            return fitted
        return OutlierRemover(self.factor).fit(self.standardised(self.fitted_on))


@dataclass(frozen=True)
class GeneExamples:
    """Tables of some test patients' expression, step by step.

    Attributes:
        fitted: the fold's preprocessing.
        chosen: the genes that are shown, as places among the kept ones.
    """

    fitted: Fitted
    chosen: Sequence[int]

    @property
    def patients(self) -> Patients:
        """Return the fold's test patients."""
        return self.fitted.held.patients

    def profile(self, patient_id: str) -> pl.DataFrame:
        """Return a patient's whole profile, gene by gene in the table's order: gene, z, is_chosen.

        `rank` is the place among the genes that are shown by name, from 1; empty: not shown.
        """
        names = self.fitted.kept_genes
        rank: list[int | None] = [None] * len(names)
        for number, place in enumerate(self.chosen, start=1):
            rank[place] = number
        z = self.fitted.standardised(self.patients.select([patient_id]))[0]
        columns = {"gene": names, "z": z.astype(np.float64), "rank": rank}
        return schema.SAMPLE_PROFILE.frame(columns).with_columns(pl.col("z").fill_nan(None))

    def spread(self) -> pl.DataFrame:
        """Return quantiles of the shown genes before and after z-scoring, by who they are of."""
        rows = []
        for who, patients in (("training", self.fitted.fitted_on), ("test", self.patients)):
            for step, values in self._both(patients):
                for place in self.chosen:
                    known = values[:, place][~np.isnan(values[:, place])]
                    found = np.quantile(known, list(QUANTILES.values())) if len(known) else None
                    ends = [None] * len(QUANTILES) if found is None else found.tolist()
                    rows.append((self.fitted.kept_genes[place], step, who, len(known), *ends))
        return schema.EXPRESSION_SPREAD.frame(rows)

    def steps(self) -> pl.DataFrame:
        """Return the shown genes of the first test patients, before and after each step."""
        patients = self.patients.take(np.arange(min(N_PATIENTS, len(self.patients))))
        steps = dict(self._both(patients))
        steps["outliers"] = self.fitted.remover.transform(steps["z"])
        rows = [
            (
                patient,
                patients.classes[patients.targets[row]],
                self.fitted.kept_genes[place],
                *(float(values[row, place]) for values in steps.values()),
            )
            for row, patient in enumerate(patients.ids)
            for place in self.chosen
        ]
        whole = schema.EXPRESSION_STEPS.frame(rows)
        return whole.with_columns(pl.col(schema.REAL).fill_nan(None))

    def facts(self, sample: str) -> dict[str, str]:
        """Return facts on the sample patient and the preprocessing."""
        steps = self.fitted.pipeline.named_steps
        words = [text for name, text in BEFORE.items() if name in steps]
        job = self.fitted.held.job
        target = self.patients.targets[self.patients.ids.index(sample)]
        return {
            "label": self.patients.classes[target],
            "repeat": str(job.repeat),
            "fold": str(job.fold),
            "n_training": str(len(self.fitted.fitted_on)),
            "fitted_on": "everyone" if self.fitted.on_everyone else "training",
            "before": words[0] if words else "as in the table",
            "removes_outliers": "yes" if self.fitted.removes else "no",
            "outlier_factor": f"{self.fitted.factor:g}",
        }

    def _both(self, patients: Patients) -> list[tuple[str, Values]]:
        return list(zip(("before", "z"), self.fitted.both(patients), strict=True))


PICTURE, TILES = "examples/slide.jpg", "examples/tiles.png"
LONGEST_SIDE_PX = 400
N_TILES, MOST_VIEWS, TILE_PX = 3, 3, 128
N_MOSAIC = 4
"""Tiles across and down in place of a slide of which only tiles are there."""


@dataclass(frozen=True)
class TileExamples:
    """Where pixels are to be had, if anywhere.

    Attributes:
        recipe: how slides became features; None: features came from elsewhere.
        sources: slides by id, as far as they are there.
        places: which slides each patient has.
        views: `[training] views`.
        faults: slides that could not be read, in words.
    """

    recipe: ExtractionRecipe | None
    sources: Mapping[str, Source]
    places: TileLocations
    views: str
    faults: dict[str, str] = field(default_factory=dict)

    def first_shown(self, patients: Sequence[str]) -> str:
        """Return the first of these patients with a slide to show; without any, the first."""
        return next((one for one in patients if self._source(one) is not None), patients[0])

    def draw(self, patient_id: str, folder: Path) -> dict[str, str]:
        """Draw the patient's first slide and its tiles; return what was drawn, in words."""
        source = self._source(patient_id)
        facts = {"slide_id": "", "picture": "", "augmentation": self._augmentation()}
        if source is None or self.recipe is None:
            return facts
        facts["slide_id"] = source.slide_id
        try:
            facts["picture"] = self._draw_slide(source, folder / PICTURE, self.recipe)
            if self.recipe.augmentation.n_views:
                facts |= self._draw_views(source, folder, self.recipe)
        except SlideError as error:
            self.faults[source.slide_id] = str(error)
            facts["augmentation"] = "unreadable"
        return facts

    def _source(self, patient_id: str) -> Source | None:
        known = (self.sources.get(one.slide_id) for one in self.places.of(patient_id))
        return next((one for one in known if one is not None and one.is_there), None)

    def _augmentation(self) -> str:
        """Return whether views were drawn: drawn, plain (made and not used), none, ready_made."""
        if self.recipe is None:
            return "ready_made"
        if not self.recipe.augmentation.n_views:
            return "none"
        return self.views

    def _draw_slide(self, source: Source, path: Path, recipe: ExtractionRecipe) -> str:
        """Write the slide in small, or a mosaic of tiles where only these are; return which."""
        if source.tiles is not None:
            tiles = cut_tiles(source.tiles, replace(recipe.tiles, n_tiles=N_MOSAIC**2))
            write_image(path, _mosaic([tiles.read(one, 0) for one in range(len(tiles.tile_xy_px))]))
            return "tiles"
        with open_slide(source.path, source.mpp, recipe.slides.mpp) as slide:
            write_image(path, read_thumbnail(slide, LONGEST_SIDE_PX))
        return "slide"

    def _draw_views(self, source: Source, folder: Path, recipe: ExtractionRecipe) -> dict[str, str]:
        """Write tiles, one a row: the plain one, then views, exactly as the encoder got them."""
        if source.tiles is not None:
            pixels = _with_views(cut_tiles(source.tiles, recipe.tiles), recipe)
        else:
            with open_slide(source.path, source.mpp, recipe.slides.mpp) as slide:
                pixels = _with_views(grid_tiles(slide, recipe, folder / "unused"), recipe)
        shown = pixels[:, : 1 + MOST_VIEWS]
        write_png(folder / TILES, _grid(shown))
        rotated = recipe.augmentation.rotation and source.tiles is None
        return {
            "n_tiles": str(len(shown)),
            "n_shown_views": str(shown.shape[1] - 1),
            "n_views": str(recipe.augmentation.n_views),
            "changes": _changes(replace(recipe.augmentation, rotation=rotated)),
        }


def _with_views(tiles: TileSet, recipe: ExtractionRecipe) -> np.ndarray:
    """Return the first tiles with their views, (n, 1 + n_views, size, size, 3) uint8."""
    several = N_TILES * (1 + recipe.augmentation.n_views)
    small = replace(recipe, features=replace(recipe.features, batch_size=several))
    with ThreadPoolExecutor(max_workers=1) as readers:
        try:
            batches = pixel_batches(tiles, small, stain_of(tiles, recipe), readers, _pass_over)
            return next(batches)[1]
        finally:
            readers.shutdown(wait=False, cancel_futures=True)


def _pass_over(place: int, error: SlideError) -> None:
    """Skip a damaged tile, which extraction has reported."""


def _grid(tiles: np.ndarray) -> Image.Image:
    """Return tiles in rows and columns without gaps, (rows, columns, size, size, 3)."""
    rows, columns = tiles.shape[:2]
    page = Image.new("RGB", (columns * TILE_PX, rows * TILE_PX))
    for row in range(rows):
        for column in range(columns):
            tile = Image.fromarray(tiles[row, column]).resize((TILE_PX, TILE_PX))
            page.paste(tile, (column * TILE_PX, row * TILE_PX))
    return page


def _mosaic(tiles: Sequence[np.ndarray]) -> Image.Image:
    n_across = min(N_MOSAIC, len(tiles))
    n_down = len(tiles) // n_across
    whole = [tiles[row * n_across : (row + 1) * n_across] for row in range(n_down)]
    return _grid(np.array(whole))


def _changes(spec: AugmentationSpec) -> str:
    """Describe the changes of a view."""
    factors = {
        "brightness": spec.brightness,
        "contrast": spec.contrast,
        "saturation": spec.saturation,
    }
    changes = [f"{name} times {1 - one:g} to {1 + one:g}" for name, one in factors.items()]
    changes.append(f"hue turned by up to {spec.hue:g} of the circle")
    return ", ".join([*changes, "rotated by any angle" if spec.rotation else "not rotated"])


N_GENES = 24


def write_examples(
    worker_data: WorkerData, models: Sequence[str], folder: Path, tiles: TileExamples
) -> list[str]:
    """Write the tables and pictures of the paper's figures; return notes on what failed.

    Args:
        worker_data: the trained run.
        models: the explained ones, whose patients' vectors are mapped.
        folder: OUT/explanation; attributions.csv stands there.
        tiles: where pixels are to be had.
    """
    networks = [
        name for name in dict.fromkeys(worker_data.plan.training.models) if name in NETWORKS
    ]
    built = [architecture_of(next(fitted_models(worker_data, one))) for one in networks]
    schema.ARCHITECTURE.write(folder, pl.concat(built))
    maps = [
        vector_maps(held, worker_data.plan.seed)
        for one in models
        for held in takewhile(lambda held: held.job.repeat == 0, fitted_models(worker_data, one))
    ]
    schema.VECTOR_MAPS.write(folder, pl.concat(maps))
    fitted = _fitted(worker_data, next(fitted_models(worker_data, models[0])))
    chosen = _genes_gone_by(folder, fitted)
    genes = GeneExamples(fitted, chosen)
    sample = tiles.first_shown(genes.patients.ids)
    schema.SAMPLE_PROFILE.write(folder, genes.profile(sample))
    schema.EXPRESSION_SPREAD.write(folder, genes.spread())
    schema.EXPRESSION_STEPS.write(folder, genes.steps())
    facts = {"patient_id": sample, **genes.facts(sample), **tiles.draw(sample, folder)}
    schema.EXAMPLES.write(folder, schema.EXAMPLES.frame(list(facts.items())))
    return [f"{slide}, the example, cannot be shown: {why}" for slide, why in tiles.faults.items()]


def _fitted(worker_data: WorkerData, held: HeldOut) -> Fitted:
    """Return a fold's fitted preprocessing with its training and test patients."""
    fold = worker_data.folds[held.job.repeat, held.job.fold]
    on_everyone = worker_data.plan.protocol.preprocessing_on_everyone
    training = {*fold.train, *(patient for part in fold.inner for patient in part)}
    everyone = worker_data.patients
    fitted_on = everyone if on_everyone else everyone.select(sorted(training))
    names = load_expression(worker_data.plan.out / "expression.npz").genes
    return Fitted(held, fitted_on, names, worker_data.plan.expression.outlier_factor, on_everyone)


def _genes_gone_by(folder: Path, fitted: Fitted) -> list[int]:
    """Return the kept genes of highest attribution, of the first model that sees genes.

    Without one: those of highest spread among the patients of the fit.
    """
    place = {gene: number for number, gene in enumerate(fitted.kept_genes)}
    table = schema.ATTRIBUTIONS.read_if_there(folder)
    if table.height:
        ranked = table.filter(pl.col("model") == table["model"][0])["gene"]
        return [place[gene] for gene in ranked if gene in place][:N_GENES]
    spread = fitted.held.classifier.preparation.gene_spread
    return [int(one) for one in np.argsort(-spread, kind="stable")[:N_GENES]]
