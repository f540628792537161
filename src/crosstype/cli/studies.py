"""Commands of studies, which run variants of a config."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crosstype.cli.options import Config, Workers
from crosstype.errors import UsageError

if TYPE_CHECKING:
    from crosstype.config.run_spec import RunSpec
    from crosstype.progress import Progress
    from crosstype.studies.variants import Study


def _out(kind: str) -> object:
    return typer.Option("--out", help=f"Folder of the results; default: the config's name + {kind}")


def ablate(
    config: Config, out: Annotated[Path | None, _out("_ablation.")] = None, workers: Workers = 0
) -> None:
    """Ablation study of cross_attention. OUT/ablation.csv and ablation.html.

    No image, no genes, no attention, one direction, no augmentation, no base model, outliers
    removed, mean for median, PAM50 genes excluded: each as a paired difference with interval and
    corrected p. Finished runs are reused.
    """
    from crosstype.cli.progress_bars import Bars
    from crosstype.studies.ablation import CLAIMS, ablation

    spec, folder, n = _read(config, out, "ablation", workers)
    with Bars() as bars:
        study = ablation(spec, folder, (n, bars))
        _finish(study, spec, "ablation", (n, bars), [": ".join(one) for one in CLAIMS])


def replay(
    config: Config, out: Annotated[Path | None, _out("_replay.")] = None, workers: Workers = 0
) -> None:
    """Replay the published protocol, correcting fault by fault. OUT/replay.csv, replay.html.

    Estimates the effect of each fault on your patients. Repeats and seed are the config's; its
    models and protocol are not used.
    """
    from crosstype.cli.progress_bars import Bars
    from crosstype.studies.replay import replay as make_replay

    spec, folder, n = _read(config, out, "replay", workers)
    with Bars() as bars:
        study = make_replay(spec, folder, bars)
        _finish(study, spec, "replay", (n, bars), [])


def learning_curve(
    config: Config,
    out: Annotated[Path | None, _out("_learning_curve.")] = None,
    sizes: Annotated[
        str, typer.Option("--sizes", help="Training patients, as in 50,100,200; unset: 5 steps.")
    ] = "",
    workers: Workers = 0,
) -> None:
    """Learning curve: train on fewer patients. OUT/learning_curve.csv."""
    from crosstype.cli.progress_bars import Bars
    from crosstype.studies.learning_curve import learning_curve as make_curve

    spec, folder, n = _read(config, out, "learning_curve", workers)
    with Bars() as bars:
        study = make_curve(spec, folder, _numbers(sizes), (n, bars))
        _finish(study, spec, "learning_curve", (n, bars), [])


def shuffle_labels(
    config: Config,
    out: Annotated[Path | None, _out("_label_shuffles.")] = None,
    shuffles: Annotated[int, typer.Option("--shuffles", min=2, help="Number of shuffles.")] = 100,
    workers: Workers = 0,
) -> None:
    """Test for leaks: run all stages on shuffled labels. The expected AUROC is 0.5."""
    from crosstype.cli.progress_bars import Bars
    from crosstype.io.schema import LABEL_SHUFFLES_SUMMARY
    from crosstype.studies.label_shuffles import run_label_shuffles

    spec, folder, n = _read(config, out, "label_shuffles", workers)
    with Bars() as bars:
        summary = run_label_shuffles(spec, folder, shuffles, (n, bars))
    typer.echo("model                   true labels   shuffled (mean, SE)   SE from 0.5   p")
    for row in summary.iter_rows(named=True):
        typer.echo(
            f"{row['model']:<24}{row['real']:.3f}         {row['mean']:.3f} "
            f"({row['standard_error']:.3f})         {row['errors_from_half']:+.1f}          "
            f"{row['p']:.3f}"
        )
    typer.echo(f"AUROC, the mean over folds. Table: {folder / LABEL_SHUFFLES_SUMMARY.name}")


def _read(config: Path, out: Path | None, kind: str, workers: int) -> tuple[RunSpec, Path, int]:
    from crosstype.config.read import read_config
    from crosstype.config.validate import check_ready

    spec = read_config(config)
    check_ready(spec, needs_labels=True)
    return spec, out or Path(f"{config.stem}_{kind}"), workers or os.cpu_count() or 1


def _finish(
    study: Study, spec: RunSpec, kind: str, running: tuple[int, Progress], claims: list[str]
) -> None:
    """Run the study, write its table and its page, and print their paths."""
    from crosstype.report.pages.study import write_study_page
    from crosstype.studies.table import evaluate_study
    from crosstype.studies.variants import run_variants

    n_workers, progress = running
    run_variants(study, n_workers, progress)
    classes = tuple(one.name for one in spec.cohort.classes)
    table = evaluate_study(
        study, study.out / f"{kind}.csv", spec.evaluation, classes, spec.folds.seed
    )
    page, confidence = study.out / f"{kind}.html", spec.evaluation.confidence
    path = write_study_page(page, kind, table, confidence, claims)
    typer.echo(f"Table: {study.out / f'{kind}.csv'}. Page: {path}")


def _numbers(text: str) -> list[int]:
    try:
        return [int(one) for one in text.split(",") if one.strip()]
    except ValueError:
        raise UsageError(
            f"--sizes: found {text!r}, expected whole numbers with commas, as in 50,100,200."
        ) from None
