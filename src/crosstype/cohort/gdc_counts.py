"""A folder of GDC STAR counts, one `*.augmented_star_gene_counts.tsv` per sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from crosstype.cohort.raw_expression import RawExpression
from crosstype.cohort.spec import ExpressionSpec
from crosstype.cohort.unit import Measure
from crosstype.errors import Fault, TableError
from crosstype.tables import open_table

PATTERN = "*star_gene_counts.tsv*"
SHEET_PATTERN = "*sample_sheet*.tsv"
UNITS: dict[str, Measure] = {
    "unstranded": "counts",
    "stranded_first": "counts",
    "stranded_second": "counts",
    "tpm_unstranded": "tpm",
    "fpkm_unstranded": "fpkm",
    "fpkm_uq_unstranded": "fpkm",
}
"""Columns of a file, and the unit of each."""


def read_gdc_folder(folder: Path, spec: ExpressionSpec) -> RawExpression:
    """Read the STAR counts of a folder and its subfolders, named by the portal's sample sheet.

    Genes are named by `gene_name`; the four `N_*` rows, which count reads of no gene, and the
    copies on the Y chromosome's pseudoautosomal regions (`_PAR_Y`) are dropped.

    Args:
        folder: as downloaded from the GDC.
        spec: `gdc_column` is what is read; `sample_sheet` names the sheet where it lies elsewhere.

    Raises:
        TableError: there is no such file, no sample sheet or two, or a file is damaged.
    """
    files = {path.name.removesuffix(".gz"): path for path in sorted(folder.rglob(PATTERN))}
    if not files:
        found = f"no {PATTERN} in it or its subfolders"
        raise TableError(Fault(folder.name, found, "Name the folder of the GDC's STAR counts."))
    sheet = spec.sample_sheet or _find_sheet(folder)
    samples, notes = _samples_of(sheet, files)
    genes: tuple[str, ...] = ()
    rows = []
    for path in samples.values():
        names, values = _read_file(path, spec.gdc_column)
        if genes and names != genes:
            found = f"{len(names)} genes, other ones than the first file's {len(genes)}"
            raise TableError(Fault(path.name, found, "Give files of one GDC data release."))
        genes = names
        rows.append(values)
    notes.insert(0, f"{folder.name}: {len(samples)} STAR count files, column {spec.gdc_column}")
    unit = UNITS[spec.gdc_column]
    return RawExpression(np.stack(rows), tuple(samples), genes, tuple(notes), unit)


def _find_sheet(folder: Path) -> Path:
    """Return the one sample sheet in the folder or beside it."""
    for place in (folder, folder.parent):
        found = sorted(place.glob(SHEET_PATTERN))
        if len(found) == 1:
            return found[0]
        if found:
            listed = ", ".join(path.name for path in found[:3])
            remedy = "Name the right one as sample_sheet under [expression]."
            raise TableError(Fault(folder.name, f"several sample sheets: {listed}", remedy))
    remedy = "Download it from the GDC cart and name it as sample_sheet under [expression]."
    raise TableError(Fault(folder.name, f"no {SHEET_PATTERN} in it or beside it", remedy))


def _samples_of(sheet: Path, files: Mapping[str, Path]) -> tuple[dict[str, Path], list[str]]:
    """Return the file of each sample, the first in name order where there are several."""
    table = open_table(sheet)
    pairs = sorted(zip(table.column("File Name"), table.column("Sample ID"), strict=True))
    named = [(name.removesuffix(".gz"), sample) for name, sample in pairs]
    samples: dict[str, Path] = {}
    for name, sample in named:
        if name in files and sample:
            samples.setdefault(sample.split(",")[0].strip(), files[name])
    if not samples:
        found = f"none of its {len(named)} files is in the folder"
        raise TableError(Fault(sheet.name, found, "Give the sheet of the same download."))
    notes = []
    unnamed = sorted(set(files) - {name for name, _ in named})
    if unnamed:
        notes.append(f"{len(unnamed)} files that {sheet.name} does not name (first {unnamed[0]})")
    several = [one for one, n in Counter(sample for name, sample in named if name in files).items()
               if n > 1]  # fmt: skip
    if several:
        notes.append(
            f"{len(several)} samples have several files, the first by name is used "
            f"(first {several[0]})"
        )
    return samples, notes


def _read_file(path: Path, column: str) -> tuple[tuple[str, ...], np.ndarray]:
    """Return a file's gene names and one of its columns."""
    try:
        frame = pl.read_csv(
            path,
            separator="\t",
            comment_prefix="#",
            columns=["gene_id", "gene_name", column],
            schema_overrides={"gene_id": pl.String, "gene_name": pl.String, column: pl.Float32},
        )
    except (PolarsError, OSError, UnicodeDecodeError) as error:
        found = f"not a whole file of STAR counts ({str(error).splitlines()[0]})"
        raise TableError(Fault(path.name, found, "Download it again.")) from None
    frame = frame.filter(
        ~pl.col("gene_id").str.starts_with("N_") & ~pl.col("gene_id").str.ends_with("_PAR_Y")
    )
    if not frame.height:
        raise TableError(Fault(path.name, "no gene", "Download it again."))
    values = frame[column].fill_null(float("nan")).to_numpy().astype(np.float32)
    named = frame["gene_name"].fill_null(frame["gene_id"])
    return tuple(named.to_list()), values
