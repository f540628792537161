"""Large tables of numbers behind a few text columns, read by polars.

Whatever is unusual (quotes that do more than wrap, rows of another length, text among the numbers)
is read by `tables`, which is slower and names every fault; both give the same numbers. What was
read is kept by `expression.cache`.
"""

import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from crosstype.errors import Fault, TableError
from crosstype.io.delimited import separator_of, without_plain_quotes, without_preamble
from crosstype.io.tables import MISSING, Table, parse_numbers, read_grid

HEAD_LINES = 60
"""Lines from which text columns are recognised."""
PANDAS_INDEX = "__index_level_0__"
SPELLINGS = sorted({form for word in MISSING for form in (word, word.upper(), word.title())})

TextColumns = Callable[[Table], list[int]]
"""Gives the positions of columns that hold text, from the first lines of a table."""


@dataclass(frozen=True)
class NumberTable:
    """A table of numbers and what names its rows.

    Attributes:
        path: where it was read.
        texts: name and cells of each text column, in the table's order; the first is there.
        names: names of the columns of numbers.
        values: float32 (n_rows, n_names); NaN where missing.
        notes: what was left out.
    """

    path: Path
    texts: tuple[tuple[str, list[str]], ...]
    names: tuple[str, ...]
    values: np.ndarray
    notes: tuple[str, ...] = ()


def read_number_table(path: Path, text_columns: TextColumns) -> NumberTable:
    """Read delimited text (gz or not), xlsx or parquet.

    Raises:
        TableError: the file is not there, damaged or no table; a cell is text or infinite.
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
    table, notes = _without_second_header(read_grid(path))
    texts = text_columns(table)
    numbers = [i for i in range(len(table.names)) if i not in texts]
    values, faults = parse_numbers(table, numbers)
    if faults:
        raise TableError(faults)
    cells = tuple((table.names[i], table.cells[str(i)].str.strip_chars().to_list()) for i in texts)
    return NumberTable(path, cells, tuple(table.names[i] for i in numbers), values, notes)


SECOND_HEADER = {"normalized_count", "raw_count", "scaled_estimate", "rpkm", "signal", "value"}
"""Words of the second header of GDAC Firehose."""


def _without_second_header(table: Table) -> tuple[Table, tuple[str, ...]]:
    """Drop the second header of Broad GDAC Firehose, which names the kind of each value.

    Raises:
        TableError: its columns hold values of several kinds.
    """
    kinds = set(table.cells.row(0)[1:])
    if not kinds or not {one.strip().casefold() for one in kinds} <= SECOND_HEADER:
        return table, ()
    if len(kinds) > 1:
        found = f"a second header of several kinds of values ({', '.join(sorted(kinds)[:4])})"
        raise TableError(Fault(table.where(0), found, "Keep the columns of one kind."))
    note = f"a second header ({kinds.pop()} for every sample, as of GDAC Firehose) left out"
    return replace(table, cells=table.cells[1:], lines=table.lines[1:]), (note,)


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
    """Return the table if polars reads it as it is, else None."""
    try:
        plan = _plan_of(path, text_columns)
        if plan is None:
            return None
        try:
            frame = _read_csv(plan, None)
        except PolarsError:  # looking for spellings of "missing" takes thrice as long
            if plan.n_texts > 1:  # of which one may be spelled so
                return None
            frame = _read_csv(plan, SPELLINGS)
    except UNUSUAL:
        return None
    # polars refuses rows that are too long and fills up those that are too short.
    n_separators = frame.height * (len(plan.names) - 1)
    if not frame.height or plan.body.count(plan.separator) != n_separators:
        return None
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite
        values = frame[:, plan.n_texts :].to_numpy().astype(np.float32)
    texts = frame.get_columns()[: plan.n_texts]
    cells = [one.fill_null("").str.strip_chars().to_list() for one in texts]
    if np.isinf(values).any() or not all(cells[0]):
        return None
    titles = plan.names[: plan.n_texts]
    return NumberTable(
        path, tuple(zip(titles, cells, strict=True)), plan.names[plan.n_texts :], values
    )


UNUSUAL = (TableError, OSError, EOFError, zlib.error, UnicodeDecodeError, PolarsError)
"""Errors after which `tables` reads the file, and states what is wrong."""


@dataclass(frozen=True)
class _Plan:
    """How polars is to read a table.

    Attributes:
        names: every column.
        separator: between cells.
        n_texts: the first so many columns are text.
        body: the rows, without plain quotes.
    """

    names: tuple[str, ...]
    separator: bytes
    n_texts: int
    body: bytes


def _read_csv(plan: _Plan, missing: list[str] | None) -> pl.DataFrame:
    kinds = [pl.String if i < plan.n_texts else pl.Float64 for i in range(len(plan.names))]
    return pl.read_csv(
        plan.body,
        has_header=False,
        schema={str(i): kind for i, kind in enumerate(kinds)},
        separator=plan.separator.decode(),
        null_values=missing,
    )


def _plan_of(path: Path, text_columns: TextColumns) -> _Plan | None:
    """Return how to read the table; None if its beginning is unusual."""
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    if b"\r" in data or b"\0" in data[:4096] or data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return None
    _, text = without_preamble(path.name, data.removeprefix(b"\xef\xbb\xbf"))
    try:
        separator = separator_of(path.name, text)
    except TableError:
        return None
    text = without_plain_quotes(text, separator)
    header, _, body = text.rstrip(b"\n").partition(b"\n")
    lines = body.split(b"\n", HEAD_LINES)[:HEAD_LINES] if body else []
    rows = [one.split(separator) for one in lines]
    names = tuple(header.decode("utf-8", "strict").split(separator.decode()))
    if rows and len(names) + 1 == len(rows[0]):
        names = ("", *names)
    if not rows or b'"' in body or any(not name.strip() for name in names[1:]):
        return None
    if any(len(row) != len(names) for row in rows):
        return None
    schema = {str(i): pl.String for i in range(len(names))}
    cells = pl.DataFrame([[cell.decode() for cell in row] for row in rows], schema, orient="row")
    texts = text_columns(Table(path, names, cells, range(2, 2 + len(rows))))
    if texts != list(range(len(texts))):
        return None
    return _Plan(names, separator, len(texts), body)
