"""Reader of folders of GDC STAR counts, one `*.augmented_star_gene_counts.tsv` per sample."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from crosstype.errors import Fault, TableError
from crosstype.expression.matrix import RawExpression
from crosstype.expression.spec import ExpressionSpec
from crosstype.expression.units import Measure
from crosstype.io.tables import open_table

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
    """Read the STAR counts of a folder and its subfolders, with sample ids of the sample sheet.

    Genes are named by `gene_name`; the four `N_*` rows, which count reads of no gene, and the
    copies on the Y chromosome's pseudoautosomal regions (`_PAR_Y`) are dropped.

    Args:
        folder: as downloaded from the GDC.
        spec: `gdc_column`, `gdc_gene_types`, and `sample_sheet` if it is elsewhere.

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
        names, values = _read_file(path, spec)
        if genes and names != genes:
            found = f"{len(names)} genes, other ones than the first file's {len(genes)}"
            raise TableError(Fault(path.name, found, "Give files of one GDC data release."))
        genes = names
        rows.append(values)
    types = ", ".join(spec.gdc_gene_types) or "of every type"
    about = f"column {spec.gdc_column}, genes {types}"
    notes.insert(0, f"{folder.name}: {len(samples)} STAR count files, {about}")
    unit = UNITS[spec.gdc_column]
    return RawExpression(np.stack(rows), tuple(samples), genes, tuple(notes), unit)


def _find_sheet(folder: Path) -> Path:
    """Return the only sample sheet in the folder or its parent."""
    for searched in (folder, folder.parent):
        found = sorted(searched.glob(SHEET_PATTERN))
        if len(found) == 1:
            return found[0]
        if found:
            listed = ", ".join(path.name for path in found[:3])
            remedy = "Name the right one as sample_sheet under [expression]."
            raise TableError(Fault(folder.name, f"several sample sheets: {listed}", remedy))
    remedy = "Download it from the GDC cart and name it as sample_sheet under [expression]."
    raise TableError(Fault(folder.name, f"no {SHEET_PATTERN} in it or beside it", remedy))


def _samples_of(sheet: Path, files: Mapping[str, Path]) -> tuple[dict[str, Path], list[str]]:
    """Return the file of each sample, the sheet's first where there are several."""
    table = open_table(sheet)
    pairs = zip(table.column("File Name"), table.column("Sample ID"), strict=True)
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
            f"{len(several)} samples have several files, of which the first in {sheet.name} is "
            f"used (such as {several[0]})"
        )
    return samples, notes


def _read_file(path: Path, spec: ExpressionSpec) -> tuple[tuple[str, ...], np.ndarray]:
    """Return a file's gene names and one of its columns."""
    column = spec.gdc_column
    texts = dict.fromkeys(("gene_id", "gene_name", "gene_type"), pl.String)
    try:
        frame = pl.read_csv(
            path,
            separator="\t",
            comment_prefix="#",
            columns=[*texts, column],
            schema_overrides={**texts, column: pl.Float32},
        )
    except (PolarsError, OSError, UnicodeDecodeError) as error:
        found = f"not a whole file of STAR counts ({str(error).splitlines()[0]})"
        raise TableError(Fault(path.name, found, "Download it again.")) from None
    frame = frame.filter(
        ~pl.col("gene_id").str.starts_with("N_") & ~pl.col("gene_id").str.ends_with("_PAR_Y")
    )
    if spec.gdc_gene_types:
        frame = frame.filter(pl.col("gene_type").is_in(spec.gdc_gene_types))
    if not frame.height:
        types = ", ".join(spec.gdc_gene_types) or "any type"
        remedy = "Download it again, or look at gdc_gene_types under [expression]."
        raise TableError(Fault(path.name, f"no gene of {types}", remedy))
    values = frame[column].fill_null(float("nan")).to_numpy().astype(np.float32)
    named = frame["gene_name"].fill_null(frame["gene_id"])
    return tuple(named.to_list()), values
