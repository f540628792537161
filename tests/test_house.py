"""The rules of the house that neither ruff nor import-linter knows (DESIGN sections 1 and 5).

Each rule lists today's offenders; a list may only become shorter.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
from pathlib import Path

import pytest

from crosstype.models.catalog import MODELS

from .structure import (
    PACKAGE,
    ROOT,
    SOURCES,
    circles,
    class_doubles,
    files_by_folder,
    identifiers,
    long_functions,
    n_lines,
    place_of,
    tree_of,
    upward_imports,
)

NO_MODULE = {"utils", "util", "helpers", "helper", "common", "base", "manager", "factory", "misc"}
# One word per thing: slide, tile, feature, encoder, probability.
NO_WORD = {"wsi", "patch", "patches", "embedding", "embeddings", "extractor", "score", "scores"}
NO_WORD |= {"manager", "factory", "helper", "helpers", "utils"}
OTHERS_NAMES = {"patch_embed"}
"""What timm calls it."""

LONG_FILES: set[str] = set()
LONG_FUNCTIONS: set[str] = set()
FULL_FOLDERS: set[str] = set()
CLASS_DOUBLES: set[str] = set()


def words(identifier: str) -> list[str]:
    """Return the words of a snake_case or CamelCase name, in lower case."""
    return [one.lower() for one in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", identifier)]


def test_files_functions_and_folders_stay_small() -> None:
    assert {place_of(path) for path in SOURCES if n_lines(path) > 600} == LONG_FILES
    assert long_functions(50) == LONG_FUNCTIONS
    assert {name for name, n in files_by_folder().items() if n > 12} == FULL_FOLDERS


def test_no_class_name_stands_twice_and_no_import_goes_round_or_up() -> None:
    assert class_doubles() == CLASS_DOUBLES
    assert not circles()
    assert not upward_imports()


def test_modules_and_things_have_the_fields_names() -> None:
    named = {word for path in SOURCES for word in (path.stem, path.parent.name)}
    assert not named & NO_MODULE
    found = {
        f"{place_of(path)}: {name}"
        for path in SOURCES
        for name in identifiers(path)
        if set(words(name)) & NO_WORD and name not in OTHERS_NAMES
    }
    assert not found


def test_only_the_catalog_spells_a_models_name() -> None:
    spelled = {
        f"{place_of(path)}: {node.value}"
        for path in SOURCES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant) and node.value in set(MODELS)
        if place_of(path) != "models/catalog.py"
    }
    assert not spelled


def test_specs_load_nothing_heavy() -> None:
    allowed = {"__future__", "collections", "dataclasses", "pathlib", "typing", "crosstype"}
    heavy = set()
    for path in SOURCES:
        if path.name == "spec.py":
            for node in ast.walk(tree_of(path)):
                if isinstance(node, ast.Import):
                    heavy |= {one.name.split(".")[0] for one in node.names} - allowed
                elif isinstance(node, ast.ImportFrom):
                    heavy |= {str(node.module).split(".")[0]} - allowed
    assert not heavy


def test_no_tracked_file_names_a_place_on_somebodys_machine() -> None:
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    place = re.compile(rb"(?<![\w.])/(home|root|work|mnt|Users|tmp)/\w|[A-Z]:\\\\Users")
    named = {
        name
        for name in listed.stdout.decode().split("\0")
        if name and (ROOT / name).is_file() and ROOT / name != Path(__file__)
        if place.search((ROOT / name).read_bytes())
    }
    assert not named


def offered(package: str) -> dict[str, str]:
    """Return what the rest of the code imports from a sub-package: name -> its module there."""
    found = {}
    for path in SOURCES:
        if place_of(path).startswith(f"{package}/"):
            continue
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith(
                f"crosstype.{package}."
            ):
                names = {one.name for one in node.names if re.match("[a-zA-Z]", one.name)}
                found |= {one: str(node.module) for one in names if not one.isupper()}
    return found


def is_defined(thing: object) -> bool:
    """Return whether it is a function or a class, and no alias or constant."""
    return inspect.isfunction(thing) or inspect.isclass(thing)


@pytest.mark.parametrize("package", sorted({path.parent.name for path in PACKAGE.glob("*/*.py")}))
def test_a_subpackage_lists_what_the_others_use(package: str) -> None:
    listed = importlib.import_module(f"crosstype.{package}")
    modules = {path.stem for path in (PACKAGE / package).rglob("*")}
    used = {
        name
        for name, module in offered(package).items()
        if name not in modules and is_defined(getattr(importlib.import_module(module), name))
    }
    assert used <= set(getattr(listed, "__all__", ()))
    assert all(getattr(listed, name) is not None for name in getattr(listed, "__all__", ()))


def test_the_house_is_complete() -> None:
    assert all((path.parent / "__init__.py").exists() for path in SOURCES)
    makefile = (ROOT / "Makefile").read_text()
    check = makefile.split("\ncheck:")[1].split("\n\n")[0]
    for gate in ("ruff format --check", "ruff check", "mypy", "lint-imports"):
        assert gate in check
    assert re.search(r"^test: check$", makefile, re.MULTILINE)
    for paper in ("README.md", "CHANGELOG.md", "LICENSE", "constraints.txt"):
        assert (ROOT / paper).stat().st_size > 0
    assert (PACKAGE / "py.typed").exists()
