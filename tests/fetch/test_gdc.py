"""`crosstype fetch gdc` through the command line, against a local server of the GDC's shapes."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crosstype.config.read import read_config
from crosstype.expression.read import read_expression
from crosstype.expression.spec import ExpressionSpec

from .conftest import Server, left_overs, md5

Call = Callable[..., tuple[int, str, str]]
N = 8
PATIENTS = [f"TCGA-A{number % 2 + 1}-A{number:03d}" for number in range(N)]
HEADER = (
    "gene_id\tgene_name\tgene_type\tunstranded\tstranded_first\tstranded_second\t"
    "tpm_unstranded\tfpkm_unstranded\tfpkm_uq_unstranded"
)


def star_counts(tpms: list[float]) -> bytes:
    """Return a file as the GDC's STAR workflow leaves it, with TPM of four of its genes."""
    genes = [
        ("ENSG00000091831.24", "ESR1", "protein_coding"),
        ("ENSG00000141736.13", "ERBB2", "protein_coding"),
        ("ENSG00000182378.15_PAR_Y", "PLCXD1", "protein_coding"),
        ("ENSG00000228572.7", "LINC01", "lncRNA"),
    ]
    lines = ["# gene-model: GENCODE v36", HEADER]
    lines += [
        f"N_{what}\t\t\t10\t11\t12\t\t\t"
        for what in ("unmapped", "multimapping", "noFeature", "ambiguous")
    ]
    for gene, value in zip(genes, tpms, strict=True):
        lines.append("\t".join([*gene, "5", "2", "3", f"{value}", "0.1", "0.2"]))
    return ("\n".join(lines) + "\n").encode()


def file_of(patient: str, sample: str, name: str, data: bytes, **more: Any) -> dict[str, Any]:
    """Return what the GDC's index holds about a file."""
    types = {"01A": "Primary Tumor", "11A": "Solid Tissue Normal", "01Z": "Primary Tumor"}
    return {
        "file_id": f"{md5(name.encode())[:8]}-0000-4000-8000-{md5(name.encode())[:12]}",
        "file_name": name,
        "file_size": len(data),
        "md5sum": md5(data),
        "state": "released",
        "access": "open",
        "cases": [
            {
                "submitter_id": patient,
                "project": {"project_id": "TCGA-BRCA"},
                "samples": [{"submitter_id": f"{patient}-{sample}", "sample_type": types[sample]}],
            }
        ],
        **more,
    }


def expression_of(patient: str, sample: str, number: int) -> tuple[dict[str, Any], bytes]:
    data = star_counts([number + 0.5, 3.25 * number, 9.0, 7.0])
    name = f"{md5(f'{patient}{sample}{number}'.encode())}.rna_seq.augmented_star_gene_counts.tsv"
    more = {
        "data_category": "Transcriptome Profiling",
        "data_type": "Gene Expression Quantification",
        "experimental_strategy": "RNA-Seq",
        "analysis": {"workflow_type": "STAR - Counts"},
        "associated_entities": [{"entity_submitter_id": f"{patient}-{sample}-{number:02d}R"}],
    }
    return file_of(patient, sample, name, data, **more), data


def slide_of(patient: str, strategy: str = "Diagnostic Slide") -> tuple[dict[str, Any], bytes]:
    data = f"pixels of {patient}".encode()
    more = {
        "data_category": "Biospecimen",
        "data_type": "Slide Image",
        "experimental_strategy": strategy,
        "associated_entities": [{"entity_submitter_id": f"{patient}-01Z-00-DX1"}],
    }
    name = f"{patient}-01Z-00-{strategy[:2]}1.{md5(patient.encode())}.svs"
    return file_of(patient, "01Z", name, data, **more), data


def case_of(number: int) -> dict[str, Any]:
    ductal = "Infiltrating duct carcinoma, NOS"
    return {
        "case_id": f"case-{number}",
        "submitter_id": PATIENTS[number],
        "primary_site": "Breast",
        "disease_type": "Ductal and Lobular Neoplasms",
        "project": {"project_id": "TCGA-BRCA", "name": "Breast Invasive Carcinoma"},
        "demographic": {"gender": "female", "vital_status": "Alive", "age_at_index": 50 + number},
        "diagnoses": [
            {
                "submitter_id": f"{PATIENTS[number]}_prior",
                "primary_diagnosis": "Melanoma",
                "diagnosis_is_primary_disease": False,
                "sites_of_involvement": ["a", "b"],
            },
            {
                "submitter_id": f"{PATIENTS[number]}_this",
                "primary_diagnosis": "Lobular carcinoma, NOS" if number % 4 > 1 else ductal,
                "diagnosis_is_primary_disease": True,
                "sites_of_involvement": ["Breast,\tleft", "Node"],
                "treatments": [{"deeper": 1}],
            },
        ],
    }


def serve(server: Server, *more: tuple[dict[str, Any], bytes]) -> dict[str, bytes]:
    """Serve expression and slides of every patient, and what must not be chosen."""
    found = [expression_of(patient, "01A", number) for number, patient in enumerate(PATIENTS)]
    found += [slide_of(patient) for patient in PATIENTS]
    found += [slide_of(PATIENTS[0], "Tissue Slide"), *more]
    other = expression_of("TCGA-XX-0000", "01A", 99)
    other[0]["cases"][0]["project"]["project_id"] = "TCGA-LUAD"
    found.append(other)
    server.serve_gdc([one for one, _ in found], [case_of(number) for number in range(N)])
    for one, data in found:
        server.content[f"/data/{one['file_id']}"] = data
    return {one["file_name"]: data for one, data in found}


def fetch(call: Call, server: Server, out: Path, *more: object) -> tuple[int, str, str]:
    return call("fetch", "gdc", "--out", out, "--base", server.base, *more)


def rows(path: Path, separator: str = ",") -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle, delimiter=separator))


def test_expression_and_clinical_data_are_the_default(
    call: Call, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crosstype.fetch.gdc.PAGE", 3)
    files = serve(server)
    code, said, err = fetch(call, server, tmp_path)
    assert code == 0, err
    assert f"{N} files in" in said
    there = {one.name: one.read_bytes() for one in (tmp_path / "expression").iterdir()}
    assert len(there) == N
    assert there == {name: files[name] for name in there}
    assert server.n_asked("/files") == 3  # pages of three
    assert not (tmp_path / "slides").exists()
    assert not (tmp_path / "slides.csv").exists()
    sheet = rows(tmp_path / "gdc_sample_sheet.tsv", "\t")
    assert list(sheet[0]) == [
        "File ID", "File Name", "Data Category", "Data Type", "Project ID", "Case ID",
        "Sample ID", "Sample Type",
    ]  # fmt: skip
    assert [one["Case ID"] for one in sheet] == sorted(PATIENTS)
    assert sheet[0]["Sample ID"] == f"{min(PATIENTS)}-01A"
    assert {one["Sample Type"] for one in sheet} == {"Primary Tumor"}
    manifest = rows(tmp_path / "manifest.tsv", "\t")
    assert list(manifest[0]) == ["id", "filename", "md5", "size", "state"]
    for one in manifest:
        assert one["md5"] == md5(files[one["filename"]])
        assert int(one["size"]) == len(files[one["filename"]])
    assert not left_overs(tmp_path)


def test_clinical_rows_are_of_the_primary_disease(
    call: Call, server: Server, tmp_path: Path
) -> None:
    serve(server)
    code, _, err = fetch(call, server, tmp_path, "--clinical")
    assert code == 0, err
    table = rows(tmp_path / "clinical.csv")
    assert [one["PATIENT"] for one in table] == sorted(PATIENTS)
    first = table[0]
    assert first["PATIENT"] == "TCGA-A1-A000"
    assert first["SITE"] == "A1"
    assert first["demographic.age_at_index"] == "50"
    assert first["diagnosis.primary_diagnosis"] == "Infiltrating duct carcinoma, NOS"
    assert first["diagnosis.sites_of_involvement"] == "Breast, left|Node"
    assert first["n_diagnoses"] == "2"
    assert not (tmp_path / "expression").exists()
    assert not (tmp_path / "manifest.tsv").exists()


def test_the_folder_is_read_as_expression(call: Call, server: Server, tmp_path: Path) -> None:
    twin, normal = expression_of(PATIENTS[0], "01A", 50), expression_of(PATIENTS[0], "11A", 60)
    serve(server, twin, normal)
    assert fetch(call, server, tmp_path, "--expression")[0] == 0
    found = read_expression(tmp_path / "expression", ExpressionSpec(), PATIENTS)
    assert found.genes == ("ESR1", "ERBB2")
    assert sorted(found.sample_ids) == sorted(
        [f"{PATIENTS[0]}-11A", *(f"{p}-01A" for p in PATIENTS)]
    )
    assert found.measure == "tpm"
    held = dict(zip(found.sample_ids, found.values.tolist(), strict=True))
    assert held[f"{PATIENTS[0]}-01A"] == [0.5, 0.0]  # the first aliquot in barcode order
    assert held[f"{PATIENTS[3]}-01A"] == [3.5, 9.75]
    assert any("1 samples have several files" in note for note in found.notes)


def test_slides_are_diagnostic_ones_and_the_limit_counts_patients(
    call: Call, server: Server, tmp_path: Path
) -> None:
    files = serve(server)
    code, _, err = fetch(
        call, server, tmp_path, "--slides", "--expression", "--clinical", "--limit", 2
    )
    assert code == 0, err
    table = rows(tmp_path / "slides.csv")
    assert list(table[0]) == ["PATIENT", "FILENAME"]
    assert [one["PATIENT"] for one in table] == sorted(PATIENTS)[:2]
    there = {one.name: one.read_bytes() for one in (tmp_path / "slides").iterdir()}
    assert there == {one["FILENAME"]: files[one["FILENAME"]] for one in table}
    assert all("-Di1." in name for name in there)
    assert len(list((tmp_path / "expression").iterdir())) == 2
    assert len(rows(tmp_path / "clinical.csv")) == 2
    spec = read_config(tmp_path / "crosstype.toml")
    assert spec.cohort.slides == tmp_path / "slides.csv"
    assert spec.slides.folder == tmp_path / "slides"
    assert spec.cohort.expression == tmp_path / "expression"
    assert spec.cohort.labels is None


def test_the_config_makes_a_cohort_once_labels_are_named(
    call: Call, server: Server, tmp_path: Path, make_features: Callable[[Path], None]
) -> None:
    serve(server)
    assert fetch(call, server, tmp_path)[0] == 0
    make_features(tmp_path / "features")
    config = tmp_path / "crosstype.toml"
    text = config.read_text()
    text = text.replace('# labels = "labels.csv"', 'labels = "clinical.csv"')
    text = text.replace(
        '# label_column = "TCGA Subtype"', 'label_column = "diagnosis.primary_diagnosis"'
    )
    text = text.replace("# [[", "[[").replace("# name", "name").replace("# labels", "labels")
    text = text.replace('"BRCA.LumA", "BRCA.LumB"', '"Infiltrating duct carcinoma, NOS"')
    text = text.replace('"BRCA.Basal", "BRCA.Her2"', '"Lobular carcinoma, NOS"')
    text += '\n[features]\nfolder = "features"\n[folds]\nn_folds = 2\nn_inner_folds = 2\n'
    config.write_text(text)
    code, _, err = call("cohort", config, "--out", tmp_path / "out")
    assert code == 0, err
    assert len(rows(tmp_path / "out" / "cohort.csv")) == N


@pytest.fixture
def make_features() -> Callable[[Path], None]:
    import numpy as np

    from crosstype.features.formats.open import write_features

    def make(folder: Path) -> None:
        for patient in PATIENTS:
            write_features(folder / f"{patient}.h5", np.ones((2, 3), np.float32))

    return make


def test_unsafe_names_are_reported(call: Call, server: Server, tmp_path: Path) -> None:
    slide, data = slide_of("TCGA-A9-0003")
    serve(server, ({**slide, "file_name": "../evil.svs"}, data))
    code, _, err = fetch(call, server, tmp_path / "out", "--slides")
    assert code == 1
    assert "'../evil.svs': not a plain file name" in err
    assert not list(tmp_path.rglob("evil.svs"))


def test_without_any_expression_file_the_config_names_none(
    call: Call, server: Server, tmp_path: Path
) -> None:
    files = serve(server)
    for path in list(server.content):
        server.always[path] = "404"
    code, _, err = fetch(call, server, tmp_path)
    assert code == 1
    assert err.count("Skipped: ") == N
    assert read_config(tmp_path / "crosstype.toml").cohort.expression is None
    assert files


def test_controlled_files_are_reported_and_not_fetched(
    call: Call, server: Server, tmp_path: Path
) -> None:
    secret, data = expression_of("TCGA-A9-SECR", "01A", 70)
    files = serve(server, ({**secret, "access": "controlled"}, data))
    first = next(name for name in files if name.endswith("counts.tsv"))
    file_id = f"{md5(first.encode())[:8]}-0000-4000-8000-{md5(first.encode())[:12]}"
    server.always[f"/data/{file_id}"] = "403"
    code, said, err = fetch(call, server, tmp_path)
    assert code == 1
    faults = [line for line in err.splitlines() if line.startswith("Skipped: ")]
    assert len(faults) == 2
    assert all("dbGaP" in line for line in faults)
    assert f"{N - 1} files in" in said
    assert server.n_asked(f"/data/{secret['file_id']}") == 0
    assert not (tmp_path / "expression" / first).exists()


@pytest.mark.parametrize(
    "answer",
    [
        [],
        {"data": {"hits": [], "pagination": {}}},
        {"data": {"hits": [{"file_id": "x"}], "pagination": {"total": 1}}},
        {"data": None},
        {"message": "internal error"},
        {"data": {"hits": [], "pagination": {"total": 5}}},
    ],
)
def test_an_answer_of_another_shape_is_one_line(
    call: Call, server: Server, tmp_path: Path, answer: object
) -> None:
    server.answers["/files"] = lambda _: answer
    code, out, err = fetch(call, server, tmp_path / "out")
    assert (code, out) == (1, "")
    assert len(err.strip().splitlines()) == 1
    assert "not what the GDC's API documents" in err or "run the command again" in err
    assert not (tmp_path / "out").exists()


def test_an_unknown_project(call: Call, server: Server, tmp_path: Path) -> None:
    serve(server)
    code, _, err = fetch(call, server, tmp_path, "--project", "TCGA-BRAC")
    assert code == 1
    assert "cases.project.project_id = TCGA-BRAC" in err
    code, _, err = fetch(call, server, tmp_path, "--project", "TCGA-BRAC", "--clinical")
    assert code == 1
    assert "no patient is of project TCGA-BRAC" in err
