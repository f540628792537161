"""The whole path on one page; the only place where stages meet.

features -> cohort -> train -> evaluate -> report. Stages meet at files in OUT; a stage whose
settings, inputs and outputs are unchanged is not run again.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from crosstype import __version__
from crosstype.cohort.protocol import Protocol, protocol_named
from crosstype.config.check import check_ready
from crosstype.config.spec import RunSpec
from crosstype.config.write import resolved_toml
from crosstype.files import write_text
from crosstype.progress import Silence, Watcher
from crosstype.stages import Ledger, Stage
from crosstype.tables import read_table, write_table
from crosstype.training.spec import published

REPORTED_VERSIONS = ("torch", "numpy", "scikit-learn", "scipy", "polars", "h5py", "matplotlib")
MARKED = ("predictions.csv", "stressed_predictions.csv", "training.csv")
LOSSES = ("rna_loss.npz", "rna_loss.csv", "rna_loss_comparisons.csv")
JUDGED = ("metrics.csv", "comparisons.csv", "modality_use.csv")


@dataclass
class Run:
    """One config run into one OUT.

    Attributes:
        spec: all settings.
        out: folder that receives everything.
        n_workers: training processes at once; changes no number.
        watcher: who is told how far it is.
        command: how it was called, for run.json.
        faults: damaged inputs that were listed and passed over; if any, the exit code is 1.
    """

    spec: RunSpec
    out: Path
    n_workers: int = 2
    watcher: Watcher = field(default_factory=Silence)
    command: str = "crosstype.pipeline.run"
    faults: list[str] = field(default_factory=list)

    @property
    def protocol(self) -> Protocol:
        """Return the protocol that the config names."""
        return protocol_named(self.spec.folds.protocol)

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the classes, in order."""
        return tuple(one.name for one in self.spec.cohort.classes)


def run(run: Run, last: str = "report") -> None:
    """Run every stage up to `last`, reusing what is finished.

    Raises:
        CrosstypeError: an input or a setting is wrong; what was finished stays.
    """
    check_ready(run.spec, needs_labels=last != "features")
    if run.protocol.published_training:
        run.spec = replace(run.spec, training=published(run.spec.training))
        run.watcher.say("protocol paper: [training] is as published, whatever the config says")
    run.out.mkdir(parents=True, exist_ok=True)
    write_text(run.out / "config.toml", resolved_toml(run.spec))
    ledger = Ledger(run.out)
    records: dict[str, dict[str, Any]] = {}
    steps: dict[str, Callable[[Run, Ledger], dict[str, Any]]] = {
        "features": _features,
        "cohort": _cohort,
        "train": _train,
        "evaluate": _evaluate,
    }
    for name, step in steps.items():
        records[name] = step(run, ledger)
        if name == last:
            return
    _write_run_json(run, records)
    _report(run, ledger)


def _features(run: Run, ledger: Ledger) -> dict[str, Any]:
    """Extract features from slides, or look through existing ones: features.csv."""
    from crosstype.feature_stage import features_stage, slide_checks
    from crosstype.features.store import NO_FILE, write_feature_rows

    stage, make_rows = features_stage(run.spec, run.out, ledger, run.watcher)

    def work() -> Mapping[str, Any]:
        rows = make_rows()
        write_feature_rows(run.out / "features.csv", rows)
        return {
            "checks": slide_checks(run.spec, run.out, rows),
            "n_slides": len(rows),
            "faults": [row.fault for row in rows if row.fault and row.fault != NO_FILE],
            "missing": [row.slide_id for row in rows if row.fault == NO_FILE],
        }

    record = ledger.do(stage, work)
    notes = record["notes"]
    if run.spec.slides.folder is None:
        run.watcher.step(f"{notes['n_slides']} slides")
    run.faults += notes["faults"]
    if notes["missing"]:
        count, first = len(notes["missing"]), notes["missing"][0]
        run.watcher.say(f"{count} slides asked for are not there, first {first}.")
    return record


def _cohort(run: Run, ledger: Ledger) -> dict[str, Any]:
    """Join the tables and deal the folds: cohort.csv, left_out.csv, folds.csv."""
    from crosstype.cohort_stage import cohort_stage

    run.watcher.start("cohort", 1)
    stage, make_cohort = cohort_stage(run.spec, run.protocol, run.out, ledger)

    def work() -> Mapping[str, Any]:
        notes = make_cohort()
        _mark(run, ("folds.csv",))
        return notes

    record = ledger.do(stage, work)
    sizes = ", ".join(
        f"{n} {name}" for n, name in zip(record["notes"]["counts"], run.classes, strict=True)
    )
    run.watcher.step(f"{sum(record['notes']['counts'])} patients ({sizes})")
    return record


def _train(run: Run, ledger: Ledger) -> dict[str, Any]:
    """Cross-validate every model: models/, predictions.csv and its companions."""
    from crosstype.cohort_stage import unplaced_expression

    spec, out = run.spec, run.out

    def work() -> Mapping[str, Any]:
        from crosstype.training.crossval import cross_validate, write_losses, write_predictions

        plan, notes = _plan(run, ledger)
        jobs = cross_validate(plan, run.n_workers, run.watcher)
        (out / "stressed_predictions.csv").unlink(missing_ok=True)  # of a run that shuffled
        write_predictions(plan, jobs)
        (out / LOSSES[0]).unlink(missing_ok=True)
        if plan.n_losses:
            write_losses(plan, jobs)
        _mark(run, MARKED)
        return {"jobs": len(jobs), "notes": notes}

    names = ("cohort.csv", "folds.csv", "expression.npz", "features.csv")
    folds = replace(spec.folds, file=None, write=())  # folds.csv holds what they say
    settings = [
        run.classes, unplaced_expression(spec.expression), replace(spec.models, gene_sets=None),
        spec.training, folds, spec.evaluation.n_shuffles, _n_losses(spec),
    ]  # fmt: skip
    inputs = {name: out / name for name in names}
    if spec.models.gene_sets is not None:
        inputs[f"gene_sets: {spec.models.gene_sets.name}"] = spec.models.gene_sets
    outputs = [name for name in MARKED if spec.evaluation.n_shuffles or "stressed" not in name]
    outputs += LOSSES[:1] if _n_losses(spec) else ()
    return ledger.do(Stage("train", settings, inputs, outputs), work)


def _n_losses(spec: RunSpec) -> int:
    return spec.evaluation.n_losses if spec.evaluation.rna_loss else 0


def _plan(run: Run, ledger: Ledger) -> tuple[Any, list[str]]:
    """Return what the training jobs need to know, and what was found of the gene sets."""
    from crosstype.cohort.aligned import load_expression
    from crosstype.cohort.genesets import read_token_sets
    from crosstype.cohort_stage import unplaced_expression
    from crosstype.feature_stage import feature_files
    from crosstype.features.store import read_feature_rows
    from crosstype.files import hash_of
    from crosstype.training.jobs import Plan

    spec, out = run.spec, run.out
    cohort = set(read_table(out / "cohort.csv")["patient_id"])
    usable = {row.slide_id for row in read_feature_rows(out / "features.csv") if not row.fault}
    files = feature_files(spec, out, usable)
    names = ("cohort.csv", "expression.npz", "features.csv")
    gene_sets, notes = None, list[str]()
    if spec.models.gene_sets is not None:
        genes = load_expression(out / "expression.npz").genes
        gene_sets, notes = read_token_sets(spec.models.gene_sets, genes, spec.models.least_genes)
    plan = Plan(
        out=out,
        classes=run.classes,
        slides={patient: paths for patient, paths in files.items() if patient in cohort},
        protocol=run.protocol,
        expression=unplaced_expression(spec.expression),
        model=replace(spec.models, gene_sets=None),
        training=spec.training,
        seed=spec.folds.seed,
        n_shuffles=spec.evaluation.n_shuffles,
        n_losses=_n_losses(spec),
        inputs=hash_of([ledger.hashes.sha256_of(out / name) for name in names]),
        gene_sets=gene_sets,
    )
    return plan, notes


def _evaluate(run: Run, ledger: Ledger) -> dict[str, Any]:
    """Judge the predictions: metrics.csv, comparisons.csv, modality_use.csv."""
    from crosstype.evaluation.evaluate import evaluate

    spec = run.spec
    run.watcher.start("evaluate", 1)

    def work() -> Mapping[str, Any]:
        evaluate(run.out, spec.evaluation, run.classes, spec.folds.seed)
        _mark(run, (*JUDGED, *LOSSES[1:]))
        return {}

    read = (*MARKED[:2], LOSSES[0])
    inputs = {name: run.out / name for name in read if (run.out / name).exists()}
    settings = [spec.evaluation, run.classes, spec.folds.seed, run.protocol]
    outputs = [*JUDGED, *(LOSSES[1:] if spec.evaluation.rna_loss else ())]
    record = ledger.do(Stage("evaluate", settings, inputs, outputs), work)
    run.watcher.step("metrics, comparisons, modality use")
    return record


def _report(run: Run, ledger: Ledger) -> None:
    """Write the page: report.html."""
    from crosstype.report.page import write_report

    run.watcher.start("report", 1)
    names = [
        *MARKED,
        *JUDGED,
        *LOSSES[1:],
        "cohort.csv",
        "left_out.csv",
        "folds.csv",
        "features.csv",
    ]
    names += ["outliers.csv", "run.json", "config.toml"]
    inputs = {name: run.out / name for name in names if (run.out / name).exists()}

    def work() -> Mapping[str, Any]:
        write_report(run.out, run.spec.report)
        return {}

    ledger.do(Stage("report", run.spec.report, inputs, ["report.html"]), work)
    run.watcher.step(str(run.out / "report.html"))


def _mark(run: Run, names: tuple[str, ...]) -> None:
    """Write into every table made under a leaking protocol that it was."""
    if not run.protocol.leaks:
        return
    words = f"{run.protocol.name}: {'; '.join(run.protocol.leaks)}"
    for name in names:
        path = run.out / name
        if path.exists():
            write_table(path, read_table(path).with_columns(protocol=pl.lit(words)))


def _write_run_json(run: Run, records: Mapping[str, Mapping[str, Any]]) -> None:
    """Write what a reader needs to judge and to repeat the run."""
    costs = ("seconds", "peak_memory_mb")
    about = {
        "crosstype": __version__,
        "command": run.command,
        "protocol": {"name": run.protocol.name, "leaks": list(run.protocol.leaks)},
        "classes": list(run.classes),
        "seed": run.spec.folds.seed,
        "synthetic": run.spec.cohort.synthetic,
        "labels_provenance": "made up with the patients"
        if run.spec.cohort.synthetic
        else records["cohort"]["notes"]["provenance"],
        "notes": [
            *records["features"]["notes"]["checks"],
            *records["cohort"]["notes"]["notes"],
            *records["train"]["notes"]["notes"],
        ],
        "faults": run.faults,
        "versions": {"crosstype": __version__, "python": platform.python_version()}
        | {name: version(name) for name in REPORTED_VERSIONS},
        "inputs": records["cohort"]["inputs"] | _given(records["train"]["inputs"]),
        "stages": {name: {cost: one[cost] for cost in costs} for name, one in records.items()},
    }
    write_text(run.out / "run.json", json.dumps(about, indent=1, ensure_ascii=False) + "\n")


def _given(inputs: Mapping[str, str]) -> dict[str, str]:
    """Return those of a stage's inputs that the user gave; the others are another stage's."""
    return {name: sha256 for name, sha256 in inputs.items() if ": " in name}
