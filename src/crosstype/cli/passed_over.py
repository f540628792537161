"""How a command says which slides or feature files it passed over."""

from __future__ import annotations

from collections.abc import Sequence

import typer

MOST_NAMED = 5


def tell_passed_over(faults: Sequence[str]) -> None:
    """Say what was passed over; what befell several files in the same words is one line."""
    for line in gather(faults):
        typer.echo(f"Passed over: {line}", err=True)


def gather(faults: Sequence[str]) -> list[str]:
    """Return `file: fault` lines, those of one fault put together, in order of appearance."""
    files: dict[str, list[str]] = {}
    for fault in faults:
        file, _, found = fault.partition(": ")
        files.setdefault(found, []).append(file)
    return [f"{_named(names)}: {found}" for found, names in files.items()]


def _named(files: Sequence[str]) -> str:
    """Return the files' names, of many the first few and how many more there are."""
    shown, n_more = files[:MOST_NAMED], len(files) - MOST_NAMED
    return ", ".join(shown) + (f" and {n_more} more" if n_more > 0 else "")
