"""What the source tree is like: sizes, folders, doubles, circles. `make structure` prints it.

The tests in `test_house.py` hold the same figures to their bounds.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "crosstype"
SOURCES = sorted(PACKAGE.rglob("*.py"))
LAYERS = (
    *("cli", "studies viewer deploy", "workflow", "config", "explain", "crossval", "robustness"),
    *("training folds evaluation", "cohort", "features pam50 report"),
    *("slides expression fetch demo", "models executors", "io", "protocol"),
    "types tcga errors progress",
)
"""DESIGN section 1, from above; an upper line may import lower ones only."""

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
NOT_CODE = (
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE),
    *(tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER),
)


@cache
def tree_of(path: Path) -> ast.Module:
    """Return a file's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"))


def place_of(path: Path) -> str:
    """Return a file's path below the package, as rules name it."""
    return path.relative_to(PACKAGE).as_posix()


def module_of(path: Path) -> str:
    """Return the dotted name of a file's module."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def n_lines(path: Path) -> int:
    """Return a file's number of lines."""
    return len(path.read_text(encoding="utf-8").splitlines())


def code_lines(path: Path) -> int:
    """Return a file's number of lines without docstrings, comments and blank lines."""
    prose = set[int]()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, (ast.Module, Definition)) and ast.get_docstring(node) is not None:
            prose |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    lines = set[int]()
    with io.StringIO(path.read_text(encoding="utf-8")) as text:
        for token in tokenize.generate_tokens(text.readline):
            if token.type not in NOT_CODE:
                lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines - prose)


def long_functions(most: int) -> set[str]:
    """Return every function of more lines."""
    return {
        f"{place_of(path)}: {node.name}"
        for path in SOURCES
        for node in ast.walk(tree_of(path))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (node.end_lineno or 0) - node.lineno + 1 > most
    }


def files_by_folder() -> dict[str, int]:
    """Return how many modules each folder holds, `__init__` and `__main__` apart."""
    counts: dict[str, int] = defaultdict(int)
    for path in SOURCES:
        if not path.name.startswith("__"):
            counts[place_of(path.parent)] += 1
    return dict(counts)


def class_doubles() -> set[str]:
    """Return the names that more than one class has."""
    places = defaultdict(set)
    for path in SOURCES:
        for node in tree_of(path).body:
            if isinstance(node, ast.ClassDef):
                places[node.name].add(place_of(path))
    return {name for name, found in places.items() if len(found) > 1}


@cache
def imports() -> dict[str, set[str]]:
    """Return which modules of the package each module imports, inside functions too."""
    modules = {module_of(path): path for path in SOURCES}
    found = {}
    for name, path in modules.items():
        named = set()
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ImportFrom) and node.module in modules:
                inner = {f"{node.module}.{one.name}" for one in node.names}
                named |= inner & set(modules) or {node.module}
        found[name] = named - {name, "crosstype"}
    return found


def circles() -> list[str]:
    """Return the first circle of imports, or nothing."""
    try:
        TopologicalSorter(imports()).prepare()
    except CycleError as found:
        return list(found.args[1])
    return []


def upward_imports() -> set[str]:
    """Return every import of an upper layer or of a neighbour."""
    rank = {name: i for i, line in enumerate(LAYERS) for name in line.split()}
    found = set()
    for module, named in imports().items():
        for other in named:
            here, there = module.split(".")[1:2], other.split(".")[1:2]
            if not here or here == there or here[0] not in rank:
                continue
            if rank.get(there[0], -1) <= rank[here[0]]:
                found.add(f"{module} -> {other}")
    return found


def identifiers(path: Path) -> Iterator[str]:
    """Give every name that a module itself defines; not the names that libraries chose."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, Definition):
            yield node.name


def main() -> None:
    """Print the figures."""
    files = [path for path in SOURCES if path.name != "__init__.py"]
    largest = max(files, key=n_lines)
    folders = files_by_folder()
    fullest = max(folders, key=folders.__getitem__)
    figures = {
        "files, __init__ apart": len(files),
        "lines": sum(map(n_lines, SOURCES)),
        "code lines, without docstrings, comments and blank lines": sum(map(code_lines, SOURCES)),
        "longest file": f"{n_lines(largest)} lines, {place_of(largest)}",
        "fullest folder": f"{folders[fullest]} files, {fullest}",
        "functions above 50 lines": len(long_functions(50)),
        "circles of imports": len(circles()),
        "class names that stand twice": len(class_doubles()),
        "imports of an upper layer or a neighbour": len(upward_imports()),
    }
    for name, figure in figures.items():
        print(f"{name}: {figure}")


if __name__ == "__main__":
    main()
