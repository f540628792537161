"""The cohort in memory, as a worker holds it: patients, folds, splits and recipes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
import polars as pl

from crosstype.cohort.aligned import AlignedExpression, load_expression
from crosstype.cohort.apart import APART, APART_EXPRESSION, read_apart
from crosstype.cohort.covariates import COVARIATES, Covariates, load_covariates
from crosstype.cohort.folds import Fold, folds_of, read_folds
from crosstype.cohort.genesets import MatchedSets
from crosstype.cohort.one_modality import read_one_modality
from crosstype.cohort.unit import Unit
from crosstype.models.baselines import BASELINES
from crosstype.models.catalog import NETWORKS
from crosstype.tables import read_stage_table
from crosstype.terms import Modality
from crosstype.training.bags import Bags, Patients
from crosstype.training.classifiers import Recipe, Split, together
from crosstype.training.loss_tables import Known, LossTables, read_loss_tables
from crosstype.training.plan import Job, Plan
from crosstype.training.preparation import Preparing

TEXT = {"patient_id": pl.String}


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

    @cached_property
    def apart(self) -> Patients:
        """Return the patients without a class, who are predicted and teach nothing."""
        ids = list(read_apart(self.plan.out / APART))
        nobody = pl.Series([self.plan.classes[0]] * len(ids), dtype=pl.String)  # never looked at
        table = pl.DataFrame({"patient_id": ids, "label": nobody}, schema_overrides=TEXT)
        return self._patients(table, load_expression(self.plan.out / APART_EXPRESSION))

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
        seen = self.covariates if _sees_clinical(job.model) else None
        columns = tuple(zip(seen.names, seen.kinds, strict=True)) if seen else ()
        preparing = Preparing(self.plan.expression, self.plan.protocol, self.unit, columns)
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
        # The published notebook trains one network, whoever validates it.
        return splits[:1] if self.plan.protocol.published_training else splits

    def _teachers(self, fold: Fold) -> Patients:
        """Return who of the patients with one modality may teach in a fold."""
        patients, site_of = self.beside
        if not self.plan.protocol.grouped_by_site or not len(patients):
            return patients
        sites = read_stage_table(self.plan.out / "cohort.csv", ["patient_id", "site"])
        tested = set(sites.filter(pl.col("patient_id").is_in(fold.test))["site"])
        kept = [row for row, one in enumerate(patients.ids) if site_of[one] not in tested]
        return patients.take(np.array(kept, dtype=np.int64))


def _sees_clinical(model: str) -> bool:
    """Return whether a model is given covariates at all; the others' files hold nothing of them."""
    if model in BASELINES:
        return BASELINES[model].clinical
    return model in NETWORKS and Modality.CLINICAL in NETWORKS[model].uses
