"""Runs of one config in several variants, and their predictions in one table."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from crosstype.config.run_spec import RunSpec
from crosstype.errors import ConfigError
from crosstype.io.tables import read_table, write_table
from crosstype.progress import Progress
from crosstype.protocol import Protocol, protocol_named
from crosstype.workflow.features import feature_folder
from crosstype.workflow.pipeline import run as run_pipeline
from crosstype.workflow.stage import Run

FOLDER = "variants"
KEYS = ("repeat", "patient_id")


@dataclass(frozen=True)
class Variant:
    """One run of the config with something changed.

    Attributes:
        name: of its folder in OUT/variants.
        spec: all its settings.
        protocol: if no config can name it, its protocol.
    """

    name: str
    spec: RunSpec
    protocol: Protocol | None = None

    @property
    def mark(self) -> str:
        """Return the protocol, and its leaks if any."""
        protocol = self.protocol or protocol_named(self.spec.folds.protocol)
        return ": ".join([protocol.name, *(["; ".join(protocol.leaks)] if protocol.leaks else [])])


@dataclass(frozen=True)
class Contrast:
    """One row of a study: a model of a variant, and with which row it is compared.

    Attributes:
        name: of the row.
        about: the change.
        variant: name of the variant.
        model: of the row.
        against: name of the row it is compared with; empty: none.
        absent: why it could not be run on these data; empty: it was.
    """

    name: str
    about: str
    variant: str
    model: str
    against: str = ""
    absent: str = ""


@dataclass(frozen=True)
class Study:
    """A study of several runs.

    Attributes:
        out: folder of the study.
        variants: every run it takes.
        contrasts: rows of its table, those that could not be run included.
    """

    out: Path
    variants: Sequence[Variant]
    contrasts: Sequence[Contrast]

    @property
    def shown(self) -> list[Contrast]:
        """Return the rows that could be run."""
        return [one for one in self.contrasts if not one.absent]

    def mark_of(self, contrast: Contrast) -> str:
        """Return the protocol of a row, and how it leaks."""
        return next((one.mark for one in self.variants if one.name == contrast.variant), "")


def with_features(spec: RunSpec, out: Path, progress: Progress) -> RunSpec:
    """Return settings that find the features; slides are extracted once, for all variants."""
    if spec.slides.folder is None:
        return spec
    run_pipeline(Run(spec, out, progress=progress), last="features")
    features = replace(spec.features, folder=feature_folder(spec, out).resolve())
    return replace(spec, slides=replace(spec.slides, folder=None), features=features)


def run_variants(study: Study, n_workers: int, progress: Progress) -> Path:
    """Run every variant that a row needs, and write their predictions into one table.

    Finished variants are reused. Every variant must test the same patients.

    Returns:
        Path of OUT/predictions.csv, in which `model` is the name of a row.
    """
    named = {one.variant for one in study.shown}
    needed = [one for one in study.variants if one.name in named]
    parts: list[pl.DataFrame] = []
    for variant in needed:
        own = [one for one in study.shown if one.variant == variant.name]
        progress.message(f"{variant.name}: {', '.join(dict.fromkeys(one.model for one in own))}")
        found = _predictions(study, variant, own, (n_workers, progress))
        parts += found
        _check_same_patients((found[0], variant), (parts[0], needed[0]))
    path = study.out / "predictions.csv"
    table = pl.concat(parts, how="diagonal")
    write_table(path, table)
    return path


def _predictions(
    study: Study, variant: Variant, contrasts: Sequence[Contrast], how: tuple[int, Progress]
) -> list[pl.DataFrame]:
    """Run one variant and return the predictions of each row it stands for."""
    n_workers, progress = how
    out = study.out / FOLDER / variant.name
    models = tuple(dict.fromkeys(one.model for one in contrasts))
    training = replace(variant.spec.training, models=_trained(models))
    evaluation = replace(variant.spec.evaluation, n_shuffles=0, rna_loss=False)
    spec = replace(variant.spec, training=training, evaluation=evaluation)
    run = Run(spec, out, n_workers, progress, mended=variant.protocol)
    run_pipeline(run, last="train")
    found = read_table(out / "predictions.csv")
    return [
        found.filter(pl.col("model") == one.model).with_columns(model=pl.lit(one.name))
        for one in contrasts
    ]


def _check_same_patients(
    one: tuple[pl.DataFrame, Variant], first: tuple[pl.DataFrame, Variant]
) -> None:
    own, same = (part.select(KEYS).unique().sort(KEYS) for part, _ in (one, first))
    if not own.equals(same):
        raise ConfigError(
            f"{one[1].name}: tests other patients than {first[1].name}, so that nothing "
            "can be compared. Use one cohort for all."
        )


def _trained(models: Sequence[str]) -> tuple[str, ...]:
    """Return the models to name in the config; baselines always run, `late` needs its parents."""
    from crosstype.models.catalog import BASELINES

    return tuple(model for model in models if model not in BASELINES)
