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
