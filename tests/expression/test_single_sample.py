"""Ranks and scaling of each patient by himself, against SciPy and by what they must not change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.utils.estimator_checks import parametrize_with_checks

from crosstype.config.read import read_config
from crosstype.errors import CohortError, ConfigError
from crosstype.expression.pipeline_state import pipeline_from_state, pipeline_state
from crosstype.expression.spec import ExpressionSpec
from crosstype.expression.transformers import MedianRatio, NormalRanks, make_preprocessing
from crosstype.io.files import write_text
from crosstype.protocol import protocol_named
from tests.conftest import NO_MAPS


@parametrize_with_checks([NormalRanks(), MedianRatio(), MedianRatio("log")])
def test_scikit_learns_own_suite(estimator: Any, check: Any) -> None:
    check(estimator)


def table(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.gamma(1.0, 100.0, (30, 15)).astype(np.float32)
    values[rng.random(values.shape) < 0.1] = np.nan
    values[rng.random(values.shape) < 0.2] = 0
    return values


def test_normal_scores_are_scipys_with_ties_and_missing_genes() -> None:
    train, test = table(0), table(1)
    train[:, 3] = np.nan
    found = NormalRanks().fit(train).transform(test)
    known = test.copy()
    known[:, 3] = np.nan
    ranks = stats.rankdata(known, axis=1, nan_policy="omit")
    n_genes = (~np.isnan(known)).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, stats.norm.ppf(ranks / (n_genes + 1)), rtol=1e-6)
    assert np.isnan(found[:, 3]).all()


def test_a_patient_without_any_gene_stays_without() -> None:
    step = NormalRanks().fit(table())
    assert np.isnan(step.transform(np.full((1, 15), np.nan, dtype=np.float32))).all()


def test_no_rising_function_of_a_patients_values_changes_their_ranks() -> None:
    step = NormalRanks().fit(table())
    test = table(1).astype(np.float64)
    factor = np.random.default_rng(2).uniform(0.1, 9.0, (30, 1))
    np.testing.assert_array_equal(step.transform(np.log1p(test * factor)), step.transform(test))


@pytest.mark.parametrize("unit", ["linear", "log"])
def test_scaling_undoes_one_factor_per_patient(unit: Any) -> None:
    train, test = table(0), table(1)
    other = test * np.random.default_rng(2).uniform(0.1, 9.0, (30, 1)).astype(np.float32)
    if unit == "log":
        train, test, other = (np.log2(one + 1) for one in (train, test, other))
    step = MedianRatio(unit).fit(train)
    np.testing.assert_allclose(step.transform(other), step.transform(test), rtol=1e-3, atol=1e-4)


def test_the_table_that_is_given_is_left_as_it_is() -> None:
    for step in (NormalRanks(), MedianRatio(), MedianRatio("log")):
        values = table().astype(np.float64) / 100
        kept = values.copy()
        step.fit(values).transform(values)
        np.testing.assert_array_equal(values, kept)


def test_the_factor_is_the_median_of_ratios() -> None:
    step = MedianRatio().fit([[10.0, 20.0, 30.0, 0.0], [10.0, 20.0, 30.0, 4.0]])
    found = step.transform([[1.0, 4.0, 15.0, 7.0], [0.0, 0.0, 0.0, np.nan]])
    medians = np.array([10.0, 20.0, 30.0, 2.0])
    factor = np.median(medians / [1.0, 4.0, 15.0, 7.0])
    np.testing.assert_allclose(found[0], factor * np.array([1.0, 4.0, 15.0, 7.0]))
    np.testing.assert_array_equal(found[1], [0.0, 0.0, 0.0, np.nan])


@pytest.mark.parametrize(
    ("kind", "unit", "steps"),
    [
        ("ranks", "linear", ["ranks", "variance_choice", "standardise", "impute"]),
        ("ranks", "log", ["ranks", "variance_choice", "standardise", "impute"]),
        ("scaled", "linear", ["scaled", "shift_log", "variance_choice", "standardise", "impute"]),
        ("scaled", "log", ["scaled", "variance_choice", "standardise", "impute"]),
    ],
)
def test_steps_stand_in_order_survive_a_checkpoint_and_see_one_patient_at_a_time(
    kind: Any, unit: Any, steps: list[str]
) -> None:
    spec = ExpressionSpec(representation=kind, n_genes=8)
    pipeline = make_preprocessing(spec, protocol_named("strict"), unit)
    assert [name for name, _ in pipeline.steps] == steps
    train, test = table(0), table(1)
    if unit == "log":
        train, test = np.log2(train + 1), np.log2(test + 1)
    out = pipeline.fit(train).transform(test)
    assert np.isfinite(out).all()
    arrays, state = pipeline_state(pipeline)
    back = pipeline_from_state(arrays, json.loads(json.dumps(state)))
    np.testing.assert_array_equal(back.transform(test), out)
    np.testing.assert_array_equal(back.transform(test[4:5]), out[4:5])


def test_z_scores_are_refused(tiny: Any, tmp_path: Path) -> None:
    """Stated in the config before anything is read, or recognised in the table."""
    with pytest.raises(ValueError, match="unit"):
        MedianRatio("zscore").fit(table())
    text = tiny.config.read_text()
    for kind in ("ranks", "scaled"):
        section = f'[expression]\nrepresentation = "{kind}"\n'
        write_text(tiny.config, f'{text}\n{section}unit = "zscore"\n')
        with pytest.raises(ConfigError, match=r"expression\.representation"):
            read_config(tiny.config)
    write_text(tiny.config, f"{text}\n{section}")
    lines = (tiny.folder / "expression.tsv").read_text().splitlines()
    values = np.array([line.split("\t")[1:] for line in lines[1:]], dtype=float)
    scores = stats.zscore(values, axis=1)
    rows = [f"GENE{i}\t" + "\t".join(map(str, row)) for i, row in enumerate(scores.tolist())]
    write_text(tiny.folder / "expression.tsv", "\n".join([lines[0], *rows]) + "\n")
    with pytest.raises(CohortError, match=r"\[expression\] representation"):
        tiny.run(tmp_path / "out", "cohort")


@pytest.mark.parametrize("kind", ["ranks", "scaled"])
def test_gene_sets_of_a_spectrum_contradict_it(tiny: Any, kind: str) -> None:
    write_text(tiny.folder / "sets.gmt", "set\tna\tGENE1\tGENE2\n")
    section = f'\n[expression]\nrepresentation = "{kind}"\ngene_sets = "sets.gmt"\n'
    write_text(tiny.config, tiny.config.read_text() + section)
    with pytest.raises(ConfigError, match=kind):
        read_config(tiny.config)


@pytest.mark.parametrize("kind", ["ranks", "scaled"])
def test_a_whole_run_uses_it(tiny: Any, tmp_path: Path, kind: str) -> None:
    """From the config to the explanation."""
    tiny.change(models=("gene_only",), n_shuffles=0, more=NO_MAPS)
    section = f'\n[expression]\nrepresentation = "{kind}"\nunit = "linear"\n'
    write_text(tiny.config, tiny.config.read_text() + section)
    tiny.run(tmp_path / "out", last="explain")
    assert (tmp_path / "out" / "explanation" / "attributions.csv").exists()
