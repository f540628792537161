"""The features stage: extract features from slides, or check existing ones."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosstype.config.run_spec import RunSpec
from crosstype.features.slide_notes import row_notes
from crosstype.features.store import (
    NO_FILE,
    FeatureRow,
    SlideListing,
    find_slides,
    inspect_slides,
    list_slides,
    write_feature_rows,
)
from crosstype.io.files import HashCache
from crosstype.types import file_name_of
from crosstype.workflow.stage import Run, Stage

if TYPE_CHECKING:
    from crosstype.features.extract import TileEncoder
    from crosstype.features.slide_sources import Source, SourceListing
    from crosstype.features.tile_batches import ExtractionRecipe


DEFAULT_ENCODER = "resnet50"


def feature_folder(spec: RunSpec, out: Path) -> Path:
    """Return where the cohort's feature files are: the user's folder, or where they are put."""
    return spec.features.folder or out / "features" / _encoder_name(spec)


def feature_files(spec: RunSpec, out: Path, usable: set[str]) -> Mapping[str, tuple[Path, ...]]:
    """Return the usable feature files of each patient.

    Args:
        spec: the settings.
        out: folder of the run.
        usable: slide ids without a fault.
    """
    place = replace(spec.features, folder=feature_folder(spec, out))
    files: dict[str, tuple[Path, ...]] = {}
    for slide, patient, path in find_slides(place, spec.cohort.slides, spec.cohort.patient_column):
        if slide in usable:
            files[patient] = (*files.get(patient, ()), path)
    return files


class Features(Stage):
    """Extract features from slides, or check existing ones: features.csv."""

    name = "features"
    modules = ("crosstype.features.store", "crosstype.features.slide_notes")

    def run(self) -> Mapping[str, Any]:
        """Write features.csv: one row per listed slide."""
        rows = self.make_rows()
        write_feature_rows(self.of.out / "features.csv", rows)
        messages = [*self.listing_notes(), *row_notes(rows)]
        return {
            "checks": [*slide_checks(self.of.spec, self.of.out, rows), *messages],
            "faults": [row.fault for row in rows if row.failed],
            "summary": f"{len(rows)} slides",
            "messages": messages,
        }

    @abstractmethod
    def listing_notes(self) -> tuple[str, ...]:
        """Return notes on the listed slides and their files."""

    @abstractmethod
    def make_rows(self) -> list[FeatureRow]:
        """Return one row per listed slide."""


class ExistingFeatures(Features):
    """Check the feature files of a folder."""

    @cached_property
    def listing(self) -> SlideListing:
        """The listed slides and notes on them."""
        cohort = self.of.spec.cohort
        return list_slides(self.of.spec.features, cohort.slides, cohort.patient_column)

    @property
    def slides(self) -> list[tuple[str, str, Path]]:
        """Slide, patient and file of every listed slide."""
        return self.listing.slides

    def listing_notes(self) -> tuple[str, ...]:
        """Return names that were matched, and slides that are missing."""
        return self.listing.notes

    def settings(self) -> Any:
        """Return the encoder and the listed slides."""
        asked_for = sorted((slide, patient) for slide, patient, _ in self.slides)
        return [self.of.spec.features.encoder, asked_for]

    def inputs(self) -> dict[str, Path]:
        """Return every feature file that is there."""
        return {
            f"{patient}/{slide}": path for slide, patient, path in self.slides if path.is_file()
        }

    def outputs(self) -> list[str]:
        """Return features.csv."""
        return ["features.csv"]

    def make_rows(self) -> list[FeatureRow]:
        """Read the shape, encoder and fault of each file."""
        return inspect_slides(self.slides, self.of.spec.features, self.hashes.sha256_of)


class ExtractedFeatures(Features):
    """Extract features; slides extracted with the same settings and weights stay as they are."""

    modules = ("crosstype.features.extract", "crosstype.features.slide_notes")
    counts_pieces = True

    @cached_property
    def listing(self) -> SourceListing:
        """The listed slides and notes on them."""
        from crosstype.features.slide_sources import list_sources

        spec = self.of.spec
        return list_sources(spec.slides, spec.cohort.slides, spec.cohort.patient_column)

    @property
    def sources(self) -> list[Source]:
        """Every listed slide."""
        return self.listing.sources

    def listing_notes(self) -> tuple[str, ...]:
        """Return names that were matched, and slides that are missing."""
        return self.listing.notes

    def settings(self) -> Any:
        """Return how slides become features, and the slides themselves by their contents."""
        spec = self.of.spec
        asked_for = [
            (one.slide_id, one.patient_id, one.mpp, one.sha256(self.hashes.sha256_of))
            if one.is_there
            else (one.slide_id, one.patient_id, one.mpp, "")
            for one in self.sources
        ]
        slides = replace(spec.slides, folder=None)
        pixels = [slides, spec.tissue, spec.tiles, spec.stain, spec.augmentation]
        return [*pixels, replace(spec.features, weights=None, n_readers=1), asked_for]

    def inputs(self) -> dict[str, Path]:
        """Return the weights, if they are a file."""
        weights = self.of.spec.features.weights
        return {"weights": weights} if weights else {}

    def outputs(self) -> list[str]:
        """Return features.csv and every slide's feature file."""
        folder = feature_folder(self.of.spec, self.of.out).relative_to(self.of.out)
        files = [str(folder / f"{file_name_of(one.slide_id)}.h5") for one in self.sources]
        return ["features.csv", *files]

    def make_rows(self) -> list[FeatureRow]:
        """Extract every slide that is not done."""
        from crosstype.features.extract import extract_slides

        spec, out = self.of.spec, self.of.out
        recipe, encoder = recipe_of(spec), load_encoder_of(spec)
        sha256_of, progress = self.hashes.sha256_of, self.of.progress
        return extract_slides(self.sources, recipe, encoder, out, sha256_of, progress)


def features_stage(of: Run, hashes: HashCache) -> Features:
    """Return the stage for slides if a folder of them is given, else for existing features."""
    kind = ExistingFeatures if of.spec.slides.folder is None else ExtractedFeatures
    return kind(of, hashes)


def slides_asked_for(spec: RunSpec) -> tuple[list[FeatureRow], tuple[str, ...]]:
    """Return one row per listed slide, existing ones as usable, and notes on their files."""
    from crosstype.features.slide_sources import list_sources

    listing = list_sources(spec.slides, spec.cohort.slides, spec.cohort.patient_column)
    rows = [
        FeatureRow(one.slide_id, one.patient_id, 1, 1, "", "", "" if one.is_there else NO_FILE)
        for one in listing.sources
    ]
    return rows, listing.notes


def slide_checks(spec: RunSpec, out: Path, rows: Sequence[FeatureRow]) -> list[str]:
    """Return notes on the extracted slides; empty for features from elsewhere."""
    if spec.slides.folder is None:
        return []
    from crosstype.features.extract import check_notes

    return check_notes(rows, out)


def recipe_of(spec: RunSpec) -> ExtractionRecipe:
    """Return how slides become features."""
    from crosstype.features.tile_batches import ExtractionRecipe

    return ExtractionRecipe(
        spec.slides, spec.tissue, spec.tiles, spec.stain, spec.augmentation, spec.features
    )


def load_encoder_of(spec: RunSpec) -> TileEncoder:
    """Return the encoder; torch is imported only if it is a network."""
    from crosstype.features.encoders.colour_texture import CARD, ColourTexture

    name = _encoder_name(spec)
    if name == CARD.name:
        return ColourTexture()
    from crosstype.features.encoders.encoder import load_encoder

    of = spec.features
    return load_encoder(name, of.weights, of.precision, normalisation=of.normalisation)


def _encoder_name(spec: RunSpec) -> str:
    return spec.features.encoder or DEFAULT_ENCODER
