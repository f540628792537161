"""Parsing of delimited text into names, cells and line numbers, by content."""

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from crosstype.errors import Fault, TableError

NO_TABLE = {
    b"version https://git-lfs": ("a pointer of Git LFS, not the file", "Fetch it: git lfs pull."),
    b"<!doctype html": ("a web page (HTML)", "Download the file itself."),
    b"<html": ("a web page (HTML)", "Download the file itself."),
    b"X\n\x00\x00\x00": ("an R object (.rds)", "In R, write it with write.csv."),
    b"A\n": ("an R object (.rds)", "In R, write it with write.csv."),
    b"RDX": ("an R workspace (.RData)", "In R, write the table with write.csv."),
    b"\xd0\xcf\x11\xe0": ("a workbook of Excel 97 (.xls)", "Save it as xlsx or csv."),
    b"%PDF": ("a PDF", "Give a csv, tsv or xlsx file."),
    b"\x89HDF": ("an HDF5 file", "Give a csv, tsv or xlsx file."),
    b"SQLite format": ("an SQLite database", "Export the table as csv."),
    b"\x80\x04\x95": ("a Python pickle", "In pandas, write it with to_csv."),
    b"ARROW1": ("a Feather file", "Write it as parquet or csv."),
    b"BZh": ("a bzip2 file", "Unpack it."),
    b"\xfd7zXZ": ("an xz file", "Unpack it."),
    b"{": ("JSON", "Give a csv, tsv or xlsx file."),
}
"""Beginnings of files that are no table: what each is, and what to do."""
SERIES_MATRIX = (b"!series_matrix_table_begin", b"!series_matrix_table_end")
"""Lines around the table of a GEO series matrix."""
GCT = (b"#1.2", b"#1.3")
"""First line of GCT: a line of sizes follows, then the header."""

SEPARATORS = {b"\t": "tab", b",": "comma", b";": "semicolon", b"|": "pipe"}


@dataclass(frozen=True)
class Grid:
    """The cells of a table as text.

    Attributes:
        names: column names as written, possibly repeated or empty.
        cells: one string column per name, called `0`, `1`, ...; an empty cell is an empty string.
        lines: line (or spreadsheet row) of each row of cells, counted from 1.
    """

    names: tuple[str, ...]
    cells: pl.DataFrame
    lines: Sequence[int]


def parse_delimited(name: str, data: bytes) -> Grid:
    """Return the cells of a delimited text file.

    Leading `#` lines are comments. A header with one field fewer than every row is R's
    `write.table`: the first column is then an id column without a name.

    Args:
        name: the file's name, for messages.
        data: its bytes, already decompressed.

    Raises:
        TableError: the bytes are not UTF-8 text or no table, or rows differ in length.
    """
    check_kind(name, data)
    text = _unix_text(name, data)
    first_line, text = without_preamble(name, text)
    if not text:
        raise TableError(Fault(name, "the file is empty", "Expected a header line and rows."))
    separator = separator_of(name, text)
    text = without_plain_quotes(text, separator)
    if b'"' in text:
        return _parse_quoted(name, text.decode(), separator.decode(), first_line)
    header, _, body = text.partition(b"\n")
    names = header.decode().split(separator.decode())
    rows = body.split(b"\n") if body else []
    lengths = [row.count(separator) + 1 for row in rows]
    lines = range(first_line + 1, first_line + 1 + len(rows))
    width = _checked_width(name, names, lengths, lines)
    cells = _empty(width)
    if rows:
        cells = pl.read_csv(
            body,
            has_header=False,
            separator=separator.decode(),
            quote_char=None,
            infer_schema=False,
            new_columns=[str(i) for i in range(width)],
        ).fill_null("")
    if cells.height != len(rows):
        found = f"{len(rows)} lines but {cells.height} rows could be read"
        raise TableError(Fault(name, found, "Save the table anew as plain csv."))
    return Grid(_named(name, names, cells), cells, lines)


def _empty(width: int) -> pl.DataFrame:
    return pl.DataFrame(schema={str(i): pl.String for i in range(width)})


def _unix_text(name: str, data: bytes) -> bytes:
    """Return UTF-8 bytes without byte-order mark, with Unix line ends."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        found = "the text is UTF-16 (Excel's 'Unicode text')"
        raise TableError(Fault(name, found, "Save it as UTF-8 csv."))
    if b"\0" in data:
        line = data[: data.index(b"\0")].count(b"\n") + 1
        found = "a NUL byte: this is no text table, or a damaged one"
        raise TableError(Fault(f"{name} line {line}", found, "Give a csv, tsv or xlsx file."))
    if not data.isascii():
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
            found = f"byte 0x{data[error.start]:02x} is not UTF-8"
            raise TableError(Fault(f"{name} line {line}", found, "Save it as UTF-8.")) from None
    text = data.removeprefix(b"\xef\xbb\xbf")
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return text.rstrip(b"\n")


def check_kind(name: str, data: bytes) -> None:
    """Raise TableError for a file of a known kind that is no table."""
    start = data[:64].removeprefix(b"\xef\xbb\xbf").lstrip()
    for beginning, (what, remedy) in NO_TABLE.items():
        if start.startswith(beginning) or start.lower().startswith(beginning):
            raise TableError(Fault(name, f"this is {what}", remedy))


def without_preamble(name: str, text: bytes) -> tuple[int, bytes]:
    """Return the header's line number and the text from the header on.

    Lines of comments, of a GEO series matrix and of GCT stand before it.

    Raises:
        TableError: a GEO series matrix holds no table; GCT of version 1.3, which mixes in rows of
            annotation.
    """
    if text.startswith(GCT[0]):
        header = text.find(b"\n", text.find(b"\n") + 1) + 1
        return 3, text[header:]
    if text.startswith(GCT[1]):
        found = "GCT 1.3, whose rows of annotation stand among the numbers"
        raise TableError(Fault(name, found, "Write it as GCT 1.2 or as csv."))
    if not text.lstrip(b"\n").startswith(b"!"):
        return without_comments(text)
    begin, end = (text.find(mark) for mark in SERIES_MATRIX)
    start = text.find(b"\n", begin) + 1
    if begin < 0 or not start:
        found = "a GEO series matrix without a table of values"
        remedy = "Give the table of the series, often a supplementary file."
        raise TableError(Fault(name, found, remedy))
    return text[:start].count(b"\n") + 1, text[start : end if end > 0 else None].rstrip(b"\n")


def without_comments(text: bytes) -> tuple[int, bytes]:
    """Return the header's line number and the text from the header on.

    A single `#` line with as many fields as the next line is the header.
    """
    start, line = 0, 1
    while text[start : start + 1] in (b"#", b"\n"):
        end = text.find(b"\n", start)
        if end < 0:
            return line, b""
        start, line = end + 1, line + 1
    if line == 2 and text[:1] == b"#":
        first, _, rest = text.partition(b"\n")
        second = rest.partition(b"\n")[0]
        counts = [(first.count(s), second.count(s)) for s in SEPARATORS]
        if any(a == b and a > 0 for a, b in counts):
            return 1, text
    return line, text[start:]


def separator_of(name: str, text: bytes) -> bytes:
    """Return the separator with the most consistent number of fields in header and first rows."""
    sample = b"\n".join(text.split(b"\n", 60)[:60])
    lines = re.sub(rb'"[^"]*"', b"", sample).split(b"\n")

    def agreement(separator: bytes) -> tuple[float, int]:
        counts = [line.count(separator) for line in lines]
        header, rows = counts[0], counts[1:]
        if header == 0:
            return 0.0, 0
        agreed = max((sum(n == k for n in rows) for k in (header, header + 1)), default=0)
        return (agreed + 1) / (len(rows) + 1), header

    best = max(SEPARATORS, key=agreement)
    if agreement(best)[1] == 0:
        shown = lines[0][:40].decode("utf-8", "replace")
        found = f"only one column in the first line ({shown!r})"
        remedy = "Expected columns separated by tab, comma, semicolon or pipe."
        raise TableError(Fault(name, found, remedy))
    return best


def without_plain_quotes(text: bytes, separator: bytes) -> bytes:
    """Remove quotes that merely wrap a field; return the text unchanged if any do more."""
    if b'"' not in text:
        return text
    edge = re.escape(separator)
    plain = re.compile(rb"(?<![^\n" + edge + rb'])"([^"\n' + edge + rb']*)"(?![^\n' + edge + rb"])")
    stripped = plain.sub(rb"\1", text)
    return text if b'"' in stripped else stripped


def _parse_quoted(name: str, text: str, separator: str, first_line: int) -> Grid:
    """Read text in which quoted fields hold separators, line ends or quotes."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[list[str]] = []
    starts: list[int] = []
    line = 0
    try:
        for row in reader:
            rows.append(row)
            starts.append(first_line + line)
            line = reader.line_num
    except csv.Error as error:
        where = f"{name} line {first_line + line}"
        found = f"a quotation that does not close properly ({error})"
        raise TableError(Fault(where, found, "Correct the quotes or save it anew.")) from None
    names, body, lines = rows[0], rows[1:], starts[1:]
    width = _checked_width(name, names, [len(row) for row in body], lines)
    schema = {str(i): pl.String for i in range(width)}
    cells = pl.DataFrame(body, schema=schema, orient="row") if body else _empty(width)
    return Grid(_named(name, names, cells), cells, lines)


def _checked_width(
    name: str, names: Sequence[str], lengths: Sequence[int], lines: Sequence[int]
) -> int:
    """Return the number of columns; raise with every row that is too long or too short."""
    width = len(names)
    counts = Counter(lengths)
    if len(lengths) > 1 and counts[width] == 0 and counts.most_common(1)[0][0] == width + 1:
        width += 1
    wrong = [(line, n) for line, n in zip(lines, lengths, strict=True) if n != width]
    faults = []
    for length, n_lines in Counter(n for _, n in wrong).most_common(3):
        first = next(line for line, n in wrong if n == length)
        more = f" and {n_lines - 1} more" if n_lines > 1 else ""
        kind = "too many" if length > width else "too few"
        found = f"{kind} fields: {length}, not {width}"
        remedy = "Every row must have as many fields as the header."
        faults.append(Fault(f"{name} line {first}{more}", found, remedy))
    if faults:
        raise TableError(faults)
    return width


def _named(name: str, names: Sequence[str], cells: pl.DataFrame) -> tuple[str, ...]:
    """Return one name per column; a header one field short names all columns but the first."""
    if len(names) == cells.width:
        return tuple(names)
    if (cells[str(cells.width - 1)] == "").all():
        found = "every row ends in a separator, the header does not"
        raise TableError(Fault(name, found, "Remove it, so that columns and names agree."))
    return ("", *names)
