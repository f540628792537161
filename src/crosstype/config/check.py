"""What values a setting may have; types and names are checked while reading."""

from __future__ import annotations

from difflib import get_close_matches
from math import inf

from crosstype.config.spec import RunSpec
from crosstype.errors import ConfigError
from crosstype.models.spec import MODEL_NAMES

RANGES: dict[tuple[str, str], tuple[float, float]] = {
    ("expression", "outlier_factor"): (0, inf),
    ("expression", "n_genes"): (0, inf),
    ("folds", "repeats"): (1, 1000),
    ("folds", "n_folds"): (2, 100),
    ("folds", "n_inner_folds"): (2, 20),
    ("folds", "seed"): (0, 2**32 - 1),
    ("models", "width"): (4, 4096),
    ("models", "n_gene_tokens"): (2, 1024),
    ("models", "n_heads"): (1, 64),
    ("models", "n_blocks"): (1, 12),
    ("models", "dropout"): (0, 0.95),
    ("models", "gene_dropout"): (0, 0.99),
    ("models", "tile_dropout"): (0, 0.99),
    ("training", "learning_rate"): (1e-8, 1),
    ("training", "weight_decay"): (0, 100),
    ("training", "batch_size"): (2, 100_000),
    ("training", "max_epochs"): (1, 100_000),
    ("training", "patience"): (1, 100_000),
    ("training", "n_tiles_per_bag"): (1, 10_000_000),
    ("evaluation", "n_bootstrap"): (100, 1_000_000),
    ("evaluation", "confidence"): (0.5, 0.999),
    ("evaluation", "n_shuffles"): (0, 1000),
}


def check_ready(spec: RunSpec, *, needs_labels: bool) -> None:
    """Raise ConfigError for what a run needs and the config lacks, before anything is written.

    Args:
        spec: the settings.
        needs_labels: False for looking through features alone.
    """
    if spec.features.folder is None or not spec.features.folder.is_dir():
        raise ConfigError(
            f"[features] folder: found {str(spec.features.folder or '')!r}, expected a folder of "
            "feature files."
        )
    if not needs_labels:
        return
    for key in ("labels", "expression", "slides"):
        path = getattr(spec.cohort, key)
        if path is None and key != "slides":
            raise ConfigError(f"[cohort] {key} is not set. Name the {key} table.")
        if path is not None and not path.is_file():
            raise ConfigError(f"[cohort] {key}: found {str(path)!r}, which is not there.")
    if spec.cohort.label_column is None:
        raise ConfigError("[cohort] label_column is not set. Name the column of the label.")
    if len(spec.cohort.classes) < 2:
        raise ConfigError(
            f"[[cohort.classes]]: found {len(spec.cohort.classes)} classes, expected at least two, "
            "each with a name and labels."
        )


def check_run(spec: RunSpec, file_name: str) -> None:
    """Raise ConfigError for the first value out of its range, or a model nobody knows."""
    for (section, key), (low, high) in RANGES.items():
        value = getattr(getattr(spec, section), key)
        if not low <= value <= high:
            raise ConfigError(
                f"{file_name}: {section}.{key}: found {value}, expected {low:g} to {high:g}."
            )
    if spec.models.width % spec.models.n_heads:
        raise ConfigError(
            f"{file_name}: models.width: found {spec.models.width}, expected a multiple of "
            f"models.n_heads ({spec.models.n_heads})."
        )
    for name in spec.training.models:
        if name not in MODEL_NAMES:
            near = get_close_matches(name, MODEL_NAMES, n=1, cutoff=0.3)
            hint = f"Did you mean {near[0]!r}?" if near else ""
            raise ConfigError(
                f"{file_name}: training.models: found {name!r}, expected some of "
                f"{', '.join(MODEL_NAMES)}. {hint}".rstrip()
            )
