"""PAM50 against outside implementations: scipy's spearmanr, and the published rules by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr

from crosstype.errors import CohortError, TableError, UsageError
from crosstype.expression.genes.panels import PAM50_GENES
from crosstype.expression.read import Expression, read_expression
from crosstype.expression.spec import ExpressionSpec
from crosstype.pam50.centring import CENTRINGS, Centring, read_reference, write_reference
from crosstype.pam50.centroids import PUBLISHED, read_centroids
from crosstype.pam50.classify import (
    CohortCentring,
    Pam50Calls,
    call_by_reference,
    call_cohort,
    spearman,
    write_calls,
)
from crosstype.pam50.er_status import er_from_esr1, er_from_table

CENTROIDS = read_centroids()
MIXED = (0, 1, 2, 3, 4)
"""Two of five subtypes are ER-negative: 60% positive."""
MOSTLY_POSITIVE = (2, 3, 2, 3, 2, 2, 2, 3, 2, 2, 0)


def cohort(n: int = 60, subtypes: tuple[int, ...] = MIXED, noise: float = 0.3) -> Expression:
    """Make log2 expression of known subtypes, each gene at a level of its own."""
    rng = np.random.default_rng(5)
    truth = np.array([subtypes[i % len(subtypes)] for i in range(n)])
    level = rng.uniform(4, 14, len(CENTROIDS.genes))
    values = level + 1.5 * CENTROIDS.values.T[truth] + rng.normal(0, noise, (n, len(level)))
    return of(values.round(3), tuple(f"{CENTROIDS.subtypes[k]}_{i}" for i, k in enumerate(truth)))


def of(values: np.ndarray, ids: tuple[str, ...], genes: tuple[str, ...] = ()) -> Expression:
    held = np.asarray(values, dtype=np.float32)
    return Expression(held, ids, genes or CENTROIDS.genes, "log", ())


def call(expression: Expression, centring: Centring, seed: int = 0) -> Pam50Calls:
    return call_cohort("toy.tsv", expression, CohortCentring(centring, seed=seed), CENTROIDS)


def truth_of(calls: Pam50Calls) -> list[str]:
    return [one.partition("_")[0] for one in calls.sample_ids]


def with_gaps(expression: Expression) -> Expression:
    values = expression.values.copy()
    values[np.random.default_rng(1).random(values.shape) < 0.1] = np.nan
    return of(values, expression.sample_ids)


def by_the_rules(values: np.ndarray, centring: str) -> np.ndarray:
    """Centre as pam50's `centers = "self"` and genefu's `std = "robust"` are written."""
    values = values.astype(str).astype(np.float64)
    if centring == "median":
        return values - np.nanmedian(values, axis=0)
    if centring == "robust":
        upper = np.nanquantile(values, 1 - 0.05 / 2, axis=0)
        lower = np.nanquantile(values, 0.05 / 2, axis=0)
        return ((values - lower) / (upper - lower) - 0.5) * 2
    return values


def test_the_published_centroids_are_fifty_genes_and_five_subtypes() -> None:
    assert sorted(CENTROIDS.genes) == sorted(PAM50_GENES)
    assert CENTROIDS.subtypes == ("Basal", "Her2", "LumA", "LumB", "Normal")
    esr1 = CENTROIDS.values[CENTROIDS.genes.index("ESR1")]
    assert set(np.argsort(esr1)[:2]) == {0, 1}


@pytest.mark.parametrize("centring", ["none", "median", "robust"])
def test_correlations_and_confidence_are_those_of_scipy(centring: Centring) -> None:
    expression = with_gaps(cohort())
    calls = call(expression, centring)
    rules = by_the_rules(expression.values, centring)
    for row, name in enumerate(calls.calls):
        there = ~np.isnan(rules[row])
        outside = [spearmanr(rules[row, there], c[there]) for c in CENTROIDS.values.T]
        wanted = np.array([one.statistic for one in outside])
        np.testing.assert_allclose(calls.correlations[row], wanted, atol=2e-4)
        best = int(np.argmax(wanted))
        assert name == CENTROIDS.subtypes[best]
        assert calls.confidence[row] == pytest.approx(1 - outside[best].pvalue, abs=2e-3)


def test_ties_get_average_ranks_and_equal_correlations_the_first_subtype() -> None:
    values = np.array([[1.0, 1.0, 2.0, 3.0, 3.0, 3.0]])
    centroids = np.array([[1, 2, 3, 4, 5, 6], [6, 1, 5, 2, 4, 3]], dtype=float).T
    found, n_genes = spearman(values, centroids, 3)
    wanted = [spearmanr(values[0], one).statistic for one in centroids.T]
    np.testing.assert_allclose(found[0], wanted, atol=1e-12)
    assert n_genes.tolist() == [6]
    twice = read_centroids()
    same = type(twice)(twice.genes, ("A", "B"), twice.values[:, [2, 2]])
    calls = call_cohort("toy.tsv", cohort(), CohortCentring("none"), same)
    assert set(calls.calls) == {"A"}


def test_without_centring_a_samples_scale_does_not_matter() -> None:
    expression = cohort()
    curves = [np.exp, lambda x: 3 * x + 7, np.sqrt, lambda x: x**3]
    bent = np.stack(
        [curves[i % 4](row.astype(np.float64) / 4) for i, row in enumerate(expression.values)]
    )
    ranks = bent.argsort(axis=1).argsort(axis=1)
    assert (ranks == expression.values.argsort(axis=1).argsort(axis=1)).all()
    straight, curved = call(expression, "none"), call(of(bent, expression.sample_ids), "none")
    assert straight.calls == curved.calls
    np.testing.assert_allclose(straight.correlations, curved.correlations, atol=1e-3)


@pytest.mark.parametrize("centring", ["median", "robust", "er-balanced"])
def test_known_subtypes_are_found_again_whatever_each_genes_level(centring: Centring) -> None:
    calls = call(cohort(), centring)
    assert list(calls.calls) == truth_of(calls)
    assert (calls.confidence > 0.99).all()
    assert not any(note.startswith("warning") for note in calls.notes)


def test_the_order_of_samples_and_genes_does_not_matter() -> None:
    expression = with_gaps(cohort())
    rows, columns = np.random.default_rng(2).permutation(60), np.arange(50)[::-1]
    for centring in ("none", "median", "robust"):
        shuffled = of(
            expression.values[np.ix_(rows, columns)],
            tuple(expression.sample_ids[i] for i in rows),
            tuple(CENTROIDS.genes[i] for i in columns),
        )
        one, other = call(expression, centring), call(shuffled, centring)
        assert dict(zip(one.sample_ids, one.calls, strict=True)) == dict(
            zip(other.sample_ids, other.calls, strict=True)
        )


def test_er_balance_mends_a_cohort_that_is_mostly_er_positive() -> None:
    expression = cohort(200, MOSTLY_POSITIVE, noise=0.6)
    right = {}
    for centring in ("median", "er-balanced"):
        calls = call(expression, centring)  # type: ignore[arg-type]
        right[centring] = np.mean(
            [a == b for a, b in zip(calls.calls, truth_of(calls), strict=True)]
        )
        warned = [note for note in calls.notes if note.startswith("warning: 91% of the cohort")]
        assert bool(warned) == (centring == "median")
    assert right["er-balanced"] > right["median"]
    again = call(expression, "er-balanced")
    np.testing.assert_array_equal(again.zero.centre, call(expression, "er-balanced").zero.centre)
    other = call(expression, "er-balanced", seed=1)
    assert not np.array_equal(again.zero.centre, other.zero.centre)


def test_a_cohort_of_one_er_status_is_not_split_in_two() -> None:
    values = np.random.default_rng(3).normal(12, 1.2, 200)
    assert not er_from_esr1(values, 0).positive.any()
    assert er_from_esr1(None, 0).source == "ESR1 is not in the table"
    two = er_from_esr1(np.concatenate([values, values[:60] - 10]), 0)
    assert (two.positive.sum(), two.negative.sum()) == (200, 60)
    luminal = cohort(60, (2, 3))
    with pytest.raises(CohortError, match="er-balanced found 0 ER-positive and 0 ER-negative"):
        call(luminal, "er-balanced")
    notes = " ".join(call(luminal, "median").notes)
    assert "warning: the cohort's ER mix is unknown (ESR1 does not fall into two groups" in notes


def test_er_status_from_a_table(tmp_path: Path) -> None:
    path = tmp_path / "er.csv"
    path.write_text("id,ER\nTCGA-A2-0001,Positive\nS2,neg\nS3,Indeterminate\nS4,\nS5,1\n")
    ids = ("TCGA-A2-0001-01A", "S2", "S3", "S4", "S5", "S6")
    er = er_from_table(path, "ER", ids)
    assert er.positive.tolist() == [True, False, False, False, True, False]
    assert er.negative.tolist() == [False, True, False, False, False, False]
    assert er.share_positive == pytest.approx(2 / 3)
    with pytest.raises(CohortError, match=r"er.csv: no sample has an ER status there.*'X'"):
        er_from_table(path, "ER", ("X",))
    with pytest.raises(TableError, match="no column 'er_status'"):
        er_from_table(path, "er_status", ids)
    path.write_text("id,ER\nS2,neg\nS2,pos\n")
    with pytest.raises(TableError, match="line 3: S2 is both ER-positive and ER-negative"):
        er_from_table(path, "ER", ids)


@pytest.mark.parametrize("centring", [one for one in CENTRINGS if one != "none"])
def test_few_samples_are_refused_and_one_can_do_without_centring(centring: Centring) -> None:
    expression = cohort()
    one = of(expression.values[:1], expression.sample_ids[:1])
    with pytest.raises(CohortError, match=r"1 sample cannot be centred .* Give --reference"):
        call(one, centring)
    assert len(call(one, "none").calls) == 1


def test_missing_genes_are_named_and_too_few_refused() -> None:
    expression = cohort()
    fewer = of(expression.values[:, 3:], expression.sample_ids, CENTROIDS.genes[3:])
    calls = call(fewer, "median")
    assert any("found 47 of the 50" in n and "ACTR3B, ANLN, BAG1" in n for n in calls.notes)
    assert list(calls.calls) == truth_of(calls)
    few = of(expression.values[:, 11:], expression.sample_ids, CENTROIDS.genes[11:])
    with pytest.raises(CohortError, match=r"found 39 of the 50 genes.*at least 40.*ACTR3B"):
        call(few, "median")


def test_a_sample_with_few_values_gets_no_call(tmp_path: Path) -> None:
    expression = cohort()
    values = expression.values.copy()
    values[0, :26], values[1, :25], values[2] = np.nan, np.nan, np.nan
    calls = call(of(values, expression.sample_ids), "median")
    assert [bool(name) for name in calls.calls[:4]] == [False, True, False, True]
    assert calls.counts()[""] == 2
    assert any("2 samples get no call" in note for note in calls.notes)
    write_calls(tmp_path / "calls.csv", calls)
    table = pl.read_csv(tmp_path / "calls.csv", infer_schema=False)
    assert table.columns == [
        "sample_id", "call", "confidence", "correlation_Basal", "correlation_Her2",
        "correlation_LumA", "correlation_LumB", "correlation_Normal",
    ]  # fmt: skip
    assert table.row(0)[1:] == (None,) * 7 or table.row(0)[1:] == ("",) + (None,) * 6
    assert float(table["correlation_Her2"][1]) == calls.correlations[1, 1]


def test_former_symbols_and_amounts_give_the_same_calls(tmp_path: Path) -> None:
    expression = cohort()
    former = {"NUF2": "CDCA1", "NDC80": "KNTC2", "ORC6": "ORC6L"}
    amounts = np.exp2(expression.values.astype(np.float64)) - 1
    lines = ["\t".join(["gene", *expression.sample_ids])]
    for gene, row in zip(CENTROIDS.genes, amounts.T, strict=True):
        lines.append("\t".join([former.get(gene, gene), *(f"{one:.6f}" for one in row)]))
    path = tmp_path / "rsem.tsv"
    path.write_text("\n".join(lines) + "\n")
    found = read_expression(path, ExpressionSpec(), ())
    assert found.unit == "linear"
    calls = call(found, "median")
    assert calls.calls == call(expression, "median").calls
    assert any("log2(x + 1)" in note for note in calls.notes)


def test_negative_amounts_are_refused_and_zscores_warned_about() -> None:
    expression = cohort()
    values, ids, genes = expression.values, expression.sample_ids, expression.genes
    with pytest.raises(CohortError, match="are negative, down to -9"):
        call(Expression(values - 100, ids, genes, "linear", ()), "median")
    standard = (values - values.mean(0)) / values.std(0)
    calls = call(Expression(standard, ids, genes, "zscore", ()), "median")
    assert any(note.startswith("warning: the values are z-scores") for note in calls.notes)


def test_a_gene_without_spread_is_left_out_of_robust() -> None:
    expression = cohort()
    values = expression.values.copy()
    values[:, 4] = 7
    calls = call(of(values, expression.sample_ids), "robust")
    assert any("not used: BIRC5" in note for note in calls.notes)
    assert np.isfinite(calls.correlations).all()


def test_normal_tissue_in_a_cohort_is_warned_about() -> None:
    expression = cohort()
    ids = tuple(f"TCGA-A2-{i:04d}-{'11' if i < 3 else '01'}A" for i in range(60))
    notes = call(of(expression.values, ids), "median").notes
    assert any(note.startswith("warning: 3 samples are normal tissue") for note in notes)


def test_single_samples_by_a_stored_reference_are_called_as_in_their_cohort(tmp_path: Path) -> None:
    expression = cohort(200, MOSTLY_POSITIVE)
    whole = call(expression, "er-balanced")
    path = tmp_path / "toy.json"
    write_reference(path, whole.zero, " toy assay ")
    zero = read_reference(path)
    assert (zero.assay, zero.measure, zero.n_samples) == ("toy assay", "log", 200)
    np.testing.assert_array_equal(zero.centre, whole.zero.centre)
    for row in range(0, 200, 17):
        one = of(expression.values[row : row + 1], expression.sample_ids[row : row + 1])
        alone = call_by_reference("one.tsv", one, zero, CENTROIDS)
        assert alone.calls == (whole.calls[row],)
        np.testing.assert_array_equal(alone.correlations[0], whole.correlations[row])
    assert any("'toy assay'" in note for note in alone.notes)
    tpm = Expression(one.values, one.sample_ids, one.genes, "tpm", ())
    with pytest.raises(CohortError, match=r"found values in tpm, expected log.*'toy assay'"):
        call_by_reference("one.tsv", tpm, zero, CENTROIDS)


def test_a_reference_needs_a_name_medians_and_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "toy.json"
    zero = call(cohort(), "median").zero
    with pytest.raises(UsageError, match="the assay has no name"):
        write_reference(path, zero, " ")
    with pytest.raises(UsageError, match="robust centring has no medians"):
        write_reference(path, call(cohort(), "robust").zero, "toy")
    write_reference(path, zero, "toy")
    text = path.read_text()
    for old, new, wanted in (
        ('"toy"', '""', "assay missing or of the wrong kind"),
        ('"log"', '"pounds"', "unit missing"),
        ('"version": 1', '"version": 9', "of version 9"),
        ("{", "[", "no JSON file"),
        ('"ESR1": ', '"ESR1": NaN, "X": ', "medians missing"),
        ("crosstype PAM50 reference", "else", "no PAM50 reference"),
    ):
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(TableError, match=wanted) as raised:
            read_reference(path)
        assert "\n" not in str(raised.value)
    with pytest.raises(TableError, match="there is no such file"):
        read_reference(tmp_path / "absent.json")


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("0.71833189105221", "high", r"line 2, column 'basal': 'high' is not a finite number"),
        ("0.71833189105221", "", r"line 2, column 'basal': '' is not a finite number"),
        ("0.71833189105221", "inf", r"'inf' is not a finite number"),
        ("ANLN\t", "ACTR3B\t", "gene 'ACTR3B' is there 2 times"),
        ("\tluminal_b", "\tLumA", "Expected one column per subtype"),
        ("0.71833189105221", "0.7\t0.1", "too many fields"),
    ],
)
def test_a_damaged_centroid_table_is_one_clear_line(
    tmp_path: Path, old: str, new: str, wanted: str
) -> None:
    path = tmp_path / "mine.tsv"
    path.write_text(PUBLISHED.read_text().replace(old, new, 1))
    with pytest.raises(TableError, match=wanted) as raised:
        read_centroids(path)
    assert str(raised.value).startswith("mine.tsv")
    assert "\n" not in str(raised.value)


def test_the_installed_centroids_cannot_change_unnoticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pam50_centroids.tsv"
    path.write_text(PUBLISHED.read_text().replace("0.7183", "0.9183", 1))
    monkeypatch.setattr("crosstype.pam50.centroids.PUBLISHED", path)
    with pytest.raises(TableError, match=r"not as they were installed\. Install crosstype again"):
        read_centroids()


def test_centroids_as_r_writes_them_are_read_too(tmp_path: Path) -> None:
    lines = PUBLISHED.read_text().splitlines()
    rows = [one.replace("NUF2\t", "CDCA1\t").replace("ORC6\t", "ORC6L\t") for one in lines[1:]]
    path = tmp_path / "pam50_centroids.txt"
    path.write_text("\n".join(["Basal\tHer2\tLumA\tLumB\tNormal", *rows]) + "\n")
    found = read_centroids(path)
    assert (found.genes, found.subtypes) == (CENTROIDS.genes, CENTROIDS.subtypes)
    np.testing.assert_array_equal(found.values, CENTROIDS.values)


def test_words_of_er_status_that_are_not_understood_are_named(tmp_path: Path) -> None:
    path = tmp_path / "er.csv"
    rows = [f"S{i},{'pos' if i % 2 else 'Negative'}" for i in range(40)]
    path.write_text("id,ER\n" + "\n".join([*rows, "S40,perhaps", "S41,[Not Available]"]) + "\n")
    er = er_from_table(path, "ER", ("S0", "S1", "S40", "S41"))
    assert er.negative.tolist() == [True, False, False, False]
    assert er.positive.tolist() == [False, True, False, False]
    assert "not understood, and taken as unknown: 'perhaps' 1 times" in er.source
    path.write_text("id,ER\n" + "\n".join([*rows, *(f"T{i},oui" for i in range(9))]) + "\n")
    with pytest.raises(TableError, match="no ER status: 'oui' 9 times"):
        er_from_table(path, "ER", ("S0", "S1"))
