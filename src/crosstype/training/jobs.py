"""One job: one model on one fold of one repeat, from stored inputs to a checkpoint and a record."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from crosstype.cohort.folds import Fold
from crosstype.errors import CheckpointError
from crosstype.files import write_text
from crosstype.models.catalog import NETWORKS
from crosstype.training.bags import Patients
from crosstype.training.bench import Bench
from crosstype.training.checkpoint import load_classifier, make_classifier, save_classifier
from crosstype.training.classifiers import Classifier
from crosstype.training.network_classifier import NetworkClassifier
from crosstype.training.plan import Job, Plan
from crosstype.training.rna_loss import predict_losses, save_losses
from crosstype.training.search import own_values, searched
from crosstype.training.stacking import PARENTS, LateClassifier
from crosstype.training.stress import stresses


def is_done(plan: Plan, job: Job, fold: Fold) -> bool:
    """Return whether the job's record and checkpoint are there and were made from this plan."""
    try:
        record = json.loads(plan.record(job).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    there = [plan.checkpoint(job), *([plan.losses(job)] if plan.study else [])]
    is_same = record.get("hash") == plan.hash_of(job, fold)
    return all(path.exists() for path in there) and bool(is_same)


def run_job(bench: Bench, job: Job) -> None:
    """Fit on the training patients, save, then predict the test patients."""
    plan, fold = bench.plan, bench.folds[job.repeat, job.fold]
    classifier = make_classifier(job.model)
    if isinstance(classifier, LateClassifier):
        classifier.adopt(_parents(bench, job))
    splits, recipe = bench.splits(fold), bench.recipe(job)
    if plan.training.search_minutes and job.model in NETWORKS:
        recipe = searched(job.model, splits, recipe, plan.journal(job, fold))
    classifier.fit(splits, recipe)
    save_classifier(classifier, plan.checkpoint(job), recipe.model)
    test = bench.patients.select(fold.test)
    if plan.study:
        seed, known = (plan.seed, job.repeat, job.fold), bench.known(fold)
        save_losses(plan.losses(job), predict_losses(classifier, test, plan.study, known, seed))
    record = {
        "hash": plan.hash_of(job, fold),
        "patients": list(test.ids),
        "labels": [plan.classes[target] for target in test.targets],
        **_said(classifier, test),
        "apart": _said(classifier, bench.apart)["probabilities"] if len(bench.apart) else [],
        "stressed": _stressed(classifier, test, plan, job),
        "trust": classifier.trust,
        "chosen": own_values(recipe) if plan.training.search_minutes else {},
        "calibration": classifier.calibration.state(),
        "curves": [[asdict(epoch) for epoch in curve] for curve in classifier.curves],
    }
    write_text(plan.record(job), json.dumps(record))


def _parents(bench: Bench, job: Job) -> list[NetworkClassifier]:
    """Return the unimodal models of this fold that were saved; those missing are fitted anew."""
    found = []
    for name in PARENTS:
        parent = Job(job.repeat, job.fold, name)
        if not is_done(bench.plan, parent, bench.folds[job.repeat, job.fold]):
            continue
        try:
            loaded = load_classifier(bench.plan.checkpoint(parent))
        except CheckpointError:
            continue
        if isinstance(loaded, NetworkClassifier):
            found.append(loaded)
    return found


def _said(classifier: Classifier, patients: Patients) -> dict[str, list[Any]]:
    """Return the probabilities, and the index of the class that each patient is called."""
    probabilities = classifier.predict(patients)
    called = classifier.calibration.choose(probabilities)
    return {"probabilities": probabilities.tolist(), "called": called.tolist()}


def _stressed(classifier: Classifier, test: Patients, plan: Plan, job: Job) -> list[dict[str, Any]]:
    """Return predictions of the fold's test patients with a modality disturbed."""
    return [
        {
            "condition": one.condition,
            "level": one.level,
            "draw": one.draw,
            **_said(classifier, one.patients),
        }
        for one in stresses(test, plan.n_shuffles, (plan.seed, job.repeat, job.fold))
    ]


def records_of(plan: Plan, jobs: Sequence[Job]) -> list[tuple[Job, dict[str, Any]]]:
    """Return the jobs' records, sorted by model as planned, repeat and fold."""
    return [(job, json.loads(plan.record(job).read_text(encoding="utf-8"))) for job in jobs]
