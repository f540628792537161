"""Atomic writing of files, and hashes of files, settings and code."""

import ast
import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path, PurePath
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success sync it and rename it to `path`.

    The caller writes and closes the temporary file. A failure or a kill leaves `path` unchanged.
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
    """Write UTF-8 text with Unix line ends, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


class HashCache:
    """Cache of SHA-256 of files, by path, size and modification time."""

    def __init__(self, path: Path) -> None:
        """Use the JSON file `path`; a missing or damaged cache is empty."""
        self._path = path
        try:
            self._known: dict[str, list[Any]] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self._known = {}

    def sha256_of(self, path: Path) -> str:
        """Return the SHA-256 of `path`, from the cache unless size or time changed."""
        status = path.stat()
        key = str(path.resolve())
        known = self._known.get(key)
        if known is None or known[:2] != [status.st_size, status.st_mtime_ns]:
            known = [status.st_size, status.st_mtime_ns, sha256_of(path)]
            self._known[key] = known
        return str(known[2])

    def save(self) -> None:
        """Write the cache."""
        write_text(self._path, json.dumps(self._known, indent=0, sort_keys=True))


def plain(value: Any) -> Any:
    """Return specs, paths and collections as JSON-able values, keys in a fixed order."""
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
    """Return a SHA-256 of a spec, over all its fields."""
    text = json.dumps(plain(value), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


PACKAGE = Path(__file__).parents[1]
IMPORTED = re.compile(r"^\s*from (crosstype\.[\w.]+) import (\([^)]*\)|.*)", re.MULTILINE)


@cache
def code_version(*modules: str) -> str:
    """Return a SHA-256 of the source of modules, all that they import, and their templates.

    Args:
        modules: dotted names within this package.
    """
    todo, seen = [*modules], dict[Path, bytes]()
    while todo:
        path = _source_of(todo.pop())
        if path.is_file() and path not in seen:
            seen[path] = path.read_bytes()
            for module, names in IMPORTED.findall(seen[path].decode()):
                # What is imported from a package may be a module of it.
                todo += [module, *(f"{module}.{name}" for name in re.findall(r"\w+", names))]
    for folder in {path.parent for path in seen}:
        seen |= {one: one.read_bytes() for one in folder.glob("templates/*")}
    named = [path.relative_to(PACKAGE).as_posix().encode() + b"\0" + seen[path] for path in seen]
    return hashlib.sha256(b"\0".join(sorted(named))).hexdigest()


@cache
def statements_version(*modules: str) -> str:
    """Return a SHA-256 of the statements of modules, without comments, docstrings and layout.

    For results that cost hours, which a changed comment must not invalidate. Imported modules are
    not included.
    """
    found = []
    for name in modules:
        tree = ast.parse(_source_of(name).read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(body := getattr(node, "body", None), list):
                node.body = [one for one in body if not _is_text(one)]  # type: ignore[attr-defined]
        found.append(ast.dump(tree))
    return hashlib.sha256("\0".join(found).encode()).hexdigest()


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _source_of(module: str) -> Path:
    return PACKAGE.parent / (module.replace(".", "/") + ".py")
