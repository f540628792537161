"""Download of the 50 Hallmark gene sets of MSigDB."""

from collections.abc import Iterator
from pathlib import Path

from crosstype.errors import FetchError
from crosstype.fetch.download import Fetched, RemoteFile, download
from crosstype.fetch.http import Web
from crosstype.progress import NoProgress, Progress

URL = (
    "https://data.broadinstitute.org/gsea-msigdb/msigdb/release/2024.1.Hs/"
    "h.all.v2024.1.Hs.symbols.gmt"
)
N_SETS = 50
TERMS = (
    "MSigDB Hallmark gene sets, CC BY 4.0 (https://www.gsea-msigdb.org/gsea/"
    "msigdb_license_terms.jsp); cite Liberzon et al. 2015, doi 10.1016/j.cels.2015.12.004"
)


def manual_instructions(file: Path) -> str:
    """Return instructions for a manual download."""
    return (
        "By hand: download `H: hallmark gene sets` as gene symbols from "
        f"https://www.gsea-msigdb.org and save it as {file}; or name another URL with --url."
    )


def fetch_hallmark(file: Path, web: Web, progress: Progress | None = None) -> Fetched:
    """Download the Hallmark gene sets as a GMT file, unless it exists.

    Args:
        file: the GMT file to write.
        web: with the file's URL as its base.
        progress: receives progress.

    Raises:
        FetchError: the download failed, or it is not the GMT file of the 50 sets.
    """
    progress = progress or NoProgress()
    if file.exists():
        check_gmt(file, file.name)
        return Fetched(1, (f"{file} holds the {N_SETS} sets already", TERMS))
    progress.start("fetch", 1)
    arrived = file.with_name(f".{file.name}.arrived")
    try:
        download(web, RemoteFile(arrived, (web.base,)), lambda _: None)
        check_gmt(arrived, web.base)
        arrived.replace(file)
    finally:
        arrived.unlink(missing_ok=True)
    progress.step(file.name)
    return Fetched(1, (TERMS,))


def check_gmt(path: Path, where: str) -> None:
    """Raise FetchError unless a file is a GMT of the 50 Hallmark sets.

    Args:
        path: the file.
        where: its name in messages.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise FetchError(_not_hallmark(where, "no text")) from None
    names = list(_set_names(text, where))
    if len(set(names)) != N_SETS or len(names) != N_SETS:
        raise FetchError(_not_hallmark(where, f"{len(set(names))} Hallmark sets"))


def _set_names(text: str, where: str) -> Iterator[str]:
    """Yield the name of each set; raise at the first invalid line."""
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split("\t")
        if not fields[0].startswith("HALLMARK_") or len([x for x in fields[2:] if x.strip()]) < 2:
            raise FetchError(_not_hallmark(where, f"line {number} begins {line[:40]!r}"))
        yield fields[0]


def _not_hallmark(where: str, found: str) -> str:
    return (
        f"{where}: {found}. Expected a GMT file of {N_SETS} sets: lines of HALLMARK_..., a "
        "description and genes, separated by tabs. Remove the file, or name another --url."
    )
