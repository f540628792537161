"""Sections on groups, the site, unlabelled patients, and the checklist: right, escaped, marked."""

from __future__ import annotations

import json
import re
from pathlib import Path

import polars as pl
import pytest

from crosstype.protocol import protocol_named
from crosstype.report.pages.tripod import TRIPOD, write_tripod
from crosstype.report.report import write_report
from crosstype.report.run_tables import read_run_tables
from crosstype.report.sections.groups import (
    group_figures,
    probe_sentences,
    shown_models,
    site_only_sentence,
    subgroup_tables,
    unlabelled_table,
)
from crosstype.report.spec import ReportSpec

from .conftest import CLASSES, STRENGTHS, write_run
from .test_report import HOSTILE, LEAK, outline_of, page_of

BY_AUTHORS = "to be filled by the authors"

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
    """Write the tables of this part: groups, site probe, unlabelled patients, tests."""
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
    classes = read_run_tables(out).classes
    unlabelled = [
        (f"N{place}", f"label {word} is in no class", model, classes[place % 2], 10, 0.25, 0.75)
        for model in ("late", "gene_only")
        for place in range(3)
    ]
    head = ["patient_id", "reason", "model", "predicted", "n_models"]
    head += [f"probability_{name}" for name in classes]
    pl.DataFrame(unlabelled, schema=head, orient="row").write_csv(
        out / "unlabelled_predictions.csv"
    )
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


def test_tables_equal_subgroups_csv(out: Path) -> None:
    add_groups(out)
    content = read_run_tables(out)
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
    (few,) = group_figures(read_run_tables(out))
    assert few.model == "cross_attention"
    assert few.rows.height == 30
    assert sorted(few.rows["n"]) == list(range(21, 51))  # the largest
    assert "The 30 largest of 40 groups." in few.caption
    assert "1 group is too small" in few.caption
    assert "The 30 largest of 40 groups." in page_of(out)


def test_sentences_on_the_site(out: Path) -> None:
    add_groups(out)
    content = read_run_tables(out)
    said = " ".join(probe_sentences(content))
    assert "The site can be predicted from image features: balanced accuracy 0.800" in said
    assert "chance level 0.250" in said
    assert "That the site can be predicted from expression is not shown" in said
    assert "use protocol site" in said
    assert site_only_sentence(content) == ""
    renamed = pl.col("model").replace({"majority": "site_only"})
    for name in ("metrics.csv", "predictions.csv"):
        pl.read_csv(out / name).with_columns(renamed).write_csv(out / name)
    assert "site_only, which uses the site alone, has an AUROC of 0.500" in page_of(out)
    run = json.loads((out / "run.json").read_text())
    run["protocol"] = {"name": "site", "leaks": []}
    (out / "run.json").write_text(json.dumps(run))
    page = page_of(out)
    assert "This run uses protocol site" in page
    assert "no training patient is of the site" in page


def test_unlabelled_patients_are_counted_and_listed(out: Path) -> None:
    add_groups(out)
    content = read_run_tables(out)
    table = unlabelled_table(content)
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
    for name in ("subgroups.csv", "site_probe.csv", "unlabelled_predictions.csv", "tests.csv"):
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
    whole = {int(re.match(r"\d+", number)[0]) for number in said}
    assert whole == set(range(1, 28))
    assert len(said) == 52
    for number in ("2", "3a", "5b", "6c", "8c", "17", "18a", "18d", "19", "25"):
        assert said[number][1] == BY_AUTHORS
    assert "are left to the authors" in " ".join((out / TRIPOD).read_text().split())


def test_the_checklist_equals_the_tables(out: Path) -> None:
    add_groups(out)
    (out / "config.toml").write_text(CONFIG, encoding="utf-8")
    said = {number: cells[1] for number, cells in checklist(out).items()}
    assert said["1"] == r"Title of the report: A \| title"
    assert r"Luminal: BRCA.LumA, a\|b" in said["8a"]
    assert "PAM50 calls computed from the same RNA" in said["8a"]
    assert "72 patients in the tables, 12 left out" in said["20a"]
    assert "8 at labels: label BRCA.Normal is in no class" in said["20a"]
    assert "3 without a class were predicted" in said["20a"]
    assert "5 outer folds, 4 inner folds" in said["12a"]
    assert "searched on inner folds, 2 minutes" in said["12c"]
    assert "no model was changed" in said["12f"]
    assert "Temperature chosen on inner" in said["12c"]
    assert "Temperature chosen on inner" in said["13"]
    assert "by DeLong for AUROC, else by 2000 resamples" in said["12e"]
    assert "root of the inverse" in said["13"]
    assert "Performance by site" in said["14"]
    assert r"thresholds (f1) chosen on inner" in said["15"]
    best = read_run_tables(out).headline("auroc").filter(pl.col("model") == "cross_attention")
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
    write_report(out, ReportSpec())


def said_under(out: Path, config: str) -> dict[str, str]:
    (out / "config.toml").write_text(config, encoding="utf-8")
    return {number: cells[1] for number, cells in checklist(out).items()}


@pytest.mark.parametrize("n_repeats", [1, 2])
def test_the_checklist_says_where_there_is_one_repeat(tmp_path: Path, n_repeats: int) -> None:
    out = write_run(tmp_path, n_repeats=n_repeats)
    said = said_under(out, CONFIG)
    assert ("One repeat" in said["26"]) == (n_repeats == 1)


def test_the_checklist_of_a_leaking_run_claims_no_inner_folds(tmp_path: Path) -> None:
    out = write_run(tmp_path, leaks=protocol_named("paper").leaks)
    said = said_under(out, CONFIG.replace("[expression]\n", "[expression]\nn_genes = 50\n"))
    for number in ("12a", "12c", "12g"):
        assert "inner folds" not in said[number], number
    assert "stopped by the fold that is tested" in said["12a"]
    assert "searched on the fold that is tested" in said["12c"]
    assert "50 of highest variance in all patients, test patients included" in said["9a"]
    assert "tile features as they are" in said["12b"]


def test_the_checklist_recognises_published_training_under_a_studys_protocol(
    tmp_path: Path,
) -> None:
    out = write_run(tmp_path)
    run = json.loads((out / "run.json").read_text())
    run["protocol"]["name"] = "strict, trained as published"
    (out / "run.json").write_text(json.dumps(run))
    said = said_under(out, CONFIG.replace("[training]\n", '[training]\nschedule = "published"\n'))
    assert "tile features as they are" in said["12b"]
    assert "mean over inner folds" not in said["12g"]  # it trains one network
    assert "5 outer folds, 4 inner folds" in said["12a"]


def test_the_checklist_of_an_honest_run_names_training_patients(tmp_path: Path) -> None:
    out = write_run(tmp_path)
    said = said_under(out, CONFIG.replace("[expression]\n", "[expression]\nn_genes = 50\n"))
    assert "50 of highest variance in training patients" in said["9a"]
    assert "tile features by those of training patients" in said["12b"]
    assert "networks as the mean over inner folds" in said["12g"]
    assert "all patients" not in said["9a"] + said["11"] + said["12b"]


def test_the_checklist_follows_the_settings(out: Path) -> None:
    add_groups(out)
    bare = said_under(out, CONFIG)
    assert "The run has no age, stage or treatment" in bare["20b"]
    assert "all others are listed in left\\_out.csv" in bare["6b"]
    assert "training patients" not in bare["6b"] + bare["11"].partition("Missing")[0]
    asked = 'single_modality = "train"\nsubgroups = ["age|y"]\ncovariates = ["stage"]\n'
    config = CONFIG.replace("[cohort]\n", f"[cohort]\n{asked}")
    said = said_under(out, f'{config}[evaluation]\nauroc_interval = "bootstrap"\n')
    assert "DeLong" not in said["12e"]
    assert "2000 resamples" in said["12e"]
    assert r"stage, age\|y" in said["20b"]
    assert "are training patients only" in said["6b"]
    assert "for the modality that they have" in said["11"]


def test_the_checklist_names_no_empty_table(out: Path) -> None:
    add_groups(out)
    assert "subgroups.csv" in said_under(out, CONFIG)["12d"].replace("\\", "")
    for name in ("subgroups.csv", "site_probe.csv", "tests.csv"):
        pl.read_csv(out / name).clear().write_csv(out / name)
    said = said_under(out, CONFIG)
    assert said["12d"] == BY_AUTHORS
    assert "tests" not in said["12e"]
    assert "recognised as log2. " in f"{said['7']} "
