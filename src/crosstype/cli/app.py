"""Command line interface: commands, error messages and exit codes."""

import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Annotated

import typer

from crosstype import __version__
from crosstype.cli import model
from crosstype.cli.fetch import fetch
from crosstype.cli.options import Config, Force, Workers
from crosstype.cli.pam50 import EXAMPLE, pam50
from crosstype.cli.progress_bars import report_skipped
from crosstype.cli.setup import INIT_EXAMPLE, init
from crosstype.cli.studies import ablate, learning_curve, replay, shuffle_labels
from crosstype.errors import CrosstypeError

app = typer.Typer(
    name="crosstype",
    help="Breast cancer subtypes from H&E slides and gene expression, and the contribution of each "
    "modality. For research use only.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(fetch, name="fetch")

INTERRUPTED = 130  # typer turns Ctrl-C into this status

Out = Annotated[
    Path | None,
    typer.Option("--out", help="Folder of the results; default: the config's name + _out."),
]


def _version(value: bool) -> None:
    if value:
        typer.echo(f"crosstype {__version__}")
        raise typer.Exit


@app.callback(epilog="Start here: `crosstype demo`, or `crosstype init my.toml`.")
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options before a command."""


@app.command(epilog="Example: crosstype run brca.toml --out results --workers 4")
def run(config: Config, out: Out = None, workers: Workers = 0, force: Force = False) -> None:
    """Run all stages; finished ones are reused.

    Stages: features, cohort, train, evaluate, explain, report.
    """
    _run_until("report", config, out, workers, force=force)


@app.command(epilog="Example: crosstype features brca.toml --out results")
def features(config: Config, out: Out = None, force: Force = False) -> None:
    """Extract features of slides, or check existing ones. Needs no labels."""
    _run_until("features", config, out, 1, force=force)


@app.command(epilog="Example: crosstype cohort brca.toml --out results")
def cohort(config: Config, out: Out = None, force: Force = False) -> None:
    """Join labels, slides and expression, and assign folds. OUT/cohort.csv, folds.csv."""
    _run_until("cohort", config, out, 1, force=force)


@app.command(epilog="Example: crosstype train brca.toml --out results --workers 4")
def train(config: Config, out: Out = None, workers: Workers = 0, force: Force = False) -> None:
    """Cross-validate all models. OUT/models, predictions.csv."""
    _run_until("train", config, out, workers, force=force)


@app.command(epilog="Example: crosstype evaluate brca.toml --out results")
def evaluate(config: Config, out: Out = None, workers: Workers = 0, force: Force = False) -> None:
    """Evaluate the predictions. OUT/metrics.csv, comparisons.csv, modality_use.csv."""
    _run_until("evaluate", config, out, workers, force=force)


@app.command(epilog="Example: crosstype explain brca.toml --out results")
def explain(config: Config, out: Out = None, workers: Workers = 0, force: Force = False) -> None:
    """Compute attention maps of tiles and attributions of genes. OUT/explanation."""
    _run_until("explain", config, out, workers, force=force)


@app.command(epilog="Example: crosstype report brca.toml --out results")
def report(config: Config, out: Out = None, workers: Workers = 0, force: Force = False) -> None:
    """Write OUT/report.html, after all stages that it needs."""
    _run_until("report", config, out, workers, force=force)


app.command(epilog=model.FIT_EXAMPLE)(model.fit)
app.command(epilog=model.PREDICT_EXAMPLE)(model.predict)
app.command(epilog=model.VALIDATE_EXAMPLE)(model.validate)
app.command(epilog=EXAMPLE)(pam50)
app.command(epilog="Example: crosstype ablate brca.toml --out ablation")(ablate)
app.command(epilog="Example: crosstype replay brca.toml --out replay")(replay)
app.command(epilog="Example: crosstype learning-curve brca.toml --sizes 50,100,200")(learning_curve)
app.command(epilog="Example: crosstype shuffle-labels brca.toml --shuffles 100")(shuffle_labels)


@app.command(epilog="Example: crosstype convert out/features/uni trident_uni --to trident")
def convert(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="Feature file, or a folder of them; any layout.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the converted files.")],
    to: Annotated[str, typer.Option("--to", help="trident, clam, stamp or crosstype.")],
    mpp: Annotated[
        float | None,
        typer.Option("--mpp", help="Micrometres per level-0 pixel, for files without it."),
    ] = None,
    slides_table: Annotated[
        Path | None,
        typer.Option("--slides-table", help="Table with FILENAME and MPP of each slide."),
    ] = None,
) -> None:
    """Convert feature files to another layout. crosstype, TRIDENT, CLAM and STAMP."""
    from crosstype.features.formats.convert import convert_features, layout_named

    done = convert_features(source, out, layout_named(to), mpp, slides_table)
    for note in done.notes:
        typer.echo(f"Note: {note}.", err=True)
    for fault in done.faults:
        typer.echo(f"Skipped: {fault}", err=True)
    typer.echo(f"{done.n_files} feature files in {out}")
    if done.faults:
        raise typer.Exit(1)


app.command(epilog=INIT_EXAMPLE)(init)


@app.command(epilog="Example: crosstype demo --out demo")
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for inputs and results.")] = Path(
        "demo"
    ),
    workers: Workers = 0,
    inputs_only: Annotated[
        bool, typer.Option("--inputs-only", help="Write the inputs to OUT/input and stop.")
    ] = False,
) -> None:
    """Run all stages on a synthetic cohort with a known answer."""
    from crosstype.demo.cohort import write_demo

    config = write_demo(out / "input")
    if inputs_only:
        typer.echo(f"Slides, tables and a config are in {out / 'input'}.")
        return
    _run_until("report", config, out, workers)
    typer.echo(f"The same by command: crosstype run {config} --out {out}")


@app.command(epilog="Example: crosstype view results")
def view(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of a finished run.")],
    host: Annotated[
        str,
        typer.Option("--host", help="Address to listen on; others give access from the network."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any free one.")] = 0,
) -> None:
    """View slides, tiles and attention in the browser. Ctrl-C ends it."""
    from crosstype.viewer.app import serve

    serve(out, host, port, lambda address: typer.echo(f"Open {address}"))


@app.command(epilog="Example: crosstype doctor")
def doctor() -> None:
    """Report installed versions and hardware."""
    from crosstype.cli.setup import diagnose

    for line in diagnose():
        typer.echo(line)


def _run_until(
    stage: str, config: Path, out: Path | None, workers: int, *, force: bool = False
) -> None:
    """Run up to a stage, with progress bars; exit 1 if damaged input was skipped."""
    from crosstype.cli.progress_bars import Bars
    from crosstype.config.read import read_config
    from crosstype.workflow.pipeline import run as run_pipeline
    from crosstype.workflow.stage import Run

    spec = read_config(config)
    folder = out or Path(f"{config.stem}_out")
    with Bars() as bars:
        command = " ".join(["crosstype", *sys.argv[1:]])
        one = Run(spec, folder, workers or os.cpu_count() or 1, bars, command, force=force)
        run_pipeline(one, stage)
    report_skipped(one.faults)
    if one.faults:
        typer.echo(
            f"{len(one.faults)} of the slides or feature files were skipped; see "
            f"{folder / 'features.csv'}.",
            err=True,
        )
        raise typer.Exit(1)


def main() -> None:
    """Run the command line; expected errors are printed without a traceback."""
    sys.excepthook = _last_resort
    try:
        status = typer.main.get_command(app)(standalone_mode=False)  # app() resets excepthook
    except CrosstypeError as error:
        _say(str(error))
        sys.exit(error.exit_code)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _say(f"{where}{error.strerror or error}. Check that the folder exists and has space.")
        sys.exit(1)
    except typer._click.exceptions.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    if status == INTERRUPTED:
        _say("Interrupted. Finished results are kept; the same command resumes.")
    sys.exit(status if isinstance(status, int) else 0)


def _say(message: str) -> None:
    typer.echo(f"Error: {message}", err=True)


def _last_resort(
    kind: type[BaseException], fault: BaseException, trace: TracebackType | None
) -> None:
    """Report an unexpected error in one line; CROSSTYPE_DEBUG=1 prints the traceback."""
    if os.environ.get("CROSSTYPE_DEBUG"):
        sys.__excepthook__(kind, fault, trace)
        return
    _say(
        f"crosstype itself failed ({kind.__name__}: {fault}). This is a fault of the program; "
        "please report it with the output of the same command under CROSSTYPE_DEBUG=1."
    )
