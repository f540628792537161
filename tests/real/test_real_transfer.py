"""Probabilities transfer from RSEM to other patients' counts; the base model alone, for time."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "transfer.py"


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("cross_attention", "scaled"),
        pytest.param("cross_attention", "ranks", marks=pytest.mark.long),
        pytest.param("gene_only", "scaled", marks=pytest.mark.long),
        pytest.param("gene_only", "ranks", marks=pytest.mark.long),
    ],
)
def test_mean_probability_and_brier_carry_over_to_counts(
    real_data: Path, name: str, kind: str
) -> None:
    measure = runpy.run_path(str(BENCHMARK))
    train, same, other = measure["read_patients"](real_data)
    assert not set(train.ids) & set(other.ids)
    assert len(other) == 80
    predict = measure["fitted"](train, name, kind, line=True)
    within, across = (measure["found_of"](one.targets, predict(one)) for one in (same, other))
    assert abs(across.mean - across.prevalence) < 0.05
    assert across.brier < within.brier + 0.02
