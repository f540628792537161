"""The GDC's STAR counts, one file per sample, joined to the one table that the cohort reads."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from crosstype.errors import Fault, TableError
from crosstype.fetch.gdc_tables import Item
from crosstype.files import hash_of, replacing
from crosstype.tables import read_table

TABLE = "expression.tsv.gz"
ROWS_AT_A_TIME = 1000
VALUE = "tpm_unstranded"
COLUMNS = ("gene_id", "gene_name", "gene_type", VALUE)


def join_expression(items: Sequence[Item], folder: Path) -> tuple[list[str], list[str]]:
    """Write genes x samples, transcripts per million of the protein-coding genes.

    Of several files of one sample the first in barcode order is taken. Genes of the second copy of
    the pseudoautosomal region (`_PAR_Y`) are left out: they are counted on X.

    Args:
        items: the expression files, in barcode order.
        folder: holds them in `expression`, and receives the table.

    Returns:
        Notes, and one line for each file that is not what it should be; the rest is joined.
    """
    chosen = {one.sample_id: one for one in reversed(items)}
    notes = [
        f"{one.file_name}: a second file of sample {one.sample_id}, not in {TABLE}"
        for one in items
        if chosen[one.sample_id] != one
    ]
    faults: list[str] = []
    paths = {sample: folder / "expression" / chosen[sample].file_name for sample in sorted(chosen)}
    paths = {sample: path for sample, path in paths.items() if path.is_file()}
    origin = _origin([(sample, chosen[sample].md5) for sample in paths])
    if _is_of(folder / TABLE, origin):
        return [*notes, f"{TABLE}: as it was, {len(paths)} samples"], faults
    genes: pl.DataFrame | None = None
    columns = []
    for sample, path in paths.items():
        try:
            frame = _read_counts(path)
        except TableError as fault:
            faults.append(f"{fault} It is not in {TABLE}.")
            continue
        if genes is None:
            genes = frame.select("gene_id", "gene_name")
        if not frame["gene_id"].equals(genes["gene_id"]):
            faults.append(f"{path.name}: other genes than the other files. It is not in {TABLE}.")
            continue
        columns.append(frame[VALUE].alias(sample))
    if genes is None:
        (folder / TABLE).unlink(missing_ok=True)
        return [*notes, f"no expression file could be read; there is no {TABLE}"], faults
    origin = _origin([(one.name, chosen[one.name].md5) for one in columns])
    _write(folder / TABLE, origin, pl.DataFrame([genes["gene_name"], *columns]))
    notes.append(f"{TABLE}: {genes.height} genes x {len(columns)} samples, {VALUE}")
    return notes, faults


def _read_counts(path: Path) -> pl.DataFrame:
    """Return the protein-coding genes of one file; raise TableError if it is no STAR counts."""
    frame = read_table(path)
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        found = f"no column {missing[0]!r}"
        raise TableError(Fault(path.name, found, "Expected the GDC's STAR counts."))
    coding = (pl.col("gene_type") == "protein_coding") & ~pl.col("gene_id").str.ends_with("_PAR_Y")
    return frame.filter(coding).select(COLUMNS)


def _origin(files: Sequence[tuple[str, str]]) -> str:
    """Return the table's first line, which says of which files it was made."""
    return f"# {VALUE} of {len(files)} GDC files, fingerprint {hash_of(files)}"


def _is_of(path: Path, origin: str) -> bool:
    """Whether the table is there and was made of the same files."""
    try:
        with gzip.open(path) as handle:
            return handle.readline().decode("utf-8", "replace").rstrip("\n") == origin
    except (OSError, EOFError, zlib.error):
        return False


def _write(path: Path, origin: str, frame: pl.DataFrame) -> None:
    """Write a gzip-compressed table whose bytes depend on its content alone."""
    with (
        replacing(path) as temporary,
        temporary.open("wb") as handle,
        gzip.GzipFile("", "wb", compresslevel=4, fileobj=handle, mtime=0) as packed,
    ):
        packed.write("\n".join([origin, "\t".join(frame.columns), ""]).encode())
        for rows in frame.iter_slices(ROWS_AT_A_TIME):
            packed.write(rows.write_csv(include_header=False, separator="\t").encode())
