"""Expression tables: which axis is genes, which unit, every duplicate and fault named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crosstype.cohort.spec import ExpressionSpec
from crosstype.cohort.unit import Unit, recognise_unit
from crosstype.errors import CohortError, Fault, TableError
from crosstype.tables import Table, parse_numbers, read_grid
from crosstype.terms import TCGA_BARCODE, patient_of

SYMBOL_COLUMNS = ("hugo_symbol", "gene_symbol", "gene_name", "symbol")
ANNOTATION_COLUMNS = frozenset(
    {"entrez_gene_id", "entrez", "entrezgene", "gene_id", "gene_type", "description", "cytoband"}
    | set(SYMBOL_COLUMNS)
)
ID_COLUMNS_SEARCHED = 5


@dataclass(frozen=True)
class Expression:
    """Expression of samples as a table gave it, before any preprocessing.

    Attributes:
        values: float32 (n_samples, n_genes); NaN where missing.
        sample_ids: one id per row, verbatim and unique.
        genes: one name per column, verbatim and unique.
        unit: `linear`, `log` or `zscore`.
        notes: what was found, in words: format, orientation, unit, duplicates, what was dropped.
    """

    values: np.ndarray
    sample_ids: tuple[str, ...]
    genes: tuple[str, ...]
    unit: Unit
    notes: tuple[str, ...]


def read_expression(
    path: Path, spec: ExpressionSpec, known_patients: Collection[str]
) -> Expression:
    """Read an expression table, genes x samples or samples x genes.

    Samples lie along the axis whose names match the known patients (failing that, look like TCGA
    barcodes). Genes without name and genes without any value are dropped with a note; a sample
    without any value is kept as missing.

    Args:
        path: csv, tsv (gz or not) or xlsx.
        spec: unit and what becomes of duplicated genes.
        known_patients: patient ids of the other tables.

    Raises:
        TableError: the file is damaged; a sample is there twice; a cell is text or infinite.
        CohortError: neither axis names a known patient.
    """
    table = read_grid(path)
    notes: list[str] = []
    known = {patient_of(patient) for patient in known_patients}
    if _samples_lie_in_columns(table, known, notes):
        values, samples, genes = _genes_by_samples(table, notes)
    else:
        values, samples, genes = _samples_by_genes(table, known, notes)
    _check_samples(path.name, samples)
    values, genes = _drop_empty_genes(values, genes, notes)
    values, genes = _join_duplicates(path.name, values, genes, spec, notes)
    if not genes:
        raise TableError(Fault(path.name, "no gene has any value", "Give an expression table."))
    unit, evidence = recognise_unit(values)
    if spec.unit not in ("auto", unit):
        evidence = f"as set; the values look like {unit}: {evidence}"
    unit = unit if spec.unit == "auto" else spec.unit
    notes.append(f"unit: {unit} ({evidence})")
    notes.append(f"{len(samples)} samples, {len(genes)} genes")
    return Expression(np.ascontiguousarray(values), samples, genes, unit, tuple(notes))


def _n_known(names: Sequence[str], known: Collection[str]) -> int:
    return sum(patient_of(name) in known for name in names)


def _n_barcodes(names: Sequence[str]) -> int:
    return sum(bool(TCGA_BARCODE.match(name.strip())) for name in names)


def _id_candidates(table: Table) -> list[list[str]]:
    return [
        table.cells.to_series(i).to_list()
        for i in range(min(ID_COLUMNS_SEARCHED, len(table.names)))
    ]


def _samples_lie_in_columns(table: Table, known: Collection[str], notes: list[str]) -> bool:
    """Find the axis of the samples and note the evidence."""
    candidates = _id_candidates(table)
    in_columns = _n_known(table.names, known)
    in_rows = max(_n_known(column, known) for column in candidates)
    what = "known patients"
    if not in_columns and not in_rows:
        in_columns = _n_barcodes(table.names)
        in_rows = max(_n_barcodes(column) for column in candidates)
        what = "TCGA barcodes"
    if not in_columns and not in_rows:
        example = min(known, default="none")
        raise CohortError(
            f"{table.path.name}: nobody in common with the other tables. Found columns "
            f"{_shown(table.names[1:])} and rows {_shown(candidates[0])}; "
            f"expected {len(known)} patients such as {example!r} along one axis."
        )
    orientation = "genes x samples" if in_columns >= in_rows else "samples x genes"
    notes.append(
        f"{table.path.name}: {orientation}; {what}: {in_columns} among {len(table.names)} "
        f"columns, {in_rows} among {table.cells.height} rows"
    )
    return in_columns >= in_rows


def _shown(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:3]) + (", ..." if len(names) > 3 else "")


def _numbers(table: Table, columns: Sequence[int]) -> np.ndarray:
    values, faults = parse_numbers(table, columns)
    if faults:
        raise TableError(faults)
    return values


def _genes_by_samples(
    table: Table, notes: list[str]
) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...]]:
    """Read genes in rows; the symbol column names them, other annotation columns are dropped."""
    folded = [name.strip().casefold() for name in table.names]
    symbol = next((folded.index(name) for name in SYMBOL_COLUMNS if name in folded), 0)
    dropped = {i for i, name in enumerate(folded) if name in ANNOTATION_COLUMNS} | {symbol}
    columns = [i for i in range(len(folded)) if i not in dropped]
    if dropped - {symbol}:
        listed = ", ".join(table.names[i] for i in sorted(dropped - {symbol}))
        notes.append(f"columns not used: {listed}")
    genes = tuple(cell.strip() for cell in table.cells.to_series(symbol).to_list())
    samples = tuple(table.names[i].strip() for i in columns)
    return _numbers(table, columns).T, samples, genes


def _samples_by_genes(
    table: Table, known: Collection[str], notes: list[str]
) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...]]:
    """Read samples in rows; of several id columns that with most known patients is used."""
    candidates = _id_candidates(table)
    matches = [(_n_known(column, known), _n_barcodes(column)) for column in candidates]
    best = max(range(len(matches)), key=lambda i: (matches[i], -i))
    half = table.cells.height / 2
    ids = {i for i, found in enumerate(matches) if max(found) >= half} | {best}
    if ids - {best}:
        listed = ", ".join(table.names[i] for i in sorted(ids - {best}))
        notes.append(f"columns not used: {listed}")
    columns = [i for i in range(len(table.names)) if i not in ids]
    samples = tuple(cell.strip() for cell in candidates[best])
    return _numbers(table, columns), samples, tuple(table.names[i].strip() for i in columns)


def _check_samples(file_name: str, samples: Sequence[str]) -> None:
    faults = [
        Fault(
            file_name,
            f"sample {sample!r} is there {n} times" if sample else f"{n} samples without an id",
            "Keep one of them.",
        )
        for sample, n in Counter(samples).items()
        if n > 1 or not sample
    ]
    if faults:
        raise TableError(faults)


def _drop_empty_genes(
    values: np.ndarray, genes: tuple[str, ...], notes: list[str]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Drop genes without a name or without a single value, and say how many."""
    unnamed = np.array([not gene for gene in genes], dtype=bool)
    empty = np.isnan(values).all(axis=0) & ~unnamed
    if unnamed.any():
        notes.append(f"{int(unnamed.sum())} genes without a name left out")
    if empty.any():
        listed = ", ".join(genes[i] for i in np.flatnonzero(empty)[:5])
        notes.append(f"{int(empty.sum())} genes without any value left out ({listed})")
    kept = np.flatnonzero(~(unnamed | empty))
    return values[:, kept], tuple(genes[i] for i in kept)


def _join_duplicates(
    file_name: str,
    values: np.ndarray,
    genes: tuple[str, ...],
    spec: ExpressionSpec,
    notes: list[str],
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Make genes unique at the place of their first mention, as `duplicate_genes` says."""
    columns: dict[str, list[int]] = {}
    for i, gene in enumerate(genes):
        columns.setdefault(gene, []).append(i)
    repeated = {gene: found for gene, found in columns.items() if len(found) > 1}
    if not repeated:
        return values, genes
    if spec.duplicate_genes == "error":
        remedy = 'Keep one, or set [expression] duplicate_genes = "mean".'
        raise TableError(
            [
                Fault(file_name, f"gene {g!r} is there {len(c)} times", remedy)
                for g, c in repeated.items()
            ]
        )
    joined = values[:, [found[0] for found in columns.values()]]
    if spec.duplicate_genes == "mean":
        for position, (gene, found) in enumerate(columns.items()):
            if gene in repeated:
                joined[:, position] = _mean(values[:, found])
    kept = "mean" if spec.duplicate_genes == "mean" else "first"
    notes.append(
        f"{len(repeated)} genes stand there several times; {kept} used ({_shown(list(repeated))})"
    )
    return joined, tuple(columns)


def _mean(values: np.ndarray) -> np.ndarray:
    """Return the row means of what is present; NaN where nothing is."""
    n_present = (~np.isnan(values)).sum(axis=1)
    total = np.nansum(values, axis=1, dtype=np.float64)
    mean: np.ndarray = np.where(n_present > 0, total / np.maximum(n_present, 1), np.nan)
    return mean.astype(np.float32)
