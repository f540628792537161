"""Folds: training, validation and test patients, checked against the protocol."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from crosstype.cohort.cohort import Cohort, check_class_sizes
from crosstype.errors import CohortError, ConfigError
from crosstype.folds import assign
from crosstype.folds.assign import (
    CohortPatients,
    OuterFold,
)
from crosstype.folds.external_splits import assign_external_splits
from crosstype.folds.spec import FoldsSpec
from crosstype.io import schema
from crosstype.protocol import Protocol


@dataclass(frozen=True)
class Fold:
    """One split of the cohort's patients.

    Attributes:
        repeat: number of the repeat, from 0.
        fold: number of the fold in it, from 0.
        train: training patients.
        validation: patients for early stopping; the test patients under protocol paper.
        test: test patients.
        inner: inner folds of training and validation patients; empty under protocol paper. Network
            k of a model is validated on inner fold k; `validation` is inner fold 0.
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
        """Raise CohortError unless the fold conforms to its protocol.

        Roles must be disjoint; every class must be in training, and in test where the protocol is
        stratified and not grouped by site; under a protocol grouped by site no site may be in both
        training and test.
        """
        where = f"folds: repeat {self.repeat}, fold {self.fold}"
        rest = (*self.train, *(() if protocol.validation_is_test else self.validation))
        everyone = (*rest, *self.test)
        if len(set(everyone)) != len(everyone) or not self.test:
            raise CohortError(f"{where}: found a patient in two roles, or no test patient.")
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
            raise CohortError(
                f"{where}: site {min(shared)!r} is in training and in test, which protocol site "
                "rules out. Choose protocol strict, or folds that preserve sites."
            )


def make_folds(
    patient_ids: Sequence[str],
    labels: Sequence[str],
    sites: Sequence[str],
    spec: FoldsSpec,
    protocol: Protocol,
) -> pl.DataFrame:
    """Assign patients to outer and inner folds.

    Folds depend on `spec.seed`, the repeat and the set of patients, not on their order. Inner folds
    are by site under protocol site if possible (see `assign_inner`), else by class; inner fold 0 is
    for validation. Where the protocol validates on test patients there are no inner folds.
    `spec.file` is not used; see `fold_cohort`.

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
        ConfigError: the spec has too few folds.
        CohortError: there are fewer patients of a class, or fewer sites, than folds.
    """
    people = CohortPatients.sorted(patient_ids, labels, sites)
    outer, _ = _own_folds(people, spec, protocol)
    return _assigned(people, outer, spec, protocol)[0]


def _own_folds(
    people: CohortPatients, spec: FoldsSpec, protocol: Protocol
) -> tuple[list[OuterFold], list[str]]:
    """Check numbers of patients and sites, and assign outer folds; return notes too."""
    if spec.n_folds < 2 or spec.n_inner_folds < 2 or spec.repeats < 1 or spec.seed < 0:
        raise ConfigError(
            f"[folds]: found n_folds {spec.n_folds}, n_inner_folds {spec.n_inner_folds}, repeats "
            f"{spec.repeats}, seed {spec.seed}; expected at least 2, 2, 1 and 0."
        )
    label = people.label.tolist()
    check_class_sizes(label, sorted(set(label)), spec.n_folds)
    if protocol.grouped_by_site:
        assign.check_sites(people, spec.n_folds)
    return assign.assign_outer(people, spec, protocol)


def fold_cohort(
    cohort: Cohort, spec: FoldsSpec, protocol: Protocol
) -> tuple[Cohort, pl.DataFrame, tuple[str, ...]]:
    """Assign a cohort to new folds, or to the external splits of `spec.file`.

    Args:
        cohort: the patients.
        spec: settings of the folds, or `file`, whose splits are the outer folds.
        protocol: as for `make_folds`. Splits of a file need not be stratified.

    Returns:
        The cohort, without patients in no split; the table as `make_folds` returns it; and notes:
        source of the folds, balance of folds by site, inner folds that could not be by site.

    Raises:
        TableError, CohortError, ConfigError: as `make_folds` and `assign_external_splits`.
    """
    if spec.file is None:
        people = CohortPatients.sorted(cohort.patient_ids, cohort.labels, cohort.sites)
        outer, notes = _own_folds(people, spec, protocol)
    else:
        cohort, outer, notes = assign_external_splits(cohort, spec, spec.file)
        people = CohortPatients.sorted(cohort.patient_ids, cohort.labels, cohort.sites)
        if protocol.grouped_by_site:
            assign.check_sites(people, 1)
        protocol = replace(protocol, stratified=False)
    table, more = _assigned(people, outer, spec, protocol)
    return cohort, table, (*notes, *more)


def folds_of(table: pl.DataFrame, protocol: Protocol) -> list[Fold]:
    """Return the folds of a table of `make_folds`, by repeat and fold."""
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
    """Read folds.csv of the cohort stage, with integer columns."""
    return schema.FOLDS.read_from(path)


def _whole(value: object) -> int:
    return int(str(value))


def _assigned(
    people: CohortPatients, outer: Sequence[OuterFold], spec: FoldsSpec, protocol: Protocol
) -> tuple[pl.DataFrame, list[str]]:
    """Assign inner folds within each outer fold; check and return the table, with notes."""
    frames, notes = [], []
    for one in outer:
        key = (one.repeat, one.fold)
        rest = np.array([i for i, name in enumerate(people.ids) if name in one.rest], dtype=np.intp)
        rest = assign.kept_for_training(people, rest, spec, key)
        inner: dict[str, int] = {}
        if not protocol.validation_is_test:
            by_site = protocol.grouped_by_site
            numbers, why = assign.assign_inner(people, rest, spec, key, by_site=by_site)
            inner = {people.ids[i]: int(n) for i, n in zip(rest, numbers, strict=True)}
            if why:
                where = f"repeat {one.repeat}, fold {one.fold}"
                notes.append(f"{where}: inner folds are assigned by class, not by site: {why}")
        sampled = assign.OuterFold(*key, one.test, frozenset(people.ids[i] for i in rest))
        frames.append(_fold_frame(sampled, inner))
    table = pl.concat(frames)
    known = [dict(zip(people.ids, c.tolist(), strict=True)) for c in (people.label, people.site)]
    for fold in folds_of(table, protocol):
        fold.check(known[0], known[1], protocol)
    return table, notes


def _fold_frame(one: assign.OuterFold, inner: Mapping[str, int]) -> pl.DataFrame:
    """Return the rows of one outer fold, by patient."""
    patients = sorted(one.test | one.rest)
    roles = [
        "test" if name in one.test else "validation" if inner.get(name) == 0 else "train"
        for name in patients
    ]
    rows = zip(patients, roles, strict=True)
    return schema.FOLDS.frame(
        [(name, one.repeat, one.fold, role, inner.get(name)) for name, role in rows]
    )
