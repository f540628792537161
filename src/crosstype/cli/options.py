"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Config = Annotated[Path, typer.Argument(help="Config file (TOML); `crosstype init` writes one.")]
Workers = Annotated[
    int,
    typer.Option(
        "--workers", min=0, help="Training processes; 0: one per core. Results do not depend on it."
    ),
]
Force = Annotated[
    bool, typer.Option("--force", help="Run the last stage again even if its result exists.")
]
GeneNames = Annotated[
    Path | None,
    typer.Option("--gene-names", help="Table of two columns, identifier and symbol."),
]
Unit = Literal["auto", "counts", "tpm", "fpkm", "rsem", "linear", "log", "zscore"]
