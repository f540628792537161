"""The train stage: every model on every fold, and the tables that this adds up to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosstype.cohort.covariates import COVARIATES
from crosstype.cohort.protocol import Protocol
from crosstype.cohort.spec import ExpressionSpec
from crosstype.config.spec import RunSpec
from crosstype.progress import Watcher
from crosstype.stages import Ledger, Stage

if TYPE_CHECKING:
    from crosstype.training.jobs import Plan

MARKED = ("predictions.csv", "stressed_predictions.csv", "training.csv")
LOSSES = "rna_loss.npz"
READ = ("cohort.csv", "folds.csv", "expression.npz", "features.csv")

Work = Callable[[int, Watcher], Mapping[str, Any]]


def train_stage(spec: RunSpec, protocol: Protocol, out: Path, ledger: Ledger) -> tuple[Stage, Work]:
    """Return the stage and its work, which takes the number of workers and gives notes.

    torch is imported only by the work.
    """

    def work(n_workers: int, watcher: Watcher) -> Mapping[str, Any]:
        from crosstype.training.crossval import cross_validate, write_losses, write_predictions

        plan, notes = _plan(spec, protocol, out, ledger)
        jobs = cross_validate(plan, n_workers, watcher)
        for name in ("stressed_predictions.csv", LOSSES):  # of a run that made them
            (out / name).unlink(missing_ok=True)
        write_predictions(plan, jobs)
        if plan.n_losses:
            write_losses(plan, jobs, out / LOSSES)
        return {"jobs": len(jobs), "notes": notes}

    n_shuffles, n_losses = spec.evaluation.n_shuffles, _n_losses(spec)
    folds = replace(spec.folds, file=None, write=())  # folds.csv holds what they say
    settings = [
        [one.name for one in spec.cohort.classes],
        _unplaced(spec.expression),
        replace(spec.models, gene_sets=None),
        spec.training,
        folds,
        n_shuffles,
        n_losses,
    ]
    inputs = {name: out / name for name in _read(spec)}
    if spec.models.gene_sets is not None:
        inputs[f"gene_sets: {spec.models.gene_sets.name}"] = spec.models.gene_sets
    outputs = [name for name in MARKED if n_shuffles or "stressed" not in name]
    return Stage("train", settings, inputs, outputs + ([LOSSES] if n_losses else [])), work


def _read(spec: RunSpec) -> tuple[str, ...]:
    """Return which stage files are read."""
    return (*READ, *((COVARIATES,) if spec.cohort.covariates else ()))


def _n_losses(spec: RunSpec) -> int:
    return spec.evaluation.n_losses if spec.evaluation.rna_loss else 0


def _unplaced(spec: ExpressionSpec) -> ExpressionSpec:
    from crosstype.cohort_stage import unplaced_expression

    return unplaced_expression(spec)


def _plan(spec: RunSpec, protocol: Protocol, out: Path, ledger: Ledger) -> tuple[Plan, list[str]]:
    """Return what the training jobs need to know, and what was found of the gene sets."""
    from crosstype.cohort.aligned import load_expression
    from crosstype.cohort.genesets import read_token_sets
    from crosstype.feature_stage import feature_files
    from crosstype.features.store import read_feature_rows
    from crosstype.files import hash_of
    from crosstype.tables import read_table
    from crosstype.training.jobs import Plan

    cohort = set(read_table(out / "cohort.csv")["patient_id"])
    usable = {row.slide_id for row in read_feature_rows(out / "features.csv") if not row.fault}
    files = feature_files(spec, out, usable)
    names = [name for name in _read(spec) if name != "folds.csv"]
    gene_sets, notes = None, list[str]()
    if spec.models.gene_sets is not None:
        genes = load_expression(out / "expression.npz").genes
        gene_sets, notes = read_token_sets(spec.models.gene_sets, genes, spec.models.least_genes)
    plan = Plan(
        out=out,
        classes=tuple(one.name for one in spec.cohort.classes),
        slides={patient: paths for patient, paths in files.items() if patient in cohort},
        protocol=protocol,
        expression=_unplaced(spec.expression),
        model=replace(spec.models, gene_sets=None),
        training=spec.training,
        seed=spec.folds.seed,
        n_shuffles=spec.evaluation.n_shuffles,
        n_losses=_n_losses(spec),
        inputs=hash_of([ledger.hashes.sha256_of(out / name) for name in names]),
        gene_sets=gene_sets,
        has_covariates=bool(spec.cohort.covariates),
    )
    return plan, notes
