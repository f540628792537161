"""Write the tables of OUT in docs/formats.md from `crosstype.io.schema`.

`python docs/make_table_reference.py` writes what stands between the page's two marks; with
`--check` it only says whether that is fresh, by its exit code (0: fresh, 1: not).
"""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

from crosstype.io.schema import MARK, REAL, TABLES, TEXT, Column, TableSchema

PAGE = Path(__file__).with_name("formats.md")
BEGIN, END = "<!-- tables:begin -->\n", "<!-- tables:end -->\n"


def build_tables() -> str:
    """Return a heading, what a row is, and the columns of every table."""
    return "\n".join(_table(one) for one in TABLES)


def _table(table: TableSchema) -> str:
    """Return one table's part; columns of one meaning stand together."""
    place = f"{table.folder}/{table.name}".lstrip("/")
    mark = f" May be followed by `{MARK}`." if table.is_marked else ""
    lines = [f"#### `{place}`", "", f"A row is {table.row}.{mark}", ""]
    lines += ["| column | type | meaning |", "|---|---|---|"]
    for (meaning, kind), group in groupby(table.columns, lambda one: (one.meaning, _kind(one))):
        names = ", ".join(f"`{one.name}`" for one in group)
        lines.append(f"| {names} | {kind} | {meaning} |")
    return "\n".join([*lines, ""])


def _kind(column: Column) -> str:
    """Return in words what a value is."""
    if column.dtype is TEXT:
        return "text"
    return "number" if column.dtype is REAL else "whole number"


def main() -> int:
    """Write the page, or check that it is fresh."""
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    fresh = f"{before}{BEGIN}\n{build_tables()}\n{END}{after}"
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(fresh, encoding="utf-8", newline="\n")
        return 0
    if page == fresh:
        return 0
    print(f"{PAGE.name} is not fresh. Run: python docs/make_table_reference.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
