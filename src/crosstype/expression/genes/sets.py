"""Gene sets from GMT files, matched to the genes of a table."""

import gzip
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crosstype.errors import CohortError, Fault, TableError

MOST_TOKENS = 1024
EXPECTED = "Expected a GMT file: name, description and genes of one set per line, tab-separated."


@dataclass(frozen=True)
class MatchedSets:
    """Gene sets matched to a table.

    Attributes:
        names: of the sets with enough genes, in the file's order.
        membership: bool (n_sets, n_genes); whether each gene of the table is in each of them.
        shares: for every set of the file, the share of its genes that the table has, 0 to 1.
        notes: numbers of sets and genes, and dropped sets.
    """

    names: tuple[str, ...]
    membership: np.ndarray
    shares: dict[str, float]
    notes: tuple[str, ...]

    def restricted(self, kept: np.ndarray, least: int) -> tuple[tuple[str, ...], np.ndarray]:
        """Return names and membership after gene selection.

        Args:
            kept: bool (n_genes,); the selected genes.
            least: sets with fewer of them are dropped.

        Returns:
            Names, and bool (n_sets, n_kept_genes).
        """
        membership = self.membership[:, kept]
        enough = membership.sum(axis=1) >= least
        names = tuple(name for name, one in zip(self.names, enough, strict=True) if one)
        return names, membership[enough]


@dataclass(frozen=True)
class GeneSets:
    """Named groups of genes.

    Attributes:
        source: name of their file.
        names: one per set, unique.
        genes: the genes of each set, unique within it, in the file's order.
    """

    source: str
    names: tuple[str, ...]
    genes: tuple[tuple[str, ...], ...]

    def matched(self, genes: Sequence[str], least: int) -> MatchedSets:
        """Match the sets to the genes of a table.

        Names are case-sensitive; the name of `NUF2|83540` is the part before the bar.

        Args:
            genes: names of the table's columns.
            least: sets with fewer genes in the table are dropped, with a note.
        """
        columns: dict[str, list[int]] = {}
        for column, gene in enumerate(genes):
            columns.setdefault(gene.partition("|")[0].strip(), []).append(column)
        membership = np.zeros((len(self.names), len(genes)), dtype=bool)
        found = np.zeros(len(self.names), dtype=np.int64)
        for row, members in enumerate(self.genes):
            present = [gene for gene in members if gene in columns]
            found[row] = len(present)
            membership[row, [column for gene in present for column in columns[gene]]] = True
        shares = {
            name: float(n) / len(members)
            for name, n, members in zip(self.names, found, self.genes, strict=True)
        }
        kept = membership.sum(axis=1) >= least
        names = tuple(name for name, one in zip(self.names, kept, strict=True) if one)
        notes = self._notes(membership, kept, list(shares.values()), least)
        return MatchedSets(names, membership[kept], shares, notes)

    def _notes(
        self, membership: np.ndarray, kept: np.ndarray, shares: Sequence[float], least: int
    ) -> tuple[str, ...]:
        """Return notes on the sets and genes that are kept."""
        low, middle, high = (f"{100 * x:.0f}%" for x in np.quantile(shares, (0, 0.5, 1)))
        covered = int(membership[kept].any(axis=0).sum())
        notes = [
            f"{self.source}: {int(kept.sum())} of {len(kept)} gene sets keep at least {least} "
            f"genes; found of a set: {middle} (median), {low} to {high}; {covered} of "
            f"{membership.shape[1]} genes of the table are in a set"
        ]
        dropped = [name for name, one in zip(self.names, kept, strict=True) if not one]
        if dropped:
            shown = ", ".join(dropped[:5]) + (", ..." if len(dropped) > 5 else "")
            notes.append(f"{self.source}: dropped for too few genes: {len(dropped)} sets ({shown})")
        return tuple(notes)


def read_gene_sets(path: Path) -> GeneSets:
    """Read a GMT file, gz or not: per line a set's name, a description and genes, tab-separated.

    Blank lines and empty cells are ignored, a gene repeated in a set counts once.

    Raises:
        TableError: the file cannot be read or has no set; a line has no tabs, no name or no
            gene; a gene has a comma or a space; a set is repeated.
    """
    faults: list[Fault] = []
    sets: dict[str, tuple[str, ...]] = {}
    lines: dict[str, int] = {}
    for number, line in _lines(path):
        where = f"{path.name} line {number}"
        name, genes, fault = _parse(line)
        if not fault and name in lines:
            fault = f"gene set {name!r} is in line {lines[name]} already"
        if fault:
            faults.append(Fault(where, fault, EXPECTED))
            continue
        lines[name], sets[name] = number, genes
    if not faults and not sets:
        faults.append(Fault(path.name, "no gene set", EXPECTED))
    if faults:
        raise TableError(faults)
    return GeneSets(path.name, tuple(sets), tuple(sets.values()))


def read_token_sets(path: Path, genes: Sequence[str], least: int) -> tuple[GeneSets, list[str]]:
    """Read the gene sets of gene tokens, with notes on their match to a table.

    Args:
        path: GMT file.
        genes: names of the table's columns.
        least: lowest number of genes of a set.

    Raises:
        TableError: as `read_gene_sets`.
        CohortError: fewer than two sets, or more than 1,024, keep enough genes.
    """
    gene_sets = read_gene_sets(path)
    matched = gene_sets.matched(genes, least)
    if not 2 <= len(matched.names) <= MOST_TOKENS:
        raise CohortError(
            f"[models] gene_sets: {len(matched.names)} of {len(gene_sets.names)} sets of "
            f"{path.name} keep at least {least} genes of the table; expected 2 to {MOST_TOKENS}. "
            f"Genes of the sets are such as {gene_sets.genes[0][0]!r}, of the table such as "
            f"{genes[0]!r}. Name genes alike, give other sets, or change [models] least_genes."
        )
    return gene_sets, list(matched.notes)


def _parse(line: str) -> tuple[str, tuple[str, ...], str]:
    """Return a line's set, its genes, and its fault or an empty string."""
    name, *rest = (cell.strip() for cell in line.split("\t"))
    genes = tuple(dict.fromkeys(gene for gene in rest[1:] if gene))
    if not rest:
        return name, genes, f"no tab in {line[:40]!r}"
    if not name:
        return name, genes, "a gene set without a name"
    if not genes:
        return name, genes, f"gene set {name!r} has no gene"
    wrong = next((gene for gene in genes if any(one in gene for one in ", ;")), "")
    return name, genes, f"gene {wrong!r} holds a comma, semicolon or space" if wrong else ""


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield each line that is not blank, with its number."""
    try:
        data = path.read_bytes()
        raw = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise TableError(Fault(path.name, "is not UTF-8 text", EXPECTED)) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        found = f"the gzip file is cut off or damaged ({error})"
        raise TableError(Fault(path.name, found, "Copy or download it again.")) from None
    except OSError as error:
        found = f"cannot be read ({error.strerror})"
        raise TableError(Fault(path.name, found, EXPECTED)) from None
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        if line.strip():
            yield number, line
