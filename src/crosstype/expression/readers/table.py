"""Reader of expression tables: delimited text, xlsx and parquet, in either orientation.

Covers the layouts of UCSC Xena, cBioPortal (`Hugo_Symbol`, `Entrez_Gene_Id`, comment lines), R,
pandas and spreadsheets.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from crosstype.errors import CohortError, Fault, TableError
from crosstype.expression.annotation import (
    are_row_numbers,
    folded,
    is_annotation,
    is_gene_list,
    listed,
)
from crosstype.expression.matrix import RawExpression
from crosstype.io.number_table import NumberTable, read_number_table
from crosstype.io.tables import Table, is_missing
from crosstype.tcga import TCGA_BARCODE, comparable, patient_of

SYMBOL_COLUMNS = (
    *("hugo_symbol", "gene_symbol", "gene_name", "symbol", "hgnc_symbol", "external_gene_name"),
)
ID_COLUMNS_SEARCHED = 5


def read_expression_table(
    path: Path, known: Collection[str], keep: Collection[str] = ()
) -> RawExpression:
    """Read an expression table.

    The axis of samples is the one whose names match the known patients, else TCGA barcodes; else,
    if there are no known patients, genes are in rows.

    Args:
        path: csv, tsv (gz or not), xlsx or parquet.
        known: patients of the other tables; empty if there are none.
        keep: names that are genes although they look like annotation.

    Raises:
        TableError: the file is damaged, or a cell is text or infinite.
        CohortError: neither axis names a known patient.
    """
    table = read_number_table(path, partial(text_columns, known=known, keep=keep))
    table = replace(table, names=tuple(map(_without_place, table.names)))
    if not table.names:
        titles = listed([title for title, _ in table.texts if title], 6)
        found = f"no column of expression: it looks like labels or clinical data ({titles})"
        raise TableError(Fault(path.name, found, "Give the expression table."))
    in_columns, note = _samples_lie_in_columns(table, known)
    notes = [note, *table.notes]
    if in_columns:
        genes = _names_of_genes(table, notes)
        values = np.ascontiguousarray(table.values.T)
        return RawExpression(values, _stripped(table.names), genes, tuple(notes))
    samples = _ids_of_samples(table, known, notes)
    return RawExpression(table.values, samples, _stripped(table.names), tuple(notes))


def _without_place(name: str) -> str:
    """Return a sample's name of the path of its alignment, by which featureCounts names columns."""
    if not re.search(r"\.(bam|sam|cram)$", name.strip(), re.IGNORECASE):
        return name
    file = re.split(r"[/\\]", name.strip())[-1]
    return re.sub(r"([._]?Aligned[.\w]*|[._](sorted|markdup|dedup))*\.(bam|sam|cram)$", "", file)


def text_columns(table: Table, known: Collection[str], keep: Collection[str] = ()) -> list[int]:
    """Return the text columns: the first, annotations, and columns of ids near the beginning."""
    found = [0]
    for i, name in enumerate(table.names[1:], start=1):
        is_id = i < ID_COLUMNS_SEARCHED and _is_id_column(table.cells[str(i)], known)
        if is_id or (is_annotation(name) and name not in keep and not n_known([name], known)):
            found.append(i)
    return found


def _is_id_column(cells: pl.Series, known: Collection[str]) -> bool:
    """Return whether at least half of a column's cells are known patients or TCGA barcodes."""
    texts = [cell.strip() for cell in cells.to_list()]
    filled = [text for text in texts if not is_missing(text)]
    matches = max(n_known(filled, known), _n_barcodes(filled))
    return bool(filled) and matches * 2 >= len(filled)


def n_known(names: Sequence[str], known: Collection[str]) -> int:
    """Return how many names are of known patients, however they are spelled."""
    keys = {comparable(one) for one in known}
    return sum(comparable(patient_of(name)) in keys for name in names)


def _n_barcodes(names: Sequence[str]) -> int:
    return sum(bool(TCGA_BARCODE.match(name.strip())) for name in names)


def _samples_lie_in_columns(table: NumberTable, known: Collection[str]) -> tuple[bool, str]:
    """Return whether samples are in columns, and a note with the evidence."""
    candidates = [cells for _, cells in table.texts]
    shape = f"{len(table.names)} columns, {len(table.values)} rows"
    in_columns = n_known(table.names, known)
    in_rows = max(n_known(cells, known) for cells in candidates)
    what = "known patients"
    if not in_columns and not in_rows:
        in_columns = _n_barcodes(table.names)
        in_rows = max(_n_barcodes(cells) for cells in candidates)
        what = "TCGA barcodes"
    if not in_columns and not in_rows and not known:
        in_columns, in_rows = is_gene_list(candidates[0]), is_gene_list(table.names)
        what = "genes along the other axis: samples"
    if not in_columns and not in_rows:
        if known:
            raise CohortError(_nobody_known(table, known))
        return True, f"{table.path.name}: taken as genes x samples; {shape}"
    orientation = "genes x samples" if in_columns >= in_rows else "samples x genes"
    evidence = f"{what} along {'columns' if in_columns >= in_rows else 'rows'}"
    return in_columns >= in_rows, f"{table.path.name}: {orientation} ({evidence}); {shape}"


def _nobody_known(table: NumberTable, known: Collection[str]) -> str:
    return (
        f"{table.path.name}: nobody in common with the other tables. Found columns "
        f"{shown(table.names)} and rows {shown(table.texts[0][1])}; "
        f"expected {len(known)} patients such as {min(known)!r} along one axis."
    )


def shown(names: Sequence[str]) -> str:
    """Return the first three names, for a message."""
    return ", ".join(repr(name) for name in names[:3]) + (", ..." if len(names) > 3 else "")


def _stripped(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name.strip() for name in names)


def _names_of_genes(table: NumberTable, notes: list[str]) -> tuple[str, ...]:
    """Return the cells of the symbol column, or of the first that does not count the rows."""
    titles = [folded(title) for title, _ in table.texts]
    names = [i for i, (_, cells) in enumerate(table.texts) if not are_row_numbers(cells)]
    first = names[0] if names else 0
    column = next((titles.index(name) for name in SYMBOL_COLUMNS if name in titles), first)
    _note_unused(table, {column}, notes)
    return tuple(table.texts[column][1])


def _ids_of_samples(
    table: NumberTable, known: Collection[str], notes: list[str]
) -> tuple[str, ...]:
    """Return the cells of the text column with most known patients."""
    columns = [cells for _, cells in table.texts]
    matches = [(n_known(cells, known), _n_barcodes(cells)) for cells in columns]
    best = max(range(len(matches)), key=lambda i: (matches[i], -i))
    _note_unused(table, {best}, notes)
    return tuple(columns[best])


def _note_unused(table: NumberTable, used: set[int], notes: list[str]) -> None:
    unused = [
        title.strip() or "(no name)" for i, (title, _) in enumerate(table.texts) if i not in used
    ]
    if unused:
        notes.append(f"columns that are no sample and no gene, not used: {listed(unused, 12)}")
