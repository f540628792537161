"""Sections about groups, the site and patients apart, and the checklist: right, escaped, marked."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from crosstype.report.apart import apart_table
from crosstype.report.content import read_content
from crosstype.report.page import write_report
from crosstype.report.site import probe_sentences, site_only_sentence
from crosstype.report.spec import ReportSpec
from crosstype.report.subgroups import group_figures, shown_models, subgroup_tables
from crosstype.report.tripod import BY_AUTHORS, ITEMS, TRIPOD, write_tripod

from .conftest import CLASSES, STRENGTHS, write_run
from .test_report import HOSTILE, LEAK, outline_of, page_of

CONFIG = """\
[cohort]
sites = []
[[cohort.classes]]
name = "Luminal"
labels = ["BRCA.LumA", "a|b"]
[expression]
outliers = "keep"
[folds]
n_folds = 5
n_inner_folds = 4
[training]
class_weights = "root"
threshold = "f1"
calibration = "temperature"
search_minutes = 2.0
"""


def add_groups(out: Path, n_sites: int = 4, word: str = "s") -> None:
    """Write the tables of this part: groups, site probe, patients apart, tests."""
    rows = []
    for site in range(n_sites):
        for model, strength in STRENGTHS.items():
            for metric in ("auroc", "brier"):
                value = 0.5 + 0.2 * strength
                said = (value, value - 0.1, value + 0.05) if site else (None, None, None)
                note = "" if site else "fewer than 10 patients"
                n = (10 + site if site else 5, 4)
                rows.append(("site", f"{word}{site}", model, metric, *said, *n, note))
    head = "column group model metric value low high n n_positive note"
    frame = pl.DataFrame(rows, schema=head.split(), orient="row", infer_schema_length=None)
    frame.write_csv(out / "subgroups.csv")
    probe = [
        ("image", "balanced_accuracy", 0.8, 0.7, 0.9, 0.25, 4, 60),
        ("image", "auroc", 0.9, 0.85, 0.95, 0.5, 4, 60),
        ("genes", "balanced_accuracy", 0.3, 0.2, 0.4, 0.25, 4, 60),
    ]
    head = "input metric value low high guessing n_sites n"
    pl.DataFrame(probe, schema=head.split(), orient="row").write_csv(out / "site_probe.csv")
    classes = read_content(out).classes
    apart = [
        (f"N{place}", f"label {word} is in no class", model, classes[place % 2], 10, 0.25, 0.75)
        for model in ("late", "gene_only")
        for place in range(3)
    ]
    head = ["patient_id", "reason", "model", "predicted", "n_models"]
    head += [f"probability_{name}" for name in classes]
    pl.DataFrame(apart, schema=head, orient="row").write_csv(out / "apart_predictions.csv")
    tests = [("late", "gene_only", "auroc", "delong", 1.5, 0.13, 0.26, 60)]
    head = "model_a model_b metric test statistic p p_adjusted n"
    pl.DataFrame(tests, schema=head.split(), orient="row").write_csv(out / "tests.csv")


def checklist(out: Path) -> dict[str, list[str]]:
    """Return the cells of each item's row as a Markdown reader would split it."""
    text = write_tripod(out, ReportSpec(title="A | title")).read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if re.match(r"\| \d", line)]
    cells = [re.split(r"(?<!\\)\|", line) for line in rows]
    assert all(len(one) == 5 for one in cells), "a bar of a name split a cell"
    return {one[1].strip(): [part.strip() for part in one[2:4]] for one in cells}


def test_tables_say_what_subgroups_csv_says(out: Path) -> None:
    add_groups(out)
    content = read_content(out)
    models = shown_models(content)
    assert models == ("gene_only", "image_only", "cross_attention", "logistic_genes")
    (table,) = subgroup_tables(content)
    assert table.columns[:3] == ("site", "Patients", CLASSES[1])
    assert [row[0].text for row in table.rows] == ["s1", "s2", "s3", "s0"]
    assert table.rows[-1][0].small == "fewer than 10 patients"
    assert [cell.text for cell in table.rows[-1][3:]] == ["–"] * 4
    assert [cell.text for cell in table.rows[0][1:3]] == ["11", "4"]
    for model, cell in zip(models, table.rows[0][3:], strict=True):
        assert cell.order == pytest.approx(0.5 + 0.2 * STRENGTHS[model])
        assert cell.text == f"{cell.order:.3f}"


def test_the_figure_shows_the_best_model_and_at_most_thirty_groups(out: Path) -> None:
    add_groups(out, n_sites=41)
    (few,) = group_figures(read_content(out))
    assert few.model == "cross_attention"
    assert few.rows.height == 30
    assert sorted(few.rows["n"]) == list(range(21, 51))  # the largest
    assert "The 30 largest of 40 groups." in few.caption
    assert "1 group is too small" in few.caption
    assert "The 30 largest of 40 groups." in page_of(out)


def test_the_site_in_plain_words(out: Path) -> None:
    add_groups(out)
    content = read_content(out)
    said = " ".join(probe_sentences(content))
    assert "The site can be told from image features: balanced accuracy 0.800" in said
    assert "guessing would give 0.250" in said
    assert "That the site can be told from expression is not shown" in said
    assert "use protocol site" in said
    assert site_only_sentence(content) == ""
    renamed = pl.col("model").replace({"majority": "site_only"})
    for name in ("metrics.csv", "predictions.csv"):
        pl.read_csv(out / name).with_columns(renamed).write_csv(out / name)
    assert "site_only, which knows nothing but the site, has an AUROC of 0.500" in page_of(out)
    run = json.loads((out / "run.json").read_text())
    run["protocol"] = {"name": "site", "leaks": []}
    (out / "run.json").write_text(json.dumps(run))
    page = page_of(out)
    assert "This run uses protocol site" in page
    assert "has seen no patient of the site" in page


def test_patients_apart_are_counted_and_listed(out: Path) -> None:
    add_groups(out)
    content = read_content(out)
    table = apart_table(content)
    assert [[cell.text for cell in row[1:]] for row in table.rows] == [
        ["late", "3", "2", "1"],
        ["gene_only", "3", "2", "1"],
    ]
    page = page_of(out)
    assert "3 patients have slides and expression and no class" in page
    assert "Each of them, by late" in page
    assert "Every test of every pair (tests.csv)" in page


def test_nothing_of_it_need_be_there(out: Path) -> None:
    page = page_of(out)
    assert "No groups: there is one site" in page
    assert "needs two sites of 10 patients" in page
    assert "Every patient with slides and expression has a class." in page
    add_groups(out)
    for name in ("subgroups.csv", "site_probe.csv", "apart_predictions.csv", "tests.csv"):
        pl.read_csv(out / name).clear().write_csv(out / name)
    assert "No groups: there is one site" in page_of(out)


def test_names_are_text_and_figures_have_words(tmp_path: Path) -> None:
    out = write_run(tmp_path, classes=("Luminal", HOSTILE))
    add_groups(out, word=HOSTILE)
    page = page_of(out)
    outline = outline_of(page)
    assert outline.tags.count("script") == 1
    assert len(outline.ids) == len(set(outline.ids))
    inside = {one[1:] for one in outline.references if one.startswith("#")}
    assert inside <= set(outline.ids)
    assert "<script>alert" not in page
    labels = re.findall(r'<svg[^>]*aria-label="([^"]*)"', page)
    assert any("AUROC of cross_attention by site" in label for label in labels)


def test_leaks_and_made_up_patients_are_marked_everywhere(tmp_path: Path) -> None:
    out = write_run(tmp_path, leaks=(LEAK,), synthetic=True)
    add_groups(out)
    page = page_of(out)
    new = page[page.index('<section id="subgroups">') : page.index('<section id="losses">')]
    captions = re.findall(r"<(caption|figcaption)>(.*?)</\1>", new, flags=re.DOTALL)
    assert len(captions) == 7
    mark = "protocol paper: leaks test patients; synthetic data"
    assert all(mark in text for _, text in captions)
    assert mark in re.search(r"<svg.*?</svg>", new, flags=re.DOTALL)[0]
    text = write_tripod(out, ReportSpec()).read_text(encoding="utf-8")
    assert text.index(mark) < text.index("## Title")
    assert LEAK in text


def test_the_checklist_has_every_item_of_the_statement(out: Path) -> None:
    add_groups(out)
    said = checklist(out)
    assert list(said) == [number for _, number, _ in ITEMS]
    whole = {int(re.match(r"\d+", number)[0]) for number in said}
    assert whole == set(range(1, 28))
    assert len(said) == 52
    for number in ("2", "3a", "5b", "6c", "8c", "17", "18a", "18d", "19", "25"):
        assert said[number][1] == BY_AUTHORS
    assert "cannot fill what it does not know" in " ".join((out / TRIPOD).read_text().split())


def test_the_checklist_says_what_the_tables_say(out: Path) -> None:
    add_groups(out)
    (out / "config.toml").write_text(CONFIG, encoding="utf-8")
    said = {number: cells[1] for number, cells in checklist(out).items()}
    assert said["1"] == r"Title of the report: A \| title"
    assert r"Luminal: BRCA.LumA, a\|b" in said["8a"]
    assert "PAM50 calls computed from the same RNA" in said["8a"]
    assert "72 patients in the tables, 12 left out" in said["20a"]
    assert "8 at labels: label BRCA.Normal is in no class" in said["20a"]
    assert "3 without a class were predicted apart" in said["20a"]
    assert "5 outer folds, 4 inner folds" in said["12a"]
    assert "searched on inner folds, 2 minutes" in said["12c"]
    assert "Temperature" in said["12f"]
    assert "root of the inverse" in said["13"]
    assert "Performance by site" in said["14"]
    assert r"thresholds (f1) chosen on inner" in said["15"]
    best = read_content(out).headline("auroc").filter(pl.col("model") == "cross_attention")
    assert rf"cross\_attention {best['value'].item():.3f}" in said["23a"]
    assert "in the 3 sites that are large enough" in said["23b"]
    assert "1 of 60 slides had a fault" in said["7"]


def test_hostile_names_stay_in_their_cells(tmp_path: Path) -> None:
    classes = ("Luminal", "a | b\nc <img src=x>")
    out = write_run(tmp_path, classes=classes)
    add_groups(out, word="x | y\n| 99 | ")
    frame = pl.read_csv(out / "left_out.csv")
    frame.with_columns(reason=pl.lit("# no | slide\n| 5 |")).write_csv(out / "left_out.csv")
    said = checklist(out)
    assert len(said) == 52
    assert "<img" not in re.sub(r"\\<", "", (out / TRIPOD).read_text(encoding="utf-8"))
    assert np.array_equal(list(said), [number for _, number, _ in ITEMS])
    write_report(out, ReportSpec())
