"""The files of the paper's archive, found in a folder, and the config that reads them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from crosstype.errors import FetchError, TableError
from crosstype.fetch.fetched import quoted, write_config
from crosstype.fetch.unpack import TILE, is_tile_zip, members_of, tile_slides_in
from crosstype.tables import open_table

TABLE = r".*\.(?:csv|tsv|txt|xlsx)(?:\.gz)?$"
LABELS = re.compile(r".*target.?variable" + TABLE, re.I)
SLIDES = re.compile(r".*[-_ ]slides?\." + TABLE.removeprefix(r".*\."), re.I)
EXPRESSION = re.compile(r".*(?:rna.?seq|expression)" + TABLE, re.I)
SLIDE_SUFFIXES = frozenset({".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".jpg", ".png"})
LABEL_COLUMN = "TCGA Subtype"

CLASSES = """
[[cohort.classes]]
name = "Luminal"
labels = ["BRCA.LumA", "BRCA.LumB"]

[[cohort.classes]]
name = "Basal/Her2"
labels = ["BRCA.Basal", "BRCA.Her2"]
""".splitlines()


@dataclass(frozen=True)
class Layout:
    """Where the parts of the paper's archive lie.

    Attributes:
        labels: the table of labels.
        expression: the expression table.
        slides: the slides table; None if there is none.
        tiles: the zip or folder of tiles; None if there is none.
        tile_slides: the slides that have tiles.
    """

    labels: Path
    expression: Path
    slides: Path | None
    tiles: Path | None
    tile_slides: Sequence[str]


def config_of(folder: Path, origin: str) -> tuple[Path | None, list[str]]:
    """Write a config if the folder holds the paper's archive; return it, and notes.

    Args:
        folder: the folder.
        origin: where the files come from, in words.
    """
    layout, missing = find_layout(folder)
    if layout is None:
        return None, [f"no config was written: {folder} holds no {' and no '.join(missing)}"]
    slides, note = _slides_line(layout, folder)
    lines = [
        f"# Written by `crosstype fetch` for {origin}. Paths are relative to this file.",
        "[cohort]",
        f"labels = {_shown(layout.labels, folder)}",
        'patient_column = "PATIENT"',
        "# Not the column `Class`: it is coded in reverse (1 is Luminal, 0 is Basal/Her2).",
        f"label_column = {quoted(LABEL_COLUMN)}",
        *slides,
        f"expression = {_shown(layout.expression, folder)}",
        *CLASSES,
    ]
    if layout.tiles is not None:
        lines += [
            "",
            "[slides]",
            "# Tiles, cut and stain-normalised already; a zip of them is read as it is.",
            f"folder = {_shown(layout.tiles, folder)}",
            "",
            "[tiles]",
            "n_tiles = 35",
        ]
    lines += [
        "",
        "[features]",
        '# "colour_texture" needs no weights and no download.',
        'encoder = "resnet50"',
    ]
    return write_config(folder, lines), note


def find_layout(folder: Path) -> tuple[Layout | None, list[str]]:
    """Find the archive's parts by their names, at any depth; say what is missing."""
    files = [one for one in sorted(folder.rglob("*")) if one.is_file()]
    files = [one for one in files if not one.name.startswith(".") and one.suffix != ".part"]
    labels, expression = _first(LABELS, files), _first(EXPRESSION, files)
    missing = [] if labels else ["table of labels (`...target_variable.xlsx`)"]
    missing += [] if expression else ["expression table (`...RNA-Seq.csv`)"]
    if labels is None or expression is None:
        return None, missing
    tiles, tile_slides = _tiles(folder, files)
    return Layout(labels, expression, _first(SLIDES, files), tiles, tile_slides), []


def _first(name: re.Pattern[str], files: Sequence[Path]) -> Path | None:
    return next((one for one in files if name.fullmatch(one.name)), None)


def _tiles(folder: Path, files: Sequence[Path]) -> tuple[Path | None, list[str]]:
    """Return the zip or the folder that holds tiles, and whose they are."""
    for path in files:
        if path.suffix.lower() != ".zip":
            continue
        try:
            members = members_of(path)
        except FetchError:  # said before, when it was to be unpacked
            continue
        if is_tile_zip(members):
            return path, tile_slides_in(members)
    found = [one for one in files if TILE.search(one.as_posix())]
    if not found:
        return None, []
    top = found[0].relative_to(folder).parts[0]
    return folder / top, sorted({one.parent.name for one in found})


def _slides_line(layout: Layout, folder: Path) -> tuple[list[str], list[str]]:
    """Return the config's lines about the slides table, and notes.

    FILENAME must name a slide as the folders of its tiles do. Where it does not, the table is
    left out of the config, and the patient of a slide is found by its TCGA barcode.
    """
    if layout.slides is None:
        return [], []
    table = _shown(layout.slides, folder)
    try:
        named = {_slide_id(name) for name in open_table(layout.slides).column("FILENAME")}
    except TableError as fault:
        return [f"# slides = {table}"], [f"the slides table is not used: {fault}"]
    strangers = [one for one in layout.tile_slides if one not in named]
    if not strangers:
        return [f"slides = {table}"], []
    example = strangers[0]
    near = min((one for one in named if one.startswith(example[:12])), default=min(named))
    note = (
        f"{layout.slides.name} is not used: {len(strangers)} of {len(layout.tile_slides)} slides "
        f"with tiles are named otherwise there (tiles {example!r}, table {near!r}); patients are "
        "taken from the barcodes"
    )
    return [f"# {note}.", f"# slides = {table}"], [note]


def _slide_id(name: str) -> str:
    """Return a slide's id of a FILENAME: without folder and without a slide's suffix."""
    path = PurePosixPath(name.strip().replace("\\", "/"))
    return path.stem if path.suffix.lower() in SLIDE_SUFFIXES else path.name


def _shown(path: Path, folder: Path) -> str:
    return quoted(path.relative_to(folder).as_posix())
