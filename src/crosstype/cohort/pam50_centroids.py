"""The centroids that PAM50 compares a sample with: the published ones, or another table's."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from crosstype.cohort.pam50_genes import FORMER_SYMBOLS
from crosstype.errors import Fault, TableError
from crosstype.files import sha256_of
from crosstype.tables import Table, open_table

PUBLISHED = Path(__file__).parent / "centroids" / "pam50_centroids.tsv"
PUBLISHED_SHA256 = "c17cb4e90ba17c641cead7c07cac67206ca64ec2c297b490f8df63414bb35d89"
SUBTYPES = {
    "basal": "Basal",
    "her2": "Her2",
    "luma": "LumA",
    "luminala": "LumA",
    "lumb": "LumB",
    "luminalb": "LumB",
    "normal": "Normal",
}
"""Names in centroid tables, in lower case and without marks, to those of every output."""


@dataclass(frozen=True)
class Centroids:
    """Typical expression of each subtype.

    Attributes:
        genes: today's symbols.
        subtypes: names of the columns, in the table's order, which decides ties.
        values: float64 (n_genes, n_subtypes), in log2 relative to the gene's median.
    """

    genes: tuple[str, ...]
    subtypes: tuple[str, ...]
    values: np.ndarray


def read_centroids(path: Path | None = None) -> Centroids:
    """Read a table of centroids: genes in rows, a first column of symbols, a column per subtype.

    Former symbols of PAM50 genes get today's; `luminal_a`, `LumA` and the like are one name.

    Args:
        path: the table; None for the published centroids (Parker et al. 2009).

    Raises:
        TableError: the table is not there, holds text, gaps, repeated genes or equal columns; or
            the published one is not as it was published.
    """
    if path is None and (not PUBLISHED.is_file() or sha256_of(PUBLISHED) != PUBLISHED_SHA256):
        found = "the published centroids are not as they were installed"
        remedy = "Install crosstype again; give centroids of your own with --centroids."
        raise TableError(Fault(PUBLISHED.name, found, remedy))
    table = open_table(path or PUBLISHED)
    genes = _genes(table)
    subtypes = _subtypes(table)
    cells = table.cells.select(pl.exclude("0").str.strip_chars())
    numbers = cells.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
    faults = [
        Fault(
            f"{table.where(int(row))}, column {table.names[1 + int(column)]!r}",
            f"{cells[int(row), int(column)]!r} is not a finite number",
            "A centroid has a number for every gene.",
        )
        for row, column in np.argwhere(~np.isfinite(numbers))
    ]
    faults += [
        Fault(table.path.name, f"all genes of {name!r} have one value", "Give the whole table.")
        for name, column in zip(subtypes, numbers.T, strict=True)
        if not faults and np.ptp(column) == 0
    ]
    if faults:
        raise TableError(faults)
    return Centroids(genes, subtypes, np.ascontiguousarray(numbers))


def _genes(table: Table) -> tuple[str, ...]:
    """Return the symbols of the first column; raise if one is absent or stands there twice."""
    written = [name.partition("|")[0].strip() for name in table.cells["0"].to_list()]
    genes = tuple(FORMER_SYMBOLS.get(name.upper(), name) for name in written)
    faults = [
        Fault(table.path.name, f"gene {gene!r} is there {n} times", "Keep one of them.")
        for gene, n in Counter(genes).items()
        if n > 1 or not gene
    ]
    if len(genes) < 3:
        faults = [Fault(table.path.name, f"{len(genes)} genes", "Expected a gene in every row.")]
    if faults:
        raise TableError(faults)
    return genes


def _subtypes(table: Table) -> tuple[str, ...]:
    """Return the subtypes' names; raise if there are fewer than two or one is repeated."""
    names = [name.strip() for name in table.names[1:]]
    plain = ["".join(one for one in name.lower() if one.isalnum()) for name in names]
    subtypes = tuple(SUBTYPES.get(key, name) for key, name in zip(plain, names, strict=True))
    if len(set(subtypes)) < max(2, len(subtypes)):
        found = f"columns {', '.join(names) or '(none)'} behind the genes"
        remedy = "Expected one column per subtype, at least two, each with its own name."
        raise TableError(Fault(f"{table.path.name} header", found, remedy))
    return subtypes
