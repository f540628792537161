"""Corrupted and missing modalities: perturbed inputs and predictions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from crosstype.training.checkpoint import load_classifier, make_classifier, save_classifier
from crosstype.training.classifier import Split, concatenate
from crosstype.training.missingness import MissingnessPattern, corrupted, pattern_of, patterns_of
from crosstype.training.network_classifier import corrupt_training, trained_patterns
from crosstype.types import Modality

BOTH = frozenset(Modality)


@pytest.mark.parametrize("pattern", [MissingnessPattern.THIN, MissingnessPattern.BARE])
@pytest.mark.parametrize("unit", ["linear", "log", "zscore"])
def test_damage_loses_genes_and_noises_the_rest(
    make_patients: Any, pattern: MissingnessPattern, unit: Any
) -> None:
    patients = make_patients(40, n_genes=2000)
    found = corrupted(patients, pattern, unit, np.random.default_rng(0))
    share = (~np.isnan(found.genes)).mean(axis=1)
    low, high = {MissingnessPattern.THIN: (0.009, 0.32), MissingnessPattern.BARE: (0, 0.0101)}[
        pattern
    ]
    assert share.min() >= low
    assert share.max() <= high
    assert (share == 0).any() == (pattern is MissingnessPattern.BARE)
    kept = ~np.isnan(found.genes)
    assert (found.genes[kept] != patients.genes[kept]).mean() > 0.9
    if unit != "zscore":
        assert found.genes[kept].min() >= 0
    assert found.bag_of == patients.bag_of


def test_regimes_are_recognised_from_what_was_measured(make_patients: Any) -> None:
    patients = replace(make_patients(4), bag_of=("P000", "P001", "P002", None))
    measured = np.array([1.0, 0.1, 0.001, 1.0])
    found = pattern_of(patients, measured, patterns_of(BOTH))
    assert found.tolist() == [
        MissingnessPattern.WHOLE,
        MissingnessPattern.THIN,
        MissingnessPattern.BARE,
        MissingnessPattern.NO_IMAGE,
    ]
    assert set(pattern_of(patients, measured, (MissingnessPattern.WHOLE,))) == {
        MissingnessPattern.WHOLE
    }


def test_damage_is_the_same_for_all_models_and_starts_are_honest(
    make_patients: Any, make_recipe: Any, make_splits: Any
) -> None:
    patients = make_patients(24)
    recipe, splits = make_recipe(), make_splits(patients)
    preparation = recipe.preparing.fit(patients)
    patterns = trained_patterns(BOTH, recipe)
    one, other = (corrupt_training(splits, preparation, None, patterns, recipe) for _ in range(2))
    for pattern in patterns:
        np.testing.assert_array_equal(one.of[pattern].genes, other.of[pattern].genes)
    for number, split in enumerate(splits):
        assert one.training(number)[0].patients.ids == split.train.ids
        assert one.held_out(number)[0].patients.ids == split.validation.ids
    assert trained_patterns(BOTH, make_recipe(corruption=0.0)) == (MissingnessPattern.WHOLE,)


@pytest.mark.parametrize("start", ["linear", "zero"])
@pytest.mark.parametrize("name", ["concat", "cross_attention", "late"])
def test_one_artefact_predicts_from_either_modality_or_both(
    make_patients: Any, make_recipe: Any, make_splits: Any, tmp_path: Any, name: str, start: str
) -> None:
    """The signal stands in both modalities, so each alone must still find it."""
    patients = make_patients(60, signal=3.0)
    recipe = make_recipe(start=start, max_epochs=40, patience=40, learning_rate=0.01)
    classifier = make_classifier(name)
    classifier.fit(make_splits(patients), recipe)
    save_classifier(classifier, tmp_path / "model.safetensors", recipe.model)
    again = load_classifier(tmp_path / "model.safetensors")
    test = make_patients(60, signal=3.0, seed=1)
    no_genes = test.with_genes(np.full_like(test.genes, np.nan))
    for given in (test, test.without_images(), no_genes, no_genes.without_images()):
        said = classifier.predict(given)
        assert np.isfinite(said).all()
        np.testing.assert_allclose(said.sum(axis=1), 1)
        np.testing.assert_allclose(again.predict(given), said, atol=1e-6)
    for given in (test, test.without_images(), no_genes):
        assert roc_auc_score(given.targets, classifier.predict(given)[:, 1]) > 0.7
    nothing = classifier.predict(no_genes.without_images())
    np.testing.assert_allclose(nothing, np.tile(nothing[:1], (60, 1)), atol=1e-6)


def test_without_an_image_fusion_predicts_as_genes_alone(
    make_patients: Any, make_recipe: Any, make_splits: Any
) -> None:
    patients = make_patients(40)
    fitted = {}
    for name in ("gene_only", "cross_attention"):
        fitted[name] = make_classifier(name)
        fitted[name].fit(make_splits(patients), make_recipe(corruption=0.0))
    blind = patients.without_images()
    lines = [one.base_model.logits(blind, one.preparation) for one in fitted.values()]
    np.testing.assert_allclose(lines[0], lines[1], atol=1e-9)


@pytest.mark.parametrize("name", ["image_only", "gene_only", "late", "cross_attention"])
def test_single_modality_patients_are_training_patients(
    make_patients: Any, make_recipe: Any, make_splits: Any, name: str
) -> None:
    everyone = make_patients(60, signal=1.0)
    whole, rest = everyone.take(np.arange(30)), everyone.take(np.arange(30, 60))
    genes = rest.genes.copy()
    genes[::2] = np.nan
    shown = tuple(one if row % 2 == 0 else None for row, one in enumerate(rest.bag_of))
    rest = replace(rest, genes=genes, bag_of=shown)
    splits = [
        Split(
            concatenate(one.train, rest.take(np.arange(len(rest))[np.arange(30) % 2 != number])),
            one.validation,
            single_modality=rest.take(np.arange(len(rest))[np.arange(30) % 2 == number]),
        )
        for number, one in enumerate(make_splits(whole))
    ]
    alone, more = make_classifier(name), make_classifier(name)
    alone.fit(make_splits(whole), make_recipe())
    more.fit(splits, make_recipe())
    test = make_patients(40, signal=1.0, seed=2)
    assert np.isfinite(more.predict(test)).all()
    assert not np.allclose(more.predict(test), alone.predict(test), atol=1e-4)


@pytest.mark.parametrize("name", ["logistic_genes", "logistic_image", "logistic_both"])
def test_baselines_learn_only_from_who_has_what_they_see(
    make_patients: Any, make_recipe: Any, make_splits: Any, name: str
) -> None:
    patients = make_patients(40)
    splits = make_splits(patients)
    nobody = replace(
        patients.take(np.arange(6)),
        ids=tuple(f"X{i}" for i in range(6)),
        genes=np.full((6, patients.genes.shape[1]), np.nan, dtype=np.float32),
        bag_of=(None,) * 6,
    )
    beside = [Split(concatenate(one.train, nobody), one.validation) for one in splits]
    plain, other = make_classifier(name), make_classifier(name)
    plain.fit(splits, make_recipe())
    other.fit(beside, make_recipe())
    np.testing.assert_allclose(plain.predict(patients), other.predict(patients), atol=1e-6)
