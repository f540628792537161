"""Labels called from expression where there is no label table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from crosstype.cohort.cohort import build_cohort
from crosstype.cohort.spec import ClassSpec, CohortSpec
from crosstype.config.read import read_config
from crosstype.config.validate import check_ready
from crosstype.errors import CohortError, ConfigError
from crosstype.expression.spec import ExpressionSpec
from crosstype.pam50.centroids import read_centroids

CENTROIDS = read_centroids()


@dataclass(frozen=True)
class Slide:
    slide_id: str
    patient_id: str
    n_tiles: int = 3
    fault: str = ""


def patient(i: int) -> str:
    return f"TCGA-A{i % 3}-{i:04d}"


def spec_of(folder: Path, n: int = 60) -> CohortSpec:
    """Write log2 expression of n patients, every fifth of each subtype, and a normal tissue."""
    rng = np.random.default_rng(4)
    level = rng.uniform(4, 14, 50)[:, None]
    values = level + CENTROIDS.values[:, np.arange(n) % 5] + rng.normal(0, 0.2, (50, n))
    ids = [f"{patient(i)}-01A" for i in range(n)]
    ids[-1] = f"{patient(n - 1)}-11A"
    lines = ["\t".join(["gene", *ids])]
    lines += [
        "\t".join([gene, *(f"{one:.3f}" for one in row)])
        for gene, row in zip(CENTROIDS.genes, values, strict=True)
    ]
    (folder / "log2.tsv").write_text("\n".join(lines) + "\n")
    return CohortSpec(
        labels_from_pam50="er-balanced",
        expression=folder / "log2.tsv",
        classes=(ClassSpec("Luminal", ("BRCA.LumA", "LumB")), ClassSpec("Basal", ("BRCA_Basal",))),
    )


def test_calls_become_labels_and_everyone_else_has_a_reason(tmp_path: Path) -> None:
    slides = [Slide(f"{patient(i)}-01Z-00-DX1", patient(i)) for i in (*range(50), 59, 70)]
    cohort = build_cohort(spec_of(tmp_path), ExpressionSpec(exclude_pam50=False), slides, 1)
    truth = {patient(i): CENTROIDS.subtypes[i % 5] for i in range(60)}
    wanted = {"LumA": "Luminal", "LumB": "Luminal", "Basal": "Basal"}
    assert dict(zip(cohort.patient_ids, cohort.labels, strict=True)) == {
        patient(i): wanted[truth[patient(i)]] for i in range(50) if truth[patient(i)] in wanted
    }
    assert set(cohort.sites) == {"A0", "A1", "A2"}
    assert cohort.provenance.startswith("computed from RNA by this run (PAM50, er-balanced): ")
    assert "evaluated by a label made of them" in cohort.provenance
    assert any(note.startswith("labels called from log2.tsv") for note in cohort.notes)
    reasons = {row.patient_id: (row.step, row.reason) for row in cohort.left_out}
    assert len(reasons) + len(cohort.patient_ids) == 61
    assert reasons[patient(4)] == ("labels", "PAM50 call 'Normal' is in no class")
    assert "normal tissue" in reasons[patient(59)][1]
    assert reasons[patient(70)][1].endswith("not in the expression table")
    assert reasons[patient(50)] == ("slides", "no slide")


def test_a_chosen_site_does_not_change_what_the_calls_are_centred_on(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    slides = [Slide(f"{patient(i)}-01Z-00-DX1", patient(i)) for i in range(59)]
    everyone = build_cohort(spec, ExpressionSpec(), slides, 1)
    some = build_cohort(replace(spec, sites=("A1",)), ExpressionSpec(), slides, 1)
    label = dict(zip(everyone.patient_ids, everyone.labels, strict=True))
    assert set(some.sites) == {"A1"}
    assert [label[one] for one in some.patient_ids] == list(some.labels)


def test_the_genes_can_be_withheld_after_the_calls(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    text = spec.expression.read_text() if spec.expression else ""
    columns = len(text.partition("\n")[0].split("\t")) - 1
    (tmp_path / "log2.tsv").write_text(text + "\t".join(["OTHER", *["5.5"] * columns]) + "\n")
    slides = [Slide(f"{patient(i)}-01Z-00-DX1", patient(i)) for i in range(50)]
    cohort = build_cohort(spec, ExpressionSpec(exclude_pam50=True), slides, 1)
    assert cohort.expression.genes == ("OTHER",)
    assert len(cohort.patient_ids) == 30


def test_what_contradicts_itself_is_refused(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    slides = [Slide("a", patient(0))]
    with pytest.raises(ConfigError, match="label_column and labels_from_pam50 are both set"):
        build_cohort(replace(spec, label_column="Subtype"), ExpressionSpec(), slides, 1)
    both = (ClassSpec("A", ("LumA",)), ClassSpec("B", ("BRCA.LumA", "Basal")))
    with pytest.raises(ConfigError, match=r"'LumA' is in two classes, 'A' and 'B'"):
        build_cohort(replace(spec, classes=both), ExpressionSpec(), slides, 1)
    odd = (ClassSpec("A", ("LumA",)), ClassSpec("B", ("positive",)))
    with pytest.raises(CohortError, match=r"log2.tsv: class 'B' has no patient.*'Her2'"):
        build_cohort(replace(spec, classes=odd), ExpressionSpec(), slides, 1)
    with pytest.raises(ConfigError, match=r"found 'ZZ', which no patient of log2.tsv has"):
        build_cohort(replace(spec, sites=("ZZ",)), ExpressionSpec(), slides, 1)


def test_a_config_with_called_labels_needs_no_label_table(tmp_path: Path) -> None:
    spec_of(tmp_path)
    (tmp_path / "features").mkdir()
    text = """\
[cohort]
labels_from_pam50 = "median"
expression = "log2.tsv"
[[cohort.classes]]
name = "Luminal"
labels = ["LumA"]
[[cohort.classes]]
name = "Basal"
labels = ["Basal"]
[features]
folder = "features"
"""
    path = tmp_path / "my.toml"
    path.write_text(text)
    spec = read_config(path)
    assert spec.cohort.labels_from_pam50 == "median"
    check_ready(spec, needs_labels=True)
    (tmp_path / "labels.csv").write_text("PATIENT,Subtype\nP1,LumA\n")
    path.write_text(text.replace("[cohort]", '[cohort]\nlabels = "labels.csv"', 1))
    with pytest.raises(ConfigError, match="labels and labels_from_pam50 are both set"):
        check_ready(read_config(path), needs_labels=True)
    path.write_text(text.replace('labels_from_pam50 = "median"', "", 1))
    with pytest.raises(ConfigError, match="labels is not set"):
        check_ready(read_config(path), needs_labels=True)
