"""Clinical covariates: joined by patient, their kind recognised, every fault one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from crosstype.cohort.covariates import (
    covariate_notes,
    kind_of,
    load_covariates,
    looks_like_receptor,
    number_of,
    read_covariates,
    write_covariates,
)
from crosstype.cohort.spec import ClassSpec, CohortSpec
from crosstype.errors import ConfigError, TableError

CLASSES = (ClassSpec("Luminal", ("LumA",)), ClassSpec("Basal", ("Basal",)))
TABLE = """\
bcr_patient_barcode,age,er_status,stage,Subtype
TCGA-AA-0003,61,Positive,Stage IIB,LumA
TCGA-AA-0001,50,Negative,Stage IA,Basal
TCGA-AA-0004,[Not Available],[Not Evaluated],Stage X,LumA
TCGA-AA-0009,33,Positive,Stage IV,LumA
"""


def spec_of(folder: Path, text: str, *names: str) -> CohortSpec:
    (folder / "clinical.csv").write_text(text, encoding="utf-8")
    return CohortSpec(clinical=folder / "clinical.csv", covariates=names, classes=CLASSES)


def test_they_are_joined_by_patient_and_absent_patients_have_none(tmp_path: Path) -> None:
    ids = ("TCGA-AA-0001", "TCGA-AA-0002", "TCGA-AA-0003", "TCGA-AA-0004")
    spec = spec_of(tmp_path, TABLE, "age", "er_status", "stage")
    found = read_covariates(spec, ids)
    assert found.kinds == ("number", "category", "rank")
    assert found.words.tolist() == [
        ["50", "Negative", "Stage IA"],
        ["", "", ""],
        ["61", "Positive", "Stage IIB"],
        ["", "", ""],
    ]
    write_covariates(tmp_path / "covariates.csv", found)
    again = load_covariates(tmp_path / "covariates.csv")
    assert (again.patient_ids, again.names, again.kinds) == (ids, spec.covariates, found.kinds)
    assert again.words.tolist() == found.words.tolist()
    lines = TABLE.splitlines()
    turned = "\n".join([lines[0], *reversed(lines[1:])]) + "\n"
    same = read_covariates(spec_of(tmp_path, turned, *spec.covariates), ids)
    assert same.words.tolist() == found.words.tolist()


def test_rows_that_disagree_are_collected_and_those_that_say_nothing_are_not(
    tmp_path: Path,
) -> None:
    more = "TCGA-AA-0001,51,negative,,Basal\nTCGA-AA-0003,62,,Stage I,LumA\n"
    elsewhere = "TCGA-AA-0009,34,,,LumA\n"  # of nobody in the cohort
    spec = spec_of(tmp_path, TABLE + more + elsewhere, "age", "er_status", "stage")
    with pytest.raises(TableError) as raised:
        read_covariates(spec, ("TCGA-AA-0001", "TCGA-AA-0003"))
    assert [str(fault) for fault in raised.value.faults] == [
        "clinical.csv line 6, column 'age': TCGA-AA-0001 has '50', '51'. Keep one of them.",
        "clinical.csv line 7, column 'age': TCGA-AA-0003 has '61', '62'. Keep one of them.",
        "clinical.csv line 7, column 'stage': TCGA-AA-0003 has 'Stage IIB', 'Stage I'. "
        "Keep one of them.",
    ]


def test_rows_of_a_metastasis_are_not_used(tmp_path: Path) -> None:
    text = "sample_id,age\nTCGA-AA-0001-06,70\nTCGA-AA-0001-01,50\nTCGA-AA-0002-06,70\n"
    found = read_covariates(spec_of(tmp_path, text, "age"), ("TCGA-AA-0001", "TCGA-AA-0002"))
    assert found.words.tolist() == [["50"], [""]]


def test_an_absent_column_is_one_line_that_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"no column 'er_statsu'\. Nearest columns: 'er_status'"):
        read_covariates(spec_of(tmp_path, TABLE, "er_statsu"), ("TCGA-AA-0001",))


def test_what_is_no_covariate_is_refused(tmp_path: Path) -> None:
    ids = tuple(f"P{i:03d}" for i in range(120))
    cases = {
        "'x' is not a number": [*map(str, range(119)), "x"],
        "120 different words": [f"name {i}" for i in range(120)],
        "nothing is recorded for any of the 120": ["NA"] * 120,
    }
    for found, cells in cases.items():
        rows = [f"{one},{cell}" for one, cell in zip(ids, cells, strict=True)]
        text = "\n".join(["PATIENT,column", *rows]) + "\n"
        with pytest.raises(TableError, match=found):
            read_covariates(spec_of(tmp_path, text, "column"), ids)


def test_the_label_is_no_covariate(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(TABLE, encoding="utf-8")
    for name in ("Subtype", "patient_id"):
        spec = CohortSpec(labels=tmp_path / "labels.csv", covariates=(name,), classes=CLASSES)
        with pytest.raises(ConfigError, match="the column of the patient or of the label"):
            read_covariates(spec, ("TCGA-AA-0001",))


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["50", "61.5", "", "NA"], "number"),
        (["1", "2", "3"], "number"),
        (["G1", "g2", "Grade 3", "GX"], "rank"),
        (["G1", "2"], "rank"),
        (["Stage I", "IA", "IIIC", "Stage X"], "rank"),
        (["T1c", "T2", "T4b"], "rank"),
        (["N0 (i-)", "N1mi", "pN2"], "rank"),
        (["Positive", "Negative", "Equivocal"], "category"),
        (["1", "yes"], "category"),
        (["nan", "inf", "1"], "category"),
        ([""], "category"),
    ],
)
def test_kinds(cells: list[str], kind: str) -> None:
    assert kind_of(cells) == kind


def test_ranks_stand_in_the_order_of_the_stages() -> None:
    stages = ["0", "I", "IB", "II", "IIB", "IIIA", "IIIB", "IIIC", "IV"]
    ranks = [number_of(f"Stage {one}", "rank") for one in stages]
    known = [rank for rank in ranks if rank is not None]
    assert len(known) == len(stages)
    assert known == sorted(set(known))
    assert number_of("Stage IA", "rank") == number_of("stage i", "rank") == 1
    assert [number_of(one, "rank") for one in ("G1", "grade 2", "3")] == [1, 2, 3]


@pytest.mark.parametrize(
    "name",
    ["ER_STATUS_BY_IHC", "er", "PR status", "HER2", "erbb2_ihc", "EstrogenReceptor", "ERStatus",
     "oestrogen", "progesterone_receptor_status", "triple negative", "PAM50Call", "SUBTYPE"],
)  # fmt: skip
def test_receptors_are_known_by_name(name: str) -> None:
    assert looks_like_receptor(name)


@pytest.mark.parametrize("name", ["age", "stage", "grade", "number", "other", "SITE", "primary"])
def test_others_are_not(name: str) -> None:
    assert not looks_like_receptor(name)


def test_notes_list_them_and_warn_of_receptors(tmp_path: Path) -> None:
    ids = ("TCGA-AA-0001", "TCGA-AA-0003", "TCGA-AA-0004")
    age = covariate_notes(read_covariates(spec_of(tmp_path, TABLE, "age"), ids))
    assert age == ["Clinical covariates besides slides and expression: age (number, 1 missing)."]
    notes = covariate_notes(read_covariates(spec_of(tmp_path, TABLE, "er_status", "stage"), ids))
    assert "er_status (2 categories, 1 missing), stage (rank, 1 missing)" in notes[0]
    assert notes[1].startswith("Warning: covariates that look like hormone receptors, HER2")
