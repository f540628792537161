"""Fast reading of large tables of numbers with a few text columns, in bounded memory.

Blocks of lines are decompressed by one thread while the previous one is parsed. Unusual files
(quotes that do more than wrap, rows of another length, text among the numbers) are read by the
slower `tables`, which reports all faults; both give the same numbers.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

import numpy as np
import polars as pl
from isal import igzip, igzip_lib
from polars.exceptions import PolarsError

from crosstype.errors import Fault, TableError
from crosstype.io.delimited import separator_of, without_comments, without_plain_quotes
from crosstype.io.tables import MISSING, Table, parse_numbers, read_grid

BLOCK_BYTES = 8 << 20
"""Size of a block; small, so that memory stays near that of the numbers."""
HEAD_LINES = 60
"""Number of lines by which text columns are recognised."""
PANDAS_INDEX = "__index_level_0__"
SPELLINGS = sorted({form for word in MISSING for form in (word, word.upper(), word.title())})

MOST_COLUMNS = 4096
"""Number of columns up to which polars is fastest column by column."""
PARSERS = 2
"""Number of blocks parsed in parallel."""

_Part = tuple[list[list[str]], np.ndarray]
TextColumns = Callable[[Table], list[int]]
"""Function from the first lines of a table to the positions of its text columns."""


@dataclass(frozen=True)
class NumberTable:
    """A table of numbers with text columns.

    Attributes:
        path: its file.
        texts: name and cells of each text column, in the table's order; at least one.
        names: names of the columns of numbers.
        values: float32 (n_rows, n_names); NaN where missing.
    """

    path: Path
    texts: tuple[tuple[str, list[str]], ...]
    names: tuple[str, ...]
    values: np.ndarray


def read_number_table(path: Path, text_columns: TextColumns) -> NumberTable:
    """Read delimited text (gz or not), xlsx or parquet.

    Raises:
        TableError: the file is missing, damaged or no table; a cell is text or infinite.
    """
    start = b""
    if path.is_file():
        with path.open("rb") as handle:
            start = handle.read(4)
    if start == b"PAR1":
        return _from_parquet(path)
    quick = None if start[:2] == b"PK" else _read_quickly(path, text_columns)
    return quick or _read_slowly(path, text_columns)


def _read_slowly(path: Path, text_columns: TextColumns) -> NumberTable:
    table = read_grid(path)
    texts = text_columns(table)
    numbers = [i for i in range(len(table.names)) if i not in texts]
    values, faults = parse_numbers(table, numbers)
    if faults:
        raise TableError(faults)
    cells = tuple((table.names[i], table.cells[str(i)].str.strip_chars().to_list()) for i in texts)
    return NumberTable(path, cells, tuple(table.names[i] for i in numbers), values)


def _from_parquet(path: Path) -> NumberTable:
    try:
        frame = pl.read_parquet(path)
    except (PolarsError, OSError) as error:
        found = f"not a readable parquet file ({str(error).splitlines()[0]})"
        raise TableError(Fault(path.name, found, "Copy or write it again.")) from None
    if PANDAS_INDEX in frame.columns:
        frame = frame.select(PANDAS_INDEX, pl.exclude(PANDAS_INDEX))
    is_text = [not (kind.is_numeric() or kind == pl.Null) for kind in frame.dtypes]
    texts = [name for name, text in zip(frame.columns, is_text, strict=True) if text]
    if not texts:
        found = "no column of text that names the rows"
        raise TableError(Fault(path.name, found, "Write genes or samples as the first column."))
    names = [name for name in frame.columns if name not in texts]
    cells = [frame[name].cast(pl.String).fill_null("").str.strip_chars() for name in texts]
    values = frame.select(pl.col(names).cast(pl.Float32)).fill_null(float("nan")).to_numpy()
    _check_finite(path, names, values)
    labelled = tuple(
        ("" if name == PANDAS_INDEX else name, cell.to_list())
        for name, cell in zip(texts, cells, strict=True)
    )
    return NumberTable(path, labelled, tuple(names), np.array(values, dtype=np.float32))


def _check_finite(path: Path, names: list[str], values: np.ndarray) -> None:
    bad = np.argwhere(np.isinf(values))
    if len(bad):
        row, column = bad[0]
        where = f"{path.name} row {row + 1}, column {names[column]!r}"
        raise TableError(Fault(where, "an infinite number", "Expected a number or none."))


def _read_quickly(path: Path, text_columns: TextColumns) -> NumberTable | None:
    """Return the table if the fast reader can read it, else None."""
    try:
        with _opened(path) as handle:
            blocks = _blocks(handle)
            first = next(blocks, b"")
            plan = _plan_of(path, first, text_columns)
            if plan is None:
                return None
            parts = list(_parsed(chain([plan.body], blocks), plan))
    except UNUSUAL:
        return None
    texts = [[cell for part in parts for cell in part[0][i]] for i in range(plan.n_texts)]
    n_rows, n_numbers = len(texts[0]), len(plan.names) - plan.n_texts
    if not n_rows * n_numbers:
        return None
    # In the memory order of the parts, so that transposing needs no copy.
    fortran = parts[0][1].flags.f_contiguous
    values = np.empty((n_rows, n_numbers), dtype=np.float32, order="F" if fortran else "C")
    end = n_rows
    while parts:  # from the end, so that each part can be released
        part = parts.pop()[1]
        values[end - len(part) : end] = part
        end -= len(part)
    titles = plan.names[: plan.n_texts]
    return NumberTable(
        path, tuple(zip(titles, texts, strict=True)), plan.names[plan.n_texts :], values
    )


def _parsed(blocks: Iterable[bytes], plan: _Plan) -> Iterator[_Part]:
    """Yield the parsed blocks of the table in order, parsed in parallel."""
    waiting: deque[Future[_Part]] = deque()
    with ThreadPoolExecutor(PARSERS) as parsers:
        for block in blocks:
            waiting.append(parsers.submit(_parse_block, block, plan))
            if len(waiting) > PARSERS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class _UnusualError(Exception):
    """A block that the fast reader cannot read."""


UNUSUAL: tuple[Any, ...] = (
    OSError, EOFError, zlib.error, igzip_lib.IsalError, UnicodeDecodeError, PolarsError,
    _UnusualError,
)  # fmt: skip
"""Exceptions after which a file is read by `tables`, which reports faults."""


@dataclass(frozen=True)
class _Plan:
    """Layout of the table from its first block: column names, separator, and the first rows."""

    names: tuple[str, ...]
    separator: bytes
    n_texts: int
    body: bytes


def _opened(path: Path) -> IO[bytes]:
    """Open a file, decompressing gzip (by ISA-L, twice as fast as zlib)."""
    with path.open("rb") as handle:
        is_gzip = handle.read(2) == b"\x1f\x8b"
    opened: IO[bytes] = igzip.open(path) if is_gzip else path.open("rb")  # type: ignore[no-untyped-call]
    return opened


def _blocks(handle: IO[bytes]) -> Iterator[bytes]:
    """Yield blocks of complete lines; the next one is read by a thread."""
    with ThreadPoolExecutor(1) as reader:
        rest, coming = b"", reader.submit(handle.read, BLOCK_BYTES)
        while data := coming.result():
            coming = reader.submit(handle.read, BLOCK_BYTES)
            whole, line_end, tail = (rest + data).rpartition(b"\n")
            rest = tail
            if line_end:
                yield whole
        if rest:
            yield rest


def _plan_of(path: Path, first: bytes, text_columns: TextColumns) -> _Plan | None:
    """Return the layout of the table; None if its first block is unusual."""
    if b"\r" in first or b"\0" in first[:4096] or first[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return None
    _, text = without_comments(first.removeprefix(b"\xef\xbb\xbf"))
    try:
        separator = separator_of(path.name, text)
    except TableError:
        return None
    text = without_plain_quotes(text, separator)
    header, _, body = text.partition(b"\n")
    rows = [line.split(separator) for line in islice(body.split(b"\n", HEAD_LINES), HEAD_LINES)]
    names = tuple(header.decode("utf-8", "strict").split(separator.decode()))
    if len(names) + 1 == len(rows[0]):
        names = ("", *names)
    if any(not name.strip() for name in names[1:]) or any(len(r) != len(names) for r in rows):
        return None
    schema = {str(i): pl.String for i in range(len(names))}
    cells = pl.DataFrame([[cell.decode() for cell in row] for row in rows], schema, orient="row")
    texts = text_columns(Table(path, names, cells, range(2, 2 + len(rows))))
    n_texts = len(texts)
    return _Plan(names, separator, n_texts, body) if texts == list(range(n_texts)) else None


def _parse_column(column: bytes, missing: list[str]) -> pl.Series:
    return pl.read_csv(
        column + b"\n",
        has_header=False,
        schema={"number": pl.Float64},
        separator="\x1f",
        quote_char=None,
        null_values=missing,
    )["number"]


def _parse_block(block: bytes, plan: _Plan) -> _Part:
    """Return a block's text columns and its numbers."""
    block = without_plain_quotes(block, plan.separator).rstrip(b"\n")
    if b'"' in block or b"\r" in block:
        raise _UnusualError
    texts, values = _as_columns(block, plan) or _as_one_column(block, plan)
    if np.isinf(values).any() or not all(texts[0]):
        raise _UnusualError
    return texts, values


def _as_columns(block: bytes, plan: _Plan) -> _Part | None:
    """Parse column by column; None if there are too many, or any value is missing or unusual."""
    if len(plan.names) > MOST_COLUMNS:
        return None
    texts = {str(i): pl.String for i in range(plan.n_texts)}
    numbers = {str(i): pl.Float64 for i in range(plan.n_texts, len(plan.names))}
    try:
        frame = pl.read_csv(
            block,
            has_header=False,
            schema={**texts, **numbers},
            separator=plan.separator.decode(),
            quote_char=None,
        )
    except PolarsError:
        return None
    if frame.to_series(-1).null_count():  # also for a row that is too short
        return None
    cells = [frame[name].fill_null("").str.strip_chars().to_list() for name in texts]
    with np.errstate(over="ignore"):  # overflow in float32 is infinite, and reported by `tables`
        return cells, frame.select(list(numbers)).to_numpy().astype(np.float32)


def _as_one_column(block: bytes, plan: _Plan) -> _Part:
    """Parse all numbers as one long column: as fast for 20,000 columns as for three."""
    rows = [line.split(plan.separator, plan.n_texts) for line in block.split(b"\n")]
    n_numbers = len(plan.names) - plan.n_texts
    if any(
        len(row) != plan.n_texts + 1 or row[-1].count(plan.separator) != n_numbers - 1
        for row in rows
    ):
        raise _UnusualError
    column = b"\n".join(row[-1] for row in rows).replace(plan.separator, b"\n")
    try:
        numbers = _parse_column(column, [])
    except PolarsError:  # matching spellings of "missing" takes three times as long
        numbers = _parse_column(column, SPELLINGS)
    if len(numbers) != len(rows) * n_numbers:
        raise _UnusualError
    with np.errstate(over="ignore"):
        values = numbers.fill_null(float("nan")).to_numpy().astype(np.float32)
    texts = [[row[i].decode().strip() for row in rows] for i in range(plan.n_texts)]
    return texts, values.reshape(len(rows), n_numbers)
