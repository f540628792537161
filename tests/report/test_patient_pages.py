"""Pages of patients: numbers of the tables, text that stays text, links that lead somewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from crosstype.cli.app import app
from crosstype.expression.matrix import AlignedExpression, save_expression
from crosstype.report.pages.patient import link_of, patient_page_names, patients_table
from crosstype.report.report import write_report
from crosstype.report.run_tables import read_run_tables
from crosstype.report.spec import ReportSpec

from .conftest import write_run

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A made-up run with expression, whose first patient is hostile."""
    out = write_run(tmp_path / "out", first_patient=HOSTILE)
    ids = pl.read_csv(out / "cohort.csv")["patient_id"].to_list()
    values = np.random.default_rng(0).normal(size=(len(ids), 8)).astype(np.float32)
    values[1] = 2 * values[0]  # the same profile, twice as strong
    genes = (HOSTILE, *(f"G{i}" for i in range(7)))
    save_expression(out / "expression.npz", AlignedExpression(values, tuple(ids), genes, "log"))
    write_report(out, ReportSpec())
    return out


def test_everyone_has_a_page_to_which_the_report_leads(run: Path) -> None:
    names = patient_page_names(run)
    assert len(names) == 60
    assert all((run / name).is_file() for name in names)
    report = (run / "report.html").read_text(encoding="utf-8")
    for patient in ("TCGA-A2-A001", HOSTILE):
        assert f'href="{link_of(patient)}"' in report


def test_names_of_patients_and_genes_stay_text(run: Path) -> None:
    for name in ["report.html", *patient_page_names(run)]:
        text = (run / name).read_text(encoding="utf-8")
        assert "<script>alert" not in text, name
    hostile = (run / patient_page_names(run)[0]).read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)" in hostile


def test_a_page_equals_the_tables(run: Path) -> None:
    said = pl.read_csv(run / "predictions.csv").filter(patient_id="TCGA-A2-A001", model="late")
    page = (run / "patients" / "TCGA-A2-A001.html").read_text(encoding="utf-8")
    column = said["probability_Basal/Her2"]
    for value in (column.mean(), column.min(), column.max()):
        assert f"{value:.3f}" in page
    assert "lowest and highest repeat" in page


def test_the_most_similar_patient_is_the_one_of_the_same_profile(run: Path) -> None:
    page = (run / patient_page_names(run)[0]).read_text(encoding="utf-8")
    nearest = page[page.index("Similar patients") :]
    others = [f"TCGA-A2-A{i:03d}" for i in range(2, 60)]
    places = [nearest.index(one) for one in others if one in nearest]
    assert nearest.index("TCGA-A2-A001") < min(places)


def test_the_table_of_patients_is_the_best_models(run: Path) -> None:
    content = read_run_tables(run)
    table = patients_table(content)
    assert content.models[0] in table.caption
    assert len(table.rows) == 60


def test_pages_can_be_switched_off(tmp_path: Path) -> None:
    out = write_run(tmp_path / "out")
    write_report(out, ReportSpec(patient_pages=False))
    assert not (out / "patients").exists()
    assert "switched off" in (out / "report.html").read_text(encoding="utf-8")


def test_predict_writes_the_pages_of_new_patients(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny.change(models=("cross_attention",))
    call = CliRunner().invoke
    fitted = call(app, ["fit", str(tiny.config), "--out", "m.safetensors"])
    assert fitted.exit_code == 0, fitted.output
    given = ["--expression", str(tiny.folder / "expression.tsv")]
    given += ["--features", str(tiny.folder / "features"), "--out", "p.csv", "--pages", "pages"]
    given += ["--slides-table", str(tiny.folder / "slides.csv")]
    done = call(app, ["predict", "m.safetensors", *given])
    assert done.exit_code == 0, done.output
    table = pl.read_csv("p.csv")
    page = (tmp_path / "pages" / f"{table['patient_id'][0]}.html").read_text(encoding="utf-8")
    assert f"{table['probability_Basal/Her2'][0]:.3f}" in page
    assert "without the genes" in page
    assert "without the image" in page
    assert "GENE" in page
