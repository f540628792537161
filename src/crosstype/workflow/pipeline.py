"""The whole path on one page; the only place where stages meet.

features -> cohort -> train -> evaluate -> explain -> report. Stages meet at files in OUT; a stage
whose settings, inputs and outputs are unchanged is not run again.
"""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from crosstype import __version__
from crosstype.cohort.subgroups import SUBGROUPS
from crosstype.cohort.unlabelled import UNLABELLED
from crosstype.config.run_spec import RunSpec
from crosstype.config.toml import resolved_toml
from crosstype.config.validate import check_ready
from crosstype.io.files import write_text
from crosstype.io.tables import read_table, write_table
from crosstype.progress import NoProgress, Progress
from crosstype.protocol import Protocol, protocol_named
from crosstype.training.spec import published
from crosstype.workflow.ledger import Ledger, Stage
from crosstype.workflow.train import (
    MARKED,
    PERTURBED,
    SITE_PROBE,
    UNLABELLED_PREDICTIONS,
    train_stage,
)

REPORTED_VERSIONS = ("torch", "numpy", "scikit-learn", "scipy", "polars", "h5py", "matplotlib")
LOST = ("rna_loss.csv", "rna_loss_comparisons.csv")
JUDGED = (
    *("metrics.csv", "comparisons.csv", "tests.csv", "modality_use.csv", "coverage.csv"),
    *("calibration_curve.csv", "decision_curve.csv", "subgroups.csv"),
)


@dataclass
class Run:
    """One config run into one OUT.

    Attributes:
        spec: all settings.
        out: folder that receives everything.
        n_workers: training processes at once; changes no number.
        progress: who is told how far it is.
        command: how it was called, for run.json.
        faults: damaged inputs that were listed and passed over; if any, the exit code is 1.
        mended: a protocol that no config can name, in place of the config's; of a study.
    """

    spec: RunSpec
    out: Path
    n_workers: int = 2
    progress: Progress = field(default_factory=NoProgress)
    command: str = "crosstype.pipeline.run"
    faults: list[str] = field(default_factory=list)
    mended: Protocol | None = None

    @property
    def protocol(self) -> Protocol:
        """Return the protocol that the config names, or what a study made of it."""
        return self.mended or protocol_named(self.spec.folds.protocol)

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the classes, in order."""
        return tuple(one.name for one in self.spec.cohort.classes)


def run(run: Run, last: str = "report") -> dict[str, dict[str, Any]]:
    """Run every stage up to `last`, reusing what is finished; return what each noted.

    Raises:
        CrosstypeError: an input or a setting is wrong; what was finished stays.
    """
    check_ready(run.spec, needs_labels=last != "features")
    if run.protocol.published_training:
        run.spec = replace(run.spec, training=published(run.spec.training))
        run.progress.say("protocol paper: [training] is as published, whatever the config says")
    run.out.mkdir(parents=True, exist_ok=True)
    write_text(run.out / "config.toml", resolved_toml(run.spec))
    ledger = Ledger(run.out)
    if run.spec.slides.folder is not None and last != "features":
        _look_ahead(run, ledger)
    records: dict[str, dict[str, Any]] = {}
    steps: dict[str, Callable[[Run, Ledger], dict[str, Any]]] = {
        "features": _features,
        "cohort": _cohort,
        "train": _train,
        "evaluate": _evaluate,
        "explain": _explain,
    }
    for name, step in steps.items():
        if _is_skipped(run, name, last):
            continue
        records[name] = step(run, ledger)
        if name == last:
            return records
    _write_run_json(run, records)
    _report(run, ledger)
    return records


def _look_ahead(run: Run, ledger: Ledger) -> None:
    """Raise what is wrong with the tables now, and not when the slides have taken hours."""
    from crosstype.workflow.cohort import check_tables
    from crosstype.workflow.features import slides_asked_for

    check_tables(run.spec, slides_asked_for(run.spec), run.out, ledger)


def _is_skipped(run: Run, name: str, last: str) -> bool:
    """Return whether a step is left out: explanations if not wanted, metrics on the way to them."""
    if name == "explain" and last != "explain" and not run.spec.explanation.enabled:
        shutil.rmtree(run.out / "explanation", ignore_errors=True)  # of a run that made it
        return True
    return name == "evaluate" and last == "explain"


def _features(run: Run, ledger: Ledger) -> dict[str, Any]:
    """Extract features from slides, or look through existing ones: features.csv."""
    from crosstype.features.store import NO_FILE, write_feature_rows
    from crosstype.workflow.features import features_stage, slide_checks

    stage, make_rows = features_stage(run.spec, run.out, ledger, run.progress)

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
        run.progress.step(f"{notes['n_slides']} slides")
    run.faults += notes["faults"]
    if notes["missing"]:
        count, first = len(notes["missing"]), notes["missing"][0]
        run.progress.say(f"{count} slides asked for are not there, first {first}.")
    return record


def _cohort(run: Run, ledger: Ledger) -> dict[str, Any]:
    """Join the tables and deal the folds: cohort.csv, left_out.csv, folds.csv."""
    from crosstype.workflow.cohort import cohort_stage

    run.progress.start("cohort", 1)
    stage, make_cohort = cohort_stage(run.spec, run.protocol, run.out, ledger)

    def work() -> Mapping[str, Any]:
        notes = make_cohort()
        _mark(run, ("folds.csv",))
        return notes

    record = ledger.do(stage, work)
    sizes = ", ".join(
        f"{n} {name}" for n, name in zip(record["notes"]["counts"], run.classes, strict=True)
    )
    run.progress.step(f"{sum(record['notes']['counts'])} patients ({sizes})")
    return record


def _train(run: Run, ledger: Ledger) -> dict[str, Any]:
    """Cross-validate every model: models/, predictions.csv and its companions."""
    stage, train = train_stage(run.spec, run.protocol, run.out, ledger)

    def work() -> Mapping[str, Any]:
        notes = train(run.n_workers, run.progress)
        _mark(run, (*MARKED, UNLABELLED_PREDICTIONS))
        return notes

    return ledger.do(stage, work)


def _evaluate(run: Run, ledger: Ledger) -> dict[str, Any]:
    """Judge the predictions: the tables of `JUDGED`, and of `LOST` if that was studied."""
    from crosstype.evaluation.evaluate import evaluate

    spec = run.spec
    run.progress.start("evaluate", 1)

    def work() -> Mapping[str, Any]:
        for name in LOST:  # of a run that made the study
            (run.out / name).unlink(missing_ok=True)
        evaluate(run.out, spec.evaluation, run.classes, spec.folds.seed)
        _mark(run, (*JUDGED, *LOST))
        return {}

    read = (*MARKED[:2], PERTURBED, SUBGROUPS)
    inputs = {name: run.out / name for name in read if (run.out / name).exists()}
    judging = replace(spec.evaluation, other_expression=None)  # rna_loss.npz holds what it says
    settings = [judging, run.classes, spec.folds.seed, run.protocol]
    outputs = [*JUDGED, *(LOST if spec.evaluation.rna_loss else ())]
    record = ledger.do(Stage("evaluate", settings, inputs, outputs), work)
    run.progress.step("metrics, comparisons, modality use")
    return record


def _explain(run: Run, ledger: Ledger) -> dict[str, Any]:
    """Say where models look and which genes they go by: explanation/."""
    from crosstype.workflow.explain import FOLDER, TABLES, explain_stage

    stage, explain = explain_stage(run.spec, run.protocol, run.out, ledger)

    def work() -> Mapping[str, Any]:
        notes = explain(run.progress)
        _mark(run, tuple(f"{FOLDER}/{name}" for name in TABLES))
        return notes

    return ledger.do(stage, work)


def _report(run: Run, ledger: Ledger) -> None:
    """Write the page: report.html."""
    from crosstype.report.pages.patient import patient_page_names
    from crosstype.report.pages.tripod import TRIPOD, write_tripod
    from crosstype.report.paper.page import FIGURES, write_figures
    from crosstype.report.report import write_report
    from crosstype.workflow.explain import FOLDER, PICTURES, TABLES

    run.progress.start("report", 1)
    names = [*MARKED, *JUDGED, *LOST, "cohort.csv", "left_out.csv", "folds.csv"]
    names += ["features.csv", "outliers.csv", "run.json", "config.toml"]
    names += [SITE_PROBE, UNLABELLED, UNLABELLED_PREDICTIONS]
    names += [f"{FOLDER}/{name}" for name in (*TABLES, *PICTURES)]
    inputs = {name: run.out / name for name in names if (run.out / name).exists()}

    def work() -> Mapping[str, Any]:
        write_report(run.out, run.spec.report)
        write_figures(run.out, run.spec.report)
        write_tripod(run.out, run.spec.report)
        return {}

    pages = patient_page_names(run.out) if run.spec.report.patient_pages else []
    outputs = ["report.html", TRIPOD, *pages, *[FIGURES] * run.spec.report.figure_page]
    ledger.do(Stage("report", run.spec.report, inputs, outputs), work)
    run.progress.step(str(run.out / "report.html"))


def _mark(run: Run, names: tuple[str, ...]) -> None:
    """Write into every table made under a leaking protocol that it was."""
    if not run.protocol.leaks:
        return
    words = f"{run.protocol.name}: {'; '.join(run.protocol.leaks)}"
    for name in names:
        path = run.out / name
        if path.exists() and not pl.read_csv(path, n_rows=1).is_empty():
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
