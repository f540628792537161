"""Each way to lose expression: what is lost, on which scale, and of whom it knows nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from crosstype.expression.genes.panels import PAM50_GENES, PANEL_GENES, panel_among
from crosstype.expression.matrix import AlignedExpression
from crosstype.expression.units import Unit
from crosstype.robustness.perturbations import ORDER, FoldData, Perturbation, PerturbationTables
from crosstype.robustness.study import PATTERNS, SHARES, RobustnessStudy, lose, make_study
from crosstype.training.patients import Patients

SEED = (0, 0, 0)
PANEL = ("ESR1|2099", "HER2", "MKI67", "STK15", "GAPDH", "CTSL2")
PAM50 = ("ESR1", "FOXA1", "KRT5", "MKI67", "ERBB2")


def names_of(named: tuple[str, ...], n: int = 20) -> tuple[str, ...]:
    """Return names of n genes, the named ones from the third on."""
    other = tuple(f"GENE{i}" for i in range(n - len(named)))
    return (*other[:2], *named, *other[2:])


@pytest.fixture
def patients(make_patients: Any) -> Patients:
    made: Patients = make_patients(24)
    return made


@pytest.fixture
def tables(patients: Patients) -> PerturbationTables:
    """Everything that a table can have; the other assay measured every third patient."""
    genes = names_of(())
    rng = np.random.default_rng(5)
    normal = AlignedExpression(
        np.exp2(rng.normal(5, 1, (3, 20))).astype(np.float32), ("N1", "N2", "N3"), genes, "linear"
    )
    measured = patients.ids[::3]
    values = patients.genes[::3] * 7
    values[:, 4] = np.nan
    other = AlignedExpression(values, measured, genes, "linear")
    return PerturbationTables(genes, "linear", normal, other)


def known_of(patients: Patients, tables: PerturbationTables) -> FoldData:
    """Return what is known in a fold that trains on all but the first eight."""
    return FoldData(patients.take(np.arange(8, len(patients))), tables)


def in_unit(patients: Patients, unit: Unit, offset: float = 1.0) -> Patients:
    genes = np.log2(patients.genes + offset) if unit == "log" else patients.genes
    return patients.with_genes(genes.astype(np.float32))


def test_the_patterns_are_those_that_seeds_count() -> None:
    assert tuple(PATTERNS) == ORDER


def test_each_patient_loses_as_many_genes_of_its_own(
    patients: Patients, tables: PerturbationTables
) -> None:
    known = known_of(patients, tables)
    lost = np.isnan(lose(patients, Perturbation("each", 0.9, 0), known, SEED).genes)
    assert (lost.sum(axis=1) == 18).all()
    assert len({row.tobytes() for row in lost}) > 1
    again = np.isnan(lose(patients, Perturbation("each", 0.9, 0), known, SEED).genes)
    np.testing.assert_array_equal(lost, again)
    other = np.isnan(lose(patients, Perturbation("each", 0.9, 1), known, SEED).genes)
    assert (lost != other).any()


def test_all_lose_the_same_genes_whatever_the_fold(
    patients: Patients, tables: PerturbationTables
) -> None:
    known = known_of(patients, tables)
    lost = np.isnan(lose(patients, Perturbation("same", 0.5, 3), known, (0, 1, 0)).genes)
    assert (lost == lost[0]).all()
    elsewhere = np.isnan(lose(patients, Perturbation("same", 0.5, 3), known, (0, 1, 4)).genes)
    np.testing.assert_array_equal(lost, elsewhere)
    assert not np.isnan(lose(patients, Perturbation("same", 0.0, 0), known, (0, 1, 0)).genes).any()
    assert np.isnan(lose(patients, Perturbation("same", 1.0, 0), known, (0, 1, 0)).genes).all()


def test_where_nothing_is_chance_one_draw_is_enough(tables: PerturbationTables) -> None:
    made = make_study(tables, 20, "")
    assert not made.left_out
    n = {name: sum(one.pattern == name for one in made.ways) for name in ORDER}
    assert n["each"] == n["same"] == 2 + 20 * (len(SHARES) - 2)
    assert n["noise"] == 1 + 20 * 5
    assert n["normal_like"] == 5
    assert n["panel"] == 20  # a stand-in is drawn
    assert n["pam50_withheld"] == 7
    assert n["other_assay"] == n["other_assay_scaled"] == 1
    named = make_study(replace(tables, genes=names_of(PANEL)), 20, "")
    assert sum(one.pattern == "panel" for one in named.ways) == 1


@pytest.mark.parametrize("unit", ["linear", "log"])
def test_nothing_lost_is_nothing_changed(
    patients: Patients, tables: PerturbationTables, unit: Unit
) -> None:
    tables = replace(tables, unit=unit)
    patients = in_unit(patients, unit)
    known = known_of(patients, tables)
    whole = [one for one in make_study(tables, 2, "").ways if not one.level]
    assert {one.pattern for one in whole} == {
        "each", "same", "noise", "normal_like", "pam50_withheld",
    }  # fmt: skip
    for one in whole:
        np.testing.assert_array_equal(lose(patients, one, known, SEED).genes, patients.genes)


@pytest.mark.parametrize("name", ORDER)
def test_a_loss_uses_no_label_of_a_test_patient_and_no_other_test_patient(
    patients: Patients, tables: PerturbationTables, name: str
) -> None:
    known = known_of(patients, tables)
    test = patients.take(np.arange(8))
    loss = Perturbation(name, PATTERNS[name].levels[-1], 0)
    expected = lose(test, loss, known, SEED)
    relabelled = replace(test, targets=1 - test.targets)
    np.testing.assert_array_equal(lose(relabelled, loss, known, SEED).genes, expected.genes)
    poisoned = test.genes.copy()
    poisoned[7] = 1e9
    found = lose(test.with_genes(poisoned), loss, known, SEED)
    assert found.ids == expected.ids
    kept = [row for row, patient in enumerate(found.ids) if patient != test.ids[7]]
    np.testing.assert_array_equal(found.genes[kept], expected.genes[kept])


def test_noise_has_the_size_that_it_should_on_the_linear_scale(
    patients: Patients, tables: PerturbationTables
) -> None:
    """By hand: what was added, over the gene's mean in training patients, is a standard normal."""
    many = patients.take(np.repeat(np.arange(8), 500))
    means = patients.genes[8:].astype(np.float64).mean(axis=0)
    for unit, offset in (("linear", 0.0), ("log", 1.0)):
        known = known_of(in_unit(patients, unit), replace(tables, unit=unit))
        found = lose(in_unit(many, unit), Perturbation("noise", 0.05, 0), known, SEED).genes
        amounts = np.exp2(found.astype(np.float64)) - offset if unit == "log" else found
        added = (amounts - many.genes) / means
        # Clipping at 0 reaches few values at this level: look at genes and patients far above it.
        free = many.genes > 0.3 * means
        assert abs(added[free].mean()) < 0.001
        assert added[free].std() == pytest.approx(0.05, rel=0.02)
        strong = lose(in_unit(many, unit), Perturbation("noise", 4.0, 0), known, SEED).genes
        assert strong.min() == 0
        assert (strong == 0).mean() == pytest.approx(0.4, abs=0.05)


def test_noise_of_a_logarithm_is_that_of_its_amounts(
    patients: Patients, tables: PerturbationTables
) -> None:
    loss = Perturbation("noise", 1.0, 1)
    linear = lose(patients, loss, known_of(patients, tables), SEED).genes.astype(np.float64)
    logs = in_unit(patients, "log")
    known = known_of(logs, replace(tables, unit="log"))
    np.testing.assert_allclose(
        lose(logs, loss, known, SEED).genes, np.log2(linear + 1), rtol=1e-4, atol=1e-3
    )


@pytest.mark.parametrize("unit", ["linear", "log"])
def test_mixing_is_an_average_of_amounts(
    patients: Patients, tables: PerturbationTables, unit: Unit
) -> None:
    assert tables.normal_like is not None
    profile = tables.normal_like.values.astype(np.float64).mean(axis=0)
    expected = 0.25 * patients.genes + 0.75 * profile
    if unit == "log":
        values = np.log2(tables.normal_like.values + 1).astype(np.float32)
        normal = replace(tables.normal_like, values=values, unit="log")
        tables, expected = replace(tables, normal_like=normal, unit="log"), np.log2(expected + 1)
    known = known_of(in_unit(patients, unit), tables)
    found = lose(in_unit(patients, unit), Perturbation("normal_like", 0.75, 0), known, SEED)
    np.testing.assert_allclose(found.genes, expected, rtol=1e-4)


def test_a_panel_leaves_its_genes_and_no_other(
    patients: Patients, tables: PerturbationTables
) -> None:
    tables = replace(tables, genes=names_of(PANEL))
    found = lose(patients, Perturbation("panel", 1.0, 0), known_of(patients, tables), SEED).genes
    kept = {tables.genes[i] for i in np.flatnonzero(~np.isnan(found).any(axis=0))}
    assert kept == set(PANEL)
    assert (np.isnan(found).sum(axis=1) == 14).all()


def test_the_panel_is_that_of_the_paper() -> None:
    assert len(set(PANEL_GENES)) == 21
    assert panel_among(["esr1|2099", "STK15", "ESR2", "BRCA1", "Tfrc"]) == (
        "esr1|2099", "STK15", "Tfrc",
    )  # fmt: skip


def test_a_stand_in_for_the_panel_is_drawn_and_noted(make_patients: Any) -> None:
    patients = make_patients(6, n_genes=60)
    tables = PerturbationTables(names_of((), 60), "linear")
    known = FoldData(patients, tables)
    first, second = (
        np.isnan(lose(patients, Perturbation("panel", 1.0, draw), known, SEED).genes)
        for draw in (0, 1)
    )
    assert (first.sum(axis=1) == 60 - 21).all()
    assert (first == first[0]).all()
    assert (first != second).any()
    assert make_study(tables, 2, "").notes["panel"].startswith("stand-in: ")


def test_pam50_goes_first_then_what_follows_it_in_training(
    patients: Patients, tables: PerturbationTables
) -> None:
    tables = replace(tables, genes=names_of(PAM50))
    known = known_of(patients, tables)
    columns = np.flatnonzero([gene in PAM50_GENES for gene in tables.genes])
    logs = np.log1p(patients.genes[8:].astype(np.float64))
    correlation = np.abs(np.corrcoef(logs.T))[columns].max(axis=0)
    for level, n_lost in ((0.05, 5), (0.25, 5), (0.5, 10), (0.9, 18)):
        lost = np.isnan(lose(patients, Perturbation("pam50_withheld", level, 0), known, SEED).genes)
        assert (lost == lost[0]).all()
        assert lost[0].sum() == n_lost
        assert lost[0][columns].all()
        others = np.setdiff1d(np.arange(20), columns)
        gone = lost[0][others]
        if gone.any() and not gone.all():
            assert correlation[others][gone].min() >= correlation[others][~gone].max()


def test_without_pam50_the_most_informative_genes_go_first(
    patients: Patients, tables: PerturbationTables
) -> None:
    known = known_of(patients, tables)
    found = lose(patients, Perturbation("pam50_withheld", 0.25, 0), known, SEED).genes
    logs = np.log1p(patients.genes[8:].astype(np.float64))
    correlation = np.abs(np.corrcoef(logs.T, patients.targets[8:])[-1, :-1])
    expected = set(np.argsort(-correlation)[:5].tolist())
    assert set(np.flatnonzero(np.isnan(found[0])).tolist()) == expected
    note = make_study(tables, 1, "").notes["pam50_withheld"]
    assert note.startswith("stand-in: ")
    assert "label in training patients" in note


def test_another_assay_gives_its_own_patients_and_genes(
    patients: Patients, tables: PerturbationTables
) -> None:
    known = known_of(patients, tables)
    found = lose(patients, Perturbation("other_assay", 1.0, 0), known, SEED)
    assert found.ids == patients.ids[::3]
    assert found.bag_of == found.ids
    expected = patients.genes[::3] * 7
    expected[:, 4] = np.nan
    np.testing.assert_allclose(found.genes, expected)
    # Seven times the amounts is what one number per patient takes away, but for where he lies.
    scaled = lose(patients, Perturbation("other_assay_scaled", 1.0, 0), known, SEED).genes
    medians = np.median(patients.genes[8:].astype(np.float64), axis=0)
    for row, own in enumerate(expected.astype(np.float64)):
        factor = np.median(np.delete(medians / own, 4))
        np.testing.assert_allclose(scaled[row], own * factor, rtol=1e-5)


def test_another_assay_is_brought_to_the_unit_of_the_cohort(
    patients: Patients, tables: PerturbationTables
) -> None:
    logs = in_unit(patients, "log")
    known = known_of(logs, replace(tables, unit="log"))
    found = lose(logs, Perturbation("other_assay", 1.0, 0), known, SEED).genes
    expected = np.log2(patients.genes[::3].astype(np.float64) * 7 + 1)
    expected[:, 4] = np.nan
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_what_cannot_be_made_is_noted(tables: PerturbationTables) -> None:
    def left_out(study: RobustnessStudy) -> set[str]:
        return {line.split(" ")[2] for line in study.left_out}

    zscores = make_study(replace(tables, unit="zscore"), 2, "")
    assert left_out(zscores) == {"noise", "normal_like", "other_assay_scaled"}
    assert "z-scores have no linear scale" in zscores.left_out[0]
    spectrum = make_study(replace(tables, is_spectrum=True, other=None), 2, "")
    assert left_out(spectrum) == {"noise", "normal_like", "panel", "pam50_withheld"}
    alone = make_study(replace(tables, normal_like=None, other=None), 2, "")
    assert left_out(alone) == {"normal_like"}  # nobody asked for another assay
    assert {one.pattern for one in alone.ways} == set(ORDER) - {
        "normal_like", "other_assay", "other_assay_scaled",
    }  # fmt: skip


def test_the_fingerprint_holds_draws_patterns_and_tables(tables: PerturbationTables) -> None:
    whole = make_study(tables, 2, "a").fingerprint
    assert whole == make_study(tables, 2, "a").fingerprint
    others = (
        make_study(tables, 3, "a"),
        make_study(tables, 2, "b"),
        make_study(replace(tables, normal_like=None), 2, "a"),
    )
    assert whole not in {one.fingerprint for one in others}
