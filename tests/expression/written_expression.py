"""One matrix in every layout of the field, written by hand or by the layouts' own libraries."""

from __future__ import annotations

import csv
import gzip
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import anndata
import mudata
import numpy as np
import openpyxl
import pandas as pd

HEADER = "\t".join(
    ["gene_id", "gene_name", "gene_type", "unstranded", "stranded_first", "stranded_second",
     "tpm_unstranded", "fpkm_unstranded", "fpkm_uq_unstranded"]
)  # fmt: skip


@dataclass(frozen=True)
class Matrix:
    """Samples x genes; NaN where missing."""

    values: np.ndarray
    samples: list[str]
    genes: list[str]

    def rows(self, *, genes_in_rows: bool) -> list[list[str]]:
        cells = [["" if np.isnan(v) else repr(float(v)) for v in row] for row in self.values]
        table = [
            ["gene", *self.genes],
            *([s, *r] for s, r in zip(self.samples, cells, strict=True)),
        ]
        return [list(one) for one in zip(*table, strict=True)] if genes_in_rows else table

    def frame(self) -> pd.DataFrame:
        return pd.DataFrame(self.values, index=self.samples, columns=self.genes)


def _text(separator: str, *, genes_in_rows: bool, zipped: bool = False) -> Callable[..., Path]:
    def write(matrix: Matrix, folder: Path) -> Path:
        out = io.StringIO()
        rows = matrix.rows(genes_in_rows=genes_in_rows)
        csv.writer(out, delimiter=separator, lineterminator="\n").writerows(rows)
        data = out.getvalue().encode()
        path = folder / ("table.tsv.gz" if zipped else "table.csv")
        path.write_bytes(gzip.compress(data) if zipped else data)
        return path

    return write


def _xlsx(matrix: Matrix, folder: Path) -> Path:
    book = openpyxl.Workbook()
    sheet = book.active
    for row in matrix.rows(genes_in_rows=True):
        sheet.append([row[0], *(_cell(one) for one in row[1:])])
    book.save(folder / "table.xlsx")
    return folder / "table.xlsx"


def _cell(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        return text or None


def _parquet(matrix: Matrix, folder: Path) -> Path:
    matrix.frame().T.rename_axis("gene").reset_index().to_parquet(folder / "table.parquet")
    return folder / "table.parquet"


def _parquet_index(matrix: Matrix, folder: Path) -> Path:
    matrix.frame().to_parquet(folder / "table.parquet")
    return folder / "table.parquet"


def _cbioportal(matrix: Matrix, folder: Path) -> Path:
    lines = ["\t".join(["Hugo_Symbol", "Entrez_Gene_Id", *matrix.samples])]
    for number, (gene, *cells) in enumerate(matrix.rows(genes_in_rows=True)[1:]):
        lines.append("\t".join([gene, str(900_000 + number), *(cell or "NA" for cell in cells)]))
    path = folder / "data_mrna_seq_v2_rsem.txt"
    path.write_text("#a comment\n" + "\n".join(lines) + "\n")
    return path


def _h5ad(matrix: Matrix, folder: Path) -> Path:
    _annotated(matrix).write_h5ad(folder / "table.h5ad")
    return folder / "table.h5ad"


def _h5mu(matrix: Matrix, folder: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        protein = anndata.AnnData(np.ones((len(matrix.samples), 1), np.float32))
        protein.obs_names, protein.var_names = matrix.samples, ["protein of nobody"]
        mudata.MuData({"rna": _annotated(matrix), "prot": protein}).write(folder / "table.h5mu")
    return folder / "table.h5mu"


def _annotated(matrix: Matrix) -> anndata.AnnData:
    data = anndata.AnnData(matrix.values.astype(np.float32))
    data.obs_names, data.var_names = matrix.samples, matrix.genes
    return data


def write_gdc(matrix: Matrix, folder: Path) -> Path:
    """STAR counts, one file per sample, with the portal's sample sheet beside the folder."""
    place = folder / "gdc"
    place.mkdir()
    place_of = {gene: 100 + number for number, gene in enumerate(matrix.genes)}
    sheet = [
        "File ID\tFile Name\tData Category\tData Type\tProject ID\tCase ID\tSample ID\tSample Type"
    ]
    for number, (sample, row) in enumerate(zip(matrix.samples, matrix.values, strict=True)):
        name = f"{number:08x}.rna_seq.augmented_star_gene_counts.tsv"
        lines = ["# gene-model: GENCODE v36", HEADER]
        lines += [f"N_{kind}\t\t\t7\t7\t7\t\t\t" for kind in ("unmapped", "multimapping")]
        for gene, value in zip(matrix.genes, row, strict=True):
            tpm = "" if np.isnan(value) else repr(float(value))
            cells = [f"ENSG{place_of[gene]:011d}.3", gene, "protein_coding", "5", "5", "5", tpm]
            lines.append("\t".join([*cells, "1", "1"]))
        lines.append("ENSG00000000001.2_PAR_Y\tPARTWIN\tprotein_coding\t0\t0\t0\t0\t0\t0")
        lines.append("ENSG00000000002.2\tNOTCODING\tlncRNA\t0\t0\t0\t3\t0\t0")
        (place / name).write_text("\n".join(lines) + "\n")
        sheet.append(f"id{number}\t{name}\tc\tt\tTCGA-BRCA\t{sample[:12]}\t{sample}\tPrimary Tumor")
    (folder / "gdc_sample_sheet.2026-01-01.tsv").write_text("\n".join(sheet) + "\n")
    return place


LAYOUTS: dict[str, Callable[[Matrix, Path], Path]] = {
    "csv, genes in rows": _text(",", genes_in_rows=True),
    "csv, samples in rows": _text(",", genes_in_rows=False),
    "tsv.gz, genes in rows": _text("\t", genes_in_rows=True, zipped=True),
    "semicolons, samples in rows": _text(";", genes_in_rows=False),
    "xlsx": _xlsx,
    "parquet": _parquet,
    "parquet of a pandas index": _parquet_index,
    "cBioPortal": _cbioportal,
    "h5ad": _h5ad,
    "h5mu": _h5mu,
    "GDC folder": write_gdc,
}  # fmt: skip
