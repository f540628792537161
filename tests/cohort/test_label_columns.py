"""Columns that give the classes away stop the run; genes that separate by chance do not."""

from __future__ import annotations

import numpy as np
import pytest

from crosstype.cohort.label_columns import (
    chance_of_separation,
    check_label_columns,
    recodes,
    separates,
)
from crosstype.errors import CohortError
from crosstype.expression.matrix import AlignedExpression
from crosstype.expression.spec import ExpressionSpec

CLASSES = ["Basal"] * 12 + ["Luminal"] * 12
CODES = np.array([0.0] * 12 + [1.0] * 12)
RNG = np.random.default_rng(16)


def table(
    column: np.ndarray, name: str, n_genes: int = 20
) -> tuple[AlignedExpression, ExpressionSpec]:
    values = RNG.normal(7, 2, (len(column), n_genes)).astype(np.float32)
    values[:, 3] = column
    genes = tuple(name if i == 3 else f"GENE{i}" for i in range(n_genes))
    ids = tuple(f"P{i}" for i in range(len(column)))
    return AlignedExpression(values, ids, genes, "log"), ExpressionSpec()


@pytest.mark.parametrize("name", ["ESR1", "Risk value", "ENSG00000141510"])
@pytest.mark.parametrize("values", [CODES, 5 - 3 * CODES, np.where(CODES > 0, 7.25, 1.5)])
def test_codes_of_the_classes_stop_the_run_whatever_they_are_called(
    name: str, values: np.ndarray
) -> None:
    expression, spec = table(values, name)
    with pytest.raises(CohortError, match=f"e.tsv: {name} gives the classes away"):
        check_label_columns("e.tsv", expression, CLASSES, spec)
    kept = ExpressionSpec(keep_genes=(name,))
    assert check_label_columns("e.tsv", expression, CLASSES, kept) == []


def test_codes_with_gaps_stop_the_run() -> None:
    codes = CODES.copy()
    codes[[2, 15]] = np.nan
    with pytest.raises(CohortError, match="gives the classes away"):
        check_label_columns("e.tsv", *_classes(codes, "label2"))


def _classes(column: np.ndarray, name: str) -> tuple[AlignedExpression, list[str], ExpressionSpec]:
    expression, spec = table(column, name)
    return expression, CLASSES, spec


def test_separation_by_no_gene_stops_and_by_a_gene_is_warned_of() -> None:
    far = 10 * CODES + RNG.normal(0, 1, 24)
    with pytest.raises(CohortError, match="my value gives"):
        check_label_columns("e.tsv", *_classes(far, "my value"))
    [warning] = check_label_columns("e.tsv", *_classes(far, "ESR1"))
    assert "1 genes separate the classes perfectly" in warning
    assert "ESR1" in warning


def test_separation_that_chance_explains_is_not_warned_of() -> None:
    classes = ["A"] * 5 + ["B"] * 5
    values = RNG.normal(7, 2, (10, 900)).astype(np.float32)
    genes = tuple(f"GENE{i}" for i in range(900))
    expression = AlignedExpression(values, tuple(f"P{i}" for i in range(10)), genes, "log")
    labels = np.array([0] * 5 + [1] * 5)
    n_separate = sum(separates(column, labels) for column in values.T)
    assert n_separate > 0
    assert check_label_columns("e.tsv", expression, classes, ExpressionSpec()) == []
    assert chance_of_separation(labels, 900) == pytest.approx(2 / 252 * 900)


def test_genes_of_another_species_that_separate_do_not_stop_the_run() -> None:
    values = RNG.normal(7, 2, (10, 400)).astype(np.float32)
    genes = tuple(f"Gene{i}a" for i in range(400))
    expression = AlignedExpression(values, tuple(f"P{i}" for i in range(10)), genes, "log")
    assert check_label_columns("e.tsv", expression, ["A", "B"] * 5, ExpressionSpec()) == []


def test_three_classes() -> None:
    labels = np.repeat([0, 1, 2], 4)
    assert recodes(np.repeat([5.0, 0.0, 2.0], 4), labels)
    assert separates(np.repeat([5.0, 0.0, 2.0], 4) + RNG.uniform(0, 1, 12), labels)
    assert not recodes(np.repeat([5.0, 0.0, 5.0], 4), labels)
    assert not separates(np.repeat([5.0, 0.0, 5.0], 4), labels)
    assert not recodes(np.full(12, np.nan), labels)
    assert not recodes(np.arange(12.0), labels)


def test_a_gene_of_one_value_or_few_says_nothing() -> None:
    assert check_label_columns("e.tsv", *_classes(np.zeros(24), "ESR1")) == []
    mixed = np.tile([0.0, 1.0], 12)
    assert check_label_columns("e.tsv", *_classes(mixed, "ESR1")) == []
