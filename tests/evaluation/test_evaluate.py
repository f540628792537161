"""The stage: tables in, tables out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from crosstype.errors import TableError
from crosstype.evaluation.evaluate import evaluate, evaluation_tables
from crosstype.evaluation.metrics.metrics import metric_keys
from crosstype.evaluation.predictions import read_predictions, read_stressed_predictions
from crosstype.evaluation.spec import EvaluationSpec
from crosstype.io import schema

CLASSES = ["Luminal", "Basal/Her2"]
SPEC = EvaluationSpec(n_bootstrap=200)
N_PATIENTS, N_REPEATS = 40, 2
CURVES = ("tests.csv", "calibration_curve.csv", "decision_curve.csv")


def rows_of(model: str, strength: float, seed: int = 0) -> list[dict[str, object]]:
    rows = []
    for repeat in range(N_REPEATS):
        generator = np.random.default_rng([seed, repeat])
        for patient in range(N_PATIENTS):
            positive = patient % 3 == 0
            raw = strength * (1 if positive else -1) + generator.normal()
            probability = float(1 / (1 + np.exp(-raw)))
            rows.append(
                {
                    "patient_id": f"P{patient:03d}",
                    "model": model,
                    "repeat": repeat,
                    "fold": patient % 4,
                    "label": CLASSES[positive],
                    "predicted": CLASSES[probability > 0.5],
                    "probability_Luminal": 1 - probability,
                    "probability_Basal/Her2": probability,
                }
            )
    return rows


@pytest.fixture
def out(tmp_path):
    blind = rows_of("gene_only", 2.0)
    table = pl.DataFrame([*blind, *rows_of("late", 1.0), *rows_of("majority", 0.0)])
    table.write_csv(tmp_path / "predictions.csv")
    parts = []
    for draw in range(2):
        shuffled = pl.DataFrame([*blind, *rows_of("late", 0.0, seed=draw + 1)])
        parts.append(
            shuffled.with_columns(
                condition=pl.lit("image_shuffled"), level=pl.lit(1.0), draw=pl.lit(draw)
            )
        )
    pl.concat(parts).write_csv(tmp_path / "stressed_predictions.csv")
    return tmp_path


def test_pooled_values_are_scikit_learns_mean_over_repeats(out):
    evaluate(out, SPEC, CLASSES, seed=1)
    metrics = pl.read_csv(out / "metrics.csv")
    assert metrics.columns[:7] == ["model", "metric", "class", "value", "low", "high", "n"]
    rows = pl.DataFrame(rows_of("late", 1.0))
    auroc, f1, folds = [], [], []
    for (_,), part in rows.group_by("repeat"):
        truth = part["label"] == "Basal/Her2"
        auroc.append(roc_auc_score(truth, part["probability_Basal/Her2"]))
        f1.append(f1_score(truth, part["predicted"] == "Basal/Her2"))
        for (_,), fold in part.group_by("fold"):
            folds.append(
                roc_auc_score(fold["label"] == "Basal/Her2", fold["probability_Basal/Her2"])
            )
    late = metrics.filter((pl.col("model") == "late") & (pl.col("class") == "Basal/Her2"))
    found = {row["metric"]: row for row in late.iter_rows(named=True)}
    assert found["auroc"]["value"] == pytest.approx(np.mean(auroc), abs=1e-9)
    assert found["f1"]["value"] == pytest.approx(np.mean(f1), abs=1e-9)
    assert found["auroc"]["fold_mean"] == pytest.approx(np.mean(folds), abs=1e-9)
    assert found["auroc"]["fold_sd"] == pytest.approx(np.std(folds, ddof=1), abs=1e-9)
    assert (found["auroc"]["n"], found["auroc"]["n_folds"]) == (N_PATIENTS, 8)
    assert (metrics["low"] <= metrics["high"]).all()


def test_same_seed_same_bytes_whatever_the_order_of_rows(out):
    names = ["metrics.csv", "comparisons.csv", "modality_use.csv", *CURVES]
    evaluate(out, SPEC, CLASSES, seed=1)
    before = [(out / name).read_bytes() for name in names]
    path = out / "predictions.csv"
    frame = pl.read_csv(path)
    models = frame["model"].unique(maintain_order=True)
    parts = [
        frame.filter(pl.col("model") == name).sample(fraction=1, shuffle=True, seed=3)
        for name in models
    ]
    pl.concat(parts).write_csv(path)
    evaluate(out, SPEC, CLASSES, seed=1)
    assert [(out / name).read_bytes() for name in names] == before


def test_a_model_that_cannot_see_a_modality_loses_exactly_zero(out):
    evaluate(out, SPEC, CLASSES, seed=1)
    use = pl.read_csv(out / "modality_use.csv")
    blind = use.filter(pl.col("model") == "gene_only")
    assert blind.height == 4
    assert blind.select("drop", "low", "high").to_numpy().tolist() == [[0.0, 0.0, 0.0]] * 4
    seeing = use.filter((pl.col("model") == "late") & (pl.col("metric") == "auroc"))
    assert seeing["drop"][0] > 0.1
    assert set(use["modality"]) == {"image"}


def test_without_stressed_predictions_modality_use_is_empty(out):
    (out / "stressed_predictions.csv").unlink()
    evaluate(out, SPEC, CLASSES, seed=1)
    header = "model,modality,condition,level,metric,drop,low,high"
    assert (out / "modality_use.csv").read_text().strip() == header


def test_a_fold_without_a_class_is_skipped_and_counted(out):
    frame = pl.read_csv(out / "predictions.csv")
    lonely = pl.when(pl.col("patient_id") == "P001").then(9).otherwise(pl.col("fold"))
    frame.with_columns(fold=lonely).write_csv(out / "predictions.csv")
    (out / "stressed_predictions.csv").unlink()
    evaluate(out, SPEC, CLASSES, seed=1)
    metrics = pl.read_csv(out / "metrics.csv")
    assert set(metrics["n_folds_skipped"]) == {N_REPEATS}
    assert set(metrics["n_folds"]) == {4 * N_REPEATS}


def test_three_classes(tmp_path):
    generator = np.random.default_rng(0)
    raw = generator.dirichlet([1, 1, 1], size=30)
    names = np.array(["a", "b", "c"])
    frame = pl.DataFrame(
        {
            "patient_id": [f"P{index}" for index in range(30)],
            "model": "gene_only",
            "repeat": 0,
            "fold": np.arange(30) % 3,
            "label": names[np.arange(30) % 3],
            "predicted": names[raw.argmax(axis=1)],
            **{f"probability_{name}": raw[:, index] for index, name in enumerate(names)},
        }
    )
    frame.write_csv(tmp_path / "predictions.csv")
    evaluate(tmp_path, SPEC, ["a", "b", "c"], seed=0)
    metrics = pl.read_csv(tmp_path / "metrics.csv")
    macro = metrics.filter((pl.col("metric") == "auroc") & (pl.col("class") == "macro"))
    expected = roc_auc_score(frame["label"], raw, multi_class="ovr")
    assert macro["value"][0] == pytest.approx(expected, abs=1e-9)
    assert macro["low"][0] < expected < macro["high"][0]
    micro = metrics.filter((pl.col("metric") == "auroc") & (pl.col("class") == "micro"))
    own = np.eye(3)[np.arange(30) % 3]
    expected = roc_auc_score(own, raw, average="micro")
    assert micro["value"][0] == pytest.approx(expected, abs=1e-9)


def test_tables_hold_every_test_and_every_class(out):
    evaluate(out, SPEC, CLASSES, seed=1)
    compared = pl.read_csv(out / "comparisons.csv")
    assert compared.columns[-2:] == ["n", "test"]
    head = ["model_a", "model_b", "metric", "test", "statistic", "p", "p_adjusted", "n"]
    tests = pl.read_csv(out / "tests.csv")
    assert tests.columns == head
    assert tests["p"].is_between(0, 1).all()
    assert (tests["p"] <= tests["p_adjusted"]).all()
    shown = compared.join(tests, on=["model_a", "model_b", "metric", "test"])
    assert shown.height == compared.height
    assert (shown["p"] == shown["p_right"]).all()
    n_pairs = compared.select("model_a", "model_b").n_unique()
    assert tests.height == n_pairs * (3 + 3 * 3 + 4)
    calibration = pl.read_csv(out / "calibration_curve.csv")
    assert set(calibration["class"]) == set(CLASSES)
    sums = calibration.group_by("model", "class").agg(pl.col("n").sum())["n"]
    assert set(sums) == {N_PATIENTS}
    assert pl.read_csv(out / "decision_curve.csv").height == 3 * 2 * 99


def test_the_default_interval_of_auroc_is_not_the_bootstraps_and_others_are_the_same(out):
    evaluate(out, SPEC, CLASSES, seed=1)
    default = pl.read_csv(out / "metrics.csv")
    evaluate(out, replace(SPEC, auroc_interval="bootstrap"), CLASSES, seed=1)
    other = pl.read_csv(out / "metrics.csv")
    same = (default["low"] == other["low"]) & (default["high"] == other["high"])
    assert set(default.filter(~same)["metric"]) == {"auroc"}
    assert default.drop("low", "high").equals(other.drop("low", "high"))
    assert (default["low"] <= default["value"]).all()
    assert (default["value"] <= default["high"]).all()


def test_one_model_one_repeat_and_one_fold_are_evaluated_too(out):
    path = out / "predictions.csv"
    frame = pl.read_csv(path).filter((pl.col("model") == "late") & (pl.col("repeat") == 0))
    frame.with_columns(fold=0).write_csv(path)
    tables = evaluation_tables(read_predictions(path, CLASSES), SPEC, seed=1)
    assert tables[schema.TESTS].is_empty()
    assert tables[schema.COMPARISONS].is_empty()
    assert tables[schema.METRICS].height == len(metric_keys(CLASSES))


def broken(frame: pl.DataFrame, column: str, value: object) -> pl.DataFrame:
    first = pl.int_range(pl.len()) == 0
    changed = pl.when(first).then(pl.lit(str(value))).otherwise(pl.col(column).cast(pl.String))
    return frame.with_columns(changed.alias(column))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("probability_Luminal", "1.5", "line 2: probability_Luminal is 1.5"),
        ("probability_Luminal", "nan", "probability_Luminal is nan"),
        ("probability_Luminal", "high", "probability_Luminal is not a number"),
        ("probability_Luminal", "0.0", "sum to"),
        ("predicted", "Normal", "predicted is 'Normal'"),
        ("label", "Normal", "label is 'Normal'"),
        ("label", "Luminal", "patient P000: labels"),
        ("patient_id", "P001", "predicted 2 times by gene_only in repeat 0"),
        ("patient_id", "P999", "of 41 patients in repeat 0"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(out, column, value, message):
    path = out / "predictions.csv"
    broken(pl.read_csv(path), column, value).write_csv(path)
    with pytest.raises(TableError, match=message):
        read_predictions(path, CLASSES)


def test_an_empty_table_and_a_missing_class_are_refused(out):
    path = out / "predictions.csv"
    frame = pl.read_csv(path)
    frame.filter(pl.col("label") == "Luminal").write_csv(path)
    with pytest.raises(TableError, match="no patient of class 'Basal/Her2'"):
        read_predictions(path, CLASSES)
    frame.clear().write_csv(path)
    with pytest.raises(TableError):
        read_predictions(path, CLASSES)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("condition", "fogged", "condition 'fogged'"),
        ("model", "another", "models without undisturbed predictions: another"),
    ],
)
def test_stressed_predictions_must_fit(out, column, value, message):
    path = out / "stressed_predictions.csv"
    pl.read_csv(path).with_columns(pl.lit(value).alias(column)).filter(
        pl.int_range(pl.len()) < N_PATIENTS * N_REPEATS
    ).write_csv(path)
    predictions = read_predictions(out / "predictions.csv", CLASSES)
    with pytest.raises(TableError, match=message):
        read_stressed_predictions(path, predictions)


def test_stressed_predictions_of_other_patients_are_refused(out):
    path = out / "stressed_predictions.csv"
    pl.read_csv(path).filter(pl.col("patient_id") != "P003").write_csv(path)
    predictions = read_predictions(out / "predictions.csv", CLASSES)
    with pytest.raises(TableError, match="differ from predictions"):
        read_stressed_predictions(path, predictions)
