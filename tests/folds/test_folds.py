from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from crosstype.errors import CohortError, ConfigError
from crosstype.folds.folds import Fold, folds_of, make_folds
from crosstype.folds.spec import FoldsSpec
from crosstype.protocol import PROTOCOLS, protocol_named

PATIENTS = [f"P{i:03d}" for i in range(90)]
LABELS = ["a", "a", "b"] * 30
SITES = [f"S{i % 11}" for i in range(90)]
SPEC = FoldsSpec(repeats=2, seed=3)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_each_patient_is_tested_once_per_repeat_whatever_the_order(name: str) -> None:
    protocol = protocol_named(name)
    table = make_folds(PATIENTS, LABELS, SITES, SPEC, protocol)
    order = np.random.default_rng(0).permutation(90)
    shuffled = [[column[i] for i in order] for column in (PATIENTS, LABELS, SITES)]
    assert make_folds(*shuffled, SPEC, protocol).equals(table)
    tested = table.filter(pl.col("role") == "test").group_by("repeat", "patient_id").len()
    assert tested.height == 180
    assert tested["len"].max() == 1
    first, second = (table.filter(pl.col("repeat") == r).drop("repeat") for r in (0, 1))
    assert not first.equals(second)


def test_strict_folds_hold_the_classes_in_the_cohorts_shares() -> None:
    label = dict(zip(PATIENTS, LABELS, strict=True))
    table = make_folds(PATIENTS, LABELS, SITES, SPEC, protocol_named("strict"))
    for fold in folds_of(table, protocol_named("strict")):
        assert sum(label[patient] == "b" for patient in fold.test) == 6
        assert 0.25 < np.mean([label[patient] == "b" for patient in fold.validation]) < 0.42
    inner = table.filter(pl.col("role") != "test").group_by("repeat", "fold", "inner_fold").len()
    assert inner["inner_fold"].unique().sort().to_list() == [0, 1, 2, 3]
    assert set(inner["len"].to_list()) == {18}


def test_site_folds_share_no_site() -> None:
    protocol = protocol_named("site")
    site = dict(zip(PATIENTS, SITES, strict=True))
    for fold in folds_of(make_folds(PATIENTS, LABELS, SITES, SPEC, protocol), protocol):
        rest = {site[patient] for patient in (*fold.train, *fold.validation)}
        assert not rest & {site[patient] for patient in fold.test}
    with pytest.raises(CohortError, match="fewer than the 5 folds"):
        make_folds(PATIENTS, LABELS, ["A"] * 90, SPEC, protocol)
    with pytest.raises(CohortError, match="no site"):
        make_folds(PATIENTS, LABELS, ["", *SITES[1:]], SPEC, protocol)


def test_the_papers_folds_validate_on_test_and_have_no_inner_folds() -> None:
    protocol = protocol_named("paper")
    table = make_folds(PATIENTS, LABELS, SITES, SPEC, protocol)
    assert table["inner_fold"].null_count() == table.height
    assert all(fold.validation == fold.test for fold in folds_of(table, protocol))
    assert all(len(fold.train) == 72 for fold in folds_of(table, protocol))


def test_a_fold_that_breaks_its_protocol_is_refused() -> None:
    protocol = protocol_named("strict")
    label, site = {"p": "a", "q": "b", "r": "a", "s": "b"}, dict.fromkeys("pqrs", "S")
    good = Fold(0, 0, ("p", "q"), (), ("r", "s"))
    good.check(label, site, protocol)
    for bad in (
        replace(good, train=("p", "q", "r")),
        replace(good, train=("p",)),
        replace(good, test=("r",)),
        replace(good, test=()),
    ):
        with pytest.raises(CohortError):
            bad.check(label, site, protocol)
    with pytest.raises(CohortError, match="site 'S'"):
        good.check(label, site, protocol_named("site"))


def test_too_few_folds_and_small_classes_are_refused() -> None:
    with pytest.raises(ConfigError):
        make_folds(PATIENTS, LABELS, SITES, FoldsSpec(n_folds=1), protocol_named("strict"))
    with pytest.raises(CohortError, match="fewer than the 40 folds"):
        make_folds(PATIENTS, LABELS, SITES, FoldsSpec(n_folds=40), protocol_named("strict"))
