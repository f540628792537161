"""What a user may set about the cohort, its expression and its folds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from crosstype.types import Between


@dataclass(frozen=True)
class FoldsSpec:
    """How patients are dealt into training, validation and test."""

    protocol: Literal["strict", "site", "paper"] = "strict"
    """strict: nothing learned from test patients; site: strict, and no tissue source site in two
    folds; paper: the published settings, leaks included, and marked on every output."""

    repeats: Annotated[int, Between(1, 1000)] = 1
    """How often the cross-validation is repeated, with new folds and new initialisation."""

    n_folds: Annotated[int, Between(2, 100)] = 5
    """Number of outer folds; each patient is a test patient once per repeat."""

    n_inner_folds: Annotated[int, Between(2, 20)] = 4
    """Training patients are dealt into this many inner folds: each network of a model learns from
    all but one and is validated on that one; stacking and trust are fitted on them too."""

    n_train: Annotated[int, Between(0, 10_000_000)] = 0
    """Only so many training patients in each fold, drawn class by class; fewer are always among
    more. Test patients stay the same, so that runs can be compared; 0: all."""

    seed: Annotated[int, Between(0, 2**32 - 1)] = 0
    """All chance (folds, initialisation, batches, resampling) derives from this number."""

    file: Path | None = None
    """Outer folds from another tool instead of new ones: a STAMP `splits.json`, a CLAM, SurvPath
    or MCAT `splits_<k>.csv`, a Patho-WorkerData table, or a folder of one kind. n_folds and repeats
    then follow from it; train and val together are dealt into inner folds."""

    write: tuple[Literal["stamp", "clam", "patho_bench"], ...] = ()
    """The folds are also written for these tools, into OUT/splits/<tool>/repeat_<r>."""
