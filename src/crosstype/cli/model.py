"""`crosstype fit`, `predict` and `validate`: a fitted model as one file, and its predictions."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from crosstype.cli.options import Config, GeneNames, Unit
from crosstype.cli.progress_bars import report_skipped

FIT_EXAMPLE = "Example: crosstype fit brca.toml --out brca.safetensors"
PREDICT_EXAMPLE = (
    "Example: crosstype predict brca.safetensors --expression new.tsv.gz --features new_features "
    "--out predictions.csv"
)
VALIDATE_EXAMPLE = "Example: crosstype validate brca.safetensors other.toml --out validation"

Model = Annotated[
    Path, typer.Argument(metavar="MODEL", help="Artefact of `crosstype fit` (safetensors).")
]
Expression = Annotated[
    Path | None,
    typer.Option("--expression", help="Expression table, h5ad, h5mu, or folder of GDC counts."),
]
Slides = Annotated[
    Path | None,
    typer.Option("--slides", help="Folder of slides, extracted as the training slides were."),
]
Features = Annotated[
    Path | None,
    typer.Option("--features", help="Feature file or folder of them; any layout."),
]
SlidesTable = Annotated[
    Path | None,
    typer.Option(
        "--slides-table", help="Table of patient and FILENAME; unset: by barcode or file name."
    ),
]
OutFile = Annotated[Path, typer.Option("--out", help="Table of predictions to write (csv).")]
EncoderName = Annotated[
    str | None,
    typer.Option("--encoder", help="Encoder of feature files without this metadata."),
]
Weights = Annotated[
    Path | None,
    typer.Option("--weights", help="Weights of the encoder as a file, for --slides offline."),
]
UnitName = Annotated[
    Unit,
    typer.Option("--unit", help="Unit of the expression; auto: recognised, and reported."),
]
Pages = Annotated[Path | None, typer.Option("--pages", help="Folder of a page for each patient.")]
LeastGenes = Annotated[
    float | None,
    typer.Option(
        "--least-genes",
        min=0.0,
        max=1.0,
        help="Lowest share of the model's genes, 0 to 1; unset: 0.05 for models that mask missing "
        "genes, 0.5 for baselines, which impute them.",
    ),
]
Work = Annotated[
    Path | None,
    typer.Option(
        "--work",
        help="Folder of the stages, or a run's OUT to reuse; default: FILE's name + _fit.",
    ),
]
OutModel = Annotated[
    Path | None,
    typer.Option("--out", help="Artefact to write; default: the config's name + .safetensors."),
]
OutFolder = Annotated[
    Path | None,
    typer.Option("--out", help="Folder of the results; default: the config's name + _validation."),
]
External = Annotated[
    Path,
    typer.Argument(metavar="CONFIG", help="Config of the external [cohort] and [features]."),
]


def fit(config: Config, out: OutModel = None, work: Work = None) -> None:
    """Fit one model on all patients. The artefact is one file, with a model card."""
    from crosstype.cli.progress_bars import Bars
    from crosstype.config.read import read_config
    from crosstype.deploy.fit import fit_artefact
    from crosstype.workflow.stage import Run

    spec = read_config(config)
    path = out or Path(f"{config.stem}.safetensors")
    folder = work or path.with_name(f"{path.stem}_fit")
    with Bars() as bars:
        command = " ".join(["crosstype", *sys.argv[1:]])
        one = Run(spec, folder, os.cpu_count() or 1, bars, command)
        artefact = fit_artefact(one, path)
    typer.echo(
        f"{artefact.classifier.name} fitted on {artefact.training.n_patients} patients: {path} "
        f"({path.stat().st_size / 1e6:.1f} MB), card {path.name}.md"
    )
    _report_skipped(one.faults)


def predict(
    model: Model,
    out: OutFile,
    expression: Expression = None,
    slides: Slides = None,
    features: Features = None,
    slides_table: SlidesTable = None,
    encoder: EncoderName = None,
    weights: Weights = None,
    unit: UnitName = "auto",
    gene_names: GeneNames = None,
    least_genes: LeastGenes = None,
    pages: Pages = None,
) -> None:
    """Predict new patients from slides, expression or both. Patients left out are listed."""
    from crosstype.cli.progress_bars import Bars
    from crosstype.deploy.fitted_model import load_artefact
    from crosstype.deploy.inputs import PredictionInputs
    from crosstype.deploy.predict import predict as predict_patients
    from crosstype.deploy.predict import write_predicted
    from crosstype.expression.spec import ExpressionSpec

    inputs = PredictionInputs(
        expression=expression,
        reading=ExpressionSpec(unit=unit, gene_names=gene_names),
        features=features,
        slides=slides,
        slides_table=slides_table,
        encoder=encoder,
        weights=weights,
        least_genes=least_genes,
        extracted=out.with_name(f"{out.stem}_features"),
    )
    with Bars() as bars:
        artefact = load_artefact(model)
        predictions = predict_patients(artefact, inputs, bars)
        write_predicted(predictions, artefact, out)
        if pages is not None:
            from crosstype.deploy.pages import write_predicted_pages

            write_predicted_pages(predictions, artefact, pages)
    typer.echo(
        f"{len(predictions.patients)} patients predicted in {out}; {len(predictions.left_out)} "
        f"left out, see {out.name}.left_out.csv"
    )
    _report_skipped(predictions.faults)


def validate(model: Model, config: External, out: OutFolder = None) -> None:
    """Validate a fitted model on an external cohort. Metrics, calibration, shift of the inputs."""
    from crosstype.cli.progress_bars import Bars
    from crosstype.config.read import read_config
    from crosstype.deploy.fitted_model import load_artefact
    from crosstype.deploy.validate import validate_artefact

    spec = read_config(config)
    folder = out or Path(f"{config.stem}_validation")
    with Bars() as bars:
        found = validate_artefact(load_artefact(model), model.name, spec, folder, bars)
    for line in found.lines:
        typer.echo(line)
    typer.echo(str(folder / "validation.html"))
    _report_skipped(found.faults)


def _report_skipped(faults: list[str] | tuple[str, ...]) -> None:
    """Report skipped slides and feature files; exit 1 if there are any."""
    report_skipped(faults)
    if faults:
        raise typer.Exit(1)
