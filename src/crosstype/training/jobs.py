"""One job: one model on one fold of one repeat, from stored inputs to a checkpoint and a record."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from crosstype import __version__
from crosstype.cohort.aligned import AlignedExpression, load_expression
from crosstype.cohort.folds import Fold, folds_of, read_folds
from crosstype.cohort.genesets import GeneSets, MatchedSets
from crosstype.cohort.one_modality import read_one_modality
from crosstype.cohort.protocol import Protocol
from crosstype.cohort.spec import ExpressionSpec
from crosstype.cohort.unit import Unit
from crosstype.errors import CheckpointError
from crosstype.files import hash_of, write_text
from crosstype.models.catalog import NETWORKS
from crosstype.models.spec import ModelSpec
from crosstype.tables import read_stage_table
from crosstype.training.bags import Bags, Patients
from crosstype.training.checkpoint import load_classifier, make_classifier, save_classifier
from crosstype.training.classifiers import Classifier, Recipe, Split, together
from crosstype.training.loss_tables import Known, LossTables, read_loss_tables
from crosstype.training.losses import Study
from crosstype.training.network_classifier import NetworkClassifier
from crosstype.training.preparation import Preparing
from crosstype.training.rna_loss import predict_losses, save_losses
from crosstype.training.spec import TrainingSpec
from crosstype.training.stacking import PARENTS, LateClassifier
from crosstype.training.stress import stresses


@dataclass(frozen=True, order=True)
class Job:
    """One model on one fold of one repeat."""

    repeat: int
    fold: int
    model: str


@dataclass(frozen=True)
class Plan:
    """Everything a job needs to know; small, so that it can be sent to a worker.

    Attributes:
        out: folder of the run; cohort.csv, expression.npz and folds.csv stand there.
        classes: names of the classes, in order.
        slides: feature files of each patient of the cohort.
        protocol: which patients may teach what.
        expression: expression settings.
        model: sizes of the networks.
        training: training settings, those of the protocol already put in.
        seed: from which all chance derives.
        n_shuffles: how often each modality is shuffled between test patients.
        study: the losses of expression at test time; None: the study is not made.
        inputs: one hash over cohort, expression and features.
        gene_sets: what cross-attention's gene tokens are made of; None: learned programs.
    """

    out: Path
    classes: tuple[str, ...]
    slides: Mapping[str, tuple[Path, ...]]
    protocol: Protocol
    expression: ExpressionSpec
    model: ModelSpec
    training: TrainingSpec
    seed: int
    n_shuffles: int
    study: Study | None
    inputs: str
    gene_sets: GeneSets | None = None

    def checkpoint(self, job: Job) -> Path:
        """Return where the job's model is kept."""
        return self.out / "models" / job.model / f"{job.repeat}_{job.fold}.safetensors"

    def record(self, job: Job) -> Path:
        """Return where the job's predictions and curves are kept."""
        return self.checkpoint(job).with_suffix(".json")

    def losses(self, job: Job) -> Path:
        """Return where the job's predictions under loss of genes are kept."""
        return self.checkpoint(job).with_suffix(".loss.npy")

    def hash_of(self, job: Job, fold: Fold) -> str:
        """Return a hash over all that the job's result depends on."""
        training = {k: v for k, v in asdict(self.training).items() if k != "models"}
        specs: list[Any] = [self.classes, self.protocol, self.expression, self.model, training]
        network = NETWORKS.get(job.model)
        specs.append(self.gene_sets if network and network.sees_gene_sets else None)
        chance = [self.n_shuffles, self.study.fingerprint if self.study else None]
        return hash_of([__version__, specs, self.seed, chance, self.inputs, job, fold])


class Bench:
    """The cohort in memory, as a worker holds it while it does jobs."""

    def __init__(self, plan: Plan) -> None:
        """Read nothing yet."""
        self.plan = plan

    @cached_property
    def patients(self) -> Patients:
        """Return the whole cohort; only this module and crossval ever hold test patients."""
        table = read_stage_table(self.plan.out / "cohort.csv", ["patient_id", "label"])
        return self._patients(table, load_expression(self.plan.out / "expression.npz"))

    @cached_property
    def beside(self) -> tuple[Patients, Mapping[str, str]]:
        """Return the patients with one modality, who only ever teach, and the site of each."""
        table = read_one_modality(self.plan.out / "one_modality.csv")
        patients = self._patients(table, load_expression(self.plan.out / "one_modality.npz"))
        return patients, dict(zip(patients.ids, table["site"], strict=True))

    def _patients(self, table: pl.DataFrame, expression: AlignedExpression) -> Patients:
        """Return these patients; who is not among the expression or slides has none."""
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
        )

    @cached_property
    def _bags(self) -> Bags:
        return Bags(self.plan.slides)

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
        table = read_folds(self.plan.out / "folds.csv")
        return {(one.repeat, one.fold): one for one in folds_of(table, self.plan.protocol)}

    @cached_property
    def loss_tables(self) -> LossTables:
        """Return the tables that losses of expression draw on."""
        return read_loss_tables(self.plan.out, self.plan.expression)

    def known(self, fold: Fold) -> Known:
        """Return what losses of expression may know in this fold: nothing of test patients."""
        inner = tuple(patient for part in fold.inner for patient in part)
        train = fold.train if self.plan.protocol.validation_is_test or not inner else inner
        return Known(self.patients.select(sorted(train)), self.loss_tables)

    def recipe(self, job: Job) -> Recipe:
        """Return the settings and the seed of a job."""
        preparing = Preparing(self.plan.expression, self.plan.protocol, self.unit)
        seed = (self.plan.seed, job.repeat, job.fold)
        return Recipe(self.plan.training, self.plan.model, preparing, seed, self.gene_sets)

    def splits(self, fold: Fold) -> list[Split]:
        """Return one split per inner fold, or the leaking one of a protocol that leaks."""
        if self.plan.protocol.validation_is_test or not fold.inner:
            train, validation = fold.train, fold.validation
            everyone = self.patients if self.plan.protocol.preprocessing_on_everyone else None
            return [Split(self.patients.select(train), self.patients.select(validation), everyone)]
        beside = self._teachers(fold)
        inner = np.arange(len(beside)) % len(fold.inner)
        splits = []
        for number, validation in enumerate(fold.inner):
            held = set(validation)
            train = tuple(p for part in fold.inner for p in part if p not in held)
            own = self.patients.select(sorted(train)), self.patients.select(validation)
            if len(beside):
                teachers, out = (
                    beside.take(np.flatnonzero(is_out == (inner == number)))
                    for is_out in (False, True)
                )
                splits.append(Split(together(own[0], teachers), own[1], beside=out))
            else:
                splits.append(Split(*own))
        return splits

    def _teachers(self, fold: Fold) -> Patients:
        """Return who of the patients with one modality may teach in a fold."""
        patients, site_of = self.beside
        if not self.plan.protocol.grouped_by_site or not len(patients):
            return patients
        sites = read_stage_table(self.plan.out / "cohort.csv", ["patient_id", "site"])
        tested = set(sites.filter(pl.col("patient_id").is_in(fold.test))["site"])
        kept = [row for row, one in enumerate(patients.ids) if site_of[one] not in tested]
        return patients.take(np.array(kept, dtype=np.int64))


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
    classifier.fit(bench.splits(fold), bench.recipe(job))
    save_classifier(classifier, plan.checkpoint(job), plan.model)
    test = bench.patients.select(fold.test)
    if plan.study:
        seed, known = (plan.seed, job.repeat, job.fold), bench.known(fold)
        save_losses(plan.losses(job), predict_losses(classifier, test, plan.study, known, seed))
    record = {
        "hash": plan.hash_of(job, fold),
        "patients": list(test.ids),
        "labels": [plan.classes[target] for target in test.targets],
        **_said(classifier, test),
        "stressed": _stressed(classifier, test, plan, job),
        "trust": classifier.trust,
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
