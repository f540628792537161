"""Centroids of the PAM50 subtypes: the published ones, or another table's.

The log2 expression of the PAM50 genes, in the centroids' order, from a table of any unit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from crosstype.errors import CohortError, Fault, TableError
from crosstype.expression.annotation import are_of_mouse
from crosstype.expression.genes.panels import FORMER_SYMBOLS
from crosstype.expression.read import Expression
from crosstype.expression.units import Measure
from crosstype.io.files import sha256_of
from crosstype.io.tables import Table, open_table

PUBLISHED = Path(__file__).parent / "centroid_table" / "pam50_centroids.tsv"
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


LEAST_SHARE_OF_GENES = 0.8
"""Share of the centroids' genes that a table must have: 40 of 50."""


@dataclass(frozen=True)
class Profiles:
    """Log2 expression of the centroids' genes.

    Attributes:
        sample_ids: one id per row.
        genes: those of the centroids' genes that the table has, in the centroids' order.
        values: float64 (n_samples, n_genes), log2; NaN where missing.
        measure: unit of the table.
    """

    sample_ids: tuple[str, ...]
    genes: tuple[str, ...]
    values: np.ndarray
    measure: Measure

    def of(self, gene: str) -> np.ndarray | None:
        """Return one gene's values (n_samples,), or None if the table lacks it."""
        return self.values[:, self.genes.index(gene)] if gene in self.genes else None

    def only(self, genes: Sequence[str]) -> Profiles:
        """Return the profiles of some of the genes, in that order."""
        columns = [self.genes.index(gene) for gene in genes]
        return Profiles(self.sample_ids, tuple(genes), self.values[:, columns], self.measure)


def pam50_profiles(
    file_name: str, expression: Expression, centroids: Centroids, notes: list[str]
) -> Profiles:
    """Pick the centroids' genes and bring them to log2; amounts become log2(x + 1).

    Args:
        file_name: the table's name, for messages.
        expression: as read.
        centroids: of the genes to select.
        notes: receives which genes are missing and what was done to the values.

    Raises:
        CohortError: fewer than four fifths of the genes are there; amounts are negative.
    """
    place = {gene: column for column, gene in enumerate(expression.genes)}
    genes = [gene for gene in centroids.genes if gene in place]
    absent = [gene for gene in centroids.genes if gene not in place]
    least = int(np.ceil(LEAST_SHARE_OF_GENES * len(centroids.genes)))
    found = f"{len(genes)} of the {len(centroids.genes)} genes of the centroids"
    if len(genes) < least and are_of_mouse(expression.genes):
        raise CohortError(
            f"{file_name}: found {found}; names such as {expression.genes[0]!r} are of mouse "
            "genes, and the centroids are of human tumours. Give their human orthologues."
        )
    if len(genes) < least:
        raise CohortError(
            f"{file_name}: found {found}, expected at least {least}. Missing: {', '.join(absent)}. "
            "If genes are named otherwise, give a table of identifiers and symbols (gene_names)."
        )
    if absent:
        notes.append(f"warning: found {found}; calls are made without {', '.join(absent)}")
    values = as_written(expression.values[:, [place[gene] for gene in genes]])
    if expression.unit == "linear":
        if (values < 0).any():
            raise CohortError(
                f"{file_name}: amounts ({expression.measure}) of the PAM50 genes are negative, "
                f"down to {np.nanmin(values):.4g}. If they are logarithms, set unit: log."
            )
        values = np.log2(values + 1)
        notes.append(f"amounts ({expression.measure}) taken to log2(x + 1)")
    elif expression.unit == "zscore":
        notes.append(
            "warning: the values are z-scores, whose genes were already centred and scaled on "
            "somebody's cohort; PAM50 is made for log2 expression, and calls may differ"
        )
    return Profiles(expression.sample_ids, tuple(genes), values, expression.measure)


def as_written(values: np.ndarray) -> np.ndarray:
    """Return float32 values as the decimals they were written as, in float64.

    Differences of float32 would break ties, or make some, that the published code, which reads
    decimals into float64, decides otherwise. Exact for up to 6 significant digits.
    """
    exact = np.array([float(str(one)) for one in values.ravel()], dtype=np.float64)
    return exact.reshape(values.shape)
