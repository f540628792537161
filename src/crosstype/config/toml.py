"""Writing of configs as TOML: the resolved config of a run, and a commented template."""

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import PurePath
from typing import Any

from crosstype.cohort.spec import ClassSpec
from crosstype.config.run_spec import RunSpec


def field_docs(kind: type[Any]) -> dict[str, str]:
    """Return the docstring of each field of a spec, on one line."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(tree, ast.ClassDef)
    docs = {}
    for one, after in zip(tree.body, tree.body[1:], strict=False):
        named = isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
        if named and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            docs[one.target.id] = " ".join(str(after.value.value).split())  # type: ignore[attr-defined]
    return docs


def resolved_toml(spec: RunSpec) -> str:
    """Return a config with all settings; reading it gives the same spec."""
    lines = ["# Every setting of this run, defaults included; written by crosstype."]
    for section in fields(spec):
        value = getattr(spec, section.name)
        lines += ["", f"[{section.name}]"]
        lines += [f"{key} = {toml(one)}" for key, one in _plain_fields(value)]
        if section.name == "cohort":
            lines += _class_lines(spec.cohort.classes)
    return "\n".join(lines) + "\n"


def commented_toml(given: Mapping[tuple[str, str], str], classes: tuple[ClassSpec, ...]) -> str:
    """Return a config with all settings and explanations; those not given are commented defaults.

    Args:
        given: TOML values by section and key.
        classes: the cohort's classes.
    """
    lines = [
        "# crosstype config. Paths are relative to this file. Lines that start with `#` after",
        "# a setting's explanation show its default; remove the `#` to change it.",
    ]
    default = RunSpec()
    for section in fields(default):
        value = getattr(default, section.name)
        docs = field_docs(type(value))
        lines += ["", f"[{section.name}]"]
        for key, one in _plain_fields(value, everything=True):
            lines += textwrap.wrap(docs[key], 96, initial_indent="# ", subsequent_indent="# ")
            example = given.get((section.name, key))
            shown = toml(one) if one is not None else '""'
            lines.append(f"{key} = {example}" if example else f"# {key} = {shown}")
        if section.name == "cohort":
            lines += _class_lines(classes)
    return "\n".join(lines) + "\n"


def toml(value: Any) -> str:
    """Return a value in TOML syntax."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, PurePath)):
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple):
        return f"[{', '.join(toml(one) for one in value)}]"
    return repr(value)


def _plain_fields(value: Any, *, everything: bool = False) -> Iterator[tuple[str, Any]]:
    """Yield names and values of a spec's fields; unset ones only with `everything`."""
    for one in fields(value):
        held = getattr(value, one.name)
        if one.name != "classes" and (everything or held is not None):
            yield one.name, held


def _class_lines(classes: tuple[ClassSpec, ...]) -> list[str]:
    lines = []
    for one in classes:
        lines += ["", "[[cohort.classes]]", f"name = {toml(one.name)}"]
        lines.append(f"labels = {toml(one.labels)}")
    return lines
