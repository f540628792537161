from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from crosstype.cohort.cohort import (
    build_cohort,
    load_expression,
    save_expression,
    write_cohort,
    write_left_out,
)
from crosstype.cohort.spec import ClassSpec, CohortSpec
from crosstype.errors import CohortError, TableError
from crosstype.expression.spec import ExpressionSpec
from crosstype.features.spec import FeaturesSpec
from crosstype.features.store import find_slides, inspect_slides
from crosstype.io.files import sha256_of
from crosstype.io.tables import read_table
from crosstype.tcga import aliquot_order

REAL = Path(os.environ.get("CROSSTYPE_DATA", "absent")) / "tcga_brca"


@dataclass(frozen=True)
class Slide:
    slide_id: str
    patient_id: str
    n_tiles: int = 3
    fault: str = ""


def barcode(i: int, tail: str = "") -> str:
    return f"TCGA-A{i // 4}-000{i}{tail}"


def spec_of(folder: Path, samples: list[str]) -> CohortSpec:
    lines = [f"{barcode(i)},{'LumA' if i < 4 else 'Basal'}" for i in range(8)]
    (folder / "labels.csv").write_text("PATIENT,Subtype\n" + "\n".join(lines) + "\n")
    header = "\t".join(["gene", *samples])
    values = "\t".join(["A", *(str(100 * i) for i in range(len(samples)))])
    (folder / "expression.tsv").write_text(f"{header}\n{values}\n")
    return CohortSpec(
        labels=folder / "labels.csv",
        label_column="Subtype",
        expression=folder / "expression.tsv",
        classes=(ClassSpec("Luminal", ("LumA",)), ClassSpec("Basal", ("Basal",))),
    )


def test_samples_and_slides_follow_the_stated_rule(tmp_path: Path) -> None:
    samples = [barcode(i, "-01A") for i in range(6)]
    samples += [barcode(0, "-11A"), barcode(6, "-06A"), barcode(1, "-02A"), barcode(2, "-01B")]
    slides = [Slide(barcode(i, "-01Z-00-DX1"), barcode(i)) for i in range(8)]
    slides[3] = Slide(barcode(3, "-11A-01-TS1"), barcode(3))
    slides[4] = Slide(barcode(4, "-01Z-00-DX1"), barcode(4), 0, "X.h5: cannot be read.")
    slides.append(Slide(barcode(5, "-01Z-00-DX0"), barcode(5), 4))
    spec = spec_of(tmp_path, samples)
    cohort = build_cohort(spec, ExpressionSpec(), slides, n_folds=1)
    assert cohort.patient_ids == tuple(barcode(i) for i in (0, 1, 2, 5))
    assert cohort.expression.values[:, 0].tolist() == [0.0, 100.0, 200.0, 500.0]
    assert cohort.n_tiles == (3, 3, 3, 7)
    assert cohort.slide_ids[3] == (barcode(5, "-01Z-00-DX0"), barcode(5, "-01Z-00-DX1"))
    assert cohort.sites == ("A0", "A0", "A0", "A1")
    left_out = {row.patient_id: (row.step, row.reason) for row in cohort.left_out}
    assert left_out[barcode(3)][0] == "slides"
    assert "normal tissue" in left_out[barcode(3)][1]
    assert "cannot be read" in left_out[barcode(4)][1]
    assert "metastasis" in left_out[barcode(6)][1]
    assert left_out[barcode(7)] == ("expression", "not in the expression table")
    assert any(barcode(1, "-02A") in note for note in cohort.notes)
    reversed_cohort = build_cohort(spec, ExpressionSpec(), slides[::-1], n_folds=1)
    assert reversed_cohort.slide_ids == cohort.slide_ids
    with pytest.raises(CohortError, match="'Basal' has 1 patients, fewer than the 2 folds"):
        build_cohort(spec, ExpressionSpec(), slides, n_folds=2)


def test_no_common_patient_and_one_class_are_errors(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, [barcode(i, "-01") for i in range(8)])
    with pytest.raises(CohortError, match=r"labels.csv 8 \(such as 'TCGA.*usable slides 1"):
        build_cohort(spec, ExpressionSpec(), [Slide("x", "P9")], n_folds=2)
    slides = [Slide(f"s{i}", barcode(i)) for i in range(4)]
    with pytest.raises(CohortError, match="one class only, 'Luminal'"):
        build_cohort(spec, ExpressionSpec(), slides, n_folds=2)


def test_files_come_back(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, [barcode(i, "-01") for i in range(8)])
    slides = [Slide(f"s{i}", barcode(i)) for i in range(7)]
    cohort = build_cohort(spec, ExpressionSpec(), slides, n_folds=2)
    write_cohort(tmp_path / "cohort.csv", cohort)
    write_left_out(tmp_path / "left_out.csv", cohort.left_out)
    assert read_table(tmp_path / "cohort.csv")["patient_id"].to_list() == list(cohort.patient_ids)
    assert read_table(tmp_path / "left_out.csv").row(0)[:2] == (barcode(7), "slides")
    cache = tmp_path / "expression.npz"
    save_expression(cache, cohort.expression)
    back = load_expression(cache)
    assert (back.patient_ids, back.genes, back.unit) == (cohort.patient_ids, ("A",), "linear")
    np.testing.assert_array_equal(back.values, cohort.expression.values)
    cache.write_bytes(cache.read_bytes()[:-40])
    with pytest.raises(TableError):
        load_expression(cache)


@pytest.mark.long  # tests/real/test_real.py has the same counts through the command
@pytest.mark.real
@pytest.mark.skipif(not REAL.is_dir(), reason="CROSSTYPE_DATA does not name the real data")
@pytest.mark.parametrize(
    ("sites", "table", "counts"),
    [
        (("A2",), "expression_rsem_909.tsv.gz", (63, 28)),
        ((), "expression_rsem_909.tsv.gz", (586, 205)),
        ((), "counts_20124.tsv.gz", (44, 36)),
    ],
)
def test_the_real_cohorts(sites: tuple[str, ...], table: str, counts: tuple[int, int]) -> None:
    spec = CohortSpec(
        labels=REAL / "labels.csv",
        label_column="TCGA Subtype",
        slides=REAL / "slides.csv",
        expression=REAL / table,
        sites=sites,
        classes=(
            ClassSpec("Luminal", ("BRCA.LumA", "BRCA.LumB")),
            ClassSpec("Basal/Her2", ("BRCA.Basal", "BRCA.Her2")),
        ),
    )
    features = FeaturesSpec(folder=REAL / "features_hipt_vit256")
    slides = find_slides(features, spec.slides, spec.patient_column)
    rows = inspect_slides(slides, features, sha256_of)
    cohort = build_cohort(spec, ExpressionSpec(), rows, n_folds=5)
    found = Counter(cohort.labels)
    assert (found["Luminal"], found["Basal/Her2"]) == counts
    assert len(cohort.patient_ids) + len(cohort.left_out) == 921


def test_replicate_aliquots_go_by_vial_analyte_and_plate() -> None:
    order = [
        "TCGA-A1-A0SB-01A-11H-A145-07",
        "TCGA-A1-A0SB-01A-12R-A200-07",
        "TCGA-A1-A0SB-01A-11R-A200-07",
        "TCGA-A1-A0SB-01A-31R-A145-07",
        "TCGA-A1-A0SB-01A-11T-A145-07",
        "TCGA-A1-A0SB-01B-11R-A300-07",
        "TCGA-A1-A0SB-02A-11R-A300-07",
    ]
    assert sorted(reversed(order), key=aliquot_order) == order
    assert sorted(["b", "a"], key=aliquot_order) == ["a", "b"]
    assert min(["TCGA-A1-A0SB-06", "TCGA-A1-A0SB-01"], key=aliquot_order)[-2:] == "01"
