"""The learning curve: performance over the number of training patients, on fixed test patients."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from crosstype.config.run_spec import RunSpec
from crosstype.errors import UsageError
from crosstype.io.tables import read_table
from crosstype.models.catalog import LOGISTIC_GENES, LOGISTIC_IMAGE
from crosstype.progress import Progress
from crosstype.studies.variants import FOLDER, Contrast, Study, Variant, with_features
from crosstype.workflow.pipeline import run as run_pipeline
from crosstype.workflow.stage import Run

SHARES = (0.1, 0.2, 0.35, 0.6, 1.0)
LEAST = 20
"""Training patients of the smallest step: with fewer an inner fold may lack a class."""


def learning_curve(
    spec: RunSpec, out: Path, sizes: Sequence[int], how: tuple[int, Progress]
) -> Study:
    """Return the runs and rows of the curve: the config's models at every size.

    Args:
        spec: the config.
        out: folder of the study; slides are extracted into it.
        sizes: numbers of training patients of each fold; empty: a tenth of them to all of them.
        how: number of workers and progress.

    Raises:
        UsageError: a size is below `LEAST` or above what the folds have.
    """
    n_workers, progress = how
    found = with_features(spec, out, progress)
    run_pipeline(Run(found, out / FOLDER / "whole", n_workers, progress), last="cohort")
    most = _most(out / FOLDER / "whole" / "folds.csv")
    wanted = sorted(set(sizes or [max(LEAST, round(most * share)) for share in SHARES]))
    for one in wanted:
        if not LEAST <= one <= most:
            raise UsageError(
                f"--sizes: found {one}, expected {LEAST} to {most}, the training patients of the "
                "smallest fold."
            )
    models = [*dict.fromkeys(found.training.models), LOGISTIC_GENES, LOGISTIC_IMAGE]
    variants, rows = [], []
    for one in reversed(wanted):  # the largest first, to fail early
        own = 0 if one == most else one
        folds = replace(found.folds, n_train=own)
        variants.append(Variant(f"train_{one}", replace(found, folds=folds)))
        for model in models:
            against = "" if one == wanted[-1] else f"{model}, {wanted[-1]}"
            rows.append(Contrast(f"{model}, {one}", str(one), f"train_{one}", model, against))
    return Study(out, variants, rows)


def _most(path: Path) -> int:
    """Return how many training patients the smallest fold has."""
    table = read_table(path).filter(pl.col("role") != "test")
    counts = table.group_by("repeat", "fold").len()["len"]
    return int(counts.min())  # type: ignore[arg-type]
