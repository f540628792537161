"""Hallmark gene sets on real tables: how many genes match, and the library's own call."""

from __future__ import annotations

from pathlib import Path

import gseapy
import numpy as np
import pandas as pd
import pytest

from crosstype.expression.genes.sets import read_gene_sets
from crosstype.expression.genes.ssgsea import functional_spectra
from crosstype.expression.read import read_expression
from crosstype.expression.spec import ExpressionSpec

TABLES = {"counts_20124.tsv.gz": (50, 4000), "expression_rsem_909.tsv.gz": (25, 150)}
"""Of each table: at least so many Hallmark sets keep five genes, at least so many genes match."""


@pytest.mark.real
@pytest.mark.parametrize(
    "table",
    [
        pytest.param("counts_20124.tsv.gz", marks=pytest.mark.long),
        "expression_rsem_909.tsv.gz",
    ],
)
def test_hallmark_spectra_of_real_tables_are_the_librarys(real_data: Path, table: str) -> None:
    path = real_data / "tcga_brca" / table
    gmt = real_data / "reference" / "hallmark_v7.0.gmt"
    gene_sets = read_gene_sets(gmt)
    assert len(gene_sets.names) == 50
    expression = read_expression(path, ExpressionSpec(), ())
    matched = gene_sets.matched(expression.genes, 5)
    n_sets, n_genes = TABLES[table]
    assert len(matched.names) >= n_sets
    assert matched.membership.any(axis=0).sum() >= n_genes
    values = expression.values[:20]
    found = functional_spectra(values, matched, 5)
    frame = pd.DataFrame(values.T, index=expression.genes, columns=expression.sample_ids[:20])
    called = gseapy.ssgsea(
        data=frame, gene_sets=str(gmt), outdir=None, min_size=5, max_size=1000, threads=1
    ).res2d.pivot(index="Name", columns="Term", values="ES")
    wanted = called.loc[list(expression.sample_ids[:20]), list(matched.names)].to_numpy(float)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)
