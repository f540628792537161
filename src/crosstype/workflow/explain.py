"""The explain stage: attention and attributions, in OUT/explanation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosstype.config.run_spec import RunSpec
from crosstype.explain.spec import models_to_explain
from crosstype.io.schema import TABLES
from crosstype.workflow.stage import Stage

if TYPE_CHECKING:
    from crosstype.explain.tile_locations import TileLocations
    from crosstype.features.slide_sources import Source
    from crosstype.features.tile_batches import ExtractionRecipe


FOLDER = "explanation"
PICTURES = (f"{FOLDER}/examples/slide.jpg", f"{FOLDER}/examples/tiles.png")
READ = ("cohort.csv", "folds.csv", "expression.npz", "features.csv")


class Explain(Stage):
    """Attention over tiles and attributions of genes: explanation/."""

    name = "explain"
    counts_pieces = True
    modules = ("crosstype.explain.explain", "crosstype.explain.figures.examples")

    @property
    def models(self) -> tuple[str, ...]:
        """Return the models that are explained."""
        spec = self.of.spec
        return models_to_explain(spec.explanation.models, spec.training.models)

    def settings(self) -> Any:
        """Return every setting that a map, an attribution or an example depends on."""
        spec = self.of.spec
        return [
            replace(spec.explanation, enabled=True),
            self.of.classes,
            spec.models.least_genes,
            spec.folds.seed,
            [spec.slides.mpp, spec.tissue, spec.tiles, spec.stain, spec.augmentation],
            [spec.training.views, spec.training.models],
            self.models,
            self.of.protocol,
        ]

    def inputs(self) -> dict[str, Path]:
        """Return what explanations are made of, every fitted model explained included."""
        return _inputs(self.of.spec, self.models, self.of.out)

    def outputs(self) -> list[str]:
        """Return the tables and the pictures of examples; maps are named in the tables."""
        return [*(table.path for table in TABLES if table.folder == FOLDER), *PICTURES]

    def run(self) -> Mapping[str, Any]:
        """Explain every patient out of fold; torch and captum are imported here."""
        from crosstype.crossval.worker import WorkerData
        from crosstype.explain.explain import explain
        from crosstype.explain.figures.examples import TileExamples, write_examples
        from crosstype.explain.maps import Pictures
        from crosstype.workflow.train import make_plan

        spec, out, progress = self.of.spec, self.of.out, self.of.progress
        plan, _ = make_plan(spec, self.of.protocol, out, self.hashes)
        locations, sources = _tile_locations(spec, out), _sources(spec)
        pictures = Pictures(out / FOLDER, sources, spec.slides.mpp, spec.explanation)
        worker_data = WorkerData(plan)
        notes = explain(worker_data, self.models, locations, pictures, progress)
        tiles = TileExamples(_recipe(spec), sources, locations, spec.training.views)
        for line in write_examples(worker_data, self.models, out / FOLDER, tiles):
            progress.message(line)
        return notes


def _inputs(spec: RunSpec, models: Sequence[str], out: Path) -> dict[str, Path]:
    """Return the files that explanations are made of, among them every fitted model explained.

    Of the others one network each is shown as it was built.
    """
    folder = out / "models"
    fitted = [path for one in models for path in sorted((folder / one).glob("*.safetensors"))]
    others = [one for one in spec.training.models if one not in models]
    fitted += [path for one in others for path in (folder / one).glob("0_0.safetensors")]
    inputs = {name: out / name for name in READ}
    inputs |= {str(path.relative_to(out)): path for path in fitted}
    if spec.models.gene_sets is not None:
        inputs[f"gene_sets: {spec.models.gene_sets.name}"] = spec.models.gene_sets
    return inputs


def _tile_locations(spec: RunSpec, out: Path) -> TileLocations:
    """Return where the tiles of each patient are."""
    from crosstype.explain.tile_locations import TileLocations
    from crosstype.features.slides_table import table_mpps
    from crosstype.features.store import find_slides, read_feature_rows
    from crosstype.workflow.features import feature_files, feature_folder

    table = spec.cohort.slides
    usable = {row.slide_id for row in read_feature_rows(out / "features.csv") if not row.fault}
    folder = replace(spec.features, folder=feature_folder(spec, out))
    slides = find_slides(folder, table, spec.cohort.patient_column)
    return TileLocations(
        feature_files(spec, out, usable),
        {path: slide_id for slide_id, _, path in slides},
        table_mpps(table) if table is not None else {},
    )


def _recipe(spec: RunSpec) -> ExtractionRecipe | None:
    """Return how slides became features; None if features came from elsewhere."""
    if spec.slides.folder is None:
        return None
    from crosstype.workflow.features import recipe_of

    return recipe_of(spec)


def _sources(spec: RunSpec) -> Mapping[str, Source]:
    """Return the slides by id; none if features came from elsewhere."""
    if spec.slides.folder is None:
        return {}
    from crosstype.features.slide_sources import find_sources

    found = find_sources(spec.slides, spec.cohort.slides, spec.cohort.patient_column)
    return {one.slide_id: one for one in found}
