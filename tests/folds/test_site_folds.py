"""Folds by site against every dealing there is, on cohorts small enough to try them all."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import Any

import numpy as np
import polars as pl
import pytest

from crosstype.errors import CohortError
from crosstype.folds import site_folds as solver
from crosstype.folds.assign import CohortPatients, assign_inner
from crosstype.folds.folds import make_folds
from crosstype.folds.site_folds import FINE, SLACK, assign_sites
from crosstype.folds.spec import FoldsSpec
from crosstype.protocol import protocol_named


def cohort(seed: int, n_sites: int = 7, n_classes: int = 2) -> tuple[list[str], list[str]]:
    """Return labels and sites of a cohort whose sites differ in size and in classes."""
    rng = np.random.default_rng(seed)
    labels, sites = [], []
    for site in range(n_sites):
        shares = rng.dirichlet(np.ones(n_classes))
        size = int(rng.integers(2, 25))
        labels += [f"c{i}" for i in rng.choice(n_classes, size, p=shares)]
        sites += [f"S{site}"] * size
    labels[:n_classes] = [f"c{i}" for i in range(n_classes)]
    return labels, sites


def evenest(labels: list[str], sites: list[str], n_folds: int, sizes: tuple[float, float]) -> float:
    """Return the smallest difference of a class share over all dealings, each of them tried."""
    names, classes = sorted(set(sites)), sorted(set(labels))
    held = Counter(zip(sites, labels, strict=True))
    counts = np.array([[held[site, label] for label in classes] for site in names])
    share = counts.sum(axis=0) / counts.sum()
    best = math.inf
    for dealt in itertools.product(range(n_folds), repeat=len(names)):
        folds = np.array([counts[np.array(dealt) == k].sum(axis=0) for k in range(n_folds)])
        size = folds.sum(axis=1)
        if size.min() < sizes[0] or size.max() > sizes[1] or size.min() == 0:
            continue
        best = min(best, float(np.abs(folds / size[:, None] - share).max()))
    return best


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("n_folds", "n_classes"), [(2, 2), (3, 2), (3, 3)])
def test_no_dealing_is_more_even_and_the_bound_is_none_too_high(
    seed: int, n_folds: int, n_classes: int
) -> None:
    labels, sites = cohort(seed, n_classes=n_classes)
    dealt = assign_sites(labels, sites, n_folds, (seed,))
    smallest = evenest(labels, sites, n_folds, dealt.sizes)
    assert dealt.bound <= smallest + 1e-6
    if dealt.best > FINE:
        assert dealt.best == pytest.approx(smallest, abs=1e-6)
        assert dealt.bound == pytest.approx(smallest, abs=1e-3)
        assert f"{100 * dealt.best:.2f}" in dealt.note
    assert smallest - 1e-9 <= dealt.deviation <= max(dealt.best, FINE) + SLACK + 1e-6
    fold_of = dict(zip(sites, dealt.fold_of.tolist(), strict=True))
    assert [fold_of[site] for site in sites] == dealt.fold_of.tolist()
    assert set(dealt.fold_of.tolist()) == set(range(n_folds))


def test_a_site_as_large_as_half_the_cohort_starves_no_fold() -> None:
    labels = ["a", "b"] * 60
    sites = ["big"] * 60 + [f"S{i // 6}" for i in range(60)]
    dealt = assign_sites(labels, sites, 5, (0,))
    assert sorted(Counter(dealt.fold_of.tolist()).values())[0] >= 12
    assert dealt.deviation < 0.01


def test_repeats_and_seeds_differ_and_a_seed_gives_the_same_folds_again() -> None:
    labels, sites = cohort(1, n_sites=12)
    found = [tuple(assign_sites(labels, sites, 4, (seed,)).fold_of) for seed in (0, 1, 2, 0)]
    assert found[0] == found[3]
    assert len(set(found)) == 3


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    assign_sites(*cohort(3, n_sites=12), 3, (0,))
    assert capfd.readouterr().out == ""


def test_inner_folds_keep_sites_together_where_they_can() -> None:
    labels, sites = cohort(2, n_sites=12)
    ids = [f"P{i:03d}" for i in range(len(labels))]
    spec = FoldsSpec(protocol="site", n_folds=3, n_inner_folds=3)
    site = dict(zip(ids, sites, strict=True))
    table = make_folds(ids, labels, sites, spec, protocol_named("site"))
    for _, rows in table.drop_nulls("inner_fold").group_by("fold"):
        held = rows.with_columns(site=pl.col("patient_id").replace_strict(site))
        assert held.group_by("site").agg(pl.col("inner_fold").n_unique())["inner_fold"].max() == 1
        assert held["inner_fold"].n_unique() == 3


def test_inner_folds_are_by_class_and_say_so_where_sites_are_too_few() -> None:
    few = CohortPatients.sorted([*"abcdefgh"], ["x", "y"] * 4, ["S"] * 4 + ["T"] * 4)
    inner, why = assign_inner(few, np.arange(8), FoldsSpec(n_inner_folds=3), (0, 0), by_site=True)
    assert why == "2 sites for 3 inner folds"
    assert sorted(Counter(inner.tolist()).values()) == [2, 3, 3]
    lone = CohortPatients.sorted(
        [*"abcdefgh"], ["x"] * 2 + ["y"] * 6, ["S"] * 2 + ["T", "U", "V"] * 2
    )
    inner, why = assign_inner(lone, np.arange(8), FoldsSpec(n_inner_folds=2), (0, 0), by_site=True)
    assert why == "a class is in one inner fold only"
    assert set(inner[:2].tolist()) == {0, 1}


def test_a_class_of_one_site_is_refused() -> None:
    ids = [f"P{i}" for i in range(12)]
    spec = FoldsSpec(protocol="site", n_folds=2)
    with pytest.raises(CohortError, match="all patients of class 'y' are of site 'S'"):
        make_folds(
            ids, ["x"] * 8 + ["y"] * 4, ["R", "T"] * 4 + ["S"] * 4, spec, protocol_named("site")
        )


@pytest.mark.parametrize("failing", [(False,), (False, True)])
def test_a_failed_solver_runs_again_the_other_way(
    failing: tuple[bool, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    true = solver.milp

    def broken(cost: np.ndarray, **program: Any) -> Any:
        if program["options"]["presolve"] in failing:
            raise ValueError("vector::reserve")
        return true(cost, **program)

    monkeypatch.setattr(solver, "milp", broken)
    labels, sites = cohort(40 + len(failing), n_sites=9)  # not dealt before: answers are kept
    if len(failing) == 1:
        assert set(assign_sites(labels, sites, 2, (0,)).fold_of.tolist()) == {0, 1}
    else:
        with pytest.raises(CohortError, match=r"\(vector::reserve\). Lower"):
            assign_sites(labels, sites, 2, (0,))
