"""The pipeline: every stage in order.

features -> cohort -> train -> evaluate -> explain -> report. Stages meet at files in OUT; a stage
whose settings, inputs, code and outputs are unchanged is not run again.
"""

import json
import platform
import shutil
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from importlib.metadata import version
from typing import Any

from crosstype import __version__
from crosstype.config.toml import resolved_toml
from crosstype.config.validate import check_ready
from crosstype.errors import CrosstypeError
from crosstype.io.files import write_text
from crosstype.training.spec import published
from crosstype.workflow.ledger import Ledger
from crosstype.workflow.stage import Run, Stage

REPORTED_VERSIONS = ("torch", "numpy", "scikit-learn", "scipy", "polars", "h5py", "matplotlib")
STAGES = {
    "features": "features_stage",
    "cohort": "JoinCohort",
    "train": "Train",
    "evaluate": "Evaluate",
    "explain": "Explain",
    "report": "Report",
}
"""Every stage in order: its module in this folder, and what makes it of a run."""


def run(run: Run, last: str = "report") -> dict[str, dict[str, Any]]:
    """Run every stage up to `last`, reusing what is finished; return the record of each.

    Raises:
        CrosstypeError: an input or a setting is wrong; what was finished stays.
    """
    check_ready(run.spec, needs_labels=last != "features")
    if run.protocol.published_training:
        run.spec = replace(run.spec, training=published(run.spec.training))
        run.progress.message("protocol paper: [training] is as published; the config's is ignored")
    run.out.mkdir(parents=True, exist_ok=True)
    write_text(run.out / "config.toml", resolved_toml(run.spec))
    ledger = Ledger(run.out)
    if run.spec.slides.folder is not None and last != "features":
        _look_ahead(run, ledger)
    records: dict[str, dict[str, Any]] = {}
    for name in STAGES:
        if _is_skipped(run, name, last):
            continue
        if name == "report":
            _write_run_json(run, records)
        records[name] = _do(run, ledger, name, force=run.force and name == last)
        if name == last:
            break
    return records


def make_stage(run: Run, ledger: Ledger, name: str) -> Stage:
    """Return a stage of a run; its own dependencies are imported here."""
    module = import_module(f"crosstype.workflow.{name}")
    stage: Stage = getattr(module, STAGES[name])(run, ledger.hashes)
    return stage


def _do(run: Run, ledger: Ledger, name: str, *, force: bool) -> dict[str, Any]:
    """Run a stage unless it is finished, and show what it came to."""
    stage = make_stage(run, ledger, name)
    if not stage.counts_pieces:
        run.progress.start(name, 1)
    record = ledger.do(stage, force=force)
    notes = record["notes"]
    if not stage.counts_pieces:
        run.progress.step(notes["summary"])
    for message in notes.get("messages", ()):
        run.progress.message(message)
    run.faults += notes.get("faults", ())
    return record


def _look_ahead(run: Run, ledger: Ledger) -> None:
    """Check the tables before the slides are processed, which takes hours."""
    from crosstype.workflow.cohort import check_tables
    from crosstype.workflow.features import slides_asked_for

    rows, notes = slides_asked_for(run.spec)
    try:
        check_tables(run.spec, rows, run.out, ledger.hashes)
    except CrosstypeError:
        for note in notes:  # often the reason, and the features stage will not tell it
            run.progress.message(note)
        raise


def _is_skipped(run: Run, name: str, last: str) -> bool:
    """Return whether explanations are not wanted, or metrics are not needed for them."""
    if name == "explain" and last != "explain" and not run.spec.explanation.enabled:
        shutil.rmtree(run.out / "explanation", ignore_errors=True)  # of a run that made it
        return True
    return name == "evaluate" and last == "explain"


def _write_run_json(run: Run, records: Mapping[str, Mapping[str, Any]]) -> None:
    """Write run.json: settings, inputs and versions, to reproduce the run."""
    costs = ("seconds", "peak_memory_mb")
    # The other inputs of training are outputs of earlier stages.
    given = {name: sha256 for name, sha256 in records["train"]["inputs"].items() if ": " in name}
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
        "inputs": records["cohort"]["inputs"] | given,
        "stages": {name: {cost: one[cost] for cost in costs} for name, one in records.items()},
    }
    write_text(run.out / "run.json", json.dumps(about, indent=1, ensure_ascii=False) + "\n")
