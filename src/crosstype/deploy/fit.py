"""`fit`: fit one model on all patients of a cohort and save it as one file for prediction."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosstype.config.run_spec import RunSpec
from crosstype.errors import ConfigError
from crosstype.io import schema
from crosstype.io.files import write_text
from crosstype.models.catalog import FITTED_BASELINES
from crosstype.workflow.ledger import Ledger
from crosstype.workflow.pipeline import run
from crosstype.workflow.stage import Run
from crosstype.workflow.train import make_plan

if TYPE_CHECKING:
    from crosstype.crossval.plan import Job
    from crosstype.crossval.worker import WorkerData
    from crosstype.deploy.fitted_model import Artefact, TrainingSummary
    from crosstype.expression.harmonize import GeneInput
    from crosstype.features.tile_kind import FeatureInput
    from crosstype.folds.folds import Fold


EXTRACTION = ("slides", "tissue", "tiles", "stain", "features")


def fitted_model(spec: RunSpec) -> str:
    """Return the name of the model to fit.

    Raises:
        ConfigError: the config does not name exactly one, or has settings that `fit` excludes.
    """
    if spec.folds.protocol == "paper":
        raise ConfigError(
            "[folds] protocol: found 'paper', under which early stopping uses test patients; "
            "expected 'strict' or 'site' for `crosstype fit`."
        )
    if spec.cohort.covariates:
        raise ConfigError(
            f"[cohort] covariates: found {spec.cohort.covariates[0]!r}; a fitted model takes "
            "slides and expression only. Leave covariates out for `crosstype fit`."
        )
    if spec.fit.model is not None:
        return spec.fit.model
    models = tuple(dict.fromkeys(spec.training.models))
    if len(models) != 1:
        raise ConfigError(
            f"[fit] model is not set, and [training] models names {len(models)} "
            f"({', '.join(models) or 'none'}). Name one in [fit], for example model = "
            f"{(models or FITTED_BASELINES)[0]!r}."
        )
    return models[0]


def fit_artefact(one: Run, path: Path) -> Artefact:
    """Fit the config's model on all patients; write the artefact and its model card.

    The stages features and cohort run as in `crosstype run`, in OUT, and are reused. All patients
    are assigned to inner folds, by site under protocol site, else by class.

    Args:
        one: the config and the folder of the stages.
        path: the artefact; the card is `<path>.md`.

    Raises:
        CrosstypeError: as the stages; see `fitted_model`.
    """
    name = fitted_model(one.spec)
    records = run(one, "cohort")
    from crosstype.crossval.run import one_thread
    from crosstype.deploy.fitted_model import model_card, save_artefact

    with one_thread():
        artefact = _fitted(one, name, records)
    save_artefact(artefact, path)
    write_text(path.with_name(f"{path.name}.md"), model_card(artefact, path))
    return artefact


def _fitted(one: Run, name: str, records: dict[str, dict[str, Any]]) -> Artefact:
    from crosstype.crossval.plan import Job
    from crosstype.crossval.worker import WorkerData
    from crosstype.deploy.fitted_model import Artefact, uses_of
    from crosstype.models.catalog import NETWORKS
    from crosstype.training.checkpoint import make_classifier
    from crosstype.training.search import searched
    from crosstype.types import Modality

    spec, out = one.spec, one.out
    no_studies = replace(spec.evaluation, rna_loss=False, other_expression=None, n_shuffles=0)
    spec_of_fit = replace(spec, evaluation=no_studies)
    plan, notes = make_plan(spec_of_fit, one.protocol, out, Ledger(out).hashes)
    worker_data, job = WorkerData(plan), Job(0, spec.folds.n_folds, name)
    one.progress.start("fit", 1)
    fold = _everyone(job, one)
    splits, recipe = worker_data.splits(fold), worker_data.recipe(job)
    for note in notes:
        one.progress.message(note)
    if plan.training.search_minutes and name in NETWORKS:
        recipe = searched(name, splits, recipe, plan.journal(job, fold))
    classifier = make_classifier(name)
    classifier.fit(splits, recipe)
    one.progress.step(f"{name} on {len(worker_data.patients)} patients")
    uses = uses_of(name)
    return Artefact(
        classifier=classifier,
        model=recipe.model,
        classes=one.classes,
        genes=_gene_input(one) if Modality.GENES in uses else None,
        features=_feature_input(worker_data, one) if Modality.IMAGE in uses else None,
        extraction=_extraction(spec) if Modality.IMAGE in uses else None,
        training=_training_summary(worker_data, one, records["cohort"]),
    )


def _everyone(job: Job, one: Run) -> Fold:
    """Return a fold without test patients: all patients, assigned to inner folds."""
    import numpy as np

    from crosstype.folds.assign import CohortPatients, assign_inner, check_sites
    from crosstype.folds.folds import Fold

    table = schema.COHORT.read(one.out)
    people = CohortPatients.sorted(
        *(table[name].to_list() for name in ("patient_id", "label", "site"))
    )
    by_site = one.protocol.grouped_by_site
    if by_site:
        check_sites(people, 1)
    everyone = np.arange(len(people.ids))
    key = (job.repeat, job.fold)
    numbers, why = assign_inner(people, everyone, one.spec.folds, key, by_site=by_site)
    if why:
        one.progress.message(f"inner folds are assigned by class, not by site: {why}")
    inner = tuple(
        tuple(people.ids[i] for i in np.flatnonzero(numbers == number))
        for number in range(one.spec.folds.n_inner_folds)
    )
    train = tuple(patient for part in inner[1:] for patient in part)
    return Fold(*key, train=train, validation=inner[0], test=(), inner=inner)


def _gene_input(one: Run) -> GeneInput:
    """Return the model's expression input, from the table as the cohort stage read it."""
    from crosstype.expression.cache import ExpressionCache
    from crosstype.expression.genes.selection import exclude_genes
    from crosstype.expression.genes.sets import read_gene_sets
    from crosstype.expression.harmonize import gene_input_of
    from crosstype.expression.matrix import AlignedExpression, load_expression
    from crosstype.workflow.cohort import of_genes

    spec, path = one.spec.expression, one.spec.cohort.expression
    assert path is not None
    cache = ExpressionCache(one.out / ".stages" / "expression", Ledger(one.out).hashes.sha256_of)
    found = cache.read(path, of_genes(spec), ())
    if spec.representation != "spectrum" or spec.gene_sets is None:
        return gene_input_of(found, load_expression(one.out / "expression.npz").genes, spec)
    first = AlignedExpression(found.values[:1], found.sample_ids[:1], found.genes, found.unit)
    genes = exclude_genes(first, spec)[0].genes
    matched = read_gene_sets(spec.gene_sets).matched(genes, spec.least_genes)
    members = tuple(
        tuple(gene for gene, inside in zip(genes, row, strict=True) if inside)
        for row in matched.membership
    )
    return gene_input_of(found, genes, spec, (matched.names, members))


def _feature_input(worker_data: WorkerData, one: Run) -> FeatureInput:
    """Return the model's feature input, from the metadata of the feature files."""
    from crosstype.features.compatibility import feature_input_of
    from crosstype.features.store import read_feature_rows

    rows = [row for row in read_feature_rows(one.out / "features.csv") if not row.fault]
    paths = [path for _, some in sorted(worker_data.plan.slides.items()) for path in some]
    encoder = next((row.encoder for row in rows if row.encoder), "")
    return feature_input_of(encoder, rows[0].n_features, paths)


def _extraction(spec: RunSpec) -> dict[str, Any] | None:
    """Return the settings of feature extraction; None if features were extracted elsewhere."""
    if spec.slides.folder is None:
        return None
    found = {name: asdict(getattr(spec, name)) for name in EXTRACTION}
    local = {"slides": ("folder",), "features": ("folder", "weights", "n_readers")}
    for section, keys in local.items():
        found[section] = {k: v for k, v in found[section].items() if k not in keys}
    return found


def _training_summary(worker_data: WorkerData, one: Run, record: dict[str, Any]) -> TrainingSummary:
    """Return the summary of the training cohort."""
    from crosstype.deploy.fitted_model import training_summary

    table = schema.COHORT.read(one.out)
    beside, site_of = worker_data.single_modality
    sites = dict(table.select("patient_id", "site").iter_rows()) | dict(site_of)
    synthetic = one.spec.cohort.synthetic
    about = {
        "provenance": "made up with the patients" if synthetic else record["notes"]["provenance"],
        "synthetic": synthetic,
        "protocol": one.protocol.name,
        "seed": one.spec.folds.seed,
        "inputs": record["inputs"],
    }
    return training_summary([worker_data.patients, beside], sites, about)
