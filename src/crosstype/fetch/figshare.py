"""Download of a figshare article, and a config for the archive of the paper."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from crosstype.errors import FetchError, TableError
from crosstype.fetch import archive
from crosstype.fetch.download import (
    Fetched,
    RemoteFile,
    checked_name,
    download_all,
    quoted,
    write_config,
)
from crosstype.fetch.http import Web
from crosstype.io.tables import open_table
from crosstype.progress import NoProgress, Progress

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
    """Paths of the parts of the paper's archive.

    Attributes:
        labels: the table of labels.
        expression: the expression table.
        slides: the slides table; None if there is none.
        tiles: the zip or folder of tiles; None if there is none.
        tile_slides: ids of slides with tiles.
    """

    labels: Path
    expression: Path
    slides: Path | None
    tiles: Path | None
    tile_slides: Sequence[str]


def config_of(folder: Path, origin: str) -> tuple[Path | None, list[str]]:
    """Write a config if the folder has the paper's archive; return its path and notes.

    Args:
        folder: the folder.
        origin: source of the files, for the config's first line.
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
    """Find the archive's parts by name, at any depth; return missing ones too."""
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
    """Return the zip or the folder with tiles, and the slides' ids."""
    for path in files:
        if path.suffix.lower() != ".zip":
            continue
        try:
            members = archive.members_of(path)
        except FetchError:  # reported before, at unpacking
            continue
        if archive.is_tile_zip(members):
            return path, archive.tile_slides_in(members)
    found = [one for one in files if archive.TILE.search(one.as_posix())]
    if not found:
        return None, []
    top = found[0].relative_to(folder).parts[0]
    return folder / top, sorted({one.parent.name for one in found})


def _slides_line(layout: Layout, folder: Path) -> tuple[list[str], list[str]]:
    """Return the config's lines on the slides table, and notes.

    FILENAME must match the names of the tiles' folders. Otherwise the table is left out of the
    config, and patients are identified by TCGA barcodes.
    """
    if layout.slides is None:
        return [], []
    table = _shown(layout.slides, folder)
    try:
        named = {_slide_id(name) for name in open_table(layout.slides).column("FILENAME")}
    except TableError as fault:
        return [f"# slides = {table}"], [f"the slides table is not used: {fault}"]
    unmatched = [one for one in layout.tile_slides if one not in named]
    if not unmatched:
        return [f"slides = {table}"], []
    example = unmatched[0]
    near = min((one for one in named if one.startswith(example[:12])), default=min(named))
    note = (
        f"{layout.slides.name} is not used: {len(unmatched)} of {len(layout.tile_slides)} slides "
        f"with tiles are named otherwise there (tiles {example!r}, table {near!r}); patients are "
        "taken from the barcodes"
    )
    return [f"# {note}.", f"# slides = {table}"], [note]


def _slide_id(name: str) -> str:
    """Return the slide id of a FILENAME: without folder and suffix."""
    path = PurePosixPath(name.strip().replace("\\", "/"))
    return path.stem if path.suffix.lower() in SLIDE_SUFFIXES else path.name


def _shown(path: Path, folder: Path) -> str:
    return quoted(path.relative_to(folder).as_posix())


BASE = "https://api.figshare.com/v2"
PAPER = 28050083
FILES_PER_PAGE = 100
REFUSALS = {
    403: "figshare refuses this machine. Download the file in a browser, put it into the folder "
    "and run the same command again.",
    404: "figshare has no such file any more; look at the article's page for a newer version.",
}


def manual_instructions(article: int, folder: Path) -> str:
    """Return instructions for a manual download."""
    return (
        f"By hand: open https://doi.org/10.6084/m9.figshare.{article} in a browser, put the files "
        f"into {folder} and run the same command with --local; or name a mirror with --base."
    )


def fetch_figshare(
    article: int, folder: Path, web: Web, progress: Progress | None = None, n_workers: int = 4
) -> Fetched:
    """Download an article's files, unpack them and write a config beside them.

    A zip of nothing but tiles stays a zip: `[slides] folder` reads it as it is.

    Args:
        article: the article's number, the end of its DOI.
        folder: of the files.
        web: figshare's API, version 2, or a mirror of it.
        progress: receives progress.
        n_workers: parallel downloads.

    Raises:
        FetchError: the article cannot be listed.
    """
    notes, links, wanted = list_article(article, folder, web)
    folder.mkdir(parents=True, exist_ok=True)
    faults = download_all(web, wanted, folder, progress or NoProgress(), n_workers)
    present = [one.path for one in wanted if one.path.is_file()]
    local = use_local(folder, f"figshare article {article}", only=present)
    all_faults = (*links, *faults, *local.faults)
    return Fetched(len(present), (*notes, *local.notes), all_faults, local.config)


def use_local(folder: Path, origin: str, only: list[Path] | None = None) -> Fetched:
    """Unpack the zips of a folder and write a config, without download.

    Args:
        folder: the folder.
        origin: source of the files, for the config's first line.
        only: the downloaded files; None: all files of the folder.
    """
    files = sorted(folder.iterdir()) if only is None else sorted(only)
    files = [one for one in files if one.is_file() and not one.name.startswith(".")]
    faults: list[str] = []
    for path in files:
        if path.suffix.lower() == ".zip":
            faults += _open_zip(path)
    config, notes = config_of(folder, origin)
    return Fetched(len(files), tuple(notes), tuple(faults), config)


def list_article(
    article: int, folder: Path, web: Web
) -> tuple[list[str], list[str], list[RemoteFile]]:
    """Return notes on an article, messages on files that figshare does not host, and its files.

    Raises:
        FetchError: no connection, or the answer is not of the documented shape.
    """
    about = web.get_json(f"/articles/{article}")
    if not isinstance(about, dict):
        raise web.other_shape(f"/articles/{article}", "figshare's")
    listed: list[dict[str, Any]] = []
    page = 1
    while True:
        more = web.get_json(f"/articles/{article}/files?page={page}&page_size={FILES_PER_PAGE}")
        if not isinstance(more, list):
            raise web.other_shape(f"/articles/{article}", "figshare's")
        listed += more
        if len(more) < FILES_PER_PAGE:
            break
        page += 1
    wanted, faults = [], []
    for one in listed:
        try:
            wanted.append(_wanted(one, folder, web))
        except (KeyError, TypeError, ValueError):
            raise web.other_shape(f"/articles/{article}", "figshare's") from None
        except FetchError as fault:
            faults.append(str(fault))
    return _notes(article, about), faults, wanted


def _wanted(file: Mapping[str, Any], folder: Path, web: Web) -> RemoteFile:
    """Return a file of figshare's list as a file to download."""
    name = checked_name(str(file["name"]))
    address = str(file["download_url"])
    if file.get("is_link_only"):
        raise FetchError(f"{name}: figshare only links to it. Fetch it by hand: {address}")
    # The download host's firewall sometimes refuses programs; the API serves the same file.
    addresses = (address, f"{web.base}/file/download/{int(file['id'])}")
    md5 = str(file.get("computed_md5") or file.get("supplied_md5") or "").lower()
    return RemoteFile(folder / name, addresses, int(file["size"]), md5, REFUSALS)


def _notes(article: int, about: Mapping[str, Any]) -> list[str]:
    """Return title, DOI and licence in one line."""
    licence = about.get("license")
    licence = licence if isinstance(licence, dict) else {}
    name = licence.get("name") or "not stated"
    url = f" ({licence['url']})" if licence.get("url") else ""
    title = " ".join(str(about.get("title") or "no title").split())
    doi = about.get("doi") or f"10.6084/m9.figshare.{article}"
    return [f"{title}; doi {doi}; licence: {name}{url}"]


def _open_zip(path: Path) -> list[str]:
    """Unpack a zip into a folder of its name, or check a zip of tiles."""
    try:
        members = archive.members_of(path)
        if not archive.is_tile_zip(members):
            return archive.unpack(path, path.with_suffix(""))
    except FetchError as fault:
        return [str(fault)]
    return list(archive.bad_members(path, members).values())
