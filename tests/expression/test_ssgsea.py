"""Functional spectra agree with the library's own call, sample by sample."""

from __future__ import annotations

import gseapy
import numpy as np
import pandas as pd
import pytest

from crosstype.errors import CohortError
from crosstype.expression.genes.sets import GeneSets
from crosstype.expression.genes.ssgsea import functional_spectra, spectrum_of
from crosstype.expression.matrix import AlignedExpression

GENES = tuple(f"GENE{i}" for i in range(120))


def make_sets(n: int = 6, seed: int = 1) -> GeneSets:
    rng = np.random.default_rng(seed)
    genes = tuple(
        tuple(rng.choice(GENES, int(rng.integers(5, 30)), replace=False)) for _ in range(n)
    )
    return GeneSets("made.gmt", tuple(f"SET_{i}" for i in range(n)), genes)


def make_expression(n: int = 7, zeros: float = 0.3) -> AlignedExpression:
    rng = np.random.default_rng(4)
    values = rng.gamma(2.0, 50.0, (n, len(GENES)))
    values[rng.random(values.shape) < zeros] = 0
    ids = tuple(f"P{i}" for i in range(n))
    return AlignedExpression(values.astype(np.float32), ids, GENES, "linear")


def library(expression: AlignedExpression, gene_sets: GeneSets) -> np.ndarray:
    """Return gseapy's scores of the table itself, patients x sets."""
    frame = pd.DataFrame(
        expression.values.T, index=expression.genes, columns=expression.patient_ids
    )
    sets = dict(zip(gene_sets.names, map(list, gene_sets.genes), strict=True))
    called = gseapy.ssgsea(data=frame, gene_sets=sets, outdir=None, min_size=5, threads=1)
    table = called.res2d.pivot(index="Name", columns="Term", values="ES")
    return table.loc[list(expression.patient_ids), list(gene_sets.names)].to_numpy(dtype=float)


@pytest.mark.parametrize("zeros", [0.0, 0.3])
def test_agrees_with_the_librarys_own_call(zeros: float) -> None:
    expression, gene_sets = make_expression(zeros=zeros), make_sets()
    found, notes = spectrum_of(expression, gene_sets, 5)
    exact = functional_spectra(expression.values, gene_sets.matched(GENES, 5), 5)
    np.testing.assert_allclose(exact, library(expression, gene_sets), rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.values, exact, rtol=1e-6)
    assert found.genes == gene_sets.names
    assert found.patient_ids == expression.patient_ids
    assert found.unit == "log"
    assert found.values.dtype == np.float32
    assert "functional spectrum of 6 gene sets" in notes[0]


def test_nothing_is_learned_from_other_samples() -> None:
    expression, gene_sets = make_expression(), make_sets()
    together = spectrum_of(expression, gene_sets, 5)[0].values
    for row in range(len(together)):
        values, ids = expression.values[[row]], expression.patient_ids[row : row + 1]
        alone = AlignedExpression(values, ids, GENES, "linear")
        np.testing.assert_array_equal(spectrum_of(alone, gene_sets, 5)[0].values[0], together[row])


def test_missing_genes_leave_the_ranking_of_their_sample_only() -> None:
    expression, gene_sets = make_expression(zeros=0.0), make_sets()
    whole = spectrum_of(expression, gene_sets, 5)[0].values
    values = expression.values.copy()
    values[2, [GENES.index(gene) for gene in gene_sets.genes[0]]] = np.nan
    lacking = AlignedExpression(values, expression.patient_ids, GENES, "linear")
    found, notes = spectrum_of(lacking, gene_sets, 5)
    others = [row for row in range(len(whole)) if row != 2]
    np.testing.assert_array_equal(found.values[others], whole[others])
    assert np.isnan(found.values[2, 0])
    assert "values are missing" in notes[-1]
    present = ~np.isnan(values[2])
    kept = tuple(np.array(GENES)[present])
    alone = AlignedExpression(values[[2]][:, present], ("P2",), kept, "linear")
    rest = GeneSets("rest.gmt", gene_sets.names[1:], gene_sets.genes[1:])
    again, _ = spectrum_of(alone, rest, 5)
    for name, value in zip(again.genes, again.values[0], strict=True):
        assert found.values[2, found.genes.index(name)] == value


def test_small_sets_are_dropped_with_a_note() -> None:
    gene_sets = make_sets()
    tiny = GeneSets("made.gmt", (*gene_sets.names, "TINY"), (*gene_sets.genes, GENES[:3]))
    found, notes = spectrum_of(make_expression(), tiny, 5)
    assert "TINY" not in found.genes
    assert any("dropped for too few genes: 1 sets (TINY)" in note for note in notes)


def test_z_scores_are_warned_of_and_strangers_refused() -> None:
    plain, gene_sets = make_expression(), make_sets()
    scored = AlignedExpression(plain.values, plain.patient_ids, GENES, "zscore")
    assert any(note.startswith("warning: ") for note in spectrum_of(scored, gene_sets, 5)[1])
    renamed = AlignedExpression(
        plain.values, plain.patient_ids, tuple(f"ENSG{i}" for i in range(120)), "linear"
    )
    with pytest.raises(CohortError, match="0 of 6 sets"):
        spectrum_of(renamed, gene_sets, 5)
