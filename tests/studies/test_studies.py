"""Studies: every row stands for the model and settings it names, on the same patients."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from crosstype.cli.app import app
from crosstype.config.read import read_config
from crosstype.errors import UsageError
from crosstype.io.schema import LABEL_SHUFFLES
from crosstype.progress import NoProgress
from crosstype.report.pages.study import write_study_page
from crosstype.studies.ablation import ablation
from crosstype.studies.label_shuffles import run_label_shuffles, summarised
from crosstype.studies.learning_curve import learning_curve
from crosstype.studies.replay import replay
from crosstype.studies.table import METRICS, evaluate_study
from crosstype.studies.variants import FOLDER, Study, run_variants

CLASSES = ("Luminal", "Basal/Her2")
HOW = (1, NoProgress())


def judged(study: Study, spec: Any) -> pl.DataFrame:
    run_variants(study, *HOW)
    return evaluate_study(study, study.out / "table.csv", spec.evaluation, CLASSES, 0)


def test_the_ablation_changes_one_thing_at_a_time(tiny: Any, tmp_path: Path) -> None:
    tiny.change(max_epochs=1, n_shuffles=0)
    spec = read_config(tiny.config)
    study = ablation(spec, tmp_path / "out", HOW)
    table = judged(study, spec)
    absent = dict(table.filter(pl.col("absent") != "").select("row", "absent").iter_rows())
    assert set(absent) == {"no augmentation", "mean imputed", "PAM50 withheld"}
    ran = table.filter(pl.col("absent") == "")
    assert ran["row"].unique().len() == 10
    assert set(ran["metric"]) == set(METRICS)
    whole = ran.filter(row="whole")
    assert whole["difference"].null_count() == whole.height
    others = ran.filter(pl.col("row") != "whole")
    assert others["p_adjusted"].null_count() == 0
    assert (others["p_adjusted"] >= others["p"]).all()
    for row in others.iter_rows(named=True):
        before = whole.filter(metric=row["metric"])["value"].item()
        assert row["difference"] == pytest.approx(row["value"] - before)
    changed = {one.name: one.spec for one in study.variants}
    assert changed["no_line"].training.start == "zero"
    assert replace(changed["no_line"], training=spec.training) == spec
    # Values are those of scikit-learn.
    said = pl.read_csv(tmp_path / "out" / "predictions.csv").filter(model="no image")
    expected = roc_auc_score(said["label"] == CLASSES[1], said[f"probability_{CLASSES[1]}"])
    assert table.filter(row="no image", metric="auroc")["value"].item() == pytest.approx(expected)


def test_the_replay_mends_each_fault_and_marks_what_leaks(tiny: Any, tmp_path: Path) -> None:
    tiny.change(max_epochs=1, n_shuffles=0)
    spec = read_config(tiny.config)
    table = judged(replay(spec, tmp_path / "out", NoProgress()), spec)
    leaks = dict(table.unique("row").select("row", "protocol").iter_rows())
    assert "early stopping uses the test fold" in leaks["paper: paper_concat"]
    assert "early stopping" not in leaks["validation: paper_concat"]
    assert "preprocessing is fitted on all" in leaks["validation: paper_concat"]
    assert "preprocessing" not in leaks["scaler: paper_concat"]
    assert leaks["strict: paper_concat"] == "strict"
    assert leaks["all: paper_concat"] == "strict, trained as published"
    absent = set(table.filter(pl.col("absent") != "")["row"])
    # Given features have no colours to normalise, and linear values only one logarithm.
    steps = ("log", "normalisation")
    assert absent == {f"{s}: {m}" for s in steps for m in ("paper_concat", "paper_cross_attention")}
    models = dict(table.unique("row").select("row", "model").iter_rows())
    assert models["image: paper_concat"] == "mended_concat"
    assert models["strict + image: paper_cross_attention"] == "mended_cross_attention"
    page = write_study_page(tmp_path / "page.html", "replay", table, 0.95)
    assert "early stopping uses the test fold" in page.read_text(encoding="utf-8")


def test_fewer_training_patients_are_among_more_and_the_same_are_tested(
    tiny: Any, tmp_path: Path
) -> None:
    tiny.change(models=("gene_only",))
    text = tiny.config.read_text(encoding="utf-8").replace("n_folds = 2", "n_folds = 4", 1)
    tiny.config.write_text(text, encoding="utf-8")
    spec = read_config(tiny.config)
    with pytest.raises(UsageError, match="expected 20 to 12"):
        learning_curve(spec, tmp_path / "none", [8], HOW)
    folds = {}
    for n_train in (0, 6, 9):
        own = replace(spec, folds=replace(spec.folds, n_train=n_train))
        from crosstype.workflow.pipeline import run
        from crosstype.workflow.stage import Run

        run(Run(own, tmp_path / str(n_train)), last="cohort")
        table = pl.read_csv(tmp_path / str(n_train) / "folds.csv")
        folds[n_train] = {
            (fold, role): set(part["patient_id"])
            for (fold, role), part in table.with_columns(
                role=pl.when(pl.col("role") == "test").then(pl.lit("test")).otherwise(pl.lit("in"))
            ).group_by("fold", "role")
        }
    for fold in range(4):
        assert folds[0][fold, "test"] == folds[6][fold, "test"] == folds[9][fold, "test"]
        assert folds[6][fold, "in"] < folds[9][fold, "in"] < folds[0][fold, "in"]
        assert len(folds[6][fold, "in"]) == 6


def test_label_shuffles_are_separate_from_the_true_labels(tiny: Any, tmp_path: Path) -> None:
    tiny.change(models=("gene_only",))
    spec = read_config(tiny.config)
    summary = run_label_shuffles(spec, tmp_path, 2, HOW)
    table = pl.read_csv(tmp_path / LABEL_SHUFFLES.name)
    assert set(table["shuffle"]) == {0, 1, 2}
    labels = [
        pl.read_csv(tmp_path / FOLDER / name / "cohort.csv")["label"].to_list()
        for name in ("real", "shuffle_1", "shuffle_2")
    ]
    assert labels[0] != labels[1] != labels[2]
    assert sorted(labels[0]) == sorted(labels[1]) == sorted(labels[2])
    guessing = summary.filter(model="majority")
    assert guessing["mean"].item() == guessing["real"].item() == 0.5


def test_the_summary_of_shuffles_is_numpys() -> None:
    rng = np.random.default_rng(0)
    drawn = rng.uniform(0.3, 0.7, 19)
    drawn[0] = 0.95
    table = pl.DataFrame(
        {"model": ["a"] * 20, "shuffle": [*range(20)], "auroc": [0.9, *drawn.tolist()]}
    )
    row = summarised(table).row(0, named=True)
    assert row["mean"] == pytest.approx(drawn.mean())
    assert row["standard_error"] == pytest.approx(drawn.std(ddof=1) / 19**0.5)
    assert row["p"] == pytest.approx(2 / 20)
    assert row["n_shuffles"] == 19


def test_the_learning_curve_from_the_command_line(tiny: Any, tmp_path: Path) -> None:
    tiny.grow(48, models=("gene_only",))
    config, out = tiny.config, tmp_path / "curve"
    words = ["learning-curve", str(config), "--out", str(out), "--sizes", "24,20", "--workers", "1"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    table = pl.read_csv(out / "learning_curve.csv").filter(metric="auroc")
    assert set(table["about"].cast(pl.Int64)) == {20, 24}
    assert "Learning curve" in (out / "learning_curve.html").read_text(encoding="utf-8")
    bad = CliRunner().invoke(app, ["learning-curve", str(config), "--sizes", "many"])
    assert bad.exception is not None
    assert "expected whole numbers" in str(bad.exception)
