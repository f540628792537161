"""The site probe finds a shift between sites where one was planted, and guesses where none is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from crosstype.crossval.site_probe import _metrics, site_probe
from crosstype.expression.spec import ExpressionSpec
from crosstype.features.formats.open import write_features
from crosstype.protocol import protocol_named
from crosstype.training.patients import Bags, Patients
from crosstype.training.preprocessing import Preparing

PREPARING = Preparing(ExpressionSpec(), protocol_named("strict"), "linear")
SITES = ["A", "B", "C"] * 20


def row_of(table: pl.DataFrame, source: str, metric: str) -> dict[str, float]:
    return table.row(
        by_predicate=(pl.col("input") == source) & (pl.col("metric") == metric), named=True
    )


def shifted(patients: Patients, folder: Path) -> Patients:
    """Move one of three tile features by site, as a stain does; genes stay."""
    rng = np.random.default_rng(3)
    paths = {}
    for patient, site in zip(patients.ids, SITES, strict=True):
        tiles = rng.normal(size=(5, 6)).astype(np.float32)
        tiles[:, 3 + "ABC".index(site)] += 3
        paths[patient] = (folder / f"{patient}.h5",)
        write_features(paths[patient][0], tiles)
    return replace(patients, bags=Bags(paths))


def test_a_planted_shift_is_found_where_it_was_planted(
    make_patients: Callable[..., Patients], tmp_path: Path
) -> None:
    table = site_probe(shifted(make_patients(60), tmp_path), SITES, PREPARING, 0)
    assert table["n_sites"].to_list() == [3] * 4
    assert table["n"].to_list() == [60] * 4
    image = row_of(table, "image", "balanced_accuracy")
    assert image["value"] > 0.75
    assert image["guessing"] == pytest.approx(1 / 3)
    assert image["low"] > image["guessing"]
    assert row_of(table, "image", "auroc")["value"] > 0.85
    assert row_of(table, "image", "auroc")["guessing"] == 0.5
    genes = row_of(table, "genes", "balanced_accuracy")
    assert abs(genes["value"] - 1 / 3) < 0.2


def test_without_a_shift_it_guesses(make_patients: Callable[..., Patients]) -> None:
    found = [site_probe(make_patients(60, seed=seed), SITES, PREPARING, seed) for seed in range(4)]
    for source in ("image", "genes"):
        values = [row_of(one, source, "balanced_accuracy")["value"] for one in found]
        assert abs(np.mean(values) - 1 / 3) < 0.1
        ranked = [row_of(one, source, "auroc")["value"] for one in found]
        assert abs(np.mean(ranked) - 0.5) < 0.12


def test_small_sites_and_unknown_ones_are_left_out(make_patients: Callable[..., Patients]) -> None:
    patients = make_patients(40)
    sites = ["A"] * 15 + ["B"] * 12 + ["C"] * 9 + [""] * 4
    table = site_probe(patients, sites, PREPARING, 0)
    assert table["n_sites"].to_list() == [2] * 4
    assert table["n"].to_list() == [27] * 4
    nothing = site_probe(patients, ["A"] * 31 + ["B"] * 9, PREPARING, 0)
    assert nothing.is_empty()
    assert nothing.columns == table.columns


def test_metrics_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    target = np.arange(90) % 3
    said = rng.dirichlet(np.ones(3), 90) + 0.3 * np.eye(3)[target]
    said = (said / said.sum(axis=1, keepdims=True)).round(2)  # ties
    found, ranked = _metrics(said, target)
    assert found == pytest.approx(balanced_accuracy_score(target, said.argmax(axis=1)))
    each = [roc_auc_score(target == site, said[:, site]) for site in range(3)]
    assert ranked == pytest.approx(np.mean(each))
