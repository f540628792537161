"""The train stage: every model on every fold, and the tables of their predictions."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosstype.cohort.covariates import COVARIATES
from crosstype.cohort.unlabelled import UNLABELLED, UNLABELLED_EXPRESSION, read_unlabelled
from crosstype.config.run_spec import RunSpec
from crosstype.io import schema
from crosstype.io.files import HashCache, code_version, hash_of
from crosstype.models.catalog import NETWORKS
from crosstype.protocol import Protocol
from crosstype.workflow.cohort import of_genes, unplaced_expression
from crosstype.workflow.stage import Stage

if TYPE_CHECKING:
    from crosstype.crossval.plan import Plan
    from crosstype.robustness.study import RobustnessStudy


PERTURBED = "rna_loss.npz"
NORMAL_LIKE = "normal_like.npz"
READ = (
    "cohort.csv",
    "folds.csv",
    "expression.npz",
    "features.csv",
    "single_modality.csv",
    "single_modality.npz",
    UNLABELLED,
    UNLABELLED_EXPRESSION,
)


class Train(Stage):
    """Cross-validate every model: models/, predictions.csv and its companions."""

    name = "train"
    counts_pieces = True
    modules = (
        "crosstype.crossval.run",
        *(f"crosstype.models.{card.network.split(':')[0]}" for card in NETWORKS.values()),
    )

    def settings(self) -> Any:
        """Return classes, models, training, folds and perturbations of test patients."""
        spec = self.of.spec
        return [
            self.of.classes,
            unplaced_expression(spec.expression),
            replace(spec.models, gene_sets=None),
            spec.training,
            replace(spec.folds, file=None, write=()),  # folds.csv has their content
            self.of.protocol,
            spec.evaluation.n_shuffles,
            _n_perturbations(spec),
        ]

    def inputs(self) -> dict[str, Path]:
        """Return the cohort's files, and those that the user named for training."""
        from crosstype.expression.cache import expression_files

        spec, out = self.of.spec, self.of.out
        inputs = {name: out / name for name in _read(spec)}
        if spec.evaluation.rna_loss:
            inputs[NORMAL_LIKE] = out / NORMAL_LIKE
        other = spec.evaluation.other_expression
        if other is not None:
            inputs |= {f"other_expression: {one.name}": one for one in expression_files(other)}
        if spec.models.gene_sets is not None:
            inputs[f"gene_sets: {spec.models.gene_sets.name}"] = spec.models.gene_sets
        return inputs

    def outputs(self) -> list[str]:
        """Return the tables of predictions; each job keeps its own files."""
        evaluation = self.of.spec.evaluation
        tables = (
            *(schema.SITE_PROBE, schema.UNLABELLED_PREDICTIONS, schema.PREDICTIONS),
            *[schema.STRESSED_PREDICTIONS] * bool(evaluation.n_shuffles),
            *(schema.TRAINING, schema.CALIBRATION),
        )
        lost = [PERTURBED] if _n_perturbations(self.of.spec) else []
        return [*(table.name for table in tables), *lost]

    def run(self) -> Mapping[str, Any]:
        """Run every job that is not done, and write the tables."""
        from crosstype.crossval.prediction_table import write_unlabelled_predictions
        from crosstype.crossval.run import cross_validate, write_perturbed, write_predictions
        from crosstype.crossval.site_probe import probe_sites
        from crosstype.crossval.worker import records_of

        run, out = self.of, self.of.out
        plan, notes = make_plan(run.spec, run.protocol, out, self.hashes)
        jobs = cross_validate(plan, run.n_workers, run.progress)
        for name in (
            schema.STRESSED_PREDICTIONS.name,
            schema.SEARCH.name,
            PERTURBED,
        ):  # of an earlier run
            (out / name).unlink(missing_ok=True)
        records = records_of(plan, jobs)
        write_predictions(plan, records)
        if plan.study:
            write_perturbed(plan, records, out / PERTURBED)
        write_unlabelled_predictions(plan, records, out / schema.UNLABELLED_PREDICTIONS.name)
        schema.SITE_PROBE.write(out, probe_sites(plan))
        return {"jobs": len(jobs), "notes": notes}

    def discard(self) -> None:
        """Remove the fitted models too."""
        super().discard()
        shutil.rmtree(self.of.out / "models", ignore_errors=True)


def _images_alone(out: Path) -> set[str]:
    """Return the single-modality patients with an image and no expression."""
    from crosstype.cohort.single_modality import read_single_modality

    table = read_single_modality(out / "single_modality.csv")
    return {p for p, has in table.select("patient_id", "modality").iter_rows() if has == "image"}


def _study(spec: RunSpec, out: Path, hashes: HashCache, notes: list[str]) -> RobustnessStudy:
    """Return the losses of expression to study; the impossible ones are noted.

    Reads the other assay's table, if one is given, into OUT.
    """
    from crosstype.robustness.perturbations import OTHER, read_perturbation_tables
    from crosstype.robustness.study import make_study

    (out / OTHER).unlink(missing_ok=True)  # of a run that had one
    if spec.evaluation.other_expression is not None:
        notes.append(_write_other_assay(spec, out, hashes, out / OTHER))
    tables = [out / name for name in (NORMAL_LIKE, OTHER) if (out / name).exists()]
    inputs = [[path.name, hashes.sha256_of(path)] for path in tables]
    n_draws = spec.evaluation.n_perturbations
    study = make_study(read_perturbation_tables(out, spec.expression), n_draws, hash_of(inputs))
    notes += study.left_out
    return study


def _write_other_assay(spec: RunSpec, out: Path, hashes: HashCache, path: Path) -> str:
    """Write the cohort's patients as the other assay measured them; return a note."""
    from crosstype.cohort.second_assay import read_other_assay
    from crosstype.expression.cache import ExpressionCache
    from crosstype.expression.matrix import load_expression, save_expression
    from crosstype.io.tables import read_stage_table

    assert spec.evaluation.other_expression is not None
    table = read_stage_table(out / "cohort.csv", ["patient_id", "label"])
    labels = dict(table.select("patient_id", "label").iter_rows())
    cache = ExpressionCache(out / ".stages" / "expression", hashes.sha256_of)
    cohort = load_expression(out / "expression.npz")
    other, note = read_other_assay(
        spec.evaluation.other_expression, of_genes(spec.expression), cohort, labels, cache.read
    )
    save_expression(path, other)
    return f"rna_loss: other assay: {note}"


def _read(spec: RunSpec) -> tuple[str, ...]:
    """Return which stage files are read."""
    return (*READ, *((COVARIATES,) if spec.cohort.covariates else ()))


def _n_perturbations(spec: RunSpec) -> int:
    return spec.evaluation.n_perturbations if spec.evaluation.rna_loss else 0


def make_plan(
    spec: RunSpec, protocol: Protocol, out: Path, hashes: HashCache
) -> tuple[Plan, list[str]]:
    """Return the plan of the training jobs, and notes on the gene sets."""
    from crosstype.crossval.plan import Plan
    from crosstype.expression.genes.sets import read_token_sets
    from crosstype.expression.matrix import load_expression
    from crosstype.features.store import read_feature_rows
    from crosstype.io.tables import read_table
    from crosstype.workflow.features import feature_files

    shown = set(read_table(out / "cohort.csv")["patient_id"]) | _images_alone(out)
    shown |= set(read_unlabelled(out / UNLABELLED))
    usable = {row.slide_id for row in read_feature_rows(out / "features.csv") if not row.fault}
    files = feature_files(spec, out, usable)
    names = [name for name in _read(spec) if name != "folds.csv"]  # each job hashes its own fold
    gene_sets, notes = None, list[str]()
    if spec.models.gene_sets is not None:
        genes = load_expression(out / "expression.npz").genes
        gene_sets, notes = read_token_sets(spec.models.gene_sets, genes, spec.models.least_genes)
    study = _study(spec, out, hashes, notes) if spec.evaluation.rna_loss else None
    plan = Plan(
        out=out,
        classes=tuple(one.name for one in spec.cohort.classes),
        slides={patient: paths for patient, paths in files.items() if patient in shown},
        protocol=protocol,
        expression=unplaced_expression(spec.expression),
        model=replace(spec.models, gene_sets=None),
        training=spec.training,
        seed=spec.folds.seed,
        n_shuffles=spec.evaluation.n_shuffles,
        study=study,
        inputs=hash_of([hashes.sha256_of(out / name) for name in names]),
        gene_sets=gene_sets,
        has_covariates=bool(spec.cohort.covariates),
        code=code_version(*Train.modules),
    )
    return plan, notes
