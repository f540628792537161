"""`crosstype pam50`: the five subtypes from expression, by a chosen centring."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from crosstype.cli.options import GeneNames, Unit
from crosstype.errors import UsageError

if TYPE_CHECKING:
    from crosstype.expression.spec import ExpressionSpec
    from crosstype.pam50.classify import CohortCentring, Pam50Calls

EXAMPLE = "Example: crosstype pam50 expression.tsv.gz --centring er-balanced --out calls.csv"

Table = Annotated[
    Path,
    typer.Argument(
        metavar="EXPRESSION", help="Expression table, h5ad, h5mu, or folder of GDC counts."
    ),
]
OutFile = Annotated[Path, typer.Option("--out", help="Table of calls to write (csv).")]
CentringName = Annotated[
    Literal["none", "median", "robust", "er-balanced"] | None,
    typer.Option("--centring", help="Centring of genes; see docs/pam50.md for the choice."),
]
CentroidsFile = Annotated[
    Path | None, typer.Option("--centroids", help="Other centroids than the published ones.")
]
ErTable = Annotated[
    Path | None,
    typer.Option(
        "--er-table", help="Table of ER status, samples or patients first; unset: from ESR1."
    ),
]
ErColumn = Annotated[
    str, typer.Option("--er-column", help="Column of --er-table: positive or negative.")
]
Reference = Annotated[
    Path | None,
    typer.Option("--reference", help="Call each sample separately, with these stored medians."),
]
NewReference = Annotated[
    Path | None,
    typer.Option("--write-reference", help="Store the cohort's medians; needs --assay."),
]
Assay = Annotated[
    str, typer.Option("--assay", help="Name of the assay and preparation of the samples.")
]
UnitName = Annotated[
    Unit,
    typer.Option("--unit", help="Unit of the values; auto: recognised, and reported."),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Random seed of er-balanced.")]


def pam50(
    expression: Table,
    out: OutFile,
    centring: CentringName = None,
    centroids: CentroidsFile = None,
    er_table: ErTable = None,
    er_column: ErColumn = "ER",
    reference: Reference = None,
    write_reference: NewReference = None,
    assay: Assay = "",
    unit: UnitName = "auto",
    gene_names: GeneNames = None,
    seed: Seed = 0,
) -> None:
    """Call PAM50 subtypes from expression. OUT has confidence and correlations too."""
    from crosstype.expression.spec import ExpressionSpec
    from crosstype.pam50.centring import write_reference as store
    from crosstype.pam50.classify import CohortCentring, write_calls
    from crosstype.pam50.er_status import er_from_table

    if write_reference is not None and (reference is not None or not assay.strip()):
        raise UsageError(
            "--write-reference: stores the medians of the cohort at hand under the name of its "
            "assay. Give --assay, and leave --reference out."
        )
    spec = ExpressionSpec(unit=unit, gene_names=gene_names)
    if reference is not None:
        calls = _alone(expression, spec, reference, centroids, (centring, assay.strip()))
    elif centring is not None:
        er = partial(er_from_table, er_table, er_column) if er_table is not None else None
        calls = _cohort(expression, spec, CohortCentring(centring, er, seed), centroids)
    else:
        raise UsageError(
            "--centring is not set. Name none, median, robust or er-balanced, or give --reference."
        )
    if write_reference is not None:
        store(write_reference, calls.zero, assay)
    write_calls(out, calls)
    _tell(calls, out)


def _cohort(
    expression: Path, spec: ExpressionSpec, centring: CohortCentring, centroids: Path | None
) -> Pam50Calls:
    """Call a cohort by its own medians."""
    from crosstype.expression.read import read_expression
    from crosstype.pam50.centroids import read_centroids
    from crosstype.pam50.classify import call_cohort

    table = read_centroids(centroids)
    found = read_expression(expression, spec, ())
    _note(found.notes)
    return call_cohort(expression.name, found, centring, table)


def _alone(
    expression: Path,
    spec: ExpressionSpec,
    reference: Path,
    centroids: Path | None,
    stated: tuple[str | None, str],
) -> Pam50Calls:
    """Call samples by stored medians; stated options must match the file."""
    from crosstype.expression.read import read_expression
    from crosstype.pam50.centring import read_reference
    from crosstype.pam50.centroids import read_centroids
    from crosstype.pam50.classify import call_by_reference

    table, zero = read_centroids(centroids), read_reference(reference)
    for option, wanted, found in zip(
        ("--centring", "--assay"), stated, (zero.centring, zero.assay), strict=True
    ):
        if wanted and wanted != found:
            raise UsageError(
                f"{option}: found {wanted!r}, but {reference.name} holds medians of {found!r}. "
                "Give the reference of the samples' own assay."
            )
    samples = read_expression(expression, spec, ())
    _note(samples.notes)
    return call_by_reference(expression.name, samples, zero, table)


def _note(notes: tuple[str, ...]) -> None:
    for note in notes:
        word, text = "Note", note
        if note.startswith("warning: "):
            word, text = "Warning", note.removeprefix("warning: ")
        typer.echo(f"{word}: {text}.", err=True)


def _tell(calls: Pam50Calls, out: Path) -> None:
    """Print notes to stderr, and the number of samples of each subtype to stdout."""
    _note(calls.notes)
    n_samples = len(calls.sample_ids)
    for name, n in calls.counts().items():
        if name or n:
            typer.echo(f"{name or 'no call':<8}{n:6d}  {n / n_samples:6.1%}")
    typer.echo(f"{n_samples} samples called by {calls.zero.centring} centring in {out}")
