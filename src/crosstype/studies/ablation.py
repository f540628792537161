"""Ablation of cross_attention and of the preparation of its data."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from crosstype.config.run_spec import RunSpec
from crosstype.expression.genes.panels import pam50_among
from crosstype.expression.matrix import load_expression
from crosstype.models.catalog import CONCAT, CROSS_ATTENTION, GENE_ONLY, IMAGE_ONLY, LATE
from crosstype.progress import Progress
from crosstype.studies.variants import FOLDER, Contrast, Study, Variant, with_features
from crosstype.workflow.pipeline import run as run_pipeline
from crosstype.workflow.stage import Run

WHOLE = "whole"

CLAIMS = (
    (
        "Without images, accuracy falls by 12%",
        "equals the paper's F1 of concatenation or fusion less that of genes alone (.938 - .820 = "
        ".118), not an accuracy",
    ),
    (
        "Without cross-attention, PR-AUC falls by 5%",
        "equals its PR-AUC less that of genes alone (.995 - .944 = .051), not that of "
        "concatenation (.995 - .968 = .026)",
    ),
)
"""Claims of the paper (arXiv 2503.02849), and the numbers of its own tables."""


def ablation(spec: RunSpec, out: Path, how: tuple[int, Progress]) -> Study:
    """Return the runs and rows of the ablation.

    Args:
        spec: the config; its models do not matter, its protocol does.
        out: folder of the study; slides are extracted into it.
        how: number of workers and progress.
    """
    n_workers, progress = how
    found = with_features(spec, out, progress)
    first = Variant(WHOLE, found)
    run_pipeline(Run(found, out / FOLDER / WHOLE, n_workers, progress), last="cohort")
    changes = _changes(spec, found, out / FOLDER / WHOLE)
    rows = [
        Contrast(WHOLE, "cross_attention as configured", WHOLE, CROSS_ATTENTION),
        Contrast("no image", "genes alone", WHOLE, GENE_ONLY, WHOLE),
        Contrast("no genes", "image alone", WHOLE, IMAGE_ONLY, WHOLE),
        Contrast("no attention", "both vectors pooled and joined", WHOLE, CONCAT, WHOLE),
        Contrast("late fusion", "both models' logits stacked", WHOLE, LATE, WHOLE),
    ]
    rows += [
        Contrast(name, about, name.replace(" ", "_"), CROSS_ATTENTION, WHOLE, absent)
        for name, (about, _, absent) in changes.items()
    ]
    variants = [Variant(name.replace(" ", "_"), one) for name, (_, one, _) in changes.items()]
    return Study(out, [first, *variants], rows)


Changes = dict[str, tuple[str, RunSpec, str]]


def _changes(given: RunSpec, spec: RunSpec, whole: Path) -> Changes:
    """Return each change of the settings: description, settings, why it is absent."""
    expression, training = spec.expression, spec.training
    other = "mean" if expression.imputation == "median" else "median"
    views = given.slides.folder is not None and given.augmentation.n_views > 0
    held = load_expression(whole / "expression.npz")
    is_complete = not np.isnan(held.values).any() and expression.outliers != "remove"
    return {
        **_directions(spec),
        "no augmentation": (
            "training without augmented views of tiles",
            replace(spec, training=replace(training, views="plain")),
            "" if views else "the slides have no augmented views ([augmentation] n_views)",
        ),
        "no damage": (
            "training without lost genes or missing images",
            replace(spec, training=replace(training, corruption=0.0)),
            "" if training.corruption else "[training] corruption is 0 already",
        ),
        "no line": (
            "the network starts from zero instead of a ridge base model",
            replace(spec, training=replace(training, start="zero")),
            "" if training.start == "linear" else '[training] start is "zero" already',
        ),
        "outliers removed": (
            "values outside the quartile fences are missing",
            replace(spec, expression=replace(expression, outliers="remove")),
            "" if expression.outliers != "remove" else "they are removed already",
        ),
        f"{other} imputed": (
            f"missing values become the gene's {other}",
            replace(spec, expression=replace(expression, imputation=other)),  # type: ignore[arg-type]
            "no value of the table is missing" if is_complete else "",
        ),
        "PAM50 withheld": (
            "no model uses a PAM50 gene",
            replace(spec, expression=replace(expression, exclude_pam50=True)),
            _why_not_excluded(spec, held.genes),
        ),
    }


def _directions(spec: RunSpec) -> Changes:
    """Return the two one-way attentions; a transformer has no direction."""
    absent = ""
    if spec.models.block != "cross":
        absent = "under a transformer all tokens attend to each other"
    elif spec.models.direction != "both":
        absent = f'[models] direction is "{spec.models.direction}" already'
    directions = {
        "genes from tiles": ("only gene tokens attend to tiles", "genes_from_tiles"),
        "tiles from genes": ("only tiles attend to genes", "tiles_from_genes"),
    }
    return {
        f"{name} only": (
            about,
            replace(spec, models=replace(spec.models, direction=direction)),  # type: ignore[arg-type]
            absent,
        )
        for name, (about, direction) in directions.items()
    }


def _why_not_excluded(spec: RunSpec, genes: Sequence[str]) -> str:
    if spec.expression.exclude_pam50:
        return "they are excluded already"
    return "" if pam50_among(genes) else "the table holds none of the PAM50 genes"
