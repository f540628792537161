"""`crosstype init`, which writes a config, and `crosstype doctor`."""

import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from crosstype import __version__
from crosstype.errors import UsageError

INIT_EXAMPLE = (
    "Example: crosstype init brca.toml --labels clinical.csv --expression rna.tsv --slides slides"
)


def init(
    file: Annotated[Path, typer.Argument(help="Config file to write; must not exist.")],
    labels: Annotated[
        Path | None, typer.Option("--labels", help="Label table, a row per patient.")
    ] = None,
    expression: Annotated[
        Path | None,
        typer.Option("--expression", help="Expression table, or a folder of GDC counts."),
    ] = None,
    slides: Annotated[
        Path | None, typer.Option("--slides", help="Folder of slides, or zip of tiles.")
    ] = None,
    features: Annotated[
        Path | None, typer.Option("--features", help="Folder of existing feature files.")
    ] = None,
    slides_table: Annotated[
        Path | None,
        typer.Option(
            "--slides-table",
            help="Table of patient and FILENAME; not needed if slides are named by patient.",
        ),
    ] = None,
) -> None:
    """Write a commented config, filled in from your files.

    It has every setting with its explanation, and paths, columns and classes of the named files;
    without any it is an example.
    """
    from crosstype.config.draft import UserFiles, draft_config
    from crosstype.io.files import write_text

    if file.exists():
        raise UsageError(f"{file}: exists already. Name another file, or remove it first.")
    given = UserFiles(labels, expression, slides, features, slides_table)
    text, notes = draft_config(given, file.parent)
    write_text(file, text)
    for note in notes:
        typer.echo(note)
    next_step = "Check it" if notes else "Fill in the paths and classes"
    typer.echo(f"Wrote {file}. {next_step}, then: crosstype run {file}")


LIBRARIES = (
    "torch",
    "numpy",
    "polars",
    "scikit-learn",
    "scipy",
    "h5py",
    "matplotlib",
    "safetensors",
)


def diagnose() -> Iterator[str]:
    """Yield lines on versions and hardware."""
    yield f"crosstype {__version__}, Python {platform.python_version()}, {platform.platform()}"
    yield f"cores: {os.cpu_count()}"
    for name in LIBRARIES:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            yield f"{name}: missing. Install crosstype again."
    import torch

    yield f"GPU: {'CUDA ' + str(torch.version.cuda) if torch.cuda.is_available() else 'none'}"
