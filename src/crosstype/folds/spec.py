"""Settings of the folds."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from crosstype.types import Between


@dataclass(frozen=True)
class FoldsSpec:
    """Assignment of patients to training, validation and test."""

    protocol: Literal["strict", "site", "paper"] = "strict"
    """strict: nothing is fitted on test patients; site: strict, and no tissue source site in two
    folds; paper: the published settings, leaks included, and marked on every output."""

    repeats: Annotated[int, Between(1, 1000)] = 1
    """Number of repeats of the cross-validation, with new folds and new initialisation."""

    n_folds: Annotated[int, Between(2, 100)] = 5
    """Number of outer folds; each patient is a test patient once per repeat."""

    n_inner_folds: Annotated[int, Between(2, 20)] = 4
    """Number of inner folds of the training patients: each network of a model is trained on all but
    one and validated on that one; stacking and residual weights are fitted on them too."""

    n_train: Annotated[int, Between(0, 10_000_000)] = 0
    """Number of training patients in each fold, a stratified sample; smaller samples are subsets of
    larger ones, and test patients do not change; 0: all."""

    seed: Annotated[int, Between(0, 2**32 - 1)] = 0
    """Seed of all randomness: folds, initialisation, batches, resampling."""

    file: Path | None = None
    """Outer folds from another tool instead of new ones: a STAMP `splits.json`, a CLAM, SurvPath
    or MCAT `splits_<k>.csv`, a Patho-Bench table, or a folder of one kind. n_folds and repeats
    then follow from it; train and val together are assigned to inner folds."""

    write: tuple[Literal["stamp", "clam", "patho_bench"], ...] = ()
    """The folds are also written for these tools, into OUT/splits/<tool>/repeat_<r>."""
