"""Metrics by group: those of scikit-learn on the group's rows, and silence where there are few."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    brier_score_loss,
    f1_score,
    matthews_corrcoef,
    roc_auc_score,
)

from crosstype.errors import TableError
from crosstype.evaluation.evaluate import evaluate
from crosstype.evaluation.predictions import ModelPredictions, Predictions
from crosstype.evaluation.spec import EvaluationSpec
from crosstype.evaluation.subgroups import METRICS, subgroup_rows

CLASSES = ("Luminal", "Basal/Her2")
SPEC = EvaluationSpec(n_bootstrap=300)
SIZES = {"large": 60, "small": 9, "one_sided": 12}


def made(classes: tuple[str, ...] = CLASSES, n_repeats: int = 2) -> Predictions:
    """Make predictions of two models on 81 patients; the 12 last hold two of every class but 0."""
    generator = np.random.default_rng(5)
    n, n_classes = sum(SIZES.values()), len(classes)
    labels = np.arange(n) % n_classes
    labels[-SIZES["one_sided"] :] = 0
    labels[-2:] = 1
    of_model = {}
    for name, strength in (("late", 1.0), ("majority", 0.0)):
        raw = generator.normal(size=(n_repeats, n, n_classes))
        raw += strength * np.eye(n_classes)[labels]
        said = np.exp(raw) / np.exp(raw).sum(axis=2, keepdims=True)
        fold = np.tile(np.arange(n) % 5, (n_repeats, 1))
        of_model[name] = ModelPredictions(fold, said.argmax(axis=2), said)
    ids = tuple(f"P{i:03d}" for i in range(n))
    return Predictions(classes, ids, tuple(range(n_repeats)), labels, of_model)


def grouped(predictions: Predictions, column: str = "er") -> pl.DataFrame:
    names = [name for name, n in SIZES.items() for _ in range(n)]
    return pl.DataFrame(
        {"patient_id": predictions.patient_ids, "column": column, "group": names}
    ).reverse()  # joins are by name


def row_of(table: pl.DataFrame, group: str, metric: str, model: str = "late") -> dict:
    return table.row(
        by_predicate=(pl.col("group") == group)
        & (pl.col("metric") == metric)
        & (pl.col("model") == model),
        named=True,
    )


def test_values_are_those_of_scikit_learn_on_the_groups_rows() -> None:
    predictions = made()
    table = subgroup_rows(predictions, grouped(predictions), SPEC, 0)
    inside = slice(0, SIZES["large"])
    truth = predictions.labels[inside]
    for name, model in predictions.of_model.items():
        expected: dict[str, list[float]] = {metric: [] for metric in METRICS}
        for called, said in zip(model.predicted, model.probability, strict=True):
            probability = said[inside, 1]
            expected["auroc"].append(roc_auc_score(truth, probability))
            expected["pr_auc"].append(average_precision_score(truth, probability))
            expected["f1"].append(f1_score(truth, called[inside]))
            expected["mcc"].append(matthews_corrcoef(truth, called[inside]))
            expected["accuracy"].append(accuracy_score(truth, called[inside]))
            expected["brier"].append(brier_score_loss(truth, probability))
        for metric, values in expected.items():
            row = row_of(table, "large", metric, name)
            assert row["value"] == pytest.approx(np.mean(values), abs=1e-9), (name, metric)
            assert row["low"] <= row["value"] <= row["high"]
            assert (row["n"], row["n_positive"], row["note"]) == (60, int(truth.sum()), "")


def test_more_classes_take_the_mean_over_classes_and_count_the_smallest() -> None:
    predictions = made(("LumA", "LumB", "Basal"), n_repeats=1)
    table = subgroup_rows(predictions, grouped(predictions), SPEC, 0)
    truth = predictions.labels[:60]
    said = predictions.of_model["late"].probability[0, :60]
    expected = roc_auc_score(truth, said, multi_class="ovr", average="macro")
    row = row_of(table, "large", "auroc")
    assert row["value"] == pytest.approx(expected, abs=1e-9)
    assert row["n_positive"] == 20
    each = [brier_score_loss(truth == of, said[:, of]) for of in range(3)]
    assert row_of(table, "large", "brier")["value"] == pytest.approx(np.mean(each), abs=1e-9)
    alone = row_of(table, "one_sided", "accuracy")
    called = predictions.of_model["late"].predicted[0, -12:]
    assert alone["value"] == pytest.approx(accuracy_score(predictions.labels[-12:], called))
    assert alone["n_positive"] == 0


def test_few_patients_have_their_number_and_a_note() -> None:
    predictions = made()
    table = subgroup_rows(predictions, grouped(predictions), SPEC, 0)
    for metric in METRICS:
        row = row_of(table, "small", metric)
        assert (row["value"], row["low"], row["high"]) == (None, None, None)
        assert (row["n"], row["note"]) == (9, "fewer than 10 patients")
        row = row_of(table, "one_sided", metric)
        assert (row["n"], row["n_positive"]) == (12, 2)
        if metric in ("accuracy", "brier"):
            assert row["low"] <= row["value"] <= row["high"]
            assert not row["note"]
        else:
            assert row["value"] is None
            assert row["note"] == "fewer than 3 patients of Basal/Her2"


def test_nobody_outside_a_group_changes_its_numbers() -> None:
    predictions = made()
    groups = grouped(predictions)
    late = predictions.of_model["late"]
    changed = late.probability.copy()
    changed[:, 60:] = changed[:, 60:, ::-1]
    other = {**predictions.of_model, "late": replace(late, probability=changed)}
    before = subgroup_rows(predictions, groups, SPEC, 0).filter(pl.col("group") == "large")
    after = subgroup_rows(replace(predictions, of_model=other), groups, SPEC, 0)
    assert before.equals(after.filter(pl.col("group") == "large"))


def test_the_whole_cohort_as_one_group_has_the_rows_of_metrics_csv(tmp_path) -> None:
    predictions = made()
    rows = []
    for name, model in predictions.of_model.items():
        for repeat in range(2):
            for place, patient in enumerate(predictions.patient_ids):
                label = CLASSES[predictions.labels[place]]
                called = CLASSES[model.predicted[repeat, place]]
                head = (patient, name, repeat, int(model.fold[repeat, place]), label, called)
                rows.append((*head, *model.probability[repeat, place].tolist()))
    names = ["patient_id", "model", "repeat", "fold", "label", "predicted"]
    names += [f"probability_{name}" for name in CLASSES]
    pl.DataFrame(rows, schema=names, orient="row").write_csv(tmp_path / "predictions.csv")
    evaluate(tmp_path, SPEC, CLASSES, 0)
    nothing = pl.read_csv(tmp_path / "subgroups.csv")
    assert nothing.is_empty()
    assert "n_positive" in nothing.columns
    everyone = grouped(predictions).with_columns(group=pl.lit("all"))
    everyone.write_csv(tmp_path / "subgroups_of.csv")
    evaluate(tmp_path, SPEC, CLASSES, 0)
    found = pl.read_csv(tmp_path / "subgroups.csv")
    metrics = pl.read_csv(tmp_path / "metrics.csv").filter(pl.col("class") == "Basal/Her2")
    pairs = found.join(metrics, on=["model", "metric"], suffix="_of_all")
    assert pairs.height == 2 * len(METRICS)
    for name in ("value", "low", "high"):
        assert np.allclose(pairs[name], pairs[f"{name}_of_all"], atol=1e-12), name


def test_ranges_rise_and_what_is_not_recorded_comes_last() -> None:
    predictions = made()
    names = ("70 and more", "not recorded", "below 40", "60 to below 70", "40 to below 50")
    groups = grouped(predictions).with_columns(
        group=pl.Series([names[row % 5] for row in range(81)])
    )
    table = subgroup_rows(predictions, groups, SPEC, 0)
    order = list(dict.fromkeys(table["group"]))
    assert order == ["below 40", "40 to below 50", "60 to below 70", "70 and more", "not recorded"]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda table: table.filter(pl.col("patient_id") != "P007"), "P007 has no group"),
        (lambda table: pl.concat([table, table.head(1)]), "a patient has two groups"),
    ],
)
def test_groups_that_do_not_fit_the_predictions_are_refused(change, found) -> None:
    predictions = made()
    with pytest.raises(TableError, match=rf"subgroups_of\.csv, column 'er'.*{found}"):
        subgroup_rows(predictions, change(grouped(predictions)), SPEC, 0)
