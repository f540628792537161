"""Files that are there whole or not at all, and the fingerprints by which stages know them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path, PurePath
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success sync it and rename it to `path`.

    The caller writes and closes the temporary file. A failure or a kill leaves `path` as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with Unix line ends, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


class HashMemory:
    """SHA-256 of files, remembered by path, size and modification time."""

    def __init__(self, path: Path) -> None:
        """Remember in the JSON file `path`; a missing or damaged memory is an empty one."""
        self._path = path
        try:
            self._known: dict[str, list[Any]] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self._known = {}

    def sha256_of(self, path: Path) -> str:
        """Return the SHA-256 of `path`, reading it only if it changed since it was last read."""
        status = path.stat()
        key = str(path.resolve())
        known = self._known.get(key)
        if known is None or known[:2] != [status.st_size, status.st_mtime_ns]:
            known = [status.st_size, status.st_mtime_ns, sha256_of(path)]
            self._known[key] = known
        return str(known[2])

    def save(self) -> None:
        """Write the memory."""
        write_text(self._path, json.dumps(self._known, indent=0, sort_keys=True))


def plain(value: Any) -> Any:
    """Return specs, paths and tuples as what JSON can hold, keys in a fixed order."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in sorted(value.items())}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = sorted(value) if isinstance(value, (set, frozenset)) else value
        return [plain(item) for item in items]
    return value


def hash_of(value: Any) -> str:
    """Return a SHA-256 over a spec, whole: any field that differs gives another hash."""
    text = json.dumps(plain(value), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
