"""`crosstype init` with a user's own files: paths, columns and classes are filled in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crosstype.config.draft import UserFiles, draft_config
from crosstype.config.read import read_config
from crosstype.config.run_spec import RunSpec
from crosstype.errors import ConfigError


def draft(folder: Path, given: UserFiles) -> tuple[RunSpec, list[str]]:
    text, notes = draft_config(given, folder)
    (folder / "my.toml").write_text(text, encoding="utf-8")
    return read_config(folder / "my.toml"), notes


def labels(folder: Path, text: str) -> Path:
    path = folder / "clinical.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_drafted_config_runs_as_it_stands(tiny: Any, tmp_path: Path) -> None:
    folder = tiny.folder
    given = UserFiles(
        folder / "labels.csv",
        folder / "expression.tsv",
        features=folder / "features",
        slides_table=folder / "slides.csv",
    )
    spec, notes = draft(folder, given)
    assert spec.cohort.label_column == "Subtype"
    assert spec.features.folder == folder / "features"
    assert '"labels.csv"' in (folder / "my.toml").read_text(encoding="utf-8")  # relative
    assert notes == [
        'labels.csv: labels are taken from column "Subtype". Classes: Luminal (BRCA.LumA); '
        "Basal/Her2 (BRCA.Basal)."
    ]
    tiny.config.write_text((folder / "my.toml").read_text(encoding="utf-8"), encoding="utf-8")
    tiny.run(tmp_path / "out", last="cohort")
    assert (tmp_path / "out" / "cohort.csv").exists()


TABLES = {
    "PAM50, normal-like is left out": (
        "case,stage,pam50\nA,I,LumA\nB,I,Basal-like\nC,II,HER2-enriched\nD,II,Normal\nE,II,lumb\n",
        (
            "case",
            "pam50",
            {"Luminal": {"LumA", "lumb"}, "Basal/Her2": {"Basal-like", "HER2-enriched"}},
        ),
    ),
    "receptors": (
        "PATIENT,grade,IHC\nA,1,ER+\nB,2,TNBC\nC,3,ER+\n",
        (None, "IHC", {"ER+": {"ER+"}, "TNBC": {"TNBC"}}),
    ),
    "by the column's name; a missing cell is no class": (
        "patient_id,Subtype\nA,x\nB,y\nC,NA\n",
        (None, "Subtype", {"x": {"x"}, "y": {"y"}}),
    ),
    "one PAM50 side alone": (
        "PATIENT,call\nA,LumA\nB,LumB\n",
        (None, "call", {"LumA": {"LumA"}, "LumB": {"LumB"}}),
    ),
}


@pytest.mark.parametrize("kind", TABLES)
def test_columns_and_classes_are_found(kind: str, tmp_path: Path) -> None:
    text, (patient, label, classes) = TABLES[kind]
    spec, notes = draft(tmp_path, UserFiles(labels(tmp_path, text)))
    assert spec.cohort.patient_column == (patient or RunSpec().cohort.patient_column)
    assert spec.cohort.label_column == label
    assert {one.name: set(one.labels) for one in spec.cohort.classes} == classes
    assert any(f'"{label}"' in note for note in notes)


def test_nothing_is_made_up_where_no_label_is_seen(tmp_path: Path) -> None:
    spec, notes = draft(tmp_path, UserFiles(labels(tmp_path, "PATIENT,age\nA,50\nB,51\n")))
    assert spec.cohort.label_column is None
    assert "no column looks like a label" in notes[0]
    assert "label_column" in notes[0]


def test_slides_stand_in_place_of_features(tmp_path: Path) -> None:
    (tmp_path / "my slides").mkdir()
    spec, _ = draft(tmp_path, UserFiles(slides=tmp_path / "my slides"))
    assert spec.slides.folder == tmp_path / "my slides"
    assert (spec.features.folder, spec.cohort.slides) == (None, None)


def test_a_file_that_is_not_there_and_two_ways_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--slides-table: found .*absent\.csv"):
        draft_config(UserFiles(slides_table=tmp_path / "absent.csv"), tmp_path)
    with pytest.raises(ConfigError, match="--slides and --features"):
        draft_config(UserFiles(slides=tmp_path, features=tmp_path), tmp_path)
