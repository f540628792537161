"""What a fetch leaves behind: files, a config beside them, and lines about what is missing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crosstype.files import write_text

CONFIG = "crosstype.toml"
CONFIG_BESIDE = "crosstype.fetched.toml"


@dataclass(frozen=True)
class Fetched:
    """The result of a fetch.

    Attributes:
        n_files: files that lie there whole.
        notes: what is worth knowing, one line each: titles, licences, choices made.
        faults: what could not be had, one line each; the rest is done.
        config: the config that was written; None if there was nothing to write one about.
    """

    n_files: int
    notes: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    config: Path | None = None


def quoted(text: str) -> str:
    """Return a text as TOML writes it."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def write_config(folder: Path, lines: Sequence[str]) -> Path:
    """Write the config; one that a user has changed is left alone, and the new lies beside it."""
    text = "\n".join(lines) + "\n"
    path = folder / CONFIG
    if path.exists() and path.read_bytes() != text.encode():
        path = folder / CONFIG_BESIDE
    write_text(path, text)
    return path
