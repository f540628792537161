from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.base import clone

from crosstype.errors import CheckpointError
from crosstype.expression.pipeline_state import (
    align_genes,
    outlier_cost,
    pipeline_from_state,
    pipeline_state,
)
from crosstype.expression.spec import ExpressionSpec
from crosstype.expression.transformers import (
    MissingImputer,
    OutlierRemover,
    ShiftLog,
    Standardiser,
    VarianceChoice,
    make_preprocessing,
    quantiles,
)
from crosstype.protocol import protocol_named


def table(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.gamma(1.0, 100.0, (40, 12)).astype(np.float32)
    values[rng.random(values.shape) < 0.1] = np.nan
    values[:, 3] = np.nan
    values[:, 4] = 7.0
    return values


def test_shift_is_fitted_on_training_and_later_minima_are_clipped() -> None:
    step = ShiftLog().fit([[-2.0, 5.0]])
    np.testing.assert_allclose(step.transform([[-9.0, 5.0]]), np.log1p([[1.0, 8.0]]))
    unshifted = ShiftLog().fit([[0.0, 5.0]])
    np.testing.assert_allclose(unshifted.transform([[-9.0, 5.0]]), np.log1p([[0.0, 5.0]]))


def test_constant_genes_are_zero_and_missing_values_are_imputed() -> None:
    train = np.array([[1.0, 4.0, np.nan], [3.0, 4.0, np.nan], [np.nan, 4.0, np.nan]])
    scaled = Standardiser().fit(train)
    np.testing.assert_array_equal(scaled.transform([[2.0, 9.0, 5.0]]), [[0.0, 0.0, 0.0]])
    imputer = MissingImputer("mean").fit(train)
    np.testing.assert_array_equal(imputer.transform([[np.nan] * 3]), [[2.0, 4.0, 0.0]])


def test_quantiles_agree_with_numpy() -> None:
    values = table()[:, [0, 1, 2, 5, 6]]
    shares = (0.25, 0.5, 0.75)
    expected = np.nanquantile(values.astype(np.float64), shares, axis=0)
    np.testing.assert_allclose(quantiles(values, shares), expected)


def test_outliers_become_missing_and_are_counted_by_class() -> None:
    values = np.array([[1.0], [2.0], [3.0], [4.0], [1000.0]])
    kept = OutlierRemover().fit(values).transform(values)
    assert np.isnan(kept).ravel().tolist() == [False] * 4 + [True]
    cost = outlier_cost(values, ["a", "a", "a", "b", "b"], ["ERBB2"], 1.5)
    assert cost.rows() == [("ERBB2", "a", 3, 0, 0.0), ("ERBB2", "b", 2, 1, 0.5)]


def test_genes_are_chosen_by_variance_in_the_tables_order() -> None:
    values = np.array([[0.0, 0.0, 0.0], [1.0, 9.0, 5.0]])
    assert VarianceChoice(2).fit(values).get_support().tolist() == [False, True, True]
    assert VarianceChoice(0).fit(values).get_support().all()


@pytest.mark.parametrize(
    ("protocol", "unit", "steps"),
    [
        ("strict", "linear", ["shift_log", "variance_choice", "standardise", "impute"]),
        ("strict", "log", ["variance_choice", "standardise", "impute"]),
        ("paper", "zscore", ["shift_log", "variance_choice", "standardise", "outliers", "impute"]),
    ],
)
def test_steps_stand_in_the_papers_order_and_survive_a_checkpoint(
    protocol: str, unit: str, steps: list[str]
) -> None:
    pipeline = make_preprocessing(ExpressionSpec(n_genes=8), protocol_named(protocol), unit)  # type: ignore[arg-type]
    assert [name for name, _ in pipeline.steps] == steps
    train, test = table(0), table(1)
    out = clone(pipeline).fit(train).transform(test)
    assert out.shape == (40, 8)
    assert out.dtype == np.float32
    assert np.isfinite(out).all()
    arrays, state = pipeline_state(pipeline.fit(train))
    back = pipeline_from_state(arrays, json.loads(json.dumps(state)))
    np.testing.assert_array_equal(back.transform(test), out)
    arrays.popitem()
    with pytest.raises(CheckpointError):
        pipeline_from_state(arrays, state)


def test_a_poisoned_test_patient_changes_nothing_that_is_fitted() -> None:
    pipeline = make_preprocessing(ExpressionSpec(), protocol_named("strict"), "linear")
    train, test = table(0), table(1)
    expected = pipeline.fit(train).transform(test[1:])
    test[0] = 1e9
    np.testing.assert_array_equal(pipeline.transform(test)[1:], expected)


def test_genes_are_aligned_by_name() -> None:
    values = np.array([[1.0, 2.0, 3.0]])
    aligned, share = align_genes(values, ["a", "b", "extra"], ["b", "lost", "a"])
    np.testing.assert_array_equal(aligned, np.float32([[2.0, np.nan, 1.0]]))
    assert share == pytest.approx(2 / 3)
