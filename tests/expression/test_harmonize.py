"""A new table in the unit of the training table: converted exactly with a note, or refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crosstype.errors import CohortError
from crosstype.expression.harmonize import (
    GeneInput,
    Kind,
    converted,
    gene_input_of,
    kind_of,
    new_expression,
)
from crosstype.expression.read import Expression
from crosstype.expression.spec import ExpressionSpec
from crosstype.expression.units import Measure

AMOUNTS = np.random.default_rng(1).gamma(2.0, 300.0, (6, 4)).astype(np.float32)
GENES = ("A", "B", "C", "D")


def table(values: np.ndarray, measure: Measure, genes: tuple[str, ...] = GENES) -> Expression:
    return Expression(values, tuple(f"P{i}" for i in range(len(values))), genes, measure, ())


def wanted(kind: Kind, offset: float | None, representation: str = "genes") -> GeneInput:
    return GeneInput(GENES, kind, offset, representation, "mean", "auto")


def test_the_same_unit_stays_as_it_is() -> None:
    values, notes = converted("t", table(AMOUNTS, "rsem"), "rsem", wanted("rsem", 0.0))
    assert values is AMOUNTS
    assert not notes


@pytest.mark.parametrize("offset", [1.0, 1e-3])
def test_logarithms_become_amounts_and_back(offset: float) -> None:
    amounts = AMOUNTS.copy()
    amounts[0, 0] = 0  # the lowest value shows the offset
    logs = np.log2(amounts + np.float32(offset))
    found, notes = converted("t", table(logs, "log"), "log", wanted("linear", 0.0))
    assert np.allclose(found, amounts, rtol=1e-4, atol=1e-3)
    assert f"2^x - {offset:g}" in notes[0]
    found, notes = converted("t", table(amounts, "linear"), "linear", wanted("log", offset))
    assert np.allclose(found, logs, rtol=1e-4, atol=1e-3)
    assert "log2(x + " in notes[0]


def test_logarithms_of_unknown_kind_are_refused_for_amounts() -> None:
    logs = np.log2(AMOUNTS) - 12  # negative, and not the floor of a known offset
    with pytest.raises(CohortError, match="not exactly known"):
        converted("t", table(logs, "log"), "log", wanted("linear", 0.0))


@pytest.mark.parametrize(
    ("kind", "trained"), [("counts per million", "linear"), ("tpm", "rsem"), ("raw counts", "tpm")]
)
def test_amounts_of_another_kind_need_a_model_that_scales(kind: Kind, trained: Kind) -> None:
    measure: Measure = "counts" if "counts" in kind else "tpm"
    with pytest.raises(CohortError, match='representation = "scaled"'):
        converted("t", table(AMOUNTS, measure), kind, wanted(trained, 0.0))
    for representation in ("scaled", "ranks"):
        values, notes = converted(
            "t", table(AMOUNTS, measure), kind, wanted(trained, 0.0, representation)
        )
        assert values is AMOUNTS
        assert len(notes) == 1
        assert notes[0].startswith("conversion: ")


def test_z_scores_only_meet_z_scores() -> None:
    z = (AMOUNTS - AMOUNTS.mean(axis=0)) / AMOUNTS.std(axis=0)
    assert converted("t", table(z, "zscore"), "zscore", wanted("zscore", None))[0] is z
    for found, kind, model in (
        (table(z, "zscore"), "zscore", wanted("rsem", 0.0)),
        (table(z, "zscore"), "zscore", wanted("rsem", 0.0, "ranks")),
        (table(AMOUNTS, "rsem"), "rsem", wanted("zscore", None)),
    ):
        with pytest.raises(CohortError, match="z-scores"):
            converted("t", found, kind, model)  # type: ignore[arg-type]


def test_counts_are_distinguished_from_divided_counts() -> None:
    counts = table(np.round(AMOUNTS), "counts")
    assert kind_of(counts, ExpressionSpec()) == "raw counts"
    assert kind_of(counts, ExpressionSpec(counts="per_million")) == "counts per million"
    made = gene_input_of(counts, GENES, ExpressionSpec(counts="per_million"))
    assert (made.kind, made.offset, made.unit) == ("counts per million", 0.0, "linear")


def test_genes_are_matched_by_name_and_missing_ones_masked() -> None:
    found = table(AMOUNTS[:, :3], "rsem", ("C", "X", "A"))
    model = wanted("rsem", 0.0)
    new = new_expression("t", found, ExpressionSpec(), model)
    assert np.array_equal(new.values[:, [0, 2]], AMOUNTS[:, [2, 0]])
    assert np.isnan(new.values[:, [1, 3]]).all()
    assert new.measured.mean() == 0.5
    assert "genes: 2 of the model's 4 are there (50.0%)" in new.notes
    with pytest.raises(CohortError, match="has 0 of the 4 genes of this model, such as 'A'"):
        new_expression("t", replace(found, genes=("U", "V", "W")), ExpressionSpec(), model)
