"""Names that are no gene and no sample: left out and said; real names stay."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest

from crosstype.errors import CohortError, TableError
from crosstype.expression.annotation import (
    are_of_mouse,
    is_annotation,
    is_gene_list,
    is_summary,
    unrecognised,
)
from crosstype.expression.genes.panels import PAM50_GENES
from crosstype.expression.read import Expression, read_expression
from crosstype.expression.spec import ExpressionSpec

NAMES = (
    "MET SET GC AR STAR CLOCK REST T TIMELESS C1orf112 HLA-DRB1 HLA.DRB1 RP11-34P13.7 NKX2-1 "
    "hsa-mir-21 hsa-miR-21-5p hsa-let-7a-1 ENSG00000141510.17 ENSG00000141510 7157 TP53|7157 "
    "?|100130426 200000_s_at 1007_s_at MARCHF1 SEPTIN2 C9orf72 MT-CO1 mt-Co1 Y_RNA 7SK 5S_rRNA "
    "snoU13 SNORD3A LOC100130426 NM_000546.5 IGHV3-23 TRA@ H19 SLC35E2|728661 CTD-2192J16.17 "
    "LL22NC03-2H8.5 bP-21264C1.2 KIAA0101 DKFZP434I0714 ILMN_1651228 A_23_P100001"
)
REAL = NAMES.split()
VALUES = np.round(np.random.default_rng(3).lognormal(3, 1.5, (6, 4)), 3)
GENES = ("ESR1", "ERBB2", "MKI67", "TP53", "MET", "AR")
SAMPLES = ("P1", "P2", "P3", "P4")


@pytest.mark.parametrize("name", REAL)
def test_real_names_stay(name: str) -> None:
    assert not is_annotation(name)
    assert not is_summary(name)
    assert not unrecognised([name])


ANNOTATION = (
    "Unnamed: 0|OS|OS.time|DFS_MONTHS|age|Age at diagnosis|label|Length|Chr|gene.type|batch|"
    "vital_status|percentage_gene_gc_content|days-to-death|Gene Symbol|row_names"
)


@pytest.mark.parametrize("name", ANNOTATION.split("|"))
def test_annotation_is_recognised_however_it_is_written(name: str) -> None:
    assert is_annotation(name)


def test_summaries_of_aligners_are_recognised() -> None:
    assert all(map(is_summary, ("__no_feature", "__alignment_not_unique", "N_unmapped")))
    assert not any(map(is_summary, ("N_CADHERIN", "NR_1", "_MET")))


def read(
    folder: Path, rows: list[list[str]], known: Collection[str] = SAMPLES, keep: str = ""
) -> Expression:
    path = folder / "expression.tsv"
    path.write_text("\n".join(map("\t".join, rows)) + "\n")
    return read_expression(path, ExpressionSpec(keep_genes=tuple(keep.split())), known)


def clean() -> list[list[str]]:
    cells = [[gene, *map(str, row)] for gene, row in zip(GENES, VALUES, strict=True)]
    return [["gene", *SAMPLES], *cells]


def with_column(place: int, cells: list[str]) -> list[list[str]]:
    return [[*r[:place], c, *r[place:]] for r, c in zip(clean(), cells, strict=True)]


def turned(rows: list[list[str]]) -> list[list[str]]:
    return [list(one) for one in zip(*rows, strict=True)]


NUMBERED = [str(i) for i in range(len(GENES))]


@pytest.mark.parametrize("upright", [True, False])
@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (["__no_feature", "9e5", "8e5", "1e6", "7e5"], "left out, being no genes: __no_feature"),
        (["N_ambiguous", "9e5", "8e5", "1e6", "7e5"], "left out, being no genes: N_ambiguous"),
    ],
)
def test_a_row_of_a_summary_changes_no_number(
    tmp_path: Path, extra: list[str], said: str, upright: bool
) -> None:
    rows = [*clean(), extra]
    found = read(tmp_path, rows if upright else turned(rows))
    assert found.genes == GENES
    np.testing.assert_array_equal(found.values, read(tmp_path, clean()).values)
    assert any(said in note for note in found.notes)
    assert found.measure == "linear"


@pytest.mark.parametrize("place", [0, 1, 3])
@pytest.mark.parametrize(
    ("title", "cells"),
    [
        ("Unnamed: 0", NUMBERED),
        ("Length", ["1200", "3000", "800", "950", "4100", "700"]),
        ("gene_biotype", ["protein_coding"] * 6),
        ("chromosome_name", list("612X77")),
    ],
)
def test_columns_of_annotation_are_no_samples(
    tmp_path: Path, title: str, cells: list[str], place: int
) -> None:
    if place == 0 and title != "Unnamed: 0":
        place = 2
    found = read(tmp_path, with_column(place, [title, *cells]))
    assert (found.genes, found.sample_ids) == (GENES, SAMPLES)
    np.testing.assert_array_equal(found.values, read(tmp_path, clean()).values)
    assert any(title in note for note in found.notes)


@pytest.mark.parametrize("symbols", ["gene", "Gene Symbol", "external.gene.name"])
def test_numbered_rows_before_the_symbols_are_not_taken_for_entrez_ids(
    tmp_path: Path, symbols: str
) -> None:
    rows = with_column(0, ["", *NUMBERED])
    rows[0][1] = symbols
    assert read(tmp_path, rows).genes == GENES


def test_genes_whose_names_were_lost_are_refused(tmp_path: Path) -> None:
    rows = [["", *SAMPLES], *([n, *r[1:]] for n, r in zip(NUMBERED, clean()[1:], strict=True))]
    with pytest.raises(TableError, match=r"genes numbered 0, 1, \.\.\., and not named"):
        read(tmp_path, rows)
    with pytest.raises(TableError, match="not named"):
        read(tmp_path, turned(rows))


def test_clinical_columns_beside_genes_are_left_out_unless_kept(tmp_path: Path) -> None:
    ages = ["age", "51", "62", "70", "44"]
    found = read(tmp_path, turned([*clean(), ages, ["OS.time", "10", "200", "3000", "41"]]))
    assert found.genes == GENES
    assert any("no" in note and "age, OS.time" in note for note in found.notes)
    kept = read(tmp_path, turned([*clean(), ["ER", "5.5", "6.5", "1", "2"]]), keep="ER")
    assert kept.genes == (*GENES, "ER")


def test_patients_named_like_annotation_stay(tmp_path: Path) -> None:
    rows = clean()
    rows[0] = ["gene", "Group", "Group 1", "Case", "P1.2"]
    known = ["Group", "Group 1", "Case", "P1.2", "P1"]
    assert read(tmp_path, rows, known).sample_ids == tuple(rows[0][1:])
    assert read(tmp_path, turned(rows), known).sample_ids == tuple(rows[0][1:])


def test_pandas_second_column_is_refused_and_a_patient_of_that_name_is_not(tmp_path: Path) -> None:
    rows = clean()
    rows[0] = ["gene", "P1", "P1.1", "P2", "P2.1"]
    with pytest.raises(TableError, match="2 samples look like pandas' second columns"):
        read(tmp_path, rows, ["P1", "P2"])
    assert len(read(tmp_path, rows, ["P1", "P2", "P1.1", "P2.1"]).sample_ids) == 4


def test_names_like_no_gene_are_counted_and_named(tmp_path: Path) -> None:
    found = read(tmp_path, turned([*clean(), ["Risk value", "1.5", "2.5", "3.5", "9.5"]]))
    assert any("1 of 7 names look like no human gene" in n for n in found.notes)
    assert any("Risk value" in note for note in found.notes)
    assert not any("look like no" in note for note in read(tmp_path, clean()).notes)
    mouse = [["gene", *SAMPLES], *([r[0].capitalize(), *r[1:]] for r in clean()[1:])]
    assert any("like those of the mouse" in note for note in read(tmp_path, mouse).notes)
    assert not are_of_mouse(REAL)


def test_a_table_of_nobody_is_refused_with_examples(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=r"nobody in common.*'P1'.*'ESR1'.*'Q7'"):
        read(tmp_path, clean(), ["Q7", "Q8"])


def test_lists_of_genes_are_told_from_lists_of_samples() -> None:
    assert is_gene_list(PAM50_GENES[:6])
    assert is_gene_list(["ENSG00000141510.17", "ENSG00000091831", "x"])
    assert not is_gene_list(["P1", "P2", "ESR1"])


@pytest.mark.parametrize("name", ["1-Mar", "2-Sep", "Mar-01", "2026-03-01", "01.03.2026", "1-Dez"])
def test_dates_are_left_out_and_never_joined(tmp_path: Path, name: str) -> None:
    rows = [*clean(), [name, "1", "2", "3", "4"], [name, "5", "6", "7", "8"]]
    found = read(tmp_path, rows)
    assert found.genes == GENES
    assert any("2 gene names are dates" in note and name in note for note in found.notes)


def test_genes_that_are_no_dates_stay(tmp_path: Path) -> None:
    genes = ["MARCHF1", "SEPTIN2", "DEC1", "SEPT2", "MARCH1", "MAR1"]
    rows = [clean()[0], *([g, *r[1:]] for g, r in zip(genes, clean()[1:], strict=True))]
    found = read(tmp_path, rows)
    assert found.genes == tuple(genes)
    assert not any("dates" in note for note in found.notes)


def test_copies_on_the_y_chromosome_are_left_out(tmp_path: Path) -> None:
    copies = [["ENSGR0000002586.3", *"1234"], ["ENSG00000002586.20_PAR_Y", *"1234"]]
    found = read(tmp_path, [*clean(), *copies])
    assert found.genes == GENES
    assert any("2 genes: copies on the Y chromosome" in note for note in found.notes)


def test_names_of_alignments_become_samples(tmp_path: Path) -> None:
    rows = clean()
    rows[0] = ["Geneid", "/data/P1.bam", "P2_sorted.bam", "x/P3Aligned.sortedByCoord.out.bam", "P4"]
    assert read(tmp_path, rows).sample_ids == SAMPLES


def test_natural_logarithms_of_scanpy_become_base_two(tmp_path: Path) -> None:
    import anndata

    data = anndata.AnnData(np.log1p(VALUES.T).astype(np.float32))
    data.obs_names, data.var_names = [f"cell{i}" for i in range(4)], list(GENES)
    data.obs["patient"] = list(SAMPLES)
    data.uns["log1p"] = {"base": None}
    data.write_h5ad(tmp_path / "e.h5ad")
    found = read_expression(tmp_path / "e.h5ad", ExpressionSpec(), SAMPLES)
    assert (found.sample_ids, found.measure) == (SAMPLES, "log")
    np.testing.assert_allclose(found.values, np.log2(VALUES.T + 1), rtol=1e-5)
    assert any("natural logarithms" in note for note in found.notes)
