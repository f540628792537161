"""Write docs/config.md from the docstrings of the specs' fields.

`python docs/make_config_reference.py` writes the page; with `--check` it only says whether the
page is fresh, by its exit code (0: fresh, 1: not).
"""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from crosstype.cohort.spec import ClassSpec
from crosstype.config.run_spec import RunSpec
from crosstype.config.toml import field_docs, toml
from crosstype.types import bounds_of

PAGE = Path(__file__).with_name("config.md")
OPENING = """\
# The config file

This page is generated from the docstrings in the code by `docs/make_config_reference.py`.
Do not edit it by hand.

The file is TOML. `crosstype init FILE` writes one with every setting and its explanation.
An unknown section or key is an error that names the nearest known one. A value of the wrong kind
or out of its range is an error too. Paths are relative to the config file. `~` is your home folder.
A section or key that is left out keeps its default. Every run writes `OUT/config.toml`, which holds
every setting, defaults included.

Must be set: `labels`, `label_column` and `expression` in `[cohort]`, at least two
`[[cohort.classes]]`, and `folder` in `[features]`. The command `features` needs only the folder.
"""


def build_page() -> str:
    """Return the page: one table per section, in the order of the config."""
    default = RunSpec()
    parts = [OPENING]
    for section in fields(default):
        spec = getattr(default, section.name)
        parts.append(_table(f"[{section.name}]", type(spec), spec))
        if section.name == "cohort":
            parts.append(_table("[[cohort.classes]]", ClassSpec, None))
    return "\n".join(parts)


def _table(title: str, kind: type[Any], default: object | None) -> str:
    """Return a heading, the spec's first sentence and a table of its fields."""
    docs, hints, bounds = field_docs(kind), get_type_hints(kind), bounds_of(kind)
    about = (kind.__doc__ or "").strip().splitlines()[0]
    lines = [f"## `{title}`", "", about, "", "| key | value | default | what it does |"]
    lines.append("|---|---|---|---|")
    for one in fields(kind):
        if one.name == "classes":
            continue
        held = getattr(default, one.name) if default is not None else None
        shown = f"`{toml(held)}`" if held is not None else "not set"
        if default is None:
            shown = "must be given"
        cells = [f"`{one.name}`", _kind(hints[one.name]), shown, docs[one.name]]
        if one.name in bounds:
            low, high = bounds[one.name].low, bounds[one.name].high
            cells[1] += f", {low:,} or more" if high == float("inf") else f", {low:,} to {high:,}"
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, ""])


def _kind(hint: Any) -> str:
    """Return in words what a TOML value must be."""
    origin = get_origin(hint)
    if origin is Literal:
        return " or ".join(f'`"{one}"`' for one in get_args(hint))
    if origin is tuple:
        return f"list of {_kind(get_args(hint)[0])}"
    inner = [one for one in get_args(hint) if one is not type(None)]
    if origin is Union or inner:
        return _kind(inner[0])
    words = {Path: "path", str: "text", int: "whole number", float: "number", bool: "true or false"}
    return words[hint]


def main() -> int:
    """Write the page, or check that it is fresh."""
    page = build_page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page, encoding="utf-8", newline="\n")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page:
        return 0
    print(f"{PAGE.name} is not fresh. Run: python docs/make_config_reference.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
