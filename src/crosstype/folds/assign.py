"""Assignment of patients to outer and inner folds; all randomness derives from the seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold

from crosstype.errors import CohortError
from crosstype.folds.site_folds import assign_sites
from crosstype.folds.spec import FoldsSpec
from crosstype.protocol import Protocol

Key = tuple[int, int]


@dataclass(frozen=True)
class CohortPatients:
    """The cohort's patients, sorted by id, with label and site for fold assignment.

    Attributes:
        ids: patients, sorted.
        label: class name of each.
        site: tissue source site of each, empty where unknown.
    """

    ids: tuple[str, ...]
    label: np.ndarray
    site: np.ndarray

    @classmethod
    def sorted(
        cls, ids: Sequence[str], labels: Sequence[str], sites: Sequence[str]
    ) -> CohortPatients:
        """Return the patients sorted by id, so that folds do not depend on the input order."""
        order = np.argsort(np.array(ids, dtype=np.str_), kind="stable")
        return cls(
            tuple(ids[i] for i in order),
            np.array([labels[i] for i in order]),
            np.array([sites[i] for i in order]),
        )


@dataclass(frozen=True)
class OuterFold:
    """One outer fold: its test patients and all others.

    Attributes:
        repeat: number of the repeat, from 0.
        fold: number of the fold in it, from 0.
        test: test patients.
        rest: patients for training and validation.
    """

    repeat: int
    fold: int
    test: frozenset[str]
    rest: frozenset[str]


def assign_outer(
    people: CohortPatients, spec: FoldsSpec, protocol: Protocol
) -> tuple[list[OuterFold], list[str]]:
    """Return the outer folds of every repeat, and notes on the balance of folds by site."""
    folds, notes = [], []
    for repeat in range(spec.repeats):
        tests, note = _tests(people, spec, protocol, repeat)
        notes += [f"folds by site, repeat {repeat}: {note}"] if note else []
        for number, test in enumerate(tests):
            tested = frozenset(people.ids[i] for i in test)
            folds.append(OuterFold(repeat, number, tested, frozenset(people.ids) - tested))
    return folds, notes


def _tests(
    people: CohortPatients, spec: FoldsSpec, protocol: Protocol, repeat: int
) -> tuple[list[np.ndarray], str]:
    """Return the positions of each fold's test patients in one repeat."""
    if protocol.grouped_by_site:
        found = assign_sites(
            people.label.tolist(), people.site.tolist(), spec.n_folds, (spec.seed, repeat)
        )
        return [np.flatnonzero(found.fold_of == fold) for fold in range(spec.n_folds)], found.note
    seed = int(np.random.SeedSequence([spec.seed, repeat]).generate_state(1)[0])
    settings = {"n_splits": spec.n_folds, "shuffle": True, "random_state": seed}
    if protocol.stratified:
        splits = StratifiedKFold(**settings).split(people.label, people.label)
    else:
        splits = KFold(**settings).split(people.label)
    return [test for _, test in splits], ""


def assign_inner(
    people: CohortPatients, rest: np.ndarray, spec: FoldsSpec, key: Key, *, by_site: bool
) -> tuple[np.ndarray, str]:
    """Assign training patients to inner folds.

    By site if set and possible: there are at least as many sites as inner folds, and every class
    remains in training when any inner fold is held out. Else stratified by class.

    Args:
        people: the cohort.
        rest: positions of the training patients.
        spec: number of inner folds and the seed.
        key: numbers of repeat and fold.
        by_site: whether the protocol keeps sites together.

    Returns:
        The inner fold of each position in `rest`, and the reason if it is not by site though set.
    """
    n = spec.n_inner_folds
    label, site = people.label[rest], people.site[rest]
    n_sites = len(set(site.tolist()))
    if by_site and n_sites >= n:
        inner = assign_sites(label.tolist(), site.tolist(), n, (spec.seed, *key, 1)).fold_of
        spread = [len(set(inner[label == name].tolist())) for name in np.unique(label)]
        if min(spread) > 1:
            return inner, ""
        why = "a class is in one inner fold only"
    else:
        why = f"{n_sites} sites for {n} inner folds" if by_site else ""
    inner = np.empty(len(rest), dtype=np.int64)
    rng = np.random.default_rng(np.random.SeedSequence([spec.seed, *key, 1]))
    n_assigned = 0
    for name in np.unique(label):
        members = rng.permutation(np.flatnonzero(label == name))
        inner[members] = (n_assigned + np.arange(len(members))) % n
        n_assigned += len(members)
    return inner, why


def kept_for_training(
    people: CohortPatients, rest: np.ndarray, spec: FoldsSpec, key: Key
) -> np.ndarray:
    """Return the positions of training patients: `rest`, or a stratified sample of `n_train`.

    With the same seed, smaller samples are subsets of larger ones.
    """
    if not spec.n_train or spec.n_train >= len(rest):
        return rest
    rng = np.random.default_rng(np.random.SeedSequence([spec.seed, *key, 2]))
    label = people.label[rest]
    kept = []
    for name in np.unique(label):
        members = rng.permutation(rest[label == name])
        kept.append(members[: max(1, round(spec.n_train * len(members) / len(rest)))])
    return np.sort(np.concatenate(kept))


def check_sites(people: CohortPatients, n_folds: int) -> None:
    """Raise CohortError if a site is unknown, sites are too few, or a class has one site only."""
    unknown = [one for one, site in zip(people.ids, people.site, strict=True) if not site]
    if unknown:
        others = f" and {len(unknown) - 1} others have" if len(unknown) > 1 else " has"
        raise CohortError(
            f"folds: patient {unknown[0]!r}{others} no site, which protocol site needs. "
            "Name [cohort] site_column, or choose protocol strict."
        )
    n_sites = len(set(people.site.tolist()))
    if n_sites < n_folds:
        raise CohortError(
            f"folds: found {n_sites} sites, fewer than the {n_folds} folds. Lower [folds] n_folds."
        )
    for name in np.unique(people.label):
        own = set(people.site[people.label == name].tolist())
        if len(own) == 1:
            raise CohortError(
                f"folds: all patients of class {str(name)!r} are of site {min(own)!r}, so that "
                "none is left for training when that site is tested. Choose protocol strict, or "
                "add patients of other sites."
            )
