"""Preprocessing steps against scikit-learn's own suite; genes kept, withheld and dropped."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from crosstype.errors import CohortError
from crosstype.expression.genes.panels import FORMER_SYMBOLS, PAM50_GENES, pam50_among
from crosstype.expression.genes.selection import GeneChoice, ZeroGeneDropper, exclude_genes
from crosstype.expression.matrix import AlignedExpression
from crosstype.expression.pipeline_state import align_genes, pipeline_from_state, pipeline_state
from crosstype.expression.spec import ExpressionSpec
from crosstype.expression.transformers import (
    MissingImputer,
    OutlierRemover,
    ShiftLog,
    Standardiser,
    VarianceChoice,
    make_preprocessing,
)
from crosstype.protocol import protocol_named

STEPS = [
    GeneChoice(),
    ZeroGeneDropper(),
    ShiftLog(),
    VarianceChoice(),
    VarianceChoice(2),
    Standardiser(),
    OutlierRemover(),
    MissingImputer(),
    MissingImputer("mean"),
]


@parametrize_with_checks(STEPS)
def test_scikit_learns_own_suite(estimator: Any, check: Any) -> None:
    check(estimator)


def named(names: list[str], seed: int = 0, n: int = 12) -> pl.DataFrame:
    values = np.random.default_rng(seed).gamma(2.0, 50.0, (n, len(names))) + 1.0
    return pl.DataFrame(values, schema=names)


@pytest.mark.parametrize("container", ["polars", "pandas"])
def test_gene_names_pass_through_the_whole_pipeline(container: str) -> None:
    library = pytest.importorskip(container)
    frame = named(["A", "B", "C", "D", "E"]).with_columns(B=pl.Series([0.0, *[3.0] * 11]))
    whole = Pipeline(
        [
            ("choice", GeneChoice(("E", "gone"), exclude=True)),
            *make_preprocessing(
                ExpressionSpec(n_genes=2, drop_zero_genes=True), protocol_named("strict"), "linear"
            ).steps,
        ]
    ).set_output(transform=container)
    out = whole.fit_transform(library.DataFrame(frame.to_dict(as_series=False)))
    kept = whole.get_feature_names_out().tolist()
    assert list(out.columns) == kept
    assert len(kept) == 2
    assert set(kept) <= {"A", "C", "D"}
    spread = {name: np.log1p(frame[name].to_numpy()).std() for name in ("A", "C", "D")}
    assert set(kept) == set(sorted(spread, key=spread.__getitem__)[1:])


def test_genes_are_kept_or_withheld_by_name() -> None:
    frame = named(["A", "B", "C"])
    assert GeneChoice(["C", "A"]).fit(frame).get_feature_names_out().tolist() == ["A", "C"]
    withheld = GeneChoice(["C", "X"], exclude=True).fit(frame)
    assert withheld.get_feature_names_out().tolist() == ["A", "B"]
    assert withheld.absent_.tolist() == ["X"]
    with pytest.raises(ValueError, match="without gene names"):
        GeneChoice(["A"]).fit(frame.to_numpy())
    with pytest.raises(ValueError, match="none is left"):
        GeneChoice(["X"]).fit(frame)


def test_a_zero_drops_a_gene_only_if_a_training_patient_has_it() -> None:
    train = np.array([[1.0, 0.0, np.nan, -1.0], [2.0, 5.0, 3.0, 1.0]])
    dropper = ZeroGeneDropper().fit(train)
    assert dropper.get_support().tolist() == [True, False, True, True]
    assert dropper.n_zeros_.tolist() == [0, 1, 0, 0]
    np.testing.assert_array_equal(dropper.transform([[0.0, 7.0, 0.0, 0.0]]), [[0.0, 0.0, 0.0]])


def test_chosen_genes_survive_a_checkpoint() -> None:
    names = ["A", "B", "C", "D"]
    train, test = named(names), named(names, seed=1)
    train = train.with_columns(C=pl.Series([0.0, *[3.0] * 11]))
    pipeline = make_pipeline(GeneChoice(("A",), exclude=True), ZeroGeneDropper(), Standardiser())
    pipeline.fit(train)
    arrays, state = pipeline_state(pipeline)
    back = pipeline_from_state(arrays, json.loads(json.dumps(state)))
    expected = pipeline.transform(test)
    shuffled = ["D", "extra", "C", "A", "B"]
    values = named(shuffled).to_numpy()
    values[:, [shuffled.index(name) for name in names]] = test.to_numpy()
    aligned, _ = align_genes(values, shuffled, names)
    np.testing.assert_allclose(back.transform(aligned.astype(np.float64)), expected, rtol=1e-4)
    assert expected.shape[1] == 2


def test_pam50_is_the_published_list_under_both_names() -> None:
    assert len(set(PAM50_GENES)) == 50
    assert set(FORMER_SYMBOLS.values()) <= set(PAM50_GENES)
    assert not set(FORMER_SYMBOLS) & set(PAM50_GENES)
    written = ["NUF2|83540", "cdca1", "C10orf3", "ORC6L", "ORC6", "NUF2P1", "KRT5", "KRT50"]
    assert pam50_among(written) == ("NUF2|83540", "cdca1", "C10orf3", "ORC6L", "ORC6", "KRT5")


def held(genes: list[str]) -> AlignedExpression:
    values = np.arange(2 * len(genes), dtype=np.float32).reshape(2, -1)
    return AlignedExpression(values, ("P1", "P2"), tuple(genes), "linear")


def test_genes_with_a_zero_are_counted_over_the_patients() -> None:
    table = held(["G1", "G2", "G3"])
    table.values[:] = [[0, 0, 1], [2, 3, 4]]
    _, notes = exclude_genes(table, ExpressionSpec(drop_zero_genes=True))
    assert "2 of 3 genes are 0 in some patient" in notes[0]


def test_pam50_is_withheld_before_anything_is_fitted() -> None:
    spec = ExpressionSpec(exclude_pam50=True, drop_zero_genes=True)
    left, notes = exclude_genes(held(["G1", "ESR1", "KNTC2", "G2"]), spec)
    assert left.genes == ("G1", "G2")
    np.testing.assert_array_equal(left.values, [[0, 3], [4, 7]])
    assert "excluded from all models: 2; not in the table: " in notes[0]
    assert "ERBB2" in notes[0]
    assert "NDC80" not in notes[0]
    assert "1 of 2 genes are 0" in notes[1]
    none, notes = exclude_genes(held(["G1", "G2"]), ExpressionSpec(exclude_pam50=True))
    assert none.genes == ("G1", "G2")
    assert "has none of them" in notes[0]
    with pytest.raises(CohortError, match="expected gene symbols"):
        exclude_genes(held(["ENSG00000091831.24", "ENSG00000141736"]), spec)
    with pytest.raises(CohortError, match="none is left"):
        exclude_genes(held(["ESR1", "ERBB2"]), spec)


@pytest.mark.real
def test_every_gene_of_the_published_files_is_known(real_data: Any) -> None:
    for name in ("reference/pam50_centroids.tsv", "tcga_brca/pam50_genes_log2.tsv.gz"):
        genes = pl.read_csv(real_data / name, separator="\t", infer_schema=False).to_series(0)
        known = pam50_among(genes)
        assert list(known) == genes.to_list()
        assert sorted(FORMER_SYMBOLS.get(gene, gene) for gene in known) == sorted(PAM50_GENES)
