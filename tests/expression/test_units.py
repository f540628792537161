"""The unit by most samples: one odd gene, column or sample does not decide it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crosstype.errors import CohortError
from crosstype.expression.read import read_expression
from crosstype.expression.spec import ExpressionSpec
from crosstype.expression.units import recognise_measure

RNG = np.random.default_rng(16)


def log2_table(n_genes: int, n_samples: int = 24) -> np.ndarray:
    values = RNG.normal(7, 3, n_genes) + RNG.normal(0, 1, (n_samples, n_genes))
    return (np.clip(values, 0, 20) * (RNG.random(values.shape) > 0.1)).astype(np.float32)


def amounts(n_genes: int, mean: float, spread: float, n_samples: int = 24) -> np.ndarray:
    values = np.exp(RNG.normal(mean, spread, n_genes) + RNG.normal(0, 0.5, (n_samples, n_genes)))
    return values.astype(np.float32)


@pytest.mark.parametrize("n_genes", [30, 60, 900, 20_000])
@pytest.mark.parametrize("what", ["one value", "one gene", "foreign column", "one sample"])
def test_logarithms_with_something_large_are_logarithms(n_genes: int, what: str) -> None:
    values = log2_table(n_genes)
    if what == "one value":
        values[3, 4] = 31.2
    elif what == "one gene":
        values[:, 4] = RNG.uniform(30.1, 33, len(values))
    elif what == "foreign column":
        values[:, 4] = RNG.uniform(200, 4000, len(values))
    else:
        values[5] = np.exp2(values[5])
    measure, evidence = recognise_measure(values)
    assert measure == "log"
    assert "above 30" in evidence


@pytest.mark.parametrize(("mean", "spread"), [(0, 1), (0, 2), (1, 1.5), (2, 2), (3, 2.5)])
def test_amounts_of_a_genome_are_never_logarithms(mean: float, spread: float) -> None:
    assert recognise_measure(amounts(20_000, mean, spread, 6))[0] in ("linear", "tpm", "rsem")


@pytest.mark.parametrize("n_genes", [6, 20, 60, 500])
def test_amounts_of_a_panel_stay_amounts(n_genes: int) -> None:
    for _ in range(5):
        assert recognise_measure(amounts(n_genes, 3, 1.5))[0] == "linear"


def test_whole_numbers_of_most_are_expected_counts() -> None:
    values = np.round(amounts(6000, 3, 1.5, 6))
    assert recognise_measure(values)[0] == "counts"
    values[:, ::3] += 0.27
    assert recognise_measure(values)[0] == "counts"
    assert recognise_measure(amounts(6000, 3, 1.5, 6))[0] == "linear"


def put(folder: Path, values: np.ndarray) -> tuple[Path, list[str]]:
    samples = [f"P{i}" for i in range(len(values))]
    rows = [f"G{i}\t" + "\t".join(map(repr, row)) for i, row in enumerate(values.T.tolist())]
    (folder / "e.tsv").write_text("gene\t" + "\t".join(samples) + "\n" + "\n".join(rows) + "\n")
    return folder / "e.tsv", samples


def test_few_negative_amounts_count_as_zero_and_many_are_refused(tmp_path: Path) -> None:
    values = amounts(60, 4, 1.5)
    values[0, :5] = -2.5
    path, samples = put(tmp_path, values)
    found = read_expression(path, ExpressionSpec(), samples)
    assert found.unit == "linear"
    np.testing.assert_allclose(found.values, np.maximum(values, 0), rtol=1e-6)
    assert any("amounts are negative, down to -2.5" in note for note in found.notes)
    values[:, :10] *= -1
    path, samples = put(tmp_path, values)
    with pytest.raises(CohortError, match=r"e.tsv: \d+% of the values are negative"):
        read_expression(path, ExpressionSpec(), samples)


def test_logarithms_of_counts_become_counts_per_million(tmp_path: Path) -> None:
    counts = np.round(amounts(5000, 3, 1.5, 4))
    twin = read_expression(*_with(tmp_path, counts))
    found = read_expression(*_with(tmp_path, np.log2(counts + 1)))
    assert (found.measure, twin.measure) == ("counts", "counts")
    np.testing.assert_allclose(found.values, twin.values, rtol=1e-3, atol=1e-3)
    assert any("log2(count + 1) of whole counts" in note for note in found.notes)


def _with(folder: Path, values: np.ndarray) -> tuple[Path, ExpressionSpec, list[str]]:
    path, samples = put(folder, values)
    return path, ExpressionSpec(), samples


def test_only_samples_of_the_cohort_decide(tmp_path: Path) -> None:
    values = log2_table(60)
    values[:8] = np.exp2(values[:8])
    path, samples = put(tmp_path, values)
    assert read_expression(path, ExpressionSpec(), samples[8:]).unit == "log"


def test_amounts_set_as_logarithms_are_refused(tmp_path: Path) -> None:
    path, samples = put(tmp_path, amounts(60, 4, 1.5))
    with pytest.raises(CohortError, match=r"set as logarithms .* look like linear"):
        read_expression(path, ExpressionSpec(unit="log"), samples)


def test_undivided_amounts_of_a_genome_are_warned_of(tmp_path: Path) -> None:
    values = amounts(5000, 3, 1.5, 6) * np.array([[1], [3], [1], [5], [2], [1]])
    found = read_expression(*_with(tmp_path, values))
    assert any("do not look divided by library size" in note for note in found.notes)
