"""Cross-validation: every job of a plan in parallel processes, and the tables of predictions.

Jobs run in this process, or in several spawned ones, with one torch thread each, so that the
numbers do not depend on how many run at once. A job whose record is there with the same hash is
not run again.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from crosstype.crossval.plan import Job, Plan
from crosstype.crossval.prediction_table import prediction_rows
from crosstype.crossval.site_probe import site_only_rows
from crosstype.crossval.worker import WorkerData, is_done, keep_freed_memory, run_job
from crosstype.errors import TrainingError
from crosstype.io import schema
from crosstype.io.files import replacing
from crosstype.models.catalog import ALWAYS_RUN, BASELINES, CROSS_ATTENTION, LATE
from crosstype.progress import Progress
from crosstype.robustness.study import join_perturbed
from crosstype.training.calibration import Calibration


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
    if not todo:
        return jobs
    if n_workers == 1:
        with one_thread():
            for job in sorted(todo, key=_longest_first):
                run_job(worker_data, job)
                _tell(progress, job)
    else:
        waves = ([j for j in todo if j.model != LATE], [j for j in todo if j.model == LATE])
        _run_in_processes(plan, waves, min(n_workers, len(todo)), progress)
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
                    draw=pl.lit(one["draw"], schema.WHOLE),
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
    predictions = pl.concat([*plain, *site_only_rows(plan)])
    schema.PREDICTIONS.write(plan.out, predictions, plan.classes)
    if stressed:
        schema.STRESSED_PREDICTIONS.write(plan.out, pl.concat(stressed), plan.classes)
    schema.TRAINING.write(plan.out, schema.TRAINING.frame(curves))
    if chosen:
        schema.SEARCH.write(plan.out, schema.SEARCH.frame(chosen))
    schema.CALIBRATION.write(plan.out, schema.CALIBRATION.frame(calibrated))


def write_perturbed(plan: Plan, records: Sequence[tuple[Job, dict[str, Any]]], path: Path) -> None:
    """Write every model's predictions under every loss of genes."""
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
    plan: Plan, known: tuple[Job, list[str], list[str]], found: dict[str, Any]
) -> pl.DataFrame:
    """Return rows of predictions.csv; `found` holds probabilities and predicted classes."""
    job, patients, labels = known
    predicted = (found["called"], found["probabilities"])
    return prediction_rows(job, (patients, labels), predicted, plan.classes)


def start_worker(plan: Plan) -> None:
    """Prepare a spawned process: one thread, no handling of Ctrl-C, the cohort in memory."""
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


def use_one_thread() -> Callable[[], None]:
    """Let torch and numpy compute with one thread, so that the same patients give the same numbers.

    Returns:
        What undoes it.
    """
    import torch
    from threadpoolctl import threadpool_limits

    keep_freed_memory()
    n_threads, known = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    exact = torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    limits = threadpool_limits(1)

    def undo() -> None:
        limits.restore_original_limits()
        torch.set_num_threads(n_threads)
        torch.use_deterministic_algorithms(mode=exact)
        if known is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = known

    return undo


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread inside, and as before after it."""
    undo = use_one_thread()
    try:
        yield
    finally:
        undo()


_WORKER: dict[str, Any] = {}


def _work(job: Job) -> Job:
    run_job(_WORKER["data"], job)
    return job


def _longest_first(job: Job) -> tuple[bool, bool, int, int, bool]:
    """Sort so that repeats finish in turn; baselines come last, after late, which stacks others."""
    baseline, late = job.model in BASELINES, job.model == LATE
    return (baseline, late, job.repeat, job.fold, job.model != CROSS_ATTENTION)


def _run_in_processes(
    plan: Plan, waves: Sequence[Sequence[Job]], n_workers: int, progress: Progress
) -> None:
    """Run waves of jobs, one after the other, in spawned processes."""
    others = set(multiprocessing.active_children())
    executor = ProcessPoolExecutor(
        max_workers=n_workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=start_worker,
        initargs=(plan,),
    )
    try:
        for wave in waves:
            jobs = sorted(wave, key=_longest_first)
            for future in as_completed([executor.submit(_work, job) for job in jobs]):
                _tell(progress, future.result())
    except BrokenProcessPool as fault:
        raise TrainingError(
            "A training process died, most likely for want of memory. Finished folds are kept; "
            "run the same command again, with fewer --workers."
        ) from fault
    except BaseException:
        # What the workers had not finished was never there.
        executor.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    executor.shutdown()


def _tell(progress: Progress, job: Job) -> None:
    progress.step(f"{job.model} repeat {job.repeat + 1} fold {job.fold + 1}")
