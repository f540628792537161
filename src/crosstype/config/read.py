"""Strict reading of TOML configs into specs; unknown keys are errors with the nearest key."""

import tomllib
import types
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from crosstype.config.run_spec import RunSpec
from crosstype.config.validate import check_run
from crosstype.errors import ConfigError

RENAMED = {
    ("cohort", "one_modality"): "single_modality",
    ("training", "damage"): "corruption",
    ("evaluation", "n_losses"): "n_perturbations",
}
"""Keys of earlier versions, by section, and their current names."""


def read_config(path: Path) -> RunSpec:
    """Read a config file; its paths are relative to the file.

    Raises:
        ConfigError: the file does not exist or is no TOML, a key is unknown, a value is of the
            wrong type or out of range.
    """
    try:
        raw = path.read_bytes().decode("utf-8-sig")
    except OSError as fault:
        raise ConfigError(
            f"{path}: cannot be read: {fault.strerror}. `crosstype init {path.name}` writes one "
            "to fill in."
        ) from fault
    except UnicodeDecodeError as fault:
        raise ConfigError(f"{path.name}: is not UTF-8 text. Save it as UTF-8.") from fault
    try:
        values = tomllib.loads(raw)
    except tomllib.TOMLDecodeError as fault:
        raise ConfigError(f"{path.name}: is not valid TOML: {fault}.") from fault
    spec: RunSpec = _build(RunSpec, values, "", _Source(path.name, path.parent.resolve()))
    check_run(spec, path.name)
    return spec


class _Source:
    """Name of the config file, and the folder of its relative paths."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder

    def error(self, key: str, found: object, expected: str) -> ConfigError:
        return ConfigError(f"{self.name}: {key}: found {found!r}, expected {expected}.")


def _build(kind: type[Any], values: object, section: str, source: _Source) -> Any:
    """Return a dataclass from a TOML table."""
    if not isinstance(values, dict):
        raise source.error(f"[{section}]", values, "a section with keys")
    hints = get_type_hints(kind, include_extras=True)
    known = [one.name for one in fields(kind)]
    for key in values:
        if key not in known:
            raise _unknown_key(key, section, known, source)
    filled = {}
    for key, value in values.items():
        filled[key] = _convert(hints[key], value, f"{section}.{key}" if section else key, source)
    try:
        return kind(**filled)
    except TypeError as fault:  # a field without default was left out
        missing = [one.name for one in fields(kind) if one.name not in filled]
        raise source.error(
            f"[{section}]", sorted(values), f"the keys {', '.join(missing)} too"
        ) from fault


def _unknown_key(key: str, section: str, known: list[str], source: _Source) -> ConfigError:
    new = RENAMED.get((section, key))
    if new is not None:
        return ConfigError(f"{source.name}: key {key!r} in [{section}] is now called {new!r}.")
    near = get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known)}."
    where = f"key {key!r} in [{section}]" if section else f"section [{key}]"
    return ConfigError(f"{source.name}: {where} is unknown. {hint}")


def _convert(hint: Any, value: object, key: str, source: _Source) -> Any:
    """Return a TOML value converted to the field's type."""
    origin = get_origin(hint)
    if origin is Annotated:
        inner, bounds = get_args(hint)
        number = _convert(inner, value, key, source)
        if not bounds.low <= number <= bounds.high:
            raise source.error(key, number, f"{bounds.low:g} to {bounds.high:g}")
        return number
    if origin in (Union, types.UnionType):
        inner = [one for one in get_args(hint) if one is not type(None)]
        return _convert(inner[0], value, key, source)
    if origin is Literal:
        if value not in get_args(hint):
            raise source.error(key, value, "one of " + ", ".join(map(repr, get_args(hint))))
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise source.error(key, value, "a list in [ ]")
        return tuple(_convert(get_args(hint)[0], one, key, source) for one in value)
    if is_dataclass(hint) and isinstance(hint, type):
        return _build(hint, value, key, source)
    return _convert_plain(hint, value, key, source)


def _convert_plain(hint: Any, value: object, key: str, source: _Source) -> Any:
    if hint is Path and isinstance(value, str) and value:
        return (source.folder / Path(value).expanduser()).resolve()
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    words = {Path: "a path in quotes", str: "text in quotes", int: "a whole number"}
    fits = isinstance(value, hint) and not (hint is int and isinstance(value, bool))
    if hint is Path or not fits:
        expected = words.get(hint, "true or false" if hint is bool else "a number")
        raise source.error(key, value, expected)
    return value
