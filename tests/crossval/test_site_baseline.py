"""The baseline site_only in a run: the models' folds, and no test patient in its fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from crosstype.crossval.plan import Plan
from crosstype.crossval.site_probe import site_only_rows
from crosstype.expression.spec import ExpressionSpec
from crosstype.models.spec import ModelSpec
from crosstype.protocol import protocol_named
from crosstype.training.spec import TrainingSpec

CLASSES = ("Luminal", "Basal/Her2")
POSITIVE = "probability_Basal/Her2"


def plan_of(out: Path, protocol: str) -> Plan:
    """Make a plan without jobs: the baseline looks at the tables alone."""
    return Plan(
        out=out,
        classes=CLASSES,
        slides={},
        protocol=protocol_named(protocol),
        expression=ExpressionSpec(),
        model=ModelSpec(),
        training=TrainingSpec(),
        seed=0,
        n_shuffles=0,
        study=None,
        inputs="",
    )


def rows_of(out: Path, protocol: str = "strict") -> pl.DataFrame:
    return pl.concat(site_only_rows(plan_of(out, protocol))).sort("patient_id")


def shares_by_hand(out: Path, *, validation_teaches: bool) -> dict[str, float]:
    """Count, from the tables alone, each test patient's share of the positive class."""
    people = {row["patient_id"]: row for row in pl.read_csv(out / "cohort.csv").to_dicts()}
    dealt = pl.read_csv(out / "folds.csv")
    found = {}
    for (_, _), fold in dealt.group_by("repeat", "fold"):
        tested = set(fold.filter(pl.col("role") == "test")["patient_id"])
        roles = ["train", "validation"] if validation_teaches else ["train"]
        teachers = set(fold.filter(pl.col("role").is_in(roles))["patient_id"]) - tested
        right = [people[one]["label"] == CLASSES[1] for one in teachers]
        share = float(np.mean(right))
        for one in tested:
            site = people[one]["site"]
            here = [people[t]["label"] == CLASSES[1] for t in teachers if people[t]["site"] == site]
            found[one] = (sum(here) + share) / (len(here) + 1)
    return found


@pytest.mark.parametrize("protocol", ["strict", "paper"])
def test_each_fold_learns_from_those_it_does_not_test(
    tiny: Any, tmp_path: Path, protocol: str
) -> None:
    tiny.grow(40, protocol=protocol)
    tiny.run(tmp_path, "cohort")
    rows = rows_of(tmp_path, protocol)
    by_hand = shares_by_hand(tmp_path, validation_teaches=protocol == "strict")
    assert rows["patient_id"].to_list() == sorted(by_hand)
    expected = [by_hand[one] for one in rows["patient_id"]]
    assert rows[POSITIVE].to_list() == pytest.approx(expected, abs=1e-12)


def test_a_test_patients_label_never_changes_their_own_row(tiny: Any, tmp_path: Path) -> None:
    tiny.grow(24)
    tiny.run(tmp_path, "cohort")
    before = rows_of(tmp_path)
    cohort = pl.read_csv(tmp_path / "cohort.csv")
    swap = dict(zip(CLASSES, reversed(CLASSES), strict=True))
    others_moved = False
    for patient in cohort["patient_id"]:
        own = pl.col("patient_id") == patient
        label = pl.when(own).then(pl.col("label").replace(swap)).otherwise("label")
        cohort.with_columns(label.alias("label")).write_csv(tmp_path / "cohort.csv")
        after = rows_of(tmp_path)
        assert after.filter(own)[POSITIVE].item() == before.filter(own)[POSITIVE].item()
        others_moved |= not after[POSITIVE].equals(before[POSITIVE])
    assert others_moved  # labels do teach, just not their own patient


def test_under_protocol_site_it_can_only_guess(tiny: Any, tmp_path: Path) -> None:
    tiny.grow(40, protocol="site")
    tiny.run(tmp_path, "cohort")
    for (_,), fold in rows_of(tmp_path, "site").group_by("fold"):
        assert fold[POSITIVE].n_unique() == 1


def test_one_site_has_no_such_baseline(tiny: Any, tmp_path: Path) -> None:
    tiny.run(tmp_path, "cohort")
    path = tmp_path / "cohort.csv"
    pl.read_csv(path).with_columns(site=pl.lit("A1")).write_csv(path)
    assert site_only_rows(plan_of(tmp_path, "strict")) == []
