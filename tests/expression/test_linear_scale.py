"""The linear scale of a table, against the same formulas written by other libraries and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from crosstype.cohort.labels import normal_like_among, normal_like_rows, normal_like_words
from crosstype.expression.read import Expression
from crosstype.expression.units import linear_scale_of

AMOUNTS = np.array([[0.0, 1.0, 7.0, 1023.0], [3.0, 0.5, 100.0, 5e4]])


@pytest.mark.parametrize("offset", [1.0, 0.001])
def test_logarithms_become_the_amounts_that_they_are_of(offset: float) -> None:
    logs = np.log2(AMOUNTS + offset)
    scale = linear_scale_of(logs, "log")
    assert scale is not None
    np.testing.assert_allclose(scale.amounts(logs), AMOUNTS, atol=1e-9)
    np.testing.assert_allclose(scale.values(AMOUNTS), logs, rtol=1e-6)
    np.testing.assert_allclose(scale.values(AMOUNTS - 1e6), np.log2(offset), atol=1e-5)


def test_logarithms_without_offset_have_the_tables_lowest_amount() -> None:
    logs = np.log2(AMOUNTS[:, 1:])
    scale = linear_scale_of(logs, "log")
    assert scale is not None
    np.testing.assert_allclose(scale.amounts(logs), AMOUNTS[:, 1:])
    np.testing.assert_allclose(scale.values(np.array([[-5.0, 0.0]])), [[-1.0, -1.0]])


def test_amounts_are_themselves_and_missing_stays_missing() -> None:
    scale = linear_scale_of(AMOUNTS, "linear")
    assert scale is not None
    np.testing.assert_array_equal(scale.amounts(AMOUNTS), AMOUNTS)
    assert scale.values(np.array([[-3.0, 2.0]])).tolist() == [[0.0, 2.0]]
    for unit in ("linear", "log"):
        made = linear_scale_of(AMOUNTS / 1e4, unit)  # type: ignore[arg-type]
        assert made is not None
        assert np.isnan(made.values(made.amounts(np.array([np.nan])))).all()


def test_z_scores_have_no_linear_scale() -> None:
    assert linear_scale_of(AMOUNTS, "zscore") is None


def test_normal_like_is_known_by_its_usual_names() -> None:
    labels = {
        "a": "BRCA.Normal", "b": "Normal", "c": "normal-like", "d": "PAM50_NormalLike",
        "e": "BRCA.LumA", "f": "Abnormal", "g": "Normal adjacent",
    }  # fmt: skip
    assert normal_like_among(labels) == {"a", "b", "c", "d"}


def test_nobody_of_the_cohort_is_normal_like() -> None:
    samples = tuple(f"TCGA-A1-000{i}-{kind}A" for i, kind in enumerate(("01", "01", "11", "11")))
    values = np.ones((4, 2), dtype=np.float32)
    table = Expression(values, samples, ("g", "h"), "linear", ())
    rows = {sample[:12]: row for row, sample in enumerate(samples[:2])}
    first, second, third, fourth = (sample[:12] for sample in samples)
    found = normal_like_rows(table, rows, {first, second}, {first})
    assert found == {second: 1}
    assert "1 tumours labelled normal-like" in normal_like_words(found)
    # Without a tumour that is labelled so: normal tissue, not that of the cohort's patients.
    found = normal_like_rows(table, rows, {first}, {first, third})
    assert found == {samples[3]: 3}
    assert "1 samples of normal tissue" in normal_like_words(found)
    assert not normal_like_rows(table, rows, {first}, {first, third, fourth})
