"""Folds: who trains, who validates, who is tested; each fold checks itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.model_selection import KFold, StratifiedGroupKFold, StratifiedKFold

from crosstype.cohort.cohort import check_class_sizes
from crosstype.cohort.protocol import Protocol
from crosstype.cohort.spec import FoldsSpec
from crosstype.errors import CohortError, ConfigError
from crosstype.tables import read_stage_table

SCHEMA = {
    "patient_id": pl.String,
    "repeat": pl.Int64,
    "fold": pl.Int64,
    "role": pl.String,
    "inner_fold": pl.Int64,
}


@dataclass(frozen=True)
class Fold:
    """One split of the cohort's patients.

    Attributes:
        repeat: number of the repeat, from 0.
        fold: number of the fold in it, from 0.
        train: patients that teach.
        validation: patients on whom training stops; the test patients where the protocol leaks so.
        test: patients that are predicted.
        inner: the patients not tested, dealt into inner folds; empty where the protocol leaks.
            Member k of a model is validated on inner fold k; `validation` is inner fold 0.
    """

    repeat: int
    fold: int
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    inner: tuple[tuple[str, ...], ...] = ()

    def check(
        self, labels: Mapping[str, str], sites: Mapping[str, str], protocol: Protocol
    ) -> None:
        """Raise CohortError unless the fold keeps its protocol.

        Patients must be disjoint; every class must be in training, and in validation and test
        where the protocol stratifies by patient and the class has enough patients; under a
        protocol grouped by site no test patient shares a site with another.
        """
        where = f"folds: repeat {self.repeat}, fold {self.fold}"
        rest = (*self.train, *(() if protocol.validation_is_test else self.validation))
        everyone = (*rest, *self.test)
        if len(set(everyone)) != len(everyone) or not self.test:
            raise CohortError(f"{where}: found a patient in two roles, or nobody to test.")
        classes = set(labels.values())
        absent = classes - {labels[patient] for patient in self.train}
        if protocol.stratified and not protocol.grouped_by_site:
            absent |= classes - {labels[patient] for patient in self.test}
        if absent:
            raise CohortError(
                f"{where}: no patient of class {min(absent)!r} to train on or to test. "
                "Lower [folds] n_folds, or add patients of that class."
            )
        shared = {sites[p] for p in rest} & {sites[p] for p in self.test}
        if protocol.grouped_by_site and shared:
            raise CohortError(f"{where}: site {min(shared)!r} is in training and in test.")


def make_folds(
    patient_ids: Sequence[str],
    labels: Sequence[str],
    sites: Sequence[str],
    spec: FoldsSpec,
    protocol: Protocol,
) -> pl.DataFrame:
    """Deal patients into folds.

    Every choice follows from `spec.seed` and the repeat's number; the order of patients given
    does not matter. Patients who are not tested are dealt into inner folds by class; inner fold 0
    validates. Where the protocol validates on test patients there are no inner folds.

    Args:
        patient_ids: the cohort.
        labels: class name of each.
        sites: tissue source site of each.
        spec: number of folds, inner folds and repeats, and the seed.
        protocol: whether folds are stratified or grouped by site.

    Returns:
        One row per patient, repeat and fold: patient_id, repeat, fold, role (train, validation or
        test), inner_fold (empty for test patients).

    Raises:
        ConfigError: too few folds are asked for.
        CohortError: a class or the sites are too few for the folds.
    """
    if spec.n_folds < 2 or spec.n_inner_folds < 2 or spec.repeats < 1 or spec.seed < 0:
        raise ConfigError(
            f"[folds]: found n_folds {spec.n_folds}, n_inner_folds {spec.n_inner_folds}, repeats "
            f"{spec.repeats}, seed {spec.seed}; expected at least 2, 2, 1 and 0."
        )
    order = np.argsort(np.array(patient_ids, dtype=np.str_), kind="stable")
    patients = [patient_ids[i] for i in order]
    label = np.array([labels[i] for i in order])
    site = np.array([sites[i] for i in order])
    check_class_sizes(label.tolist(), sorted(set(labels)), spec.n_folds)
    if protocol.grouped_by_site:
        _check_sites(patients, site, spec.n_folds)
    frames = []
    for repeat in range(spec.repeats):
        for fold, test in enumerate(_outer_folds(label, site, spec, protocol, repeat)):
            inner = _inner_folds(label, test, spec, protocol, (repeat, fold))
            frames.append(_fold_frame(patients, test, inner, (repeat, fold)))
    table = pl.concat(frames)
    known = [dict(zip(patients, column.tolist(), strict=True)) for column in (label, site)]
    for one in folds_of(table, protocol):
        one.check(known[0], known[1], protocol)
    return table


def folds_of(table: pl.DataFrame, protocol: Protocol) -> list[Fold]:
    """Return the folds of a table that `make_folds` made, by repeat and fold."""
    folds = []
    for (repeat, number), rows in table.sort("repeat", "fold", "patient_id").group_by(
        "repeat", "fold", maintain_order=True
    ):
        roles = {
            role: tuple(rows.filter(pl.col("role") == role)["patient_id"].to_list())
            for role in ("train", "validation", "test")
        }
        validation = roles["test"] if protocol.validation_is_test else roles["validation"]
        inner = tuple(
            tuple(part["patient_id"].to_list())
            for _, part in rows.drop_nulls("inner_fold")
            .sort("inner_fold", "patient_id")
            .group_by("inner_fold", maintain_order=True)
        )
        key = (_whole(repeat), _whole(number))
        folds.append(Fold(*key, roles["train"], validation, roles["test"], inner))
    return folds


def read_folds(path: Path) -> pl.DataFrame:
    """Read the folds.csv that the cohort stage wrote, with its numbers as numbers."""
    table = read_stage_table(path, list(SCHEMA))
    return table.with_columns(
        pl.when(pl.col(name) == "").then(None).otherwise(pl.col(name)).cast(kind).alias(name)
        for name, kind in SCHEMA.items()
    )


def _whole(value: object) -> int:
    return int(str(value))


def _check_sites(patients: Sequence[str], site: np.ndarray, n_folds: int) -> None:
    """Raise if a patient has no site, or there are fewer sites than folds."""
    unknown = [patient for patient, one in zip(patients, site, strict=True) if not one]
    if unknown:
        raise CohortError(
            f"folds: patient {unknown[0]!r} and {len(unknown) - 1} others have no site, which "
            "protocol site needs. Name [cohort] site_column."
        )
    n_sites = len(set(site.tolist()))
    if n_sites < n_folds:
        raise CohortError(
            f"folds: found {n_sites} sites, fewer than the {n_folds} folds. Lower [folds] n_folds."
        )


def _outer_folds(
    label: np.ndarray, site: np.ndarray, spec: FoldsSpec, protocol: Protocol, repeat: int
) -> list[np.ndarray]:
    """Return the positions of each fold's test patients."""
    seed = int(np.random.SeedSequence([spec.seed, repeat]).generate_state(1)[0])
    chance = {"n_splits": spec.n_folds, "shuffle": True, "random_state": seed}
    if protocol.grouped_by_site:
        splits = StratifiedGroupKFold(**chance).split(label, label, site)
    elif protocol.stratified:
        splits = StratifiedKFold(**chance).split(label, label)
    else:
        splits = KFold(**chance).split(label)
    return [test for _, test in splits]


def _inner_folds(
    label: np.ndarray,
    test: np.ndarray,
    spec: FoldsSpec,
    protocol: Protocol,
    key: tuple[int, int],
) -> list[int | None]:
    """Deal the patients not tested into inner folds, class by class, evenly."""
    inner: list[int | None] = [None] * len(label)
    if protocol.validation_is_test:
        return inner
    chance = np.random.default_rng(np.random.SeedSequence([spec.seed, *key, 1]))
    rest = np.setdiff1d(np.arange(len(label)), test)
    dealt = 0
    for name in np.unique(label[rest]):
        members = chance.permutation(rest[label[rest] == name])
        for member in members:
            inner[int(member)] = dealt % spec.n_inner_folds
            dealt += 1
    return inner


def _fold_frame(
    patients: Sequence[str],
    test: np.ndarray,
    inner: Sequence[int | None],
    key: tuple[int, int],
) -> pl.DataFrame:
    tested = set(test.tolist())
    roles = [
        "test" if i in tested else "validation" if number == 0 else "train"
        for i, number in enumerate(inner)
    ]
    columns = {
        "patient_id": list(patients),
        "repeat": [key[0]] * len(patients),
        "fold": [key[1]] * len(patients),
        "role": roles,
        "inner_fold": list(inner),
    }
    return pl.DataFrame(columns, schema=SCHEMA)
