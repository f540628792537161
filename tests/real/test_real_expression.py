"""Every real expression table without a flag, and the archive's tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from crosstype.cohort.labels import read_labels
from crosstype.cohort.spec import ClassSpec, CohortSpec
from crosstype.expression.read import read_expression
from crosstype.expression.spec import ExpressionSpec

TABLES = {
    "tcga_brca/expression_rsem_909.tsv.gz": (921, 909, "linear"),
    "tcga_brca/expression_log2rsem_1000.tsv.gz": (705, 1000, "log"),
    "tcga_brca/counts_20124.tsv.gz": (100, 20124, "counts"),
    "tcga_brca/pam50_genes_log2.tsv.gz": (629, 50, "log"),
    "figshare_28050083_layout/TCGA-BRCA-RNA-Seq.csv": (921, 909, "zscore"),
}


@pytest.mark.real
@pytest.mark.parametrize("name", TABLES)
def test_every_table_is_read_without_a_flag(real_data: Path, name: str) -> None:
    n_samples, n_genes, measure = TABLES[name]
    found = read_expression(real_data / name, ExpressionSpec(), [])
    assert found.values.shape == (n_samples, n_genes)
    assert found.measure == measure
    assert len(found.notes) >= 3


@pytest.mark.real
def test_the_archives_class_column_is_not_the_label(real_data: Path) -> None:
    classes = (
        ClassSpec("Luminal", ("BRCA.LumA", "BRCA.LumB")),
        ClassSpec("Basal/Her2", ("BRCA.Basal", "BRCA.Her2")),
    )
    path = real_data / "figshare_28050083_layout" / "TCGA-BRCA-A2-target_variable.xlsx"
    found = read_labels(CohortSpec(labels=path, classes=classes))  # no label_column is named
    assert sorted(set(found.class_of.values())) == ["Basal/Her2", "Luminal"]
    counts = [list(found.class_of.values()).count(one.name) for one in classes]
    assert counts[0] > counts[1] > 0  # Class, coded in reverse, would give the opposite
