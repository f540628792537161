"""The whole path into OUT: the files of DESIGN section 2, and what happens to bad inputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.conftest import NO_MAPS

from crosstype.config.read import read_config
from crosstype.errors import CohortError, ConfigError, CrosstypeError
from crosstype.io.files import sha256_of
from crosstype.models.catalog import ALWAYS_RUN
from crosstype.workflow.pipeline import run
from crosstype.workflow.stage import Run

COLUMNS = {
    "features.csv": "slide_id patient_id n_tiles n_features encoder sha256 fault",
    "cohort.csv": "patient_id label site n_slides n_tiles",
    "left_out.csv": "patient_id step reason",
    "single_modality.csv": "patient_id label site modality n_slides n_tiles",
    "folds.csv": "patient_id repeat fold role inner_fold",
    "outliers.csv": "gene class n n_removed share",
    "predictions.csv": "patient_id model repeat fold label predicted",
    "stressed_predictions.csv": "patient_id model repeat fold label predicted condition level draw",
    "metrics.csv": "model metric class value low high n",
    "comparisons.csv": "model_a model_b metric difference low high p p_adjusted n test",
    "tests.csv": "model_a model_b metric test statistic p p_adjusted n",
    "modality_use.csv": "model modality condition level metric drop low high",
    "training.csv": "model repeat fold epoch train_loss validation_loss",
    "calibration.csv": "model repeat fold n temperature class offset threshold",
    "coverage.csv": "model coverage threshold accuracy low high n",
    "unlabelled.csv": "patient_id reason",
    "unlabelled_predictions.csv": "patient_id reason model predicted n_models",
    "site_probe.csv": "input metric value low high guessing n_sites n",
    "subgroups_of.csv": "patient_id column group",
    "subgroups.csv": "column group model metric value low high n n_positive note",
    "calibration_curve.csv": "model class bin n mean_probability observed low high",
    "decision_curve.csv": "model class threshold net_benefit low high treat_all treat_none",
}
OTHERS = {
    "config.toml",
    "explanation",
    "expression.npz",
    "normal_like.npz",
    "single_modality.npz",
    "unlabelled.npz",
    "run.json",
    "report.html",
    "figures.html",
    "tripod_ai.md",
    "patients",
    "models",
    ".stages",
}
MADE_UNDER_THE_PROTOCOL = (
    "folds.csv", "predictions.csv", "stressed_predictions.csv", "training.csv", "metrics.csv",
    "comparisons.csv", "modality_use.csv", "calibration.csv", "coverage.csv",
    "tests.csv", "calibration_curve.csv", "decision_curve.csv", "subgroups.csv",
)  # fmt: skip


def table(out: Path, name: str) -> pl.DataFrame:
    return pl.read_csv(out / name, infer_schema_length=None)


def test_out_has_exactly_the_files_of_the_contract(finished: tuple[Any, Path]) -> None:
    tiny, out = finished
    assert {path.name for path in out.iterdir()} == {*COLUMNS, *OTHERS}
    for name, columns in COLUMNS.items():
        assert set(columns.split()) <= set(table(out, name).columns), name
        assert b"\r" not in (out / name).read_bytes()
    for name in ("predictions.csv", "stressed_predictions.csv"):
        assert {"probability_Luminal", "probability_Basal/Her2"} <= set(table(out, name).columns)
    models = {"image_only", "gene_only", "late", "cross_attention", *ALWAYS_RUN}
    assert {path.name for path in (out / "models").iterdir()} == models
    checkpoints = {path.name for path in (out / "models" / "late").glob("*.safetensors")}
    assert checkpoints == {"0_0.safetensors", "0_1.safetensors"}
    assert not list(out.rglob("*.tmp"))
    assert read_config(out / "config.toml") == read_config(tiny.config)


def test_each_patient_is_tested_once_per_repeat(tiny: Any, tmp_path: Path) -> None:
    tiny.change(repeats=3)
    tiny.run(tmp_path / "out", "cohort")
    folds = table(tmp_path / "out", "folds.csv")
    cohort = set(table(tmp_path / "out", "cohort.csv")["patient_id"])
    for (repeat,), rows in folds.group_by("repeat"):
        tested = rows.filter(pl.col("role") == "test")["patient_id"].to_list()
        assert sorted(tested) == sorted(cohort), repeat
        assert len(rows) == 2 * len(cohort)
    assert set(folds["role"]) == {"train", "validation", "test"}


def test_the_run_can_be_reproduced_from_its_record(finished: tuple[Any, Path]) -> None:
    tiny, out = finished
    about = json.loads((out / "run.json").read_text())
    assert about["protocol"] == {"name": "strict", "leaks": []}
    assert about["classes"] == ["Luminal", "Basal/Her2"]
    assert about["seed"] == 0
    assert not about["faults"]
    assert {"torch", "numpy", "python", "crosstype"} <= set(about["versions"])
    hashes = set(about["inputs"].values())
    assert {sha256_of(tiny.folder / name) for name in ("labels.csv", "expression.tsv")} <= hashes
    for cost in about["stages"].values():
        assert cost["seconds"] >= 0
        assert cost["peak_memory_mb"] > 0
    page = (out / "report.html").read_text()
    assert "research use only" in page.lower()
    assert "leaks test patients" not in page


def test_no_machine_is_named_in_the_tables(finished: tuple[Any, Path]) -> None:
    tiny, out = finished
    for name in COLUMNS:
        assert str(tiny.folder) not in (out / name).read_text()


def test_damaged_and_missing_features_are_listed_and_the_rest_goes_on(
    tiny: Any, tmp_path: Path
) -> None:
    files = sorted((tiny.folder / "features").iterdir())
    files[2].write_bytes(files[2].read_bytes()[:200])
    files[5].unlink()
    tiny.change(models=("gene_only",), more=NO_MAPS)
    for _ in range(2):  # the second finds everything finished and says the same
        done = tiny.run(tmp_path / "out", last="report")
        assert len(done.faults) == 1
        assert files[2].name in done.faults[0]
    rows = table(tmp_path / "out", "features.csv")
    assert len(rows) == 16
    assert rows.filter(pl.col("fault").str.len_chars() > 0)["slide_id"].to_list() == [
        files[2].stem,
        files[5].stem,
    ]
    left_out = table(tmp_path / "out", "left_out.csv")
    assert left_out["step"].to_list() == ["slides"] * 2
    assert len(table(tmp_path / "out", "cohort.csv")) == 14
    assert (tmp_path / "out" / "report.html").exists()
    assert json.loads((tmp_path / "out" / "run.json").read_text())["faults"] == done.faults


TABLES_AMISS = {
    "label_column": ('label_column = "Subtype"', 'label_column = "Subtyp"', "no column 'Subtyp'"),
    "patients": ("TCGA-A1-0001", "TCGA-A1-00O1", ""),  # one is left out, and that is no fault
    "classes": ('["BRCA.Basal"]', '["BRCA.Her2"]', "'Basal/Her2'"),
    "subgroups": ("[cohort]", '[cohort]\nsubgroups = ["histology"]', "no column 'histology'"),
}


@pytest.mark.parametrize("amiss", TABLES_AMISS)
def test_tables_are_looked_through_before_slides_are(amiss: str, tiny: Any, tmp_path: Path) -> None:
    old, new, words = TABLES_AMISS[amiss]
    (tiny.folder / "slides").mkdir()
    for patient in pl.read_csv(tiny.folder / "slides.csv")["FILENAME"]:
        (tiny.folder / "slides" / patient).write_bytes(b"no slide at all")
    text = tiny.config.read_text().replace(old, new)
    extracted = '[slides]\nfolder = "slides"\n[features]\nencoder = "colour_texture"'
    tiny.config.write_text(text.replace('[features]\nfolder = "features"', extracted))
    labels = (tiny.folder / "labels.csv").read_text().replace(old, new)
    (tiny.folder / "labels.csv").write_text(labels)
    with pytest.raises(CrosstypeError) as caught:
        tiny.run(tmp_path / "out", last="cohort")
    # Where the tables are sound, the slides were read, and it is they that were of no use.
    assert words in str(caught.value)
    assert (tmp_path / "out" / "features.csv").exists() == (not words)


def test_whoever_is_left_out_is_no_fault(tiny: Any, tmp_path: Path) -> None:
    labels = (tiny.folder / "labels.csv").read_text()
    (tiny.folder / "labels.csv").write_text(labels.replace("0003,BRCA.Basal", "0003,Normal"))
    done = tiny.run(tmp_path / "out", "cohort")
    assert not done.faults
    left_out = table(tmp_path / "out", "left_out.csv")
    assert left_out["patient_id"].to_list() == ["TCGA-A0-0003"]
    assert left_out["step"].to_list() == ["labels"]


def test_what_leaks_is_marked_everywhere(tiny: Any, tmp_path: Path) -> None:
    tiny.change(protocol="paper", models=("gene_only", "late", "paper_concat"), more=NO_MAPS)
    out = tmp_path / "out"
    tiny.run(out, last="report")
    for name in MADE_UNDER_THE_PROTOCOL:
        marks = table(out, name)["protocol"].unique().to_list()
        assert len(marks) == 1, name
        assert marks[0].startswith("paper: ")
    assert len(json.loads((out / "run.json").read_text())["protocol"]["leaks"]) >= 2
    page = (out / "report.html").read_text()
    assert page.count("leaks test patients") > 5
    resolved = read_config(out / "config.toml").training
    assert (resolved.learning_rate, resolved.schedule) == (1e-5, "published")
    before = {name: (out / name).stat().st_mtime_ns for name in MADE_UNDER_THE_PROTOCOL}
    tiny.run(out, last="report")
    assert {name: (out / name).stat().st_mtime_ns for name in MADE_UNDER_THE_PROTOCOL} == before


def test_an_honest_run_into_the_same_out_loses_the_mark(tiny: Any, tmp_path: Path) -> None:
    tiny.change(protocol="paper", models=("gene_only",))
    tiny.run(tmp_path / "out")
    tiny.change(protocol="strict", models=("gene_only",))
    tiny.run(tmp_path / "out")
    for name in MADE_UNDER_THE_PROTOCOL:
        assert "protocol" not in table(tmp_path / "out", name).columns, name


def test_a_run_that_does_not_shuffle_forgets_the_shuffles_of_an_earlier_one(
    tiny: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    tiny.change(models=("gene_only",))
    tiny.run(out)
    assert len(table(out, "modality_use.csv"))
    tiny.change(models=("gene_only",), n_shuffles=0)
    tiny.run(out)
    assert not (out / "stressed_predictions.csv").exists()
    assert len(table(out, "modality_use.csv")) == 0


def test_features_alone_need_no_labels(tiny: Any, tmp_path: Path) -> None:
    for name in ("labels.csv", "expression.tsv"):
        (tiny.folder / name).unlink()
    tiny.run(tmp_path / "out", "features")
    assert len(table(tmp_path / "out", "features.csv")) == 16
    assert not (tmp_path / "out" / "cohort.csv").exists()
    with pytest.raises(ConfigError, match="not there"):
        tiny.run(tmp_path / "out", "cohort")


def test_tables_of_one_name_in_two_folders_are_distinguished(tiny: Any, tmp_path: Path) -> None:
    for key, name in (("labels", "labels.csv"), ("expression", "expression.tsv")):
        (tiny.folder / key).mkdir()
        (tiny.folder / name).rename(tiny.folder / key / "table.csv")
        text = tiny.config.read_text().replace(f'{key} = "{name}"', f'{key} = "{key}/table.csv"')
        tiny.config.write_text(text)
    tiny.run(tmp_path / "out", "cohort")
    labels = tiny.folder / "labels" / "table.csv"
    labels.write_text(labels.read_text().replace("0003,BRCA.Basal", "0003,Normal"))
    tiny.run(tmp_path / "out", "cohort")
    assert len(table(tmp_path / "out", "cohort.csv")) == 15


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ('labels = "labels.csv"', "", ConfigError),
        ('expression = "expression.tsv"', 'expression = "gone.tsv"', ConfigError),
        ('label_column = "Subtype"', 'label_column = "Subtipe"', CrosstypeError),
        ('folder = "features"', 'folder = "gone"', ConfigError),
        ("n_folds = 2", "n_folds = 9", CohortError),
        ('["BRCA.Basal"]', '["BRCA.Her2"]', CohortError),
    ],
)
def test_a_config_that_cannot_run_is_one_line_and_leaves_nothing_trained(
    tiny: Any, tmp_path: Path, old: str, new: str, kind: type[CrosstypeError]
) -> None:
    tiny.config.write_text(tiny.config.read_text().replace(old, new))
    with pytest.raises(kind) as raised:
        tiny.run(tmp_path / "out")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out" / "models").exists()


def test_progress_receives_every_stage(tiny: Any, tmp_path: Path) -> None:
    heard: list[str] = []

    class Progress:
        def start(self, stage: str, total: int, done: int = 0) -> None:
            heard.append(stage)
            assert 0 <= done <= total

        def step(self, piece: str) -> None:
            assert piece

        def message(self, line: str) -> None: ...

    tiny.change(models=("gene_only",), more=NO_MAPS)
    tiny.run(tmp_path / "out", last="report")
    run(Run(read_config(tiny.config), tmp_path / "out", 1, Progress()))
    assert [stage for stage in heard if stage != "train"] == [
        "features",
        "cohort",
        "evaluate",
        "report",
    ]
