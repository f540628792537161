from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from crosstype.cohort.labels import provenance_of, read_labels
from crosstype.cohort.spec import ClassSpec, CohortSpec
from crosstype.errors import CohortError, ConfigError, TableError
from crosstype.tcga import is_tumour

TEXT = """PATIENT,SITE,Subtype
007,A,LumA
007,A,LumA
P2,A,Basal
P3,B,LumA
P3,B,Basal
P4,B,Odd
P5,B,
P6,B,LumB
"""


def spec_of(folder: Path, text: str = TEXT) -> CohortSpec:
    path = folder / "labels.csv"
    path.write_text(text, encoding="utf-8")
    classes = (ClassSpec("Luminal", ("LumA", "LumB")), ClassSpec("Basal", ("Basal",)))
    return CohortSpec(labels=path, label_column="Subtype", classes=classes)


def test_everyone_has_a_class_or_a_reason(tmp_path: Path) -> None:
    labels = read_labels(spec_of(tmp_path))
    assert labels.class_of == {"007": "Luminal", "P2": "Basal", "P6": "Luminal"}
    assert labels.left_out == {
        "P3": ("labels", "two labels: Basal, LumA"),
        "P4": ("labels", "label 'Odd' is in no class"),
        "P5": ("labels", "no label"),
    }


def test_sites_are_chosen_and_unknown_ones_refused(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    assert set(read_labels(replace(spec, sites=("A",))).class_of) == {"007", "P2"}
    assert set(read_labels(replace(spec, exclude_sites=("A",))).class_of) == {"P6"}
    with pytest.raises(ConfigError, match=r"'Z'.*Known sites: A, B"):
        read_labels(replace(spec, sites=("Z",)))


def test_faults_of_config_and_table_name_the_remedy(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    with pytest.raises(TableError, match=r"no column 'Subtyp'. Nearest columns: 'Subtype'"):
        read_labels(replace(spec, label_column="Subtyp"))
    with pytest.raises(ConfigError, match="at least two"):
        read_labels(replace(spec, classes=spec.classes[:1]))
    with pytest.raises(ConfigError, match="'LumA' is listed twice"):
        read_labels(replace(spec, classes=(*spec.classes, ClassSpec("C", ("LumA",)))))
    with pytest.raises(ConfigError, match="'macro' is what metrics over all classes are called"):
        read_labels(replace(spec, classes=(*spec.classes, ClassSpec("macro", ("Her2",)))))
    with pytest.raises(CohortError, match="no row has the label 'Her2' of class 'C'"):
        read_labels(replace(spec, classes=(*spec.classes, ClassSpec("C", ("Her2",)))))
    with pytest.raises(TableError, match="line 2: no patient"):
        read_labels(spec_of(tmp_path, "PATIENT,Subtype\n,LumA\nP1,Basal\n"))


def test_metastases_and_normals_are_no_tumours() -> None:
    kinds = {kind: is_tumour(f"TCGA-A2-A04P-{kind}A") for kind in ("01", "02", "06", "07", "11")}
    assert kinds == {"01": True, "02": True, "06": False, "07": False, "11": False}
    assert is_tumour("anything")


def test_provenance_warns_of_labels_computed_from_rna() -> None:
    assert "RNA" in provenance_of(["BRCA.LumA", "BRCA.Basal", "BRCA.Normal"])
    assert "RNA" in provenance_of(["BRCA_LumA", "Her2-enriched"])
    assert provenance_of(["positive", "negative"]) == "unknown"


def test_the_label_column_is_the_one_with_the_labels(tmp_path: Path) -> None:
    text = "#Patient\tClass\n#a\tb\nPATIENT_ID\tClass\tSUBTYPE\n"
    text += "P1\t1\tLumA\nP2\t0\tBasal\nP3\t1\tLumB\n"
    spec = replace(spec_of(tmp_path, text), label_column=None)
    assert read_labels(spec).class_of == {"P1": "Luminal", "P2": "Basal", "P3": "Luminal"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("PATIENT,Class\nP1,1\nP2,0\n", "no column holds 'LumA', 'LumB', 'Basal'"),
        ("PATIENT,A,B\nP1,LumA,LumA\nP2,Basal,Basal\n", "columns 'A', 'B' hold the same labels"),
    ],
)
def test_an_ambiguous_label_column_is_an_error(tmp_path: Path, text: str, words: str) -> None:
    spec = replace(spec_of(tmp_path, text), label_column=None)
    with pytest.raises(TableError, match=words):
        read_labels(spec)


def test_another_column_than_the_one_named_is_never_taken(tmp_path: Path) -> None:
    spec = replace(spec_of(tmp_path), patient_column="WHO")
    with pytest.raises(TableError, match="no column 'WHO'"):
        read_labels(spec)


@pytest.mark.parametrize(
    ("source", "expected"),
    [("auto", "computed from RNA"), ("ihc", "immunohistochemistry"), ("clinical", "records")],
)
def test_the_user_sets_the_label_source(tmp_path: Path, source: str, expected: str) -> None:
    spec = replace(spec_of(tmp_path), label_source=source)
    assert expected in read_labels(spec).provenance


def test_receptor_names_are_known() -> None:
    assert "immunohistochemistry" in provenance_of(["ER+", "ER-"])
    assert "immunohistochemistry" in provenance_of(["HR+/HER2-", "TNBC", "HER2 positive"])


def test_labels_of_another_spelling_are_matched_and_said(tmp_path: Path) -> None:
    text = "PATIENT,SITE,Subtype\nP1,A,luma\nP2,A,BASAL\nP3,A,LumB\nP4,A,Basal\nP5,A,Lum B\n"
    text += "P6,A,LumA\n"
    found = read_labels(spec_of(tmp_path, text))
    classes = {"P1": "Luminal", "P2": "Basal", "P3": "Luminal", "P4": "Basal", "P6": "Luminal"}
    assert found.class_of == classes
    assert found.left_out == {"P5": ("labels", "label 'Lum B' is in no class")}
    [note] = found.notes
    assert "'luma' as 'LumA' (1 rows)" in note


def test_labels_that_differ_in_case_alone_stay_apart_if_both_are_listed(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, "PATIENT,SITE,Subtype\nP1,A,er\nP2,A,ER\nP3,A,Er\n")
    spec = replace(spec, classes=(ClassSpec("a", ("er",)), ClassSpec("b", ("ER",))))
    found = read_labels(spec)
    assert found.class_of == {"P1": "a", "P2": "b"}
    assert found.left_out == {"P3": ("labels", "label 'Er' is in no class")}


def test_patients_spelled_as_in_the_slides_table(tmp_path: Path) -> None:
    text = "PATIENT,SITE,Subtype\nbc.1,A,LumA\nBC-2\u200b,A,LumB\nX3,A,Basal\n7.0,A,Basal\n"
    found = read_labels(spec_of(tmp_path, text), ["BC-1", "BC-2", "3", "7"])
    assert set(found.class_of) == {"BC-1", "BC-2", "3", "7"}
    assert any("2 ids of labels.csv are written otherwise" in note for note in found.notes)
    assert any("2 ids are read in another form" in note for note in found.notes)
