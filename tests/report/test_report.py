"""The page: alone, escaped, marked, and claiming no more than the numbers."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score, confusion_matrix, roc_auc_score

from crosstype.errors import TableError
from crosstype.models.catalog import MODELS
from crosstype.report.curves import confusion_counts, curves_of, losses_of
from crosstype.report.formatting import best_model_sentence, number, p_value
from crosstype.report.report import write_report
from crosstype.report.run_tables import read_run_tables
from crosstype.report.sections.comparisons import SAME, difference_table, gather_differences
from crosstype.report.sections.probabilities import decision_table
from crosstype.report.spec import ReportSpec

from .conftest import CLASSES, STRENGTHS, write_run

HOSTILE = "<script>alert('x')</script>"
LEAK = "early stopping uses the test fold"


class Outline(HTMLParser):
    """Collects ids, references, and checks that tags close."""

    VOID = frozenset({"meta", "br", "path", "use", "link", "rect"})

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.references, self.tags = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        found = dict(attrs)
        if "id" in found:
            self.ids.append(found["id"])
        self.references += [found[key] for key in ("src", "href", "xlink:href") if key in found]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()


def outline_of(page: str) -> Outline:
    outline = Outline()
    outline.feed(page)
    assert outline.open == []
    return outline


def page_of(out, title: str = "A title") -> str:
    return write_report(out, ReportSpec(title=title)).read_text(encoding="utf-8")


def test_page_stands_alone(out):
    page = page_of(out)
    outline = outline_of(page)
    assert all(
        reference.startswith(("#", "patients/", "figures")) for reference in outline.references
    )
    assert "@import" not in page
    assert not re.search(r"url\((?!['\"]?#)", page)
    assert len(page) < 3_000_000
    assert {"title", "h1", "h2", "main", "svg"} <= set(outline.tags)


def test_ids_are_unique_and_references_lead_somewhere(out):
    outline = outline_of(page_of(out))
    assert len(outline.ids) == len(set(outline.ids))
    inside = {one[1:] for one in outline.references if one.startswith("#")}
    assert inside <= set(outline.ids)
    pages = {unquote(one) for one in outline.references if not one.startswith("#")}
    wanted = {f"patients/{path.name}" for path in (out / "patients").iterdir()}
    assert pages == wanted | {"figures.html"}


def test_same_run_same_bytes(out):
    assert page_of(out) == page_of(out)


def test_everything_from_tables_is_text(tmp_path):
    classes = ("Luminal", HOSTILE)
    out = write_run(tmp_path, first_patient=HOSTILE, site=HOSTILE, classes=classes)
    for name, column in (
        ("left_out.csv", "patient_id"),
        ("left_out.csv", "reason"),
        ("outliers.csv", "gene"),
        ("features.csv", "fault"),
    ):
        frame = pl.read_csv(out / name).with_columns(pl.lit(HOSTILE).alias(column))
        frame.write_csv(out / name)
    named = ("metrics.csv", "predictions.csv", "training.csv", "coverage.csv", "calibration.csv")
    named += ("calibration_curve.csv", "decision_curve.csv")
    for name in named:
        frame = pl.read_csv(out / name)
        renamed = pl.col("model").replace({"late": f"$late$ {HOSTILE}"})
        frame.with_columns(renamed).write_csv(out / name)
    run = json.loads((out / "run.json").read_text())
    run |= {"labels_provenance": HOSTILE, "notes": [HOSTILE], "command": HOSTILE}
    run |= {"versions": {HOSTILE: HOSTILE}, "inputs": {HOSTILE: HOSTILE}}
    (out / "run.json").write_text(json.dumps(run))
    (out / "config.toml").write_text(f'# {HOSTILE}\n[cohort]\nx = "</pre>"\n')
    page = page_of(out, title=HOSTILE)
    outline = outline_of(page)
    assert outline.tags.count("script") == 1
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert "$late$" in page


def test_leaks_are_marked_on_every_table_and_figure(tmp_path):
    out = write_run(tmp_path, leaks=(LEAK,), synthetic=False, n_repeats=1)
    page = page_of(out)
    mark = "protocol paper: leaks test patients"
    captions = re.findall(r"<(caption|figcaption)>(.*?)</\1>", page, flags=re.DOTALL)
    assert len(captions) > 15
    assert all(mark in text for _, text in captions)
    assert page.index("banner leak") < page.index("<main>")
    # In the drawing itself too, for whoever copies it out of the page.
    assert all(mark in svg for svg in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL))
    assert "Synthetic data" not in page


def test_honest_real_run_carries_no_mark(tmp_path):
    page = page_of(write_run(tmp_path, synthetic=False))
    assert "leaks test patients" not in page
    assert "banner leak" not in page.split("</style>")[1]
    assert "Research use only" in page


def test_page_lists_exclusions_and_how_repeats_are_averaged(out):
    page = page_of(out)
    assert "72 patients are in the input tables; 12 were left out; 60 form the cohort." in page
    assert "8 left out at labels: label BRCA.Normal is in no class" in page
    assert "mean of the 2 pooled values" in page
    assert "conditional on the fitted models" in page
    assert "cannot see the image by construction" in page
    assert "exactly, in every resample" in page


def test_optional_tables_may_be_absent(out):
    for name in ("training.csv", "outliers.csv", "features.csv"):
        (out / name).unlink()
    header = "model,modality,condition,level,metric,drop,low,high\n"
    (out / "modality_use.csv").write_text(header)
    page = page_of(out)
    assert "No training losses were recorded." in page
    assert "No modality was shuffled." in page
    assert "Effect of outlier removal" not in page


def test_four_classes(tmp_path):
    classes = ("LumA", "LumB", "Basal", "Her2")
    page = page_of(write_run(tmp_path, classes=classes))
    assert "ROC curves, Her2" in page
    assert "all classes" in page


@pytest.mark.parametrize("text", [None, "{", "[]", '{"classes": []}'])
def test_missing_or_damaged_run_is_one_clear_error(out, text):
    if text is None:
        (out / "run.json").unlink()
    else:
        (out / "run.json").write_text(text)
    with pytest.raises(TableError, match=r"run\.json"):
        write_report(out, ReportSpec())


def with_difference(out, low: float, high: float, p_adjusted: float) -> str:
    path = out / "comparisons.csv"
    pl.read_csv(path).with_columns(
        low=pl.lit(low), high=pl.lit(high), p_adjusted=pl.lit(p_adjusted)
    ).write_csv(path)
    return best_model_sentence(read_run_tables(out))


def test_sentence_claims_what_the_interval_carries(out):
    assert "includes 0: no difference is shown" in with_difference(out, -0.01, 0.2, 0.5)
    assert "an interval above 0 (adjusted p 0.010)" in with_difference(out, 0.0001, 0.2, 0.01)
    assert "not significant after correction" in with_difference(out, 0.01, 0.2, 0.2)
    assert "an interval below 0 (adjusted p 0.010)" in with_difference(out, -0.2, -0.01, 0.01)


def test_sentence_without_anything_above_genes(out):
    path = out / "metrics.csv"
    pl.read_csv(path).with_columns(
        pl.when(pl.col("model") == "gene_only").then(1.0).otherwise(pl.col("value")).alias("value")
    ).write_csv(path)
    assert "no model is above genes alone" in best_model_sentence(read_run_tables(out))
    pl.read_csv(out / "comparisons.csv").clear().write_csv(out / "comparisons.csv")
    pl.read_csv(path).with_columns(model=pl.lit("late")).write_csv(path)
    assert best_model_sentence(read_run_tables(out)).endswith("(95% interval 0.694 to 0.824).")
    pl.read_csv(path).clear().write_csv(path)
    assert best_model_sentence(read_run_tables(out)) == "No model was evaluated."


def test_curves_and_matrices_agree_with_scikit_learn(tmp_path):
    content = read_run_tables(write_run(tmp_path, n_repeats=1))
    for model in ("late", "majority"):
        rows = content.predictions.filter(pl.col("model") == model)
        truth = (rows["label"] == CLASSES[1]).to_numpy()
        score = rows[f"probability_{CLASSES[1]}"].to_numpy()
        curves = curves_of(content, model, CLASSES[1])
        area = np.trapezoid(curves.roc.y, curves.roc.x)
        assert area == pytest.approx(roc_auc_score(truth, score), abs=1e-9)
        steps = np.diff(curves.precision_recall.x) @ curves.precision_recall.y[1:]
        assert steps == pytest.approx(average_precision_score(truth, score), abs=1e-9)
        expected = confusion_matrix(rows["label"], rows["predicted"], labels=CLASSES)
        assert np.array_equal(confusion_counts(content, model), expected)


@pytest.mark.parametrize(("n_repeats", "n_lines"), [(1, 5), (2, 10), (4, 1)])
def test_training_curves_per_fold_until_there_are_too_many(tmp_path, n_repeats, n_lines):
    content = read_run_tables(write_run(tmp_path, n_repeats=n_repeats))
    assert len(losses_of(content, "late")) == n_lines


def test_ten_repeats_stay_small(tmp_path):
    page = page_of(write_run(tmp_path, n_repeats=10))
    assert len(page) < 1_000_000
    assert "mean over folds and repeats" in page


def test_mean_curves_over_repeats_stay_close_to_the_mean_area(out):
    content = read_run_tables(out)
    areas = [
        roc_auc_score(part["label"] == CLASSES[1], part[f"probability_{CLASSES[1]}"])
        for _, part in content.predictions.filter(pl.col("model") == "late").group_by("repeat")
    ]
    curve = curves_of(content, "late", CLASSES[1]).roc
    assert np.trapezoid(curve.y, curve.x) == pytest.approx(np.mean(areas), abs=0.01)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.12345, "0.123"), (-0.5, "\N{MINUS SIGN}0.500"), (-0.0001, "0.000"), (None, "–")],
)
def test_numbers_for_the_eye(value, shown):
    assert number(value) == shown


def test_a_fitted_threshold_is_noted_and_its_range_shown(out):
    page = page_of(out)
    assert "thresholds chosen on inner validation patients" in page
    assert "0.30 to 0.40" in page
    assert 'id="coverage"' in page
    (out / "calibration.csv").unlink()
    (out / "coverage.csv").unlink()
    page = page_of(out)
    assert "The most probable class is predicted." in page
    assert "OUT holds no coverage.csv." in page


def test_accuracy_of_the_others_stands_where_patients_abstain(out):
    table = pl.read_csv(out / "coverage.csv")
    late = table.filter((pl.col("model") == "late") & (pl.col("coverage") == 0.5))
    least = late.with_columns(rule=pl.lit("confidence"), threshold=pl.lit(0.8))
    assert "are not called</" not in page_of(out)
    pl.concat([table, least]).write_csv(out / "coverage.csv")
    page = page_of(out)
    assert "Patients of a confidence below 0.8 are not called" in page
    assert number(late["accuracy"].item()) in page


def test_calibration_and_decisions_are_shown_and_may_be_absent(out):
    page = page_of(out)
    assert page.count("conditional on the fitted models") == 1
    assert f"Calibration, {CLASSES[1]}" in page
    assert f"Calibration, {CLASSES[0]}" not in page
    assert f"Decision curves, {CLASSES[1]}" in page
    labels = re.findall(r'aria-label="([^"]*)"', page)
    assert any("a panel per model" in label for label in labels)
    assert any("Net benefit of treating" in label for label in labels)
    for name in ("calibration_curve.csv", "decision_curve.csv"):
        (out / name).unlink()
    page = page_of(out)
    assert "OUT holds no calibration_curve.csv." in page
    assert "OUT holds no decision_curve.csv." in page


def test_decision_table_equals_the_csv(out):
    content = read_run_tables(out)
    found = decision_table(content, CLASSES[1])
    assert [row[0].text for row in found.rows] == [*content.models, "all treated"]
    late = content.decision_curve.filter(
        (pl.col("model") == "late") & (pl.col("class") == CLASSES[1])
    )
    row = next(row for row in found.rows if row[0].text == "late")
    at = late.filter((pl.col("threshold") - 0.2).abs() < 1e-9)
    assert row[2].text == number(at["net_benefit"].item())


def test_a_p_is_never_shown_as_nought():
    assert [p_value(1e-9), p_value(0.0312), p_value(0.2, 3)] == ["< 0.0001", "0.0312", "0.200"]


def test_the_test_behind_each_p_is_named(out):
    first, *_ = gather_differences(read_run_tables(out))
    assert first.reference == "gene_only"
    assert difference_table(first).rows[0][-1].text == "DeLong"


def test_each_network_stands_beside_the_line_over_its_own_inputs(out):
    found = {one.reference: one for one in gather_differences(read_run_tables(out))}
    assert list(found) == ["gene_only", "logistic_genes", SAME]
    named = {row[0].text for row in difference_table(found[SAME]).rows}
    expected = {f"{a} - {card.same_inputs}" for a, card in MODELS.items() if card.same_inputs}
    assert named == expected & {f"{a} - {b}" for a in STRENGTHS for b in STRENGTHS}
    assert named
    assert f"Each model minus {SAME}" in write_report(out, ReportSpec()).read_text(encoding="utf-8")
