"""An article's files from figshare's public API, and a config if they are the paper's archive."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crosstype.errors import FetchError
from crosstype.fetch.crew import download_all
from crosstype.fetch.download import Wanted, checked_name
from crosstype.fetch.fetched import Fetched
from crosstype.fetch.layout import config_of
from crosstype.fetch.unpack import bad_members, is_tile_zip, members_of, unpack
from crosstype.fetch.web import Web
from crosstype.progress import Silence, Watcher

BASE = "https://api.figshare.com/v2"
PAPER = 28050083
FILES_PER_PAGE = 100
REFUSALS = {
    403: "figshare refuses this machine. Download the file in a browser, put it into the folder "
    "and run the same command again.",
    404: "figshare has no such file any more; look at the article's page for a newer version.",
}


def by_hand(article: int, folder: Path) -> str:
    """Return how to do without this program."""
    return (
        f"By hand: open https://doi.org/10.6084/m9.figshare.{article} in a browser, put the files "
        f"into {folder} and run the same command with --local; or name a mirror with --base."
    )


def fetch_figshare(
    article: int, folder: Path, web: Web, watcher: Watcher | None = None, n_workers: int = 4
) -> Fetched:
    """Download an article's files, unpack them and write a config beside them.

    A zip of nothing but tiles stays a zip: `[slides] folder` reads it as it is.

    Args:
        article: the article's number, the end of its DOI.
        folder: receives the files.
        web: figshare's API, version 2, or a mirror of it.
        watcher: is told how far it is.
        n_workers: files in work at a time.

    Raises:
        FetchError: the article cannot be had at all.
    """
    notes, links, wanted = list_article(article, folder, web)
    folder.mkdir(parents=True, exist_ok=True)
    faults = download_all(web, wanted, folder, watcher or Silence(), n_workers)
    there = [one.path for one in wanted if one.path.is_file()]
    made = use_local(folder, f"figshare article {article}", only=there)
    return Fetched(len(there), (*notes, *made.notes), (*links, *faults, *made.faults), made.config)


def use_local(folder: Path, origin: str, only: list[Path] | None = None) -> Fetched:
    """Unpack the zips of a folder and write a config for what lies there; downloads nothing.

    Args:
        folder: the folder.
        origin: where its files come from, in words, for the config's first line.
        only: the files that were downloaded; None: all that lie there.
    """
    files = sorted(folder.iterdir()) if only is None else sorted(only)
    files = [one for one in files if one.is_file() and not one.name.startswith(".")]
    faults: list[str] = []
    for path in files:
        if path.suffix.lower() == ".zip":
            faults += _open_zip(path)
    config, notes = config_of(folder, origin)
    return Fetched(len(files), tuple(notes), tuple(faults), config)


def list_article(article: int, folder: Path, web: Web) -> tuple[list[str], list[str], list[Wanted]]:
    """Return notes about an article, lines about files that lie elsewhere, and its files.

    Raises:
        FetchError: no connection, or the answer is not of the documented shape.
    """
    about = web.ask(f"/articles/{article}")
    if not isinstance(about, dict):
        raise _other_shape(web, article)
    listed: list[dict[str, Any]] = []
    page = 1
    while True:
        more = web.ask(f"/articles/{article}/files?page={page}&page_size={FILES_PER_PAGE}")
        if not isinstance(more, list):
            raise _other_shape(web, article)
        listed += more
        if len(more) < FILES_PER_PAGE:
            break
        page += 1
    wanted, faults = [], []
    for one in listed:
        try:
            wanted.append(_wanted(one, folder, web))
        except (KeyError, TypeError, ValueError):
            raise _other_shape(web, article) from None
        except FetchError as fault:
            faults.append(str(fault))
    return _notes(article, about), faults, wanted


def _wanted(file: Mapping[str, Any], folder: Path, web: Web) -> Wanted:
    """Return what figshare says about a file as a file to download."""
    name = checked_name(str(file["name"]))
    address = str(file["download_url"])
    if file.get("is_link_only"):
        raise FetchError(f"{name}: figshare only links to it. Fetch it by hand: {address}")
    # The download host's firewall refuses programs at times; the API serves the same file.
    addresses = (address, f"{web.base}/file/download/{int(file['id'])}")
    md5 = str(file.get("computed_md5") or file.get("supplied_md5") or "").lower()
    return Wanted(folder / name, addresses, int(file["size"]), md5, REFUSALS)


def _notes(article: int, about: Mapping[str, Any]) -> list[str]:
    """Return title, DOI and licence in one line."""
    licence = about.get("license")
    licence = licence if isinstance(licence, dict) else {}
    name = licence.get("name") or "not stated"
    place = f" ({licence['url']})" if licence.get("url") else ""
    title = " ".join(str(about.get("title") or "no title").split())
    doi = about.get("doi") or f"10.6084/m9.figshare.{article}"
    return [f"{title}; doi {doi}; licence: {name}{place}"]


def _other_shape(web: Web, article: int) -> FetchError:
    return FetchError(
        f"{web.base}/articles/{article}: the answer is not what figshare's API documents. "
        f"{web.by_hand}"
    )


def _open_zip(path: Path) -> list[str]:
    """Unpack a zip into a folder of its name, or look through a zip of tiles."""
    try:
        members = members_of(path)
        if not is_tile_zip(members):
            return unpack(path, path.with_suffix(""))
    except FetchError as fault:
        return [str(fault)]
    return list(bad_members(path, members).values())
