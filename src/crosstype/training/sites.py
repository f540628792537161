"""What the site alone would say, fold by fold, and whether it can be told from the inputs."""

from __future__ import annotations

import polars as pl

from crosstype.cohort.folds import Fold, folds_of, read_folds
from crosstype.cohort.protocol import protocol_named
from crosstype.cohort.site_only import SITE_ONLY, site_only_probabilities
from crosstype.tables import read_stage_table
from crosstype.training.bench import Bench
from crosstype.training.plan import Job, Plan
from crosstype.training.prediction_rows import prediction_rows
from crosstype.training.preparation import Preparing
from crosstype.training.site_probe import site_probe


def site_only_rows(plan: Plan) -> list[pl.DataFrame]:
    """Return `site_only`'s predictions of every fold; nothing where there is one site or none."""
    table = read_stage_table(plan.out / "cohort.csv", ["patient_id", "label", "site"])
    site_of = dict(table.select("patient_id", "site").iter_rows())
    if len(set(site_of.values())) < 2:
        return []
    label_of = dict(table.select("patient_id", "label").iter_rows())
    folds = folds_of(read_folds(plan.out / "folds.csv"), plan.protocol)
    return [_rows(plan, fold, label_of, site_of) for fold in folds]


def probe_sites(plan: Plan) -> pl.DataFrame:
    """Return how well the cohort's sites are told from features and expression."""
    bench = Bench(plan)
    sites = read_stage_table(plan.out / "cohort.csv", ["patient_id", "site"])["site"].to_list()
    preparing = Preparing(plan.expression, protocol_named("strict"), bench.unit)
    return site_probe(bench.patients, sites, preparing, plan.seed)


def _rows(
    plan: Plan, fold: Fold, label_of: dict[str, str], site_of: dict[str, str]
) -> pl.DataFrame:
    leaks = plan.protocol.validation_is_test
    train = fold.train if leaks else (*fold.train, *fold.validation)
    test = sorted(fold.test)
    said = site_only_probabilities(train, test, label_of, site_of, plan.classes)
    job = Job(fold.repeat, fold.fold, SITE_ONLY)
    known = (test, [label_of[patient] for patient in test])
    return prediction_rows(job, known, (said.argmax(axis=1), said), plan.classes)
