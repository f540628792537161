"""The test of the house: sizes, names, docstrings. Layers are import-linter's, in `make check`."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src" / "crosstype").rglob("*.py"))
MOST_LINES_OF_A_FILE = 300
MOST_LINES_OF_A_FUNCTION = 50
NO_MODULE = {"utils", "util", "helpers", "helper", "common", "base", "manager", "factory", "misc"}
# One word per thing (DESIGN section 5): slide, tile, feature, encoder, probability.
NO_WORD = {"wsi", "patch", "patches", "embedding", "embeddings", "extractor", "score", "scores"}
NO_WORD |= {"manager", "factory", "helper", "helpers", "utils"}

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef

each_source = pytest.mark.parametrize(
    "path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src" / "crosstype"))
)


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def definitions(node: ast.AST) -> Iterator[Definition]:
    """Give public functions, classes and methods; not what a function defines inside."""
    for one in ast.iter_child_nodes(node):
        if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            if not one.name.startswith("_"):
                yield one
            if isinstance(one, ast.ClassDef) and not one.name.startswith("_"):
                yield from definitions(one)


def identifiers(tree: ast.Module) -> Iterator[str]:
    """Give every name that the module itself defines; not the names that libraries chose."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name


def words(identifier: str) -> list[str]:
    """Return the words of a snake_case or CamelCase name, in lower case."""
    return [one.lower() for one in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", identifier)]


TIMMS_NAMES = {"patch_embed"}


@each_source
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES_OF_A_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno is not None
            length = node.end_lineno - node.lineno + 1
            assert length <= MOST_LINES_OF_A_FUNCTION, f"{node.name} has {length} lines"


@each_source
def test_modules_are_named_after_what_they_hold(path: Path) -> None:
    assert not {path.stem, path.parent.name} & NO_MODULE


@each_source
def test_one_word_per_thing(path: Path) -> None:
    found = {name for name in identifiers(tree_of(path)) if set(words(name)) & NO_WORD}
    assert not found - TIMMS_NAMES


@each_source
def test_everything_public_says_what_it_is(path: Path) -> None:
    tree = tree_of(path)
    if path.name == "__init__.py" and not path.read_text(encoding="utf-8"):
        return
    assert ast.get_docstring(tree)
    silent = [one.name for one in definitions(tree) if not ast.get_docstring(one)]
    assert not silent


@each_source
def test_nothing_is_caught_wholesale(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"line {node.lineno}"
            kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            names = {one.id for one in kinds if isinstance(one, ast.Name)}
            assert "Exception" not in names, f"line {node.lineno}"
            # Whoever must clean up whatever happened raises it again.
            if "BaseException" in names:
                assert isinstance(node.body[-1], ast.Raise), f"line {node.lineno}"


@each_source
def test_only_the_command_line_speaks(path: Path) -> None:
    if path.parent.name == "cli":
        return
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"line {node.lineno}"


def test_subpackages_are_empty_at_the_door() -> None:
    for path in SOURCES:
        if path.name == "__init__.py" and path.parent != ROOT / "src" / "crosstype":
            assert path.stat().st_size == 0, path


def test_every_folder_of_source_is_a_package() -> None:
    for folder in {path.parent for path in SOURCES}:
        assert (folder / "__init__.py").exists(), folder


def test_specs_load_nothing_heavy() -> None:
    allowed = {"__future__", "dataclasses", "pathlib", "typing", "crosstype"}
    for path in SOURCES:
        if path.name != "spec.py":
            continue
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Import):
                roots = {one.name.split(".")[0] for one in node.names}
            elif isinstance(node, ast.ImportFrom):
                roots = {str(node.module).split(".")[0]}
            else:
                continue
            assert roots <= allowed, path


def test_no_tracked_file_names_a_place_on_somebodys_machine() -> None:
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    place = re.compile(rb"(?<![\w.])/(home|root|work|mnt|Users|tmp)/\w|[A-Z]:\\\\Users")
    for name in listed.stdout.decode().split("\0"):
        path = ROOT / name
        if name and path.is_file() and path != Path(__file__):
            found = place.search(path.read_bytes())
            assert not found, f"{name}: {found}"


def test_the_gates_run_in_one_command() -> None:
    makefile = (ROOT / "Makefile").read_text()
    check = makefile.split("\ncheck:")[1].split("\n\n")[0]
    for gate in ("ruff format --check", "ruff check", "mypy", "lint-imports"):
        assert gate in check
    assert re.search(r"^test: check$", makefile, re.MULTILINE)


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "LICENSE", "constraints.txt"])
def test_the_house_has_its_papers(name: str) -> None:
    assert (ROOT / name).stat().st_size > 0
