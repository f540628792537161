"""Cross-validation: every job of a plan in parallel processes, and the tables they add up to.

Jobs run in spawned processes, one torch thread each, so that the numbers do not depend on how many
run at once. A job whose record is there with the same hash is not run again.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from crosstype.crossval.plan import Job, Plan
from crosstype.crossval.prediction_table import prediction_rows
from crosstype.crossval.site_probe import site_only_rows
from crosstype.crossval.worker import WorkerData, is_done, keep_freed_memory, run_job
from crosstype.errors import TrainingError
from crosstype.io.files import replacing
from crosstype.io.tables import write_table
from crosstype.models.catalog import ALWAYS_RUN, BASELINES, CROSS_ATTENTION, LATE
from crosstype.progress import Progress
from crosstype.robustness.study import join_perturbed
from crosstype.training.calibration import Calibration

LAST = LATE
"""Stacks the unimodal models, so it runs once they are saved."""


def plan_jobs(plan: Plan, folds: Sequence[tuple[int, int]]) -> list[Job]:
    """Return every job of the plan: models as configured, then the baselines."""
    baselines = BASELINES if plan.has_covariates else ALWAYS_RUN
    models = [*dict.fromkeys(plan.training.models), *baselines]
    return [Job(repeat, fold, model) for model in models for repeat, fold in folds]


def cross_validate(plan: Plan, n_workers: int, progress: Progress) -> list[Job]:
    """Run every job that is not done; return all jobs. Ctrl-C loses only those under way.

    Raises:
        TrainingError: a model could not be fitted, or a worker died.
    """
    worker_data = WorkerData(plan)
    jobs = plan_jobs(plan, sorted(worker_data.folds))
    todo = [job for job in jobs if not is_done(plan, job, worker_data.folds[job.repeat, job.fold])]
    progress.start("train", len(jobs), len(jobs) - len(todo))
    waves = ([j for j in todo if j.model != LAST], [j for j in todo if j.model == LAST])
    if not todo:
        return jobs
    executor = ProcessPoolExecutor(
        max_workers=max(1, min(n_workers, len(todo))),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=start_worker,
        initargs=(plan,),
    )
    try:
        for wave in waves:
            _run_wave(executor, sorted(wave, key=_longest_first), progress)
    except BaseException:
        _stop(executor)
        raise
    executor.shutdown()
    return jobs


def write_predictions(plan: Plan, records: Sequence[tuple[Job, dict[str, Any]]]) -> None:
    """Write what `records_of` gave as predictions.csv, stressed_predictions.csv and companions.

    Those are training.csv, and calibration.csv: what was learned of each model's logits.
    """
    plain, stressed, curves, chosen, calibrated = [], [], [], [], []
    for job, record in records:
        known = (job, record["patients"], record["labels"])
        plain.append(_rows(plan, known, record))
        calibrated += _calibration_rows(plan, job, record)
        for one in record["stressed"]:
            stressed.append(
                _rows(plan, known, one).with_columns(
                    condition=pl.lit(one["condition"]),
                    level=pl.lit(one["level"]),
                    draw=pl.lit(one["draw"]),
                )
            )
        chosen += [
            (job.model, job.repeat, job.fold, key, str(value))
            for key, value in record["chosen"].items()
        ]
        for member, curve in enumerate(record["curves"]):
            place = {"model": job.model, "repeat": job.repeat, "fold": job.fold, "member": member}
            curves += [
                place | epoch | {"residual_weight": record["residual_weight"]} for epoch in curve
            ]
    write_table(plan.out / "predictions.csv", pl.concat([*plain, *site_only_rows(plan)]))
    if stressed:
        write_table(plan.out / "stressed_predictions.csv", pl.concat(stressed))
    write_table(plan.out / "training.csv", pl.DataFrame(curves, schema=CURVE_SCHEMA))
    if chosen:
        write_table(plan.out / SEARCH, pl.DataFrame(chosen, schema=SEARCH_COLUMNS, orient="row"))
    calibration = pl.DataFrame(calibrated, schema=CALIBRATION_SCHEMA)
    write_table(plan.out / "calibration.csv", calibration)


def write_perturbed(plan: Plan, records: Sequence[tuple[Job, dict[str, Any]]], path: Path) -> None:
    """Write what every model says under every loss of genes."""
    label_of = {
        patient: plan.classes.index(label)
        for _, record in records
        for patient, label in zip(record["patients"], record["labels"], strict=True)
    }
    patients = sorted(label_of)
    folds = [(job.model, job.repeat, one["patients"], plan.losses(job)) for job, one in records]
    labels = [label_of[patient] for patient in patients]
    assert plan.study is not None
    joined = join_perturbed(folds, patients, labels, plan.study)
    with replacing(path) as temporary, temporary.open("wb") as handle:
        np.savez(handle, **joined)  # type: ignore[arg-type]


SEARCH = "search.csv"
SEARCH_COLUMNS = ("model", "repeat", "fold", "setting", "value")

CURVE_SCHEMA = {
    "model": pl.String,
    "repeat": pl.Int64,
    "fold": pl.Int64,
    "member": pl.Int64,
    "epoch": pl.Int64,
    "train_loss": pl.Float64,
    "validation_loss": pl.Float64,
    "learning_rate": pl.Float64,
    "residual_weight": pl.Float64,
}
CALIBRATION_SCHEMA = {
    "model": pl.String,
    "repeat": pl.Int64,
    "fold": pl.Int64,
    "n": pl.Int64,
    "temperature": pl.Float64,
    "class": pl.String,
    "offset": pl.Float64,
    "threshold": pl.Float64,
}


def _calibration_rows(plan: Plan, job: Job, record: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row per class, of two only the positive one; none of a baseline."""
    if job.model in BASELINES:
        return []
    found = Calibration.from_state(record["calibration"])
    place = {"model": job.model, "repeat": job.repeat, "fold": job.fold, "n": found.n}
    offsets = found.offsets or (0.0,) * len(plan.classes)
    rows = [
        place
        | {"temperature": found.temperature, "class": name, "offset": offset}
        | {"threshold": found.threshold if len(offsets) == 2 else None}
        for name, offset in zip(plan.classes, offsets, strict=True)
    ]
    return rows[1:] if len(rows) == 2 else rows


def _rows(
    plan: Plan, known: tuple[Job, list[str], list[str]], said: dict[str, Any]
) -> pl.DataFrame:
    """Return rows in the form of predictions.csv; `said` holds probabilities and classes called."""
    job, patients, labels = known
    heard = (said["called"], said["probabilities"])
    return prediction_rows(job, (patients, labels), heard, plan.classes)


def start_worker(plan: Plan) -> None:
    """Prepare a spawned process: one thread, no Ctrl-C of its own, the cohort at hand."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    use_one_thread()
    _WORKER["data"] = WorkerData(plan)


def _end_with(parent: Any) -> None:
    """End this process when its parent was killed, which else leaves it waiting for ever."""
    parent.join()
    os._exit(1)


def use_one_thread() -> None:
    """Have this process train with one thread, so that the same patients give the same numbers."""
    import torch
    from threadpoolctl import threadpool_limits

    keep_freed_memory()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    threadpool_limits(1)
    os.environ["OMP_NUM_THREADS"] = "1"


_WORKER: dict[str, WorkerData] = {}


def _work(job: Job) -> Job:
    run_job(_WORKER["data"], job)
    return job


def _longest_first(job: Job) -> tuple[bool, int, int, bool]:
    """Sort so that repeats finish in turn and the baselines, which take no time, come last."""
    return (job.model in BASELINES, job.repeat, job.fold, job.model != CROSS_ATTENTION)


def _run_wave(executor: ProcessPoolExecutor, jobs: Sequence[Job], progress: Progress) -> None:
    pending: set[Future[Job]] = {executor.submit(_work, job) for job in jobs}
    while pending:
        finished, pending = wait(pending, return_when=FIRST_COMPLETED)
        for future in finished:
            try:
                job = future.result()
            except BrokenProcessPool as fault:
                raise TrainingError(
                    "A training process died, most likely for want of memory. Finished folds are "
                    "kept; run the same command again, with fewer --workers."
                ) from fault
            progress.step(f"{job.model} repeat {job.repeat + 1} fold {job.fold + 1}")


def _stop(executor: ProcessPoolExecutor) -> None:
    """End the workers at once; what they had not finished was never there."""
    processes = list((executor._processes or {}).values())
    executor.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()
