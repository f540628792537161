"""Clinical covariates through the whole run, from the config to the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.conftest import EVERY_KIND, NO_MAPS, Tiny

from crosstype.config.read import read_config
from crosstype.errors import ConfigError
from crosstype.io.files import write_text
from crosstype.training.checkpoint import read_header
from crosstype.workflow.pipeline import run
from crosstype.workflow.stage import Run

UNTOUCHED = ["image_only", "gene_only", "late", "logistic_both", "majority"]


def set_keys(config: Path, keys: str) -> None:
    text = config.read_text(encoding="utf-8")
    write_text(config, text.replace("[cohort]\n", f"[cohort]\n{keys}\n", 1))


def clinical(tiny: Any, **cells: str) -> None:
    """Write a clinical table, in another order, that holds the class; one patient lacks a row."""
    labels = pl.read_csv(tiny.folder / "labels.csv").reverse()
    rows = ["PATIENT,age,her2_status"]
    for row, (patient, label) in enumerate(labels.iter_rows()):
        status = "Negative" if label == "BRCA.LumA" else "Positive"
        rows.append(cells.get(patient.replace("-", "_"), f"{patient},{40 + row},{status}"))
    write_text(tiny.folder / "clinical.csv", "\n".join(one for one in rows if one) + "\n")


def checksums(out: Path) -> dict[str, str]:
    paths = sorted((out / "models").rglob("*.safetensors"))
    return {str(path.relative_to(out / "models")): read_header(path)["sha256"] for path in paths}


@pytest.fixture
def covered(tiny: Any) -> Any:
    held = Tiny(tiny.config, EVERY_KIND)
    held.change()
    clinical(held)
    set_keys(held.config, 'clinical = "clinical.csv"\ncovariates = ["age", "her2_status"]')
    return held


def test_a_run_with_covariates_and_the_same_without(
    covered: Any, finished: tuple[Any, Path], tmp_path: Path
) -> None:
    out, without = tmp_path / "out", finished[1]
    write_text(covered.config, covered.config.read_text(encoding="utf-8") + NO_MAPS)
    covered.run(out, last="report")
    auroc = pl.read_csv(out / "metrics.csv").filter(
        (pl.col("model") == "logistic_clinical")
        & (pl.col("metric") == "auroc")
        & (pl.col("class") == "Basal/Her2")
    )
    assert auroc["value"].to_list() == [1.0]
    use = pl.read_csv(out / "modality_use.csv").filter(
        (pl.col("condition") == "clinical_shuffled") & (pl.col("metric") == "auroc")
    )
    drop = dict(use.select("model", "drop").iter_rows())
    assert drop["cross_attention"] > 0.1
    assert drop["logistic_clinical"] > 0.3
    assert all(drop[name] == 0 for name in UNTOUCHED)
    notes = json.loads((out / "run.json").read_text(encoding="utf-8"))["notes"]
    assert any(note.startswith("Warning: ") and "her2_status" in note for note in notes)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("look like hormone receptors") == 2
    assert "clinical covariates alone" in page

    before, after = checksums(without), checksums(out)
    assert {name.split("/")[0] for name in after} - {name.split("/")[0] for name in before} == {
        "logistic_clinical"
    }
    same = {name for name in before if before[name] == after[name]}
    assert {name for name in before if name.split("/")[0] in UNTOUCHED} <= same
    assert not any(name.startswith("cross_attention") for name in same)

    # Without the keys again, into the same OUT: as if there had never been any.
    covered.change(more=NO_MAPS)
    covered.run(out)
    for name in ("predictions.csv", "modality_use.csv", "metrics.csv"):
        assert (out / name).read_bytes() == (without / name).read_bytes(), name
    assert b"clinical_shuffled" not in (out / "modality_use.csv").read_bytes()
    assert not (out / "covariates.csv").exists()


def test_poison_in_a_test_patients_covariates_reaches_nothing_fitted(
    covered: Any, tmp_path: Path
) -> None:
    covered.run(tmp_path / "clean", "train")
    folds = (tmp_path / "clean" / "folds.csv").read_text(encoding="utf-8").splitlines()[1:]
    patient = next(line.split(",")[0] for line in folds if ",0,1,test" in line)
    clinical(covered, **{patient.replace("-", "_"): f"{patient},1e9,Poison"})
    covered.run(tmp_path / "poisoned", "train")
    before, after = checksums(tmp_path / "clean"), checksums(tmp_path / "poisoned")
    changed = {name for name in before if before[name] != after[name]}
    assert not any(name.endswith("_1.safetensors") for name in changed)
    # Where the same patient teaches, it must show, or this test would see nothing.
    assert {"logistic_clinical/0_0.safetensors", "cross_attention/0_0.safetensors"} <= changed


def test_a_patient_without_a_row_stays_in_the_cohort(covered: Any, tmp_path: Path) -> None:
    clinical(covered, TCGA_A0_0000="")
    covered.run(tmp_path / "out", "train")
    table = pl.read_csv(tmp_path / "out" / "covariates.csv", infer_schema=False)
    assert table.columns == ["patient_id", "age", "her2_status"]
    cohort = pl.read_csv(tmp_path / "out" / "cohort.csv")
    assert table["patient_id"].to_list() == cohort["patient_id"].to_list()
    assert table.row(0)[0] == "TCGA-A0-0000"
    assert not any(table.row(0)[1:])


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ('clinical = "labels.csv"', "covariates names none of its columns"),
        ('covariates = ["age", "age"]', "'age' is listed twice"),
        ('clinical = "no.csv"\ncovariates = ["age"]', r"\[cohort\] clinical: .* is not there"),
        ('covariates = ["Subtype"]', "column of the patient or of the label"),
    ],
)
def test_settings_that_cannot_be_meant(tiny: Any, tmp_path: Path, keys: str, found: str) -> None:
    set_keys(tiny.config, keys)
    with pytest.raises(ConfigError, match=found):
        run(Run(read_config(tiny.config), tmp_path / "out"), "cohort")
