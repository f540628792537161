"""Nothing may leak from test patients: poison, planted signals and shuffled labels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from crosstype.features.formats.open import write_features
from crosstype.models.catalog import ALWAYS_RUN, MODEL_NAMES
from crosstype.training.checkpoint import make_classifier, read_header
from crosstype.training.classifier import Split, TrainingRecipe
from crosstype.training.patients import Patients

Make = Callable[..., Patients]
Deal = Callable[..., list[Split]]
Cook = Callable[..., TrainingRecipe]

FAIR = [name for name in (*MODEL_NAMES, *ALWAYS_RUN) if name != "majority"]
CHEAP = ["logistic_both", "cross_attention"]


def checksums(out: Path) -> dict[str, str]:
    """Return the checksum over everything fitted, by model and fold."""
    found = {}
    for path in sorted((out / "models").rglob("*.safetensors")):
        found[str(path.relative_to(out))] = read_header(path)["sha256"]
    return found


def poison(folder: Path, patient: str) -> None:
    """Give a patient genes of 1e9 and tiles of 1e6."""
    lines = (folder / "expression.tsv").read_text().splitlines()
    column = lines[0].split("\t").index(patient)
    for row, line in enumerate(lines[1:], start=1):
        cells = line.split("\t")
        cells[column] = "1e9"
        lines[row] = "\t".join(cells)
    (folder / "expression.tsv").write_text("\n".join(lines) + "\n")
    tiles = np.full((4, 6), 1e6, dtype=np.float32)
    write_features(folder / "features" / f"{patient} slide.h5", tiles)


@pytest.mark.parametrize(
    ("protocol", "models"),
    [
        ("strict", MODEL_NAMES),
        ("site", ("late",)),
        ("paper", ("late", "paper_concat")),
        pytest.param("site", MODEL_NAMES, marks=pytest.mark.long),
        pytest.param("paper", MODEL_NAMES, marks=pytest.mark.long),
    ],
)
def test_poison_in_a_test_patient_reaches_nothing_fitted(
    protocol: str, models: tuple[str, ...], tmp_path: Path, tiny: Any
) -> None:
    tiny.change(protocol=protocol, models=models, n_shuffles=0, max_epochs=1)
    tiny.run(tmp_path / "clean", "train")
    before = checksums(tmp_path / "clean")
    assert len(before) == 2 * len((*models, *ALWAYS_RUN))
    folds = (tmp_path / "clean" / "folds.csv").read_text().splitlines()[1:]
    patient = next(line.split(",")[0] for line in folds if ",0,1,test" in line)
    poison(tiny.folder, patient)
    tiny.run(tmp_path / "poisoned", "train")
    after = checksums(tmp_path / "poisoned")
    tested = {name for name in before if name.endswith("_1.safetensors")}
    changed = {name for name in before if before[name] != after[name]}
    if protocol == "paper":
        assert changed & tested  # preprocessing saw everyone, and stopping the test fold
    else:
        assert not changed & tested
    # Where the same patient teaches, the poison must show, or this test would see nothing.
    assert {n for n in before if n not in tested and "majority" not in n} <= changed


def auroc(
    name: str, patients: Patients, test: np.ndarray, deal: Deal, recipe: TrainingRecipe
) -> float:
    classifier = make_classifier(name)
    classifier.fit(deal(patients, np.setdiff1d(np.arange(len(patients)), test)), recipe)
    held = patients.take(test)
    return float(roc_auc_score(held.targets, classifier.predict(held)[:, 1]))


def test_a_planted_gene_is_found_and_named(
    make_patients: Make, make_splits: Deal, make_recipe: Cook, tmp_path: Path
) -> None:
    from crosstype.training.checkpoint import save_classifier

    patients, recipe = make_patients(24, signal=0.0), make_recipe(max_epochs=10)
    genes = patients.genes.copy()
    genes[:, 13] *= np.where(patients.targets == 1, 30, 1)
    patients = patients.with_genes(genes)
    test = np.arange(16, 24)
    for name in ("best_gene", "logistic_genes", "gene_only", "cross_attention"):
        assert auroc(name, patients, test, make_splits, recipe) > 0.9, name
    best = make_classifier("best_gene")
    best.fit(make_splits(patients), recipe)
    save_classifier(best, tmp_path / "best", recipe.model)
    assert load_file(tmp_path / "best")["parameters.columns"].tolist() == [13]


def test_a_planted_tile_feature_is_found(
    make_patients: Make, make_splits: Deal, make_recipe: Cook
) -> None:
    patients = make_patients(24, signal=4.0)
    noise = np.random.default_rng(0).gamma(3.0, 100.0, patients.genes.shape)
    patients = patients.with_genes(noise.astype(np.float32))
    recipe = make_recipe(max_epochs=10)
    for name in ("logistic_image", "image_only", "concat", "cross_attention"):
        assert auroc(name, patients, np.arange(16, 24), make_splits, recipe) > 0.9, name


def shuffled_aurocs(
    name: str, n_shuffles: int, patients: Patients, deal: Deal, cook: Cook
) -> np.ndarray:
    """Return, for each shuffle of the labels, the AUROC averaged over three test folds.

    Averaged over folds, not pooled: with shuffled labels a fold richer in one class in training is
    poorer in it at test, so pooled logits rank below chance.
    """
    found = []
    for shuffle in range(n_shuffles):
        rng = np.random.default_rng([99, shuffle])
        shown = replace(patients, targets=rng.permutation(patients.targets))
        folds = StratifiedKFold(3, shuffle=True, random_state=shuffle)
        recipe = cook(seed=shuffle)
        each = [
            auroc(name, shown, test, deal, recipe)
            for _, test in folds.split(shown.targets, shown.targets)
        ]
        found.append(np.mean(each))
    return np.array(found)


@pytest.mark.parametrize("name", CHEAP)
def test_shuffled_labels_cannot_be_predicted_quick(
    name: str, make_patients: Make, make_splits: Deal, make_recipe: Cook
) -> None:
    # A fold of 4 + 4 patients has AUROCs of standard deviation sqrt(9 / 192) = 0.217 by chance
    # ((n + m + 1) / 12 n m, the Mann-Whitney variance); over 3 folds and 2 shuffles 0.088. The
    # bound is four of these, since folds of a shuffle are related: a smoke test.
    found = shuffled_aurocs(name, 2, make_patients(24), make_splits, make_recipe)
    assert abs(found.mean() - 0.5) < 4 * math.sqrt(9 / 192 / 6)


@pytest.mark.long
@pytest.mark.parametrize("name", FAIR)
def test_shuffled_labels_cannot_be_predicted(
    name: str, make_patients: Make, make_splits: Deal, make_recipe: Cook
) -> None:
    found = shuffled_aurocs(name, 100, make_patients(24), make_splits, make_recipe)
    error = found.std(ddof=1) / math.sqrt(len(found))
    assert abs(found.mean() - 0.5) <= 2 * error
