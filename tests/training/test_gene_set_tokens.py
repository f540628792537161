"""Gene-set tokens through a whole fit: they follow each fold's genes and live in the checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crosstype.errors import TrainingError
from crosstype.expression.genes.sets import GeneSets
from crosstype.training.checkpoint import (
    load_classifier,
    make_classifier,
    read_header,
    save_classifier,
)
from crosstype.training.classifier import Split, TrainingRecipe
from crosstype.training.network_classifier import NetworkClassifier
from crosstype.training.patients import Patients

GENES = tuple(f"GENE{i}" for i in range(20))
SETS = GeneSets("s.gmt", ("FIRST", "SECOND", "THIRD"), (GENES[:8], GENES[6:14], GENES[16:19]))


@pytest.fixture
def recipe(make_recipe: Callable[..., TrainingRecipe]) -> TrainingRecipe:
    made = make_recipe()
    model = replace(made.model, least_genes=3)
    return replace(made, model=model, gene_sets=SETS.matched(GENES, 3))


def fitted(name: str, splits: list[Split], recipe: TrainingRecipe) -> NetworkClassifier:
    classifier = make_classifier(name)
    assert isinstance(classifier, NetworkClassifier)
    classifier.fit(splits, recipe)
    return classifier


def with_n_genes(recipe: TrainingRecipe, n_genes: int, **model: int) -> TrainingRecipe:
    expression = replace(recipe.preparing.expression, n_genes=n_genes)
    preparing = replace(recipe.preparing, expression=expression)
    return replace(recipe, preparing=preparing, model=replace(recipe.model, **model))


def test_saved_and_loaded_it_predicts_the_same_and_names_its_tokens(
    make_patients: Callable[..., Patients],
    make_splits: Callable[..., list[Split]],
    recipe: TrainingRecipe,
    tmp_path: Path,
) -> None:
    patients = make_patients(12)
    classifier = fitted("cross_attention", make_splits(patients), recipe)
    path = tmp_path / "model.safetensors"
    save_classifier(classifier, path, recipe.model)
    again = load_classifier(path)
    np.testing.assert_array_equal(again.predict(patients), classifier.predict(patients))
    assert read_header(path)["about"]["settings"]["gene_sets"] == ["FIRST", "SECOND", "THIRD"]
    assert isinstance(again, NetworkClassifier)
    assert again.set_names == SETS.names
    save_classifier(again, tmp_path / "again.safetensors", recipe.model)
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_membership_follows_the_genes_that_a_fold_keeps(
    make_patients: Callable[..., Patients],
    make_splits: Callable[..., list[Split]],
    recipe: TrainingRecipe,
) -> None:
    splits = make_splits(make_patients(12))
    chosen = fitted("cross_attention", splits, with_n_genes(recipe, 12, least_genes=2))
    kept = np.asarray(chosen.preparation.expression[:-2].get_feature_names_out(GENES))
    assert len(kept) == 12
    assert chosen.membership is not None
    assert chosen.membership.shape == (len(chosen.set_names), 12)
    for name, row in zip(chosen.set_names, chosen.membership, strict=True):
        assert set(kept[row]) == set(kept) & set(SETS.genes[SETS.names.index(name)])


def test_zero_genes_that_a_fold_drops_leave_their_sets(
    make_patients: Callable[..., Patients],
    make_splits: Callable[..., list[Split]],
    recipe: TrainingRecipe,
) -> None:
    patients = make_patients(12)
    genes = patients.genes.copy()
    genes[3, 16:18] = 0
    expression = replace(recipe.preparing.expression, drop_zero_genes=True)
    preparing = replace(recipe.preparing, expression=expression)
    splits = make_splits(patients.with_genes(genes))
    chosen = fitted("cross_attention", splits, replace(recipe, preparing=preparing))
    assert chosen.set_names == ("FIRST", "SECOND")
    assert chosen.membership is not None
    assert chosen.membership.shape == (2, 18)
    assert chosen.membership.sum(axis=1).tolist() == [8, 8]


def test_too_few_sets_after_a_folds_choice_are_refused(
    make_patients: Callable[..., Patients],
    make_splits: Callable[..., list[Split]],
    recipe: TrainingRecipe,
) -> None:
    with pytest.raises(TrainingError, match=r"0 of 3 gene sets keep at least 3 of the 2 genes"):
        fitted("cross_attention", make_splits(make_patients(12)), with_n_genes(recipe, 2))


@pytest.mark.parametrize("name", ["gene_only", "concat", "paper_cross_attention"])
def test_other_networks_are_the_same_with_and_without_gene_sets(
    name: str,
    make_patients: Callable[..., Patients],
    make_splits: Callable[..., list[Split]],
    recipe: TrainingRecipe,
    tmp_path: Path,
) -> None:
    splits = make_splits(make_patients(12))
    files = []
    for one in (recipe, replace(recipe, gene_sets=None)):
        save_classifier(fitted(name, splits, one), tmp_path / "x.safetensors", one.model)
        files.append((tmp_path / "x.safetensors").read_bytes())
    assert files[0] == files[1]
