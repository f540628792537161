"""Gene names: normalisation of identifiers, and merging of duplicated genes.

Only unambiguous names are changed; every kind of change has a note.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from crosstype.errors import Fault, TableError
from crosstype.expression.genes.panels import FORMER_SYMBOLS, PAM50_ENTREZ
from crosstype.expression.spec import ExpressionSpec
from crosstype.io.tables import open_table

ENSEMBL = re.compile(r"^ENSG\d{11}(\.\d+)?(_PAR_Y)?$")
VERSION = re.compile(r"^(ENSG\d{11})\.\d+$")
WITH_ENTREZ = re.compile(r"^([^|?]+)\|(\d+)$")
ENTREZ = re.compile(r"^\d+$")
PAR_Y = re.compile(r"_PAR_Y$|^ENSGR\d{10}")
"""Copies on the Y chromosome, as GENCODE names them from release 25 on, and before."""
MONTH = "(jan|feb|mar|mrz|apr|may|mai|jun|jul|aug|sep|sept|oct|okt|nov|dec|dez)"
EXCEL_DATE = re.compile(
    rf"^(\d{{1,2}}[-. ]{MONTH}([-. ]\d{{2,4}})?|{MONTH}-\d{{1,4}}|"
    r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.0+)?)?)?|\d{1,2}[./]\d{1,2}[./]\d{2,4})$",
    re.IGNORECASE,
)
"""What spreadsheets make of MARCHF1, SEPTIN2 and DELEC1 under their former symbols MARCH1, SEPT2
and DEC1 (Ziemann et al. 2016, Genome Biol 17:177)."""
MOSTLY = 0.9
"""Share of names that must be numbers for genes to count as named by Entrez id."""


def name_genes(names: Sequence[str], spec: ExpressionSpec, notes: list[str]) -> tuple[str, ...]:
    """Return normalised gene names, possibly repeated; "" for genes to drop.

    In this order: the user's table of names; copies on the Y chromosome's pseudoautosomal regions
    (`ENSG00000002586.20_PAR_Y`) and dates are dropped; Ensembl versions are removed; `ESR1|2099`
    becomes `ESR1`; PAM50 genes under Entrez ids or former symbols get the current symbol unless
    the table has that too.

    Args:
        names: as in the table.
        spec: `gene_names` is the user's table.
        notes: receives the changes.

    Raises:
        TableError: the user's table is damaged.
    """
    found = [name.strip() for name in names]
    if spec.gene_names is not None:
        found = _renamed(found, _read_names(spec.gene_names), spec.gene_names.name, notes)
    found = _changed(found, lambda one: "" if PAR_Y.search(one) else one,
                     "copies on the Y chromosome (_PAR_Y, ENSGR) left out", notes)  # fmt: skip
    dates = [one for one in found if EXCEL_DATE.match(one)]
    if dates:
        found = ["" if EXCEL_DATE.match(one) else one for one in found]
        notes.append(
            f"warning: {len(dates)} gene names are dates, as Excel makes of MARCHF1 or SEPTIN2 "
            f"({', '.join(dict.fromkeys(dates[:5]))}); left out, since a date may be several genes"
        )
    found = _changed(found, lambda one: VERSION.sub(r"\1", one), "Ensembl versions removed", notes)
    found = _changed(found, lambda one: WITH_ENTREZ.sub(r"\1", one),
                     "names of the form SYMBOL|ENTREZ, the symbol is used", notes)  # fmt: skip
    if found and sum(bool(ENTREZ.match(one)) for one in found) >= MOSTLY * len(found):
        found = _renamed(found, PAM50_ENTREZ, "the PAM50 genes' Entrez ids", notes)
        notes.append(
            "genes are named by Entrez id: all but the PAM50 genes keep it; "
            "[expression] gene_names names a table with the others' symbols"
        )
    present = set(found)
    former = {
        old: new
        for old in present
        if (new := FORMER_SYMBOLS.get(old.upper())) is not None and new not in present
    }
    return tuple(_renamed(found, former, "former symbols of PAM50 genes", notes))


def _changed(
    names: list[str], change: Callable[[str], str], what: str, notes: list[str]
) -> list[str]:
    changed = [change(name) for name in names]
    n_changed = sum(a != b for a, b in zip(names, changed, strict=True))
    if n_changed:
        notes.append(f"{n_changed} genes: {what}")
    return changed


def _renamed(
    names: list[str], symbols: Mapping[str, str], source: str, notes: list[str]
) -> list[str]:
    """Return names with those in `symbols` replaced; Ensembl ids also match without version."""
    changed = [symbols.get(one) or symbols.get(one.partition(".")[0], one) for one in names]
    pairs = [(a, b) for a, b in zip(names, changed, strict=True) if a != b]
    if pairs:
        shown = ", ".join(f"{a} -> {b}" for a, b in pairs[:3])
        notes.append(f"{len(pairs)} genes renamed by {source} ({shown})")
    return changed


def _read_names(path: Path) -> dict[str, str]:
    """Read a table of two columns, identifier and symbol."""
    table = open_table(path)
    if len(table.names) < 2:
        found = f"{len(table.names)} column"
        raise TableError(Fault(path.name, found, "Expected two: identifier, symbol."))
    first, second = (table.cells[str(i)].str.strip_chars().to_list() for i in range(2))
    return {old: new for old, new in zip(first, second, strict=True) if old and new}


def drop_empty_genes(
    values: np.ndarray, genes: tuple[str, ...], notes: list[str]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Drop genes without a name or without any value, with notes."""
    unnamed = np.array([not gene for gene in genes], dtype=bool)
    missing = np.isnan(values).all(axis=0) if len(values) else np.zeros(len(genes), dtype=bool)
    empty = missing & ~unnamed
    if unnamed.any():
        notes.append(f"{int(unnamed.sum())} genes without a name left out")
    if empty.any():
        listed = ", ".join(genes[i] for i in np.flatnonzero(empty)[:5])
        notes.append(f"{int(empty.sum())} genes without any value left out ({listed})")
    if not (unnamed | empty).any():
        return values, genes
    kept = np.flatnonzero(~(unnamed | empty))
    return values[:, kept], tuple(genes[i] for i in kept)


def join_duplicates(
    file_name: str,
    values: np.ndarray,
    genes: tuple[str, ...],
    spec: ExpressionSpec,
    notes: list[str],
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Merge repeated genes by the rule `duplicate_genes`, at the position of the first.

    Raises:
        TableError: a gene is repeated and the rule is `error`.
    """
    columns: dict[str, list[int]] = {}
    for i, gene in enumerate(genes):
        columns.setdefault(gene, []).append(i)
    repeated = {gene: found for gene, found in columns.items() if len(found) > 1}
    if not repeated:
        return values, genes
    rule = spec.duplicate_genes
    if rule == "error":
        remedy = 'Keep one, or set [expression] duplicate_genes = "mean".'
        raise TableError(
            [
                Fault(file_name, f"gene {gene!r} is there {len(found)} times", remedy)
                for gene, found in repeated.items()
            ]
        )
    joined = values[:, [found[0] for found in columns.values()]]
    column_of = {gene: i for i, gene in enumerate(columns)}
    for gene, found in repeated.items():
        joined[:, column_of[gene]] = _joined(values[:, found], rule)
    shown = ", ".join(list(repeated)[:3]) + (", ..." if len(repeated) > 3 else "")
    notes.append(f"{len(repeated)} genes are repeated; {rule} used ({shown})")
    return joined, tuple(columns)


def _joined(values: np.ndarray, rule: str) -> np.ndarray:
    """Return one column, (n_samples,), of several by the rule; NaN where all are missing."""
    present = ~np.isnan(values)
    if rule == "first":
        return values[:, 0]
    if rule == "highest":  # the gene's row of highest mean, as for microarray probes
        means = np.nansum(values, axis=0, dtype=np.float64) / np.maximum(present.sum(axis=0), 1)
        return values[:, int(np.argmax(np.where(present.any(axis=0), means, -np.inf)))]
    total = np.nansum(values, axis=1, dtype=np.float64)
    n_present = present.sum(axis=1)
    divisor = np.maximum(n_present, 1) if rule == "mean" else 1
    joined: np.ndarray = np.where(n_present > 0, total / divisor, np.nan)
    return joined.astype(np.float32)
