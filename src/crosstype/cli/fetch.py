"""`crosstype fetch`: resumable download of public data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crosstype.errors import UsageError

if TYPE_CHECKING:
    from crosstype.fetch.download import Fetched

fetch = typer.Typer(
    help="Fetch public data, or the viewer's script. Existing files are "
    "skipped, interrupted downloads resumed.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: crosstype fetch figshare --out paper",
)

OutFolder = Annotated[Path, typer.Option("--out", help="Folder of the files.")]
FileWorkers = Annotated[
    int, typer.Option("--workers", min=1, max=16, help="Number of parallel downloads.")
]


@fetch.command(epilog="Example: crosstype fetch figshare --out paper")
def figshare(
    out: OutFolder,
    article: Annotated[
        int, typer.Option("--article", min=1, help="Number of the article: the end of its DOI.")
    ] = 28050083,
    workers: FileWorkers = 2,
    local: Annotated[
        bool,
        typer.Option(
            "--local", help="Download nothing: unpack the folder's files and write the config."
        ),
    ] = False,
    base: Annotated[
        str,
        typer.Option(
            "--base", envvar="CROSSTYPE_FIGSHARE_BASE", help="figshare's API, or a mirror."
        ),
    ] = "https://api.figshare.com/v2",
) -> None:
    """Fetch a figshare article's files, by default the paper's, and write OUT/crosstype.toml."""
    from crosstype.cli.progress_bars import Bars
    from crosstype.fetch.figshare import fetch_figshare, manual_instructions, use_local
    from crosstype.fetch.http import Web

    if local:
        if not out.is_dir():
            raise UsageError(f"{out}: there is no such folder. Put the article's files there.")
        _tell(use_local(out, f"figshare article {article}"), out)
        return
    with Bars() as bars, Web(base, manual_instructions(article, out)) as web:
        fetched = fetch_figshare(article, out, web, bars, workers)
    _tell(fetched, out)


@fetch.command(
    epilog="Example: crosstype fetch gdc --project TCGA-BRCA --out brca --expression --slides "
    "--limit 10"
)
def gdc(
    out: OutFolder,
    project: Annotated[str, typer.Option("--project", help="The GDC's project id.")] = "TCGA-BRCA",
    expression: Annotated[
        bool, typer.Option("--expression", help="STAR counts, 4 MB per sample.")
    ] = False,
    slides: Annotated[
        bool, typer.Option("--slides", help="Diagnostic slides, about 1 GB each.")
    ] = False,
    clinical: Annotated[
        bool, typer.Option("--clinical", help="Demographic data and diagnoses.")
    ] = False,
    limit: Annotated[
        int,
        typer.Option("--limit", min=0, help="Number of patients, with all kinds; 0: all."),
    ] = 0,
    workers: FileWorkers = 4,
    base: Annotated[
        str, typer.Option("--base", envvar="CROSSTYPE_GDC_BASE", help="The GDC's API, or a mirror.")
    ] = "https://api.gdc.cancer.gov",
) -> None:
    """Fetch a GDC project's open files; without a kind: expression and clinical data."""
    from crosstype.cli.progress_bars import Bars
    from crosstype.fetch.gdc import GdcRequest, fetch_gdc, manual_instructions
    from crosstype.fetch.http import Web

    if not (expression or slides or clinical):
        expression = clinical = True
    kinds = [name for name, on in (("expression", expression), ("slides", slides)) if on]
    request = GdcRequest(project, tuple(kinds), clinical, limit)
    with Bars() as bars, Web(base, manual_instructions(project)) as web:
        fetched = fetch_gdc(request, out, web, bars, workers)
    _tell(fetched, out)


@fetch.command(epilog="Example: crosstype fetch hallmark --out hallmark.gmt")
def hallmark(
    out: Annotated[Path, typer.Option("--out", help="GMT file to write.")],
    url: Annotated[
        str | None,
        typer.Option("--url", envvar="CROSSTYPE_HALLMARK_URL", help="Another URL of the file."),
    ] = None,
) -> None:
    """Fetch MSigDB's 50 Hallmark gene sets as a GMT file."""
    from crosstype.cli.progress_bars import Bars
    from crosstype.fetch.hallmark import URL, fetch_hallmark, manual_instructions
    from crosstype.fetch.http import Web

    with Bars() as bars, Web(url or URL, manual_instructions(out)) as web:
        fetched = fetch_hallmark(out, web, bars)
    _tell(fetched, out)


def _tell(fetched: Fetched, out: Path) -> None:
    """Print notes, faults and the number of files; exit 1 if there are faults."""
    for note in fetched.notes:
        typer.echo(f"Note: {note}.", err=True)
    for fault in fetched.faults:
        typer.echo(f"Skipped: {fault}", err=True)
    typer.echo(f"{fetched.n_files} {'file' if fetched.n_files == 1 else 'files'} in {out}")
    if fetched.config is not None:
        typer.echo(f"Config: {fetched.config}. Look into it, then: crosstype run {fetched.config}")
    if fetched.faults:
        raise typer.Exit(1)


@fetch.command(epilog="Example: crosstype fetch viewer")
def viewer(
    archive: Annotated[
        Path | None,
        typer.Option("--archive", help="npm's archive of openseadragon, if you have it."),
    ] = None,
) -> None:
    """Fetch OpenSeadragon, by npm, which `crosstype view` needs once."""
    from crosstype.viewer.assets import fetch_assets

    typer.echo(f"OpenSeadragon is in {fetch_assets(archive)}")
