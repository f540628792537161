"""Lost genes: how many, whose, the same for every model; and a whole study of the tiny cohort."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from crosstype.evaluation.rna_loss import BETTER_UNIMODAL, LossPredictions, read_losses, rna_loss
from crosstype.evaluation.spec import EvaluationSpec
from crosstype.training.rna_loss import LEVELS, Loss, lose_genes, losses

CLASSES = ("Luminal", "Basal/Her2")


def test_each_patient_loses_as_many_genes_of_its_own(make_patients: Any) -> None:
    patients = make_patients(8)
    lost = np.isnan(lose_genes(patients, Loss("each", 0.9, 0), (0, 0, 0)).genes)
    assert (lost.sum(axis=1) == 18).all()
    assert len({row.tobytes() for row in lost}) > 1
    again = np.isnan(lose_genes(patients, Loss("each", 0.9, 0), (0, 0, 0)).genes)
    np.testing.assert_array_equal(lost, again)
    other = np.isnan(lose_genes(patients, Loss("each", 0.9, 1), (0, 0, 0)).genes)
    assert (lost != other).any()


def test_all_lose_the_same_genes_whatever_the_fold(make_patients: Any) -> None:
    patients = make_patients(8)
    lost = np.isnan(lose_genes(patients, Loss("same", 0.5, 3), (0, 1, 0)).genes)
    assert (lost == lost[0]).all()
    elsewhere = np.isnan(lose_genes(patients, Loss("same", 0.5, 3), (0, 1, 4)).genes)
    np.testing.assert_array_equal(lost, elsewhere)
    assert not np.isnan(lose_genes(patients, Loss("same", 0.0, 0), (0, 1, 0)).genes).any()
    assert np.isnan(lose_genes(patients, Loss("same", 1.0, 0), (0, 1, 0)).genes).all()


def test_where_nothing_is_chance_one_draw_is_enough() -> None:
    ways = losses(20)
    assert len(ways) == 2 * (2 + 20 * (len(LEVELS) - 2))
    assert sum(one.level in (0.0, 1.0) for one in ways) == 4


@pytest.fixture
def found() -> LossPredictions:
    """Sixty patients, two repeats, two levels of which one has three draws."""
    rng = np.random.default_rng(0)
    labels = (np.arange(60) % 3 == 0).astype(np.int64)
    keys = (("each", 0.0, 0), ("each", 0.9, 0), ("each", 0.9, 1), ("each", 0.9, 2))
    models = {}
    for name, strength in (("image_only", 0.8), ("gene_only", 1.5), ("cross_attention", 2.0)):
        said = rng.normal(size=(4, 2, 60)) + strength * labels
        positive = 1 / (1 + np.exp(-said))
        models[name] = np.stack([1 - positive, positive], axis=3).astype(np.float32)
    return LossPredictions(labels, keys, models)


def test_the_curve_is_the_mean_auroc_over_draws_and_repeats(found: LossPredictions) -> None:
    weights = np.ones((60, 30))
    spec = EvaluationSpec(n_bootstrap=100, rna_loss=True)
    curves, gaps = rna_loss(found, CLASSES, spec, weights, 0)
    by_key = {(row["model"], row["level"]): row for row in curves.to_dicts()}
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


def test_a_study_of_the_tiny_cohort(tiny: Any, tmp_path: Path) -> None:
    tiny.change(models=("image_only", "gene_only", "cross_attention"), n_shuffles=0)
    study = "[evaluation]\nrna_loss = true\nn_losses = 2"
    tiny.config.write_text(tiny.config.read_text().replace("[evaluation]", study))
    tiny.run(tmp_path / "a")
    tiny.run(tmp_path / "b", n_workers=2)
    names = ("rna_loss.csv", "rna_loss_comparisons.csv", "predictions.csv")
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    curves = pl.read_csv(tmp_path / "a" / "rna_loss.csv")
    assert set(curves["level"]) == set(LEVELS)
    assert set(curves["pattern"]) == {"each", "same"}
    held = read_losses(tmp_path / "a" / "rna_loss.npz")
    assert not any(np.isnan(one).any() for one in held.of_model.values())
    # Nothing lost: what predictions.csv says.
    plain = pl.read_csv(tmp_path / "a" / "predictions.csv").filter(model="cross_attention")
    whole = held.of_model["cross_attention"][0, 0, :, 1]
    np.testing.assert_allclose(whole, plain.sort("patient_id")["probability_Basal/Her2"], atol=1e-6)
    page = (tmp_path / "a" / "report.html").read_text()
    assert "Lost genes: each patient loses its own genes" in page
    assert "AUROC minus that of the unimodal models" in page
