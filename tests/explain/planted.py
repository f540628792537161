"""Patients with a known answer: who carries what, in which tiles and which genes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from crosstype.crossval.plan import Job
from crosstype.explain.attention import Attention
from crosstype.explain.attribution import Attributions
from crosstype.explain.contributions import contributions_of
from crosstype.explain.out_of_fold import HeldOut
from crosstype.explain.permutation_importance import permuted
from crosstype.features.formats.open import write_features
from crosstype.models.spec import ModelSpec
from crosstype.training.network_classifier import NetworkClassifier
from crosstype.training.patients import Bags, Patients

N_GENES, N_PLANTED = 200, 10
PLACES = np.arange(7, N_GENES, N_GENES // N_PLANTED)
N_FOLDS = 3
WIDER = ModelSpec(width=32, n_gene_tokens=4, n_heads=2)


@dataclass(frozen=True)
class Planted:
    """Patients, and which of each one's tiles were planted."""

    patients: Patients
    tiles: dict[str, np.ndarray]


def plant(folder: Path, n: int = 72, seed: int = 0) -> Planted:
    """Make patients of whom half are positive: by their genes, by a third of their tiles, or both.

    Ten of 200 genes carry it, at `PLACES`.
    """
    rng = np.random.default_rng(seed)
    targets = np.arange(n, dtype=np.int64) % 2
    kind = np.where(targets == 1, np.arange(n) // 2 % 3, -1)  # 0: image, 1: genes, 2: both
    genes = rng.normal(6.0, 1.0, (n, N_GENES))
    genes[np.ix_(kind >= 1, PLACES)] += 1.6
    paths, planted = {}, {}
    ids = tuple(f"P{row:03d}" for row in range(n))
    for row, patient in enumerate(ids):
        tiles = rng.normal(size=(24, 8)).astype(np.float32)
        planted[patient] = (np.arange(24) % 3 == 0) & (kind[row] in (0, 2))
        tiles[planted[patient], :2] += 3.0
        paths[patient] = (folder / f"{patient}.h5",)
        write_features(paths[patient][0], tiles)
    values = np.exp2(genes).astype(np.float32)
    return Planted(Patients(ids, targets, ("Luminal", "Basal"), values, Bags(paths), ids), planted)


def explained(
    planted: Planted, make_recipe: Callable[..., Any], make_splits: Callable[..., Any], **how: Any
) -> tuple[Attributions, Attention]:
    """Cross-validate cross_attention and explain each patient out of fold; permute every gene."""
    patients = planted.patients
    names = [f"G{number}" for number in range(N_GENES)]
    attributions = Attributions("cross_attention", names, patients)
    attention = Attention("cross_attention")
    for held in held_out(patients, make_recipe, make_splits, how):
        parts = contributions_of(held.classifier, held.patients)
        attributions.add(held, parts)
        attention.add(held, parts.predicted)
        every = np.arange(N_GENES)
        found = permuted(held, parts.predicted, every, 2, np.random.default_rng(0))
        attributions.add_permuted(held, every, found)
    return attributions, attention


def held_out(
    patients: Patients, make_recipe: Any, make_splits: Any, how: dict[str, Any]
) -> Iterator[HeldOut]:
    """Give a fitted model for each of three folds, with its test patients."""
    rows = np.arange(len(patients))
    for fold in range(N_FOLDS):
        test = rows // 2 % N_FOLDS == fold
        classifier = NetworkClassifier("cross_attention")
        recipe = replace(
            make_recipe(**({"max_epochs": 40, "patience": 15, "learning_rate": 0.01} | how)),
            model=WIDER,
        )
        splits = make_splits(patients, rows[~test])
        classifier.fit(splits, recipe)
        yield HeldOut(Job(0, fold, "cross_attention"), classifier, patients.take(rows[test]))


def shuffled(planted: Planted, seed: int) -> Planted:
    """Return the same patients with permuted labels."""
    order = np.random.default_rng(seed).permutation(len(planted.patients))
    targets = planted.patients.targets[order]
    return replace(planted, patients=replace(planted.patients, targets=targets))


def tile_auroc(attention: Attention, planted: Planted, shown: str = "attention") -> float:
    """Return the AUROC of a map for planted tiles: mean over carriers."""
    found = [
        roc_auc_score(planted.tiles[patient], getattr(looked, shown))
        for patient, looked in attention.patients()
        if planted.tiles[patient].any()
    ]
    return float(np.mean(found))


def n_found(attributions: Attributions, n_first: int = 20) -> int:
    """Return how many planted genes are among the first by attribution."""
    return int(np.isin(attributions.order[:n_first], PLACES).sum())
