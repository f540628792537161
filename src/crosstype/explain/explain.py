"""Explains the models of a finished training: tables and pictures in OUT/explanation."""

import shutil
from collections.abc import Sequence
from typing import Any

import numpy as np

from crosstype.crossval.run import one_thread
from crosstype.crossval.worker import WorkerData
from crosstype.explain.attention import Attention
from crosstype.explain.attribution import Attributions
from crosstype.explain.contributions import contributions_of, predicted_logits
from crosstype.explain.maps import Pictures, Subject
from crosstype.explain.out_of_fold import HeldOut, fitted_models
from crosstype.explain.permutation_importance import permuted
from crosstype.explain.spec import ExplanationSpec
from crosstype.explain.tables import ModelExplanation, write_tables
from crosstype.explain.tile_locations import TileLocations
from crosstype.expression.matrix import load_expression
from crosstype.io.schema import DRAWN
from crosstype.progress import Progress

N_FIRST = 20
"""Genes of highest rank that are always permuted, before the evenly spaced ones."""


@one_thread()
def explain(
    worker_data: WorkerData,
    models: Sequence[str],
    places: TileLocations,
    pictures: Pictures,
    progress: Progress,
) -> dict[str, Any]:
    """Explain every model and write OUT/explanation anew; return notes.

    Raises:
        TrainingError: a model has no networks, or a test patient is also a training patient.
        CheckpointError: a model file is damaged.
    """
    spec = pictures.spec
    progress.start("explain", 2 * len(models) * len(worker_data.folds) + 1)
    shutil.rmtree(pictures.folder, ignore_errors=True)
    pictures.folder.mkdir(parents=True)
    done = []
    for model in models:
        done.append(_explain_model(worker_data, model, spec, progress))
        _draw(done[-1], places, pictures)
    write_tables(done, worker_data.gene_sets, places, (pictures.folder, spec.n_tiles_shown))
    DRAWN.write(pictures.folder, pictures.finish())
    notes = [line for one in done for line in attribution_notes(one.attributions)]
    for faults, words in ((pictures.faults, "cannot be shown"), (places.faults, "has no places")):
        if faults:
            first = min(faults)
            notes.append(
                f"{len(faults)} slides, whose tissue {words}, first {first}: {faults[first]}"
            )
    progress.step(f"{len(pictures.drawn)} pictures")
    for line in notes:
        progress.message(line)
    return {"models": list(models), "notes": notes, "n_pictures": len(pictures.drawn)}


def attribution_notes(one: Attributions) -> list[str]:
    """Return notes on a model's attributions: completeness, and agreement with permutation."""
    lines = [
        f"{one.model}: each logit is the sum of its contributions, to within {one.gap:.1g}; "
        f"mean residual weight {one.residual_weight:.2f}"
    ]
    if one.has_genes:
        first = ", ".join(one.genes[place] for place in one.order[:5])
        agreed = one.agreement()
        lines.append(
            f"{one.model}: genes of highest attribution: {first}; rank correlation with what "
            f"permuting a gene changes of logits {agreed['change']:.2f}, of log loss "
            f"{agreed['loss']:.2f}"
        )
    return lines


def _explain_model(
    worker_data: WorkerData, model: str, spec: ExplanationSpec, progress: Progress
) -> ModelExplanation:
    """Process a model's folds twice: for contributions to logits, then to permute genes."""
    genes = load_expression(worker_data.plan.out / "expression.npz").genes
    attributions, attention = Attributions(model, genes, worker_data.patients), Attention(model)
    for held in fitted_models(worker_data, model):
        parts = contributions_of(held.classifier, held.patients)
        attributions.add(held, parts)
        attention.add(held, parts.predicted)
        progress.step(f"{model} repeat {held.job.repeat + 1} fold {held.job.fold + 1}")
    for held in fitted_models(worker_data, model):
        if attributions.has_genes and spec.n_permutations:
            _permute(held, attributions, spec, worker_data.plan.seed)
        progress.step(f"{model} permuted, repeat {held.job.repeat + 1} fold {held.job.fold + 1}")
    return ModelExplanation(attributions, attention)


def _permute(held: HeldOut, attributions: Attributions, spec: ExplanationSpec, seed: int) -> None:
    """Permute the genes of one fold: all if the residual weight is 0 everywhere, else some."""
    kept = np.flatnonzero(held.classifier.preparation.kept)
    chosen = np.arange(len(kept))
    if attributions.residual_weight > 0:
        some = spread_over_ranks(attributions.order, spec.n_permuted_genes)
        chosen = np.flatnonzero(np.isin(kept, some))
    rng = np.random.default_rng([seed, held.job.repeat, held.job.fold])
    predicted = predicted_logits(held.classifier, held.patients)
    found = permuted(held, predicted, chosen, spec.n_permutations, rng)
    attributions.add_permuted(held, chosen, found)


def spread_over_ranks(order: np.ndarray, n: int) -> np.ndarray:
    """Return places of so many genes: the first of the ranking, then others evenly over it."""
    first = min(N_FIRST, n, len(order))
    rest = np.linspace(first, len(order) - 1, max(0, min(n, len(order)) - first))
    ranks = np.unique(np.concatenate([np.arange(first), rest.round().astype(np.int64)]))
    found: np.ndarray = order[ranks]
    return found


def _draw(one: ModelExplanation, places: TileLocations, pictures: Pictures) -> None:
    """Draw the patients whose predictions are most certain, until enough slides are drawn."""
    ids, logits = one.attributions.ids, one.attributions.logits
    looked = dict(one.attention.patients())
    left = pictures.spec.n_maps
    for row in np.argsort(-np.abs(logits), kind="stable").tolist():
        if left <= 0:
            return
        if ids[row] not in looked:
            continue
        slides = places.of(ids[row])
        who = Subject(one.attributions.model, ids[row], one.attributions.residual_weight)
        pictures.draw(who, looked[ids[row]], slides[:left])
        left -= max(1, sum(slide.tile_xy_px is not None for slide in slides))
