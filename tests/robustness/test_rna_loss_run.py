"""The loss curves: their values and patients; and a whole study of the tiny cohort."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score
from tests.conftest import NO_MAPS

from crosstype.config.read import read_config
from crosstype.errors import CohortError, ConfigError
from crosstype.evaluation.robustness import (
    BETTER_UNIMODAL,
    PerturbedPredictions,
    read_perturbed,
    rna_loss,
)
from crosstype.evaluation.spec import EvaluationSpec
from crosstype.expression.matrix import load_expression
from crosstype.robustness.study import EXCLUDED, MIXED, NOISE, PATTERNS, SHARES

CLASSES = ("Luminal", "Basal/Her2")


@pytest.fixture
def found() -> PerturbedPredictions:
    """Sixty patients, two repeats, two levels of which one has three draws."""
    rng = np.random.default_rng(0)
    labels = (np.arange(60) % 3 == 0).astype(np.int64)
    keys = (("each", 0.0, 0), ("each", 0.9, 0), ("each", 0.9, 1), ("each", 0.9, 2))
    models = {}
    for name, strength in (("image_only", 0.8), ("gene_only", 1.5), ("cross_attention", 2.0)):
        said = rng.normal(size=(4, 2, 60)) + strength * labels
        positive = 1 / (1 + np.exp(-said))
        models[name] = np.stack([1 - positive, positive], axis=3).astype(np.float32)
    return PerturbedPredictions(labels, keys, models)


def test_the_curve_is_the_mean_auroc_over_draws_and_repeats(found: PerturbedPredictions) -> None:
    weights = np.ones((60, 30))
    spec = EvaluationSpec(n_bootstrap=100, rna_loss=True)
    curves, gaps = rna_loss(found, CLASSES, spec, weights, 0)
    ranked = curves.filter(metric="auroc").to_dicts()
    by_key = {(row["model"], row["level"]): row for row in ranked}
    for model, said in found.of_model.items():
        each = [[roc_auc_score(found.labels, one[:, 1]) for one in draw] for draw in said]
        assert by_key[model, 0.0]["value"] == pytest.approx(np.mean(each[0]), abs=1e-9)
        assert by_key[model, 0.9]["value"] == pytest.approx(np.mean(each[1:]), abs=1e-9)
        assert by_key[model, 0.9]["n_draws"] == 3
        # With patients as they are, only the draws of genes are left to chance.
        assert by_key[model, 0.0]["low"] == pytest.approx(by_key[model, 0.0]["high"])
        means = np.mean(each[1:], axis=1)
        assert means.min() <= by_key[model, 0.9]["low"] <= by_key[model, 0.9]["high"] <= means.max()
    gap = gaps.filter(model_a="cross_attention", model_b=BETTER_UNIMODAL, level=0.9)
    better = max(by_key["image_only", 0.9]["value"], by_key["gene_only", 0.9]["value"])
    expected = by_key["cross_attention", 0.9]["value"] - better
    assert gap["difference"][0] == pytest.approx(expected)


def test_all_models_are_evaluated_on_the_patients_of_a_loss(
    found: PerturbedPredictions,
) -> None:
    there = np.arange(60) % 2 == 0
    said = {name: one.copy() for name, one in found.of_model.items()}
    for one in said.values():
        one[1:, :, ~there] = np.nan
    partly = PerturbedPredictions(found.labels, found.losses, said, {"each": "half of them"})
    spec = EvaluationSpec(n_bootstrap=100, rna_loss=True)
    curves, gaps = rna_loss(partly, CLASSES, spec, np.ones((60, 30)), 0)
    by_key = {(row["model"], row["level"], row["metric"]): row for row in curves.to_dicts()}
    for model, one in said.items():
        row = by_key[model, 0.9, "auroc"]
        each = [
            [roc_auc_score(found.labels[there], of[there, 1]) for of in draw] for draw in one[1:]
        ]
        assert row["value"] == pytest.approx(np.mean(each), abs=1e-9)
        assert row["n"] == 30
        assert row["note"] == "half of them"
        assert by_key[model, 0.0, "auroc"]["n"] == 60
        brier = [
            [brier_score_loss(found.labels[there], of[there, 1]) for of in draw] for draw in one[1:]
        ]
        assert by_key[model, 0.9, "brier"]["value"] == pytest.approx(np.mean(brier), abs=1e-6)
    assert set(gaps.filter(level=0.9)["n"]) == {30}


def write_other_assay(folder: Path, n_patients: int) -> None:
    """Write some patients' expression as another assay has it: log2(x / 3 + 1), one gene fewer."""
    lines = (folder / "expression.tsv").read_text().splitlines()
    patients = lines[0].split("\t")[1 : n_patients + 1]
    rows = ["\t".join(["gene", *patients])]
    for line in lines[2:]:
        gene, *cells = line.split("\t")
        amounts = np.array(cells[:n_patients], dtype=np.float64) / 3
        rows.append("\t".join([gene, *map(str, np.log2(amounts + 1).tolist())]))
    (folder / "other.tsv").write_text("\n".join(rows) + "\n")


MODELS = ("image_only", "gene_only", "cross_attention")


def study(
    tiny: Any, more: str = "", protocol: str = "strict", models: tuple[str, ...] = MODELS
) -> None:
    """Set the tiny cohort's config to a study of lost expression."""
    how: dict[str, Any] = {"n_shuffles": 0, "max_epochs": 1, "more": NO_MAPS}
    tiny.change(models=models, protocol=protocol, **how)
    text = f"[evaluation]\nrna_loss = true\nn_perturbations = 2\n{more}"
    tiny.config.write_text(tiny.config.read_text().replace("[evaluation]\n", text))


def test_a_study_of_the_tiny_cohort(tiny: Any, tmp_path: Path) -> None:
    write_other_assay(tiny.folder, 12)
    study(tiny, 'other_expression = "other.tsv"\n')
    tiny.run(tmp_path / "a", last="report")
    curves = pl.read_csv(tmp_path / "a" / "rna_loss.csv")
    levels = {key[0]: set(part["level"]) for key, part in curves.group_by("pattern")}
    assert levels == {
        "each": set(SHARES),
        "same": set(SHARES),
        "noise": set(NOISE),
        "panel": {1.0},
        "pam50_withheld": set(EXCLUDED),
        "other_assay": {1.0},
        "other_assay_scaled": {1.0},
    }
    reached = dict(curves.select("pattern", "n").unique().iter_rows())
    assert {name for name, n in reached.items() if n == 12} == {"other_assay", "other_assay_scaled"}
    # No patient of the tiny table is normal-like, and the page says that the pattern is not there.
    page = (tmp_path / "a" / "report.html").read_text()
    assert "pattern normal_like is left out" in page
    for words in (
        "Lost genes: each patient loses its own genes",
        "Gaussian noise on amounts",
        "AUROC minus that of the unimodal models",
        "AUROC under real-life losses",
        "Only 21 genes drawn at random (stand-in for a panel): the table does not have",
    ):
        assert words in page
    held = read_perturbed(tmp_path / "a" / "rna_loss.npz")
    plain = pl.read_csv(tmp_path / "a" / "predictions.csv").sort("patient_id")
    for model, said in held.of_model.items():
        whole = plain.filter(model=model)["probability_Basal/Her2"].to_numpy().astype(np.float32)
        for number, (pattern, level, _) in enumerate(held.losses):
            missing = np.isnan(said[number]).any(axis=(0, 2))
            assert missing.sum() == (4 if "other" in pattern else 0)
            if not level:  # nothing lost: what predictions.csv says, to the last bit
                np.testing.assert_array_equal(said[number, 0, :, 1], whole)
            if model == "image_only":  # it sees nothing of any loss
                np.testing.assert_array_equal(said[number, 0, ~missing, 1], whole[~missing])


@pytest.mark.long
def test_a_study_is_the_same_by_two_workers(tiny: Any, tmp_path: Path) -> None:
    write_other_assay(tiny.folder, 12)
    study(tiny, 'other_expression = "other.tsv"\n')
    tiny.run(tmp_path / "a", last="evaluate")
    tiny.run(tmp_path / "b", last="evaluate", n_workers=2)
    for name in ("rna_loss.csv", "rna_loss_comparisons.csv", "predictions.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_normal_like_patients_are_mixed_in_and_are_nobody_of_the_cohort(
    tiny: Any, tmp_path: Path
) -> None:
    labels = (tiny.folder / "labels.csv").read_text().replace("A0-0000,BRCA.LumA", "A0-0000,Normal")
    (tiny.folder / "labels.csv").write_text(labels)
    study(tiny, models=("gene_only",))
    tiny.run(tmp_path / "out")
    curves = pl.read_csv(tmp_path / "out" / "rna_loss.csv").filter(pattern="normal_like")
    assert set(curves["level"]) == set(MIXED)
    assert set(curves["note"]) == {
        "the mean of 1 tumours labelled normal-like, of no cohort patient"
    }
    normal = load_expression(tmp_path / "out" / "normal_like.npz")
    cohort = load_expression(tmp_path / "out" / "expression.npz")
    assert normal.patient_ids == ("TCGA-A0-0000",)
    assert not set(normal.patient_ids) & set(cohort.patient_ids)
    assert normal.genes == cohort.genes
    # The tables that models are fitted on do not depend on the study.
    assert set(PATTERNS) > set(curves["pattern"])


def test_what_models_learn_does_not_depend_on_the_study(tiny: Any, tmp_path: Path) -> None:
    tiny.change(models=("cross_attention",), n_shuffles=0, max_epochs=1)
    tiny.run(tmp_path / "without", "train")
    write_other_assay(tiny.folder, 12)
    study(tiny, 'other_expression = "other.tsv"\n', models=("cross_attention",))
    tiny.run(tmp_path / "with", "train")
    name = "models/cross_attention/0_0.safetensors"
    assert (tmp_path / "with" / name).read_bytes() == (tmp_path / "without" / name).read_bytes()


def test_a_changed_other_assay_is_predicted_anew(tiny: Any, tmp_path: Path) -> None:
    write_other_assay(tiny.folder, 12)
    study(tiny, 'other_expression = "other.tsv"\n', models=("gene_only",))
    tiny.run(tmp_path / "out", "train")
    before = read_perturbed(tmp_path / "out" / "rna_loss.npz").of_model["gene_only"]
    write_other_assay(tiny.folder, 10)
    tiny.run(tmp_path / "out", "train")
    after = read_perturbed(tmp_path / "out" / "rna_loss.npz").of_model["gene_only"]
    assert np.isnan(after).any(axis=(0, 1, 3)).sum() == 6
    both = ~np.isnan(after) & ~np.isnan(before)
    np.testing.assert_array_equal(before[both], after[both])


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"n": 2}, "found 2 patients of the cohort, of class 'Basal/Her2' 1; expected at least 2"),
        ({"gene": "OTHER"}, "found no gene of the cohort's table, such as 'GENE0'"),
        ({"shift": -8.0}, "found unit zscore, which cannot be brought to the cohort's unit linear"),
    ],
)
def test_another_assay_that_cannot_be_used_is_one_line(
    tiny: Any, tmp_path: Path, change: dict[str, Any], found: str
) -> None:
    write_other_assay(tiny.folder, change.get("n", 12))
    table = pl.read_csv(tiny.folder / "other.tsv", separator="\t")
    numbers = table.select(pl.exclude("gene"))
    if "shift" in change:
        values = numbers.to_numpy()
        values = (values - values.mean(axis=1, keepdims=True)) / values.std(axis=1, keepdims=True)
        numbers = pl.DataFrame(values, schema=numbers.columns)
    genes = table["gene"].str.replace("GENE", change.get("gene", "GENE"))
    numbers.insert_column(0, genes).write_csv(tiny.folder / "other.tsv", separator="\t")
    study(tiny, 'other_expression = "other.tsv"\n')
    with pytest.raises(CohortError) as fault:
        tiny.run(tmp_path / "out", "train")
    assert str(fault.value).startswith("[evaluation] other_expression: other.tsv: ")
    assert found in str(fault.value)


def test_another_assay_without_a_study_is_refused(tiny: Any) -> None:
    write_other_assay(tiny.folder, 12)
    setting = '[evaluation]\nother_expression = "other.tsv"\n'
    tiny.config.write_text(tiny.config.read_text().replace("[evaluation]\n", setting))
    with pytest.raises(ConfigError, match="expected none, or rna_loss = true"):
        read_config(tiny.config)


@pytest.mark.parametrize("protocol", ["strict", pytest.param("site", marks=pytest.mark.long)])
def test_a_poisoned_test_patient_changes_no_loss_of_the_others(
    tiny: Any, tmp_path: Path, protocol: str
) -> None:
    """Means, profiles and correlations are those of training patients: 1e9 in a test patient."""
    study(tiny, protocol=protocol, models=("gene_only", "cross_attention"))
    tiny.run(tmp_path / "clean", "train")
    folds = pl.read_csv(tmp_path / "clean" / "folds.csv").filter(role="test", fold=0)
    poisoned, *others = sorted(folds["patient_id"])
    lines = (tiny.folder / "expression.tsv").read_text().splitlines()
    column = lines[0].split("\t").index(poisoned)
    cells = [line.split("\t") for line in lines]
    for row in cells[1:]:
        row[column] = "1e9"
    (tiny.folder / "expression.tsv").write_text("\n".join(map("\t".join, cells)) + "\n")
    tiny.run(tmp_path / "poisoned", "train")
    held = [np.load(tmp_path / name / "rna_loss.npz") for name in ("clean", "poisoned")]
    rows = np.isin(held[0]["patient_id"], others)
    for model in ("gene_only", "cross_attention", "logistic_genes"):
        clean, after = (one[f"model.{model}"][:, :, rows] for one in held)
        np.testing.assert_array_equal(clean, after)
