"""Reading of tables of users and stages, with cells as written, and atomic writing."""

import difflib
import gzip
import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fastexcel
import numpy as np
import polars as pl

from crosstype.errors import Fault, TableError
from crosstype.io.delimited import Grid, parse_delimited
from crosstype.io.files import replacing
from crosstype.tcga import visible_text

MISSING = frozenset(
    {"", "na", "n/a", "#n/a", "nan", "null", "none", "-", "--", ".", "missing", "[not available]"}
)
"""Spellings of missing values, in lower case and without surrounding blanks."""


def is_missing(cell: str) -> bool:
    """Return whether a cell is empty or a word for a missing value, such as NA or None."""
    return cell.strip().casefold() in MISSING


@dataclass(frozen=True)
class Table:
    """A table with cells as strings, exactly as written.

    Attributes:
        path: its file.
        names: column names; unique unless the table was read with `read_grid`.
        cells: string columns called `0`, `1`, ... in the order of `names`.
        lines: line (spreadsheets: row) of each row, counted from 1.
        word: `line` or `row`, for messages.
    """

    path: Path
    names: tuple[str, ...]
    cells: pl.DataFrame
    lines: Sequence[int]
    word: str = "line"

    def where(self, row: int) -> str:
        """Return file and line of a row, for messages."""
        return f"{self.path.name} {self.word} {self.lines[row]}"

    @property
    def frame(self) -> pl.DataFrame:
        """The cells under their column names."""
        return self.cells.rename(dict(zip(self.cells.columns, self.names, strict=True)))

    def column(self, name: str, remedy: str = "") -> list[str]:
        """Return a column's cells without surrounding blanks.

        Args:
            name: the column's name.
            remedy: what to do if there is no such column, besides the nearest names.

        Raises:
            TableError: there is no such column; with the nearest names.
        """
        if name not in self.names:
            fault = _no_column(self.path.name, name, self.names)
            raise TableError(replace(fault, remedy=f"{fault.remedy} {remedy}".rstrip()))
        return self.cells[str(self.names.index(name))].str.strip_chars().to_list()

    def filled(self, name: str, remedy: str = "") -> list[str]:
        """Return a column's cells as `column`; empty where one is a word for a missing value."""
        cells = map(visible_text, self.column(name, remedy))
        return ["" if is_missing(cell) else cell for cell in cells]

    def column_called(self, wanted: str, usual: Sequence[str], remedy: str = "") -> list[str]:
        """Return a column's cells; for the default name, other usual names are accepted too.

        Args:
            wanted: the column's name.
            usual: the default name, then its synonyms in order of preference.
            remedy: what to do if there is no such column.

        Raises:
            TableError: there is no such column; with the nearest names.
        """
        found = self.name_among(usual) if wanted == usual[0] else wanted
        if found not in self.names:
            found = wanted
        return self.column(found, remedy)

    def name_among(self, usual: Sequence[str]) -> str | None:
        """Return the column with the first of some names, or None; case is ignored."""
        folded = {name.strip().casefold(): name for name in reversed(self.names)}
        if usual[0] in self.names:
            return usual[0]
        return next((folded[one.casefold()] for one in usual if one.casefold() in folded), None)


def read_grid(path: Path) -> Table:
    """Read a table whose column names may be repeated, e.g. patients x genes.

    Empty rows and empty unnamed columns are dropped. Format and separator are recognised from the
    content: csv, tsv (gz or not) and xlsx.

    Raises:
        TableError: the file is missing, damaged, no table, or has no rows.
    """
    data = _read_bytes(path)
    is_workbook = data[:4] == b"PK\x03\x04"
    grid = _parse_workbook(path.name, data) if is_workbook else parse_delimited(path.name, data)
    table = _without_blanks(path, _without_title(grid), "row" if is_workbook else "line")
    if not table.cells.height:
        found = "a header but no rows"
        raise TableError(Fault(path.name, found, "Expected at least one row."))
    return table


def open_table(path: Path) -> Table:
    """Read a table with unique column names, keeping line numbers for later messages.

    Raises:
        TableError: as `read_grid`; or a column name is empty (the first may be) or repeated.
    """
    table = read_grid(path)
    _check_names(table)
    return table


def read_table(path: Path) -> pl.DataFrame:
    """Read a table as strings exactly as written, such as the id `007` and the gene `NA`.

    Raises:
        TableError: as `open_table`.
    """
    return open_table(path).frame


def read_stage_table(
    path: Path, columns: Sequence[str] | Mapping[str, type[pl.DataType]]
) -> pl.DataFrame:
    """Read a table of a stage, which may have no rows.

    Args:
        path: the csv file.
        columns: required columns; strings unless a type is given.

    Raises:
        TableError: the file or a column is missing, or a value is not of its type.
    """
    grid = parse_delimited(path.name, _read_bytes(path))
    frame = Table(path, grid.names, grid.cells, grid.lines).frame
    faults = [_no_column(path.name, c, grid.names) for c in columns if c not in frame.columns]
    if faults:
        raise TableError(faults)
    if not isinstance(columns, Mapping):
        return frame
    typed: dict[Any, type[pl.DataType]] = {
        name: kind for name, kind in columns.items() if kind is not pl.String
    }
    empty_as_null = [
        pl.when(pl.col(name) == "").then(None).otherwise(pl.col(name)).alias(name) for name in typed
    ]
    try:
        return frame.with_columns(empty_as_null).cast(typed)
    except pl.exceptions.PolarsError as error:
        found = str(error).splitlines()[0]
        raise TableError(Fault(path.name, found, "Run the stage that writes it anew.")) from None


def write_table(path: Path, frame: pl.DataFrame) -> None:
    """Write csv atomically, with Unix line ends and floats in the shortest exact form."""
    with replacing(path) as temporary:
        frame.write_csv(temporary, line_terminator="\n")


Wrong = dict[tuple[str, str], list[tuple[int, str]]]
"""Cells, as row and column, by what is wrong with them and what to do."""


def parse_numbers(table: Table, columns: Sequence[int]) -> tuple[np.ndarray, list[Fault]]:
    """Return columns of a table as float32, rows x columns, missing cells as NaN.

    Args:
        table: the table.
        columns: positions of the columns.

    Returns:
        The numbers, and a fault for each kind of cell that is none, with its first cell.
    """
    keys = [str(i) for i in columns]
    text = table.cells.select(keys)
    numbers = text.cast(pl.Float64, strict=False)
    wrong: Wrong = {}
    for key, n_unread in zip(keys, numbers.null_count().row(0), strict=True):
        if n_unread:
            numbers = _reread_column(table, numbers, key, wrong)
    with np.errstate(over="ignore"):  # overflow in float32 becomes infinite, and a fault
        values = numbers.fill_null(float("nan")).to_numpy().astype(np.float32, copy=False)
    for row, position in np.argwhere(np.isinf(values)):
        infinite = ("is infinite", "Expected a number or an empty cell.")
        wrong.setdefault(infinite, []).append((int(row), keys[position]))
    return values, [_fault_of_cells(table, cells, *what) for what, cells in wrong.items()]


THOUSANDS = r"^[-+]?\d{1,3}(,\d{3})+(\.\d+)?$"
DECIMAL_COMMA = r"^[-+]?\d*,\d+([eE][-+]?\d+)?$"


def _reread_column(table: Table, numbers: pl.DataFrame, key: str, wrong: Wrong) -> pl.DataFrame:
    """Parse a column's remaining cells again without blanks; collect those that are no number."""
    text = table.cells[key].str.strip_chars()
    again = text.cast(pl.Float64, strict=False)
    is_text = again.is_null() & ~text.str.to_lowercase().is_in(list(MISSING))
    for row in is_text.arg_true().to_list():
        remedy = "Expected a number with a decimal point, or an empty cell."
        if re.match(THOUSANDS, text[row]):
            remedy = "Expected no thousands separators: write 1234.5 for 1,234.5."
        elif re.match(DECIMAL_COMMA, text[row]):
            remedy = "Expected a decimal point, and found a comma."
        wrong.setdefault(("is not a number", remedy), []).append((row, key))
    return numbers.with_columns(again.alias(key))


def _fault_of_cells(
    table: Table, cells: Sequence[tuple[int, str]], what: str, remedy: str
) -> Fault:
    """Return one fault of all cells that are wrong in the same way."""
    row, key = cells[0]
    named = list(dict.fromkeys(table.names[int(key)] for _, key in cells))
    columns = f"column{'s' * (len(named) > 1)} {', '.join(map(repr, named[:3]))}"
    columns += f" and {len(named) - 3} more" if len(named) > 3 else ""
    count = f" ({len(cells)} such cells)" if len(cells) > 1 else ""
    found = f"{table.cells[key][row].strip()!r} {what}{count}"
    return Fault(f"{table.where(row)}, {columns}", found, remedy)


def _read_bytes(path: Path) -> bytes:
    """Return a file's bytes, decompressed if they are gzip."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        fault = Fault(path.name, f"there is no such file ({path})", "Check the path.")
        raise TableError(fault) from None
    except OSError as error:
        found = f"cannot be read ({error.strerror})"
        raise TableError(Fault(path.name, found, "Give a csv, tsv or xlsx file.")) from None
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, OSError, zlib.error) as error:
        found = f"the gzip file is cut off or damaged ({error})"
        raise TableError(Fault(path.name, found, "Copy or download it again.")) from None


def _parse_workbook(name: str, data: bytes) -> Grid:
    """Return the only sheet of an xlsx workbook that is not empty."""
    try:
        book = fastexcel.read_excel(data)
        sheets = {
            title: book.load_sheet(title, header_row=None, dtypes="string").to_polars()
            for title in book.sheet_names
        }
    except (fastexcel.FastExcelError, ValueError, pl.exceptions.PolarsError) as error:
        found = f"not a readable xlsx workbook ({str(error).splitlines()[0]})"
        raise TableError(Fault(name, found, "Save it anew as xlsx or csv.")) from None
    filled = {title: sheet for title, sheet in sheets.items() if sheet.height and sheet.width}
    if len(filled) > 1:
        titles = ", ".join(repr(title) for title in filled)
        found = f"{len(filled)} sheets that hold something: {titles}"
        raise TableError(Fault(name, found, "Keep the one that is meant, delete the others."))
    if not filled:
        raise TableError(Fault(name, "the workbook is empty", "Expected a header and rows."))
    sheet = next(iter(filled.values())).fill_null("")
    cells = sheet.rename({old: str(i) for i, old in enumerate(sheet.columns)})
    names = tuple(str(cell) for cell in cells.row(0))
    return Grid(names, cells.slice(1), range(2, cells.height + 1))


MOST_TITLE_ROWS = 10


def _without_title(grid: Grid) -> Grid:
    """Drop rows above the header with one filled cell or none, as a title of a spreadsheet is."""
    names, cells, lines = grid.names, grid.cells, grid.lines
    for _ in range(MOST_TITLE_ROWS):
        if len(names) < 2 or not cells.height or sum(bool(one.strip()) for one in names) > 1:
            break
        names, cells, lines = tuple(cells.row(0)), cells[1:], lines[1:]
    header_found = sum(bool(one.strip()) for one in names) > 1
    return Grid(names, cells, lines) if header_found else grid


def _without_blanks(path: Path, grid: Grid, word: str) -> Table:
    """Drop rows and unnamed columns in which every cell is empty."""
    unnamed = [i for i, name in enumerate(grid.names) if not name.strip()]
    blank = [i for i in unnamed if (grid.cells[str(i)].str.strip_chars() == "").all()]
    kept = [i for i in range(len(grid.names)) if i not in blank]
    cells = grid.cells.select([str(i) for i in kept])
    cells = cells.rename({str(old): str(new) for new, old in enumerate(kept)})
    lines = grid.lines
    # Only rows with an empty first cell can be blank; this avoids a pass over wide tables.
    candidates = (cells.to_series(0) == "").arg_true().to_list() if kept else []
    empty = [row for row in candidates if not any(cell.strip() for cell in cells.row(row))]
    if empty:
        keep = np.setdiff1d(np.arange(cells.height), empty)
        cells, lines = cells[keep], [lines[i] for i in keep]
    return Table(path, tuple(grid.names[i] for i in kept), cells, lines, word)


def _check_names(table: Table) -> None:
    """Raise if a column name is repeated, or empty after the first column."""
    where = f"{table.path.name} header"
    faults = [
        Fault(where, f"column {name!r} is repeated {n} times", "Give each column its own name.")
        for name, n in Counter(table.names).items()
        if n > 1 and name.strip()
    ]
    faults += [
        Fault(where, f"column {position + 1} has no name", "Name it or remove it.")
        for position, name in enumerate(table.names)
        if position and not name.strip()
    ]
    if faults:
        raise TableError(faults)


def _no_column(file_name: str, wanted: str, names: Sequence[str]) -> Fault:
    """Return the fault of an absent column, with the nearest names."""
    folded = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(wanted.casefold(), list(folded), n=3, cutoff=0.4)
    shown = [folded[key] for key in near] or list(names[:5])
    listed = ", ".join(repr(name) for name in shown)
    kind = "Nearest columns" if near else "First columns"
    return Fault(file_name, f"no column {wanted!r}", f"{kind}: {listed}.")
