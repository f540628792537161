"""Data of a worker: the cohort's patients, folds, splits and recipes, in memory.

Freed memory is used again instead of being handed back to the system.

One job: one model on one fold of one repeat, from stored inputs to a checkpoint and a record.
"""

import ctypes
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from crosstype.cohort.covariates import COVARIATES, Covariates, load_covariates
from crosstype.cohort.unlabelled import UNLABELLED, UNLABELLED_EXPRESSION, read_unlabelled
from crosstype.crossval.plan import Job, Plan
from crosstype.errors import CheckpointError
from crosstype.expression.genes.sets import MatchedSets
from crosstype.expression.matrix import AlignedExpression, load_expression
from crosstype.expression.units import Unit
from crosstype.folds.folds import Fold, folds_of
from crosstype.io import schema
from crosstype.io.files import write_text
from crosstype.models.catalog import MODELS, NETWORKS, UNIMODAL
from crosstype.robustness.modality_shuffle import shuffled_conditions
from crosstype.robustness.perturbations import (
    FoldData,
    PerturbationTables,
    read_perturbation_tables,
)
from crosstype.robustness.study import predict_perturbed, save_perturbed
from crosstype.training.checkpoint import load_classifier, make_classifier, save_classifier
from crosstype.training.classifier import Classifier, Split, TrainingRecipe, concatenate
from crosstype.training.late_fusion import LateClassifier
from crosstype.training.network_classifier import NetworkClassifier
from crosstype.training.patients import Bags, Patients
from crosstype.training.preprocessing import Preparing
from crosstype.training.search import own_values, searched
from crosstype.types import Modality

TEXT = {"patient_id": pl.String}


class WorkerData:
    """The cohort in memory, loaded on demand by a worker."""

    def __init__(self, plan: Plan) -> None:
        """Read nothing yet."""
        self.plan = plan

    @cached_property
    def patients(self) -> Patients:
        """Return the whole cohort, test patients included."""
        table = schema.COHORT.read(self.plan.out)
        return self._patients(table, load_expression(self.plan.out / "expression.npz"))

    @cached_property
    def single_modality(self) -> tuple[Patients, Mapping[str, str]]:
        """Return the single-modality patients, for training only, and the site of each."""
        table = schema.SINGLE_MODALITY.read(self.plan.out)
        patients = self._patients(table, load_expression(self.plan.out / "single_modality.npz"))
        return patients, dict(zip(patients.ids, table["site"], strict=True))

    @cached_property
    def unlabelled(self) -> Patients:
        """Return the unlabelled patients, who are predicted and not trained on."""
        ids = list(read_unlabelled(self.plan.out / UNLABELLED))
        unused = pl.Series([self.plan.classes[0]] * len(ids), dtype=pl.String)
        table = pl.DataFrame({"patient_id": ids, "label": unused}, schema_overrides=TEXT)
        return self._patients(table, load_expression(self.plan.out / UNLABELLED_EXPRESSION))

    def _patients(self, table: pl.DataFrame, expression: AlignedExpression) -> Patients:
        """Return these patients; without expression or slides those are missing."""
        ids = tuple(table["patient_id"].to_list())
        numbers = {name: number for number, name in enumerate(self.plan.classes)}
        rows = {patient: row for row, patient in enumerate(expression.patient_ids)}
        genes = np.full((len(ids), len(expression.genes)), np.nan, dtype=np.float32)
        known = [patient in rows for patient in ids]
        genes[known] = expression.values[[rows[patient] for patient in ids if patient in rows]]
        return Patients(
            ids,
            np.array([numbers[label] for label in table["label"]], dtype=np.int64),
            self.plan.classes,
            genes,
            self._bags,
            tuple(patient if patient in self.plan.slides else None for patient in ids),
            None if self.covariates is None else self.covariates.words_of(ids),
        )

    @cached_property
    def _bags(self) -> Bags:
        return Bags(self.plan.slides, views=self.plan.training.views)

    @cached_property
    def covariates(self) -> Covariates | None:
        """Return the cohort's clinical covariates, if it has any."""
        path = self.plan.out / COVARIATES
        return load_covariates(path) if self.plan.has_covariates else None

    @cached_property
    def unit(self) -> Unit:
        """Return the unit of the cohort's expression."""
        return load_expression(self.plan.out / "expression.npz").unit

    @cached_property
    def gene_sets(self) -> MatchedSets | None:
        """Return the plan's gene sets among the cohort's genes."""
        if self.plan.gene_sets is None:
            return None
        genes = load_expression(self.plan.out / "expression.npz").genes
        return self.plan.gene_sets.matched(genes, self.plan.model.least_genes)

    @cached_property
    def folds(self) -> dict[tuple[int, int], Fold]:
        """Return the folds by repeat and fold."""
        table = schema.FOLDS.read(self.plan.out)
        return {(one.repeat, one.fold): one for one in folds_of(table, self.plan.protocol)}

    @cached_property
    def perturbation_tables(self) -> PerturbationTables:
        """Return the tables that losses of expression draw on."""
        return read_perturbation_tables(self.plan.out, self.plan.expression)

    def fold_data(self, fold: Fold) -> FoldData:
        """Return the data that losses of expression use in this fold, without test patients."""
        inner = tuple(patient for part in fold.inner for patient in part)
        train = fold.train if self.plan.protocol.validation_is_test or not inner else inner
        return FoldData(self.patients.select(sorted(train)), self.perturbation_tables)

    def recipe(self, job: Job) -> TrainingRecipe:
        """Return the settings and the seed of a job."""
        # The files of models that see no covariates hold nothing of them.
        seen = self.covariates if Modality.CLINICAL in MODELS[job.model].uses else None
        columns = tuple(zip(seen.names, seen.kinds, strict=True)) if seen else ()
        preparing = Preparing(self.plan.expression, self.plan.protocol, self.unit, columns)
        seed = (self.plan.seed, job.repeat, job.fold)
        return TrainingRecipe(self.plan.training, self.plan.model, preparing, seed, self.gene_sets)

    def splits(self, fold: Fold) -> list[Split]:
        """Return one split per inner fold, or the leaking one of a protocol that leaks."""
        if self.plan.protocol.validation_is_test or not fold.inner:
            train, validation = fold.train, fold.validation
            everyone = self.patients if self.plan.protocol.preprocessing_on_everyone else None
            return [Split(self.patients.select(train), self.patients.select(validation), everyone)]
        single = self._single_modality_training(fold)
        inner = np.arange(len(single)) % len(fold.inner)
        splits = []
        for number, validation in enumerate(fold.inner):
            held = set(validation)
            train = tuple(p for part in fold.inner for p in part if p not in held)
            own = self.patients.select(sorted(train)), self.patients.select(validation)
            if len(single):
                added, out = (
                    single.take(np.flatnonzero(is_out == (inner == number)))
                    for is_out in (False, True)
                )
                splits.append(Split(concatenate(own[0], added), own[1], single_modality=out))
            else:
                splits.append(Split(*own))
        # The published notebook trains one network, whoever validates it.
        return splits[:1] if self.plan.protocol.published_training else splits

    def _single_modality_training(self, fold: Fold) -> Patients:
        """Return the single-modality training patients of a fold."""
        patients, site_of = self.single_modality
        if not self.plan.protocol.grouped_by_site or not len(patients):
            return patients
        sites = schema.COHORT.read(self.plan.out)
        tested = set(sites.filter(pl.col("patient_id").is_in(fold.test))["site"])
        kept = [row for row, one in enumerate(patients.ids) if site_of[one] not in tested]
        return patients.take(np.array(kept, dtype=np.int64))


M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Names of glibc's settings (mallopt(3))."""
KEPT_FREE_BYTES = 1 << 30


def keep_freed_memory() -> None:
    """Make this process keep up to 1 GiB of freed memory; does nothing without glibc.

    Each step of training frees gradients and batches of many megabytes and allocates them again.
    By default glibc gets each of them from the system, page by page, which took a third of a step
    of the published networks. No number depends on it.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, KEPT_FREE_BYTES)


def is_done(plan: Plan, job: Job, fold: Fold) -> bool:
    """Return whether the job's record and checkpoint are there and were made from this plan."""
    try:
        record = json.loads(plan.record(job).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    there = [plan.checkpoint(job), *([plan.losses(job)] if plan.study else [])]
    is_same = record.get("hash") == plan.hash_of(job, fold)
    return all(path.exists() for path in there) and bool(is_same)


def run_job(worker_data: WorkerData, job: Job) -> None:
    """Fit on the training patients, save, then predict the test patients."""
    plan, fold = worker_data.plan, worker_data.folds[job.repeat, job.fold]
    classifier = make_classifier(job.model)
    if isinstance(classifier, LateClassifier):
        classifier.adopt(_parents(worker_data, job))
    splits, recipe = worker_data.splits(fold), worker_data.recipe(job)
    if plan.training.search_minutes and job.model in NETWORKS:
        recipe = searched(job.model, splits, recipe, plan.journal(job, fold))
    classifier.fit(splits, recipe)
    save_classifier(classifier, plan.checkpoint(job), recipe.model)
    test = worker_data.patients.select(fold.test)
    if plan.study:
        seed, known = (plan.seed, job.repeat, job.fold), worker_data.fold_data(fold)
        save_perturbed(
            plan.losses(job), predict_perturbed(classifier, test, plan.study, known, seed)
        )
    record = {
        "hash": plan.hash_of(job, fold),
        "patients": list(test.ids),
        "labels": [plan.classes[target] for target in test.targets],
        **_predicted(classifier, test),
        "unlabelled": _predicted(classifier, worker_data.unlabelled)["probabilities"]
        if len(worker_data.unlabelled)
        else [],
        "stressed": _stressed(classifier, test, plan, job),
        "residual_weight": classifier.residual_weight,
        "chosen": own_values(recipe) if plan.training.search_minutes else {},
        "calibration": classifier.calibration.state(),
        "curves": [[asdict(epoch) for epoch in curve] for curve in classifier.curves],
    }
    write_text(plan.record(job), json.dumps(record))


def _parents(worker_data: WorkerData, job: Job) -> list[NetworkClassifier]:
    """Return the unimodal models of this fold that were saved; those missing are fitted anew."""
    found = []
    for name in UNIMODAL:
        parent = Job(job.repeat, job.fold, name)
        if not is_done(worker_data.plan, parent, worker_data.folds[job.repeat, job.fold]):
            continue
        try:
            loaded = load_classifier(worker_data.plan.checkpoint(parent))
        except CheckpointError:
            continue
        if isinstance(loaded, NetworkClassifier):
            found.append(loaded)
    return found


def _predicted(classifier: Classifier, patients: Patients) -> dict[str, list[Any]]:
    """Return the probabilities, and the index of each patient's predicted class."""
    probabilities = classifier.predict(patients)
    predicted = classifier.calibration.choose(probabilities)
    return {"probabilities": probabilities.tolist(), "called": predicted.tolist()}


def _stressed(classifier: Classifier, test: Patients, plan: Plan, job: Job) -> list[dict[str, Any]]:
    """Return predictions of the fold's test patients with a modality disturbed."""
    return [
        {
            "condition": one.condition,
            "level": one.level,
            "draw": one.draw,
            **_predicted(classifier, one.patients),
        }
        for one in shuffled_conditions(test, plan.n_shuffles, (plan.seed, job.repeat, job.fold))
    ]


def records_of(plan: Plan, jobs: Sequence[Job]) -> list[tuple[Job, dict[str, Any]]]:
    """Return the jobs' records, sorted by model as planned, repeat and fold."""
    return [(job, json.loads(plan.record(job).read_text(encoding="utf-8"))) for job in jobs]
