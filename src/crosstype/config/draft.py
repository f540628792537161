"""Drafting of a config from a user's files: paths, columns and classes."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from crosstype.cohort.labels import PAM50_LABEL, PAM50_PREFIX, RECEPTOR_LABEL
from crosstype.cohort.spec import ClassSpec
from crosstype.config.toml import commented_toml, toml
from crosstype.errors import ConfigError
from crosstype.io.tables import Table, is_missing, open_table
from crosstype.types import PATIENT_COLUMNS

EXAMPLE = {
    ("cohort", "labels"): '"labels.csv"',
    ("cohort", "label_column"): '"TCGA Subtype"',
    ("cohort", "slides"): '"slides.csv"',
    ("cohort", "expression"): '"expression.tsv.gz"',
    ("features", "folder"): '"features"',
}
EXAMPLE_CLASSES = (
    ClassSpec("Luminal", ("BRCA.LumA", "BRCA.LumB")),
    ClassSpec("Basal/Her2", ("BRCA.Basal", "BRCA.Her2")),
)
"""Settings of a config without files."""
MOST_CLASSES = 8
LABEL_COLUMNS = ("label", "subtype", "class", "pam50", "pam50_subtype", "molecular_subtype")


@dataclass(frozen=True)
class UserFiles:
    """The user's files; None if not named.

    Attributes:
        labels: label table.
        expression: expression table, or folder of GDC counts.
        slides: folder of slides, or zip of tiles.
        features: folder of existing feature files.
        slides_table: patient and file of each slide.
    """

    labels: Path | None = None
    expression: Path | None = None
    slides: Path | None = None
    features: Path | None = None
    slides_table: Path | None = None


def draft_config(given: UserFiles, folder: Path) -> tuple[str, list[str]]:
    """Return a commented config, filled in from the files, and notes.

    Args:
        given: the files; if none is named, the config is an example to fill in.
        folder: where the config will be; paths below it are written relative to it.

    Raises:
        ConfigError: a file does not exist, or slides and features are both named.
        TableError: the label table is damaged.
    """
    _check(given)
    named = {
        ("cohort", "labels"): given.labels,
        ("cohort", "expression"): given.expression,
        ("cohort", "slides"): given.slides_table,
        ("slides", "folder"): given.slides,
        ("features", "folder"): given.features,
    }
    paths = {key: toml(_from(folder, path)) for key, path in named.items() if path is not None}
    if not paths:
        return commented_toml(EXAMPLE, EXAMPLE_CLASSES), []
    values = {key: text for key, text in EXAMPLE.items() if key not in _replaced(given)} | paths
    classes: tuple[ClassSpec, ...] = EXAMPLE_CLASSES
    notes: list[str] = []
    if given.labels is not None:
        columns, found = _columns_and_classes(open_table(given.labels))
        values |= columns
        classes = found or classes
        notes = _notes(given.labels.name, columns, found)
    return commented_toml(values, classes), notes


def _check(given: UserFiles) -> None:
    """Raise if a file does not exist, or slides and features are both named."""
    if given.slides is not None and given.features is not None:
        raise ConfigError(
            "--slides and --features are both given. Keep the first to extract features, the "
            "second to use those that exist."
        )
    for option, path in vars(given).items():
        if path is not None and not path.exists():
            name = option.replace("_", "-")
            raise ConfigError(f"--{name}: found {str(path)!r}, which is not there.")


def _replaced(given: UserFiles) -> set[tuple[str, str]]:
    """Return the settings of the example that the given files replace."""
    replaced = set()
    if given.labels is not None:
        replaced.add(("cohort", "label_column"))
    if given.slides is not None or given.features is not None:
        replaced |= {("features", "folder"), ("cohort", "slides")}
    return replaced


def _from(folder: Path, path: Path) -> str:
    """Return a path for the config: relative if it is below the config's folder."""
    whole, top = path.resolve(), folder.resolve()
    return whole.relative_to(top).as_posix() if whole.is_relative_to(top) else os.fspath(whole)


def _columns_and_classes(table: Table) -> tuple[dict[tuple[str, str], str], tuple[ClassSpec, ...]]:
    """Return the settings of the label table's columns, and its classes."""
    cells = {
        name: [one for one in table.column(name) if not is_missing(one)] for name in table.names
    }
    columns = {}
    patient = table.name_among(PATIENT_COLUMNS)
    if patient is None:
        n_rows = table.cells.height
        patient = next((name for name, own in cells.items() if len(set(own)) == n_rows), None)
        if patient is not None:
            columns["cohort", "patient_column"] = toml(patient)
    label = _label_column({name: own for name, own in cells.items() if name != patient})
    if label is None:
        return columns, ()
    columns["cohort", "label_column"] = toml(label)
    return columns, _classes(sorted(set(cells[label])))


def _label_column(cells: Mapping[str, list[str]]) -> str | None:
    """Return the column with most PAM50 labels, else with most of receptors, else by its name."""
    for kind in (PAM50_LABEL, RECEPTOR_LABEL):
        held = {name: [one for one in own if kind.match(one)] for name, own in cells.items()}
        likely = {name: len(own) for name, own in held.items() if len(set(own)) > 1}
        if likely:
            return max(likely, key=likely.__getitem__)
    usual = (name for name in cells if name.strip().casefold() in LABEL_COLUMNS)
    return next((name for name in usual if 2 <= len(set(cells[name])) <= MOST_CLASSES), None)


def _classes(labels: list[str]) -> tuple[ClassSpec, ...]:
    """Return Luminal and Basal/Her2 if both are among PAM50 labels, else each label by itself."""
    kinds = {one: PAM50_PREFIX.sub("", one).casefold()[:3] for one in labels}
    luminal = tuple(one for one in labels if PAM50_LABEL.match(one) and kinds[one] == "lum")
    others = tuple(one for one in labels if PAM50_LABEL.match(one) and kinds[one] in ("bas", "her"))
    if luminal and others:
        return (ClassSpec("Luminal", luminal), ClassSpec("Basal/Her2", others))
    return tuple(ClassSpec(one, (one,)) for one in labels[:MOST_CLASSES])


def _notes(
    file_name: str, columns: Mapping[tuple[str, str], str], classes: tuple[ClassSpec, ...]
) -> list[str]:
    """Return notes on the label table, and on settings to fill in."""
    notes = []
    patient = columns.get(("cohort", "patient_column"))
    if patient is not None:
        notes.append(f"{file_name}: patients are taken from column {patient}.")
    if not classes:
        notes.append(
            f"{file_name}: no column looks like a label. Set label_column, and the labels of "
            "each class, in the config."
        )
        return notes
    held = "; ".join(f"{one.name} ({', '.join(one.labels)})" for one in classes)
    label = columns["cohort", "label_column"]
    notes.append(f"{file_name}: labels are taken from column {label}. Classes: {held}.")
    return notes
