"""What is fitted of clinical covariates: on training patients, missing ones masked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from crosstype.training.checkpoint import (
    load_classifier,
    make_classifier,
    read_header,
    save_classifier,
)
from crosstype.training.classifier import Split, TrainingRecipe
from crosstype.training.patients import Patients
from crosstype.training.preprocessing import FittedCovariates, fit_covariates

Make = Callable[..., Patients]
Deal = Callable[..., list[Split]]
Cook = Callable[..., TrainingRecipe]

SEEING = ("logistic_clinical", "concat", "cross_attention")
COLUMNS: Any = (("age", "number"), ("er", "category"))
WORDS = np.array([["50", "pos"], ["60", "neg"], ["", "pos"], ["40", ""], ["70", "POS"]])


def fitted() -> FittedCovariates:
    return fit_covariates(WORDS, *zip(*COLUMNS, strict=True))


def test_numbers_are_standardised_as_scikit_learn_does_it() -> None:
    ages = np.array([[50.0], [60.0], [np.nan], [40.0], [70.0]])
    expected = np.nan_to_num(StandardScaler().fit_transform(ages))
    np.testing.assert_allclose(fitted().columns(WORDS)[:, :1], expected, rtol=1e-6)


def test_missing_is_zero_beside_an_indicator_and_masked_for_networks() -> None:
    columns = fitted().columns(WORDS)
    assert columns.shape == (5, 1 + 2 + 2)
    assert columns[:, 3].tolist() == [0, 0, 1, 0, 0]
    assert columns[:, 4].tolist() == [0, 0, 0, 1, 0]
    assert columns[2, 0] == 0
    assert columns[3, 1:3].tolist() == [0, 0]
    masked = fitted().masked(np.array([["", "neg"], ["", ""]]))
    assert np.isnan(masked).tolist() == [[True, False, False, False, False], [True] * 5]


def test_an_unseen_level_or_a_word_among_numbers_counts_as_missing() -> None:
    odd = fitted().columns(np.array([["old", "equivocal"]]))
    np.testing.assert_array_equal(odd, fitted().columns(np.array([["", ""]])))


def test_what_nobody_lacked_or_varied_in_training_stays_silent() -> None:
    constant = fit_covariates(WORDS[[0, 0, 0]], *zip(*COLUMNS, strict=True))
    assert (constant.columns(np.array([["90", "pos"], ["", "neg"]])) == 0).all()
    assert constant.spread == 1.0


def test_they_come_back_from_their_state() -> None:
    again = FittedCovariates.from_state(fitted().state())
    assert again == fitted()


def with_words(patients: Patients, words: list[list[str]]) -> Patients:
    return replace(patients, covariates=np.array(words, dtype=np.str_))


def planted(make_patients: Make, n: int = 24) -> Patients:
    """Return patients without any other signal, whose second covariate is their class."""
    patients = make_patients(n, signal=0.0)
    ages = np.random.default_rng(4).integers(30, 90, n)
    words = [
        [str(age), ("neg", "pos")[target]]
        for age, target in zip(ages.tolist(), patients.targets.tolist(), strict=True)
    ]
    return with_words(patients, words)


def seeing(recipe: TrainingRecipe) -> TrainingRecipe:
    return replace(recipe, preparing=replace(recipe.preparing, covariates=COLUMNS))


@pytest.mark.parametrize("name", SEEING)
def test_a_planted_covariate_is_found_and_lost_when_shuffled(
    name: str, make_patients: Make, make_splits: Deal, make_recipe: Cook
) -> None:
    patients, recipe = planted(make_patients), seeing(make_recipe())
    classifier = make_classifier(name)
    classifier.fit(make_splits(patients, range(16)), recipe)
    test = patients.take(np.arange(16, 24))

    def auroc(shown: Patients) -> float:
        return float(roc_auc_score(test.targets, classifier.predict(shown)[:, 1]))

    turned = test.shuffled_clinical(np.roll(np.arange(8), 1))  # classes alternate
    assert auroc(test) == 1.0
    assert auroc(turned) < 0.5


@pytest.mark.parametrize("name", SEEING)
def test_saved_and_loaded_it_predicts_the_same_also_with_missing_values(
    name: str, make_patients: Make, make_splits: Deal, make_recipe: Cook, tmp_path: Path
) -> None:
    patients, recipe = planted(make_patients), seeing(make_recipe())
    words = patients.covariates.tolist()  # type: ignore[union-attr]
    for row in range(0, 24, 3):
        words[row][row % 2] = ""
    words[3] = words[20] = ["", ""]
    patients = with_words(patients, words)
    classifier = make_classifier(name)
    classifier.fit(make_splits(patients, range(16)), recipe)
    save_classifier(classifier, tmp_path / "model", recipe.model)
    again = load_classifier(tmp_path / "model").predict(patients)
    np.testing.assert_array_equal(again, classifier.predict(patients))
    assert np.isfinite(again).all()


def test_the_networks_residual_depends_on_them(
    make_patients: Make, make_splits: Deal, make_recipe: Cook
) -> None:
    patients = planted(make_patients)
    recipe = seeing(make_recipe(start="zero", max_epochs=20, learning_rate=0.02))
    for name in ("concat", "cross_attention"):
        classifier = make_classifier(name)
        classifier.fit(make_splits(patients, range(16)), recipe)
        test = patients.take(np.arange(16, 24))
        assert roc_auc_score(test.targets, classifier.predict(test)[:, 1]) > 0.9, name


@pytest.mark.parametrize("name", ["image_only", "gene_only", "late", "paper_concat"])
def test_unimodal_models_never_see_them(
    name: str, make_patients: Make, make_splits: Deal, make_recipe: Cook
) -> None:
    patients, recipe = planted(make_patients), make_recipe()
    classifier = make_classifier(name)
    classifier.fit(make_splits(patients), seeing(recipe))
    plain = make_classifier(name)
    plain.fit(make_splits(replace(patients, covariates=None)), recipe)
    np.testing.assert_array_equal(
        classifier.predict(patients), plain.predict(replace(patients, covariates=None))
    )


@pytest.mark.parametrize("name", SEEING)
def test_a_test_patients_covariates_reach_nothing_fitted(
    name: str, make_patients: Make, make_splits: Deal, make_recipe: Cook, tmp_path: Path
) -> None:
    patients, recipe = planted(make_patients), seeing(make_recipe())
    words = patients.covariates.tolist()  # type: ignore[union-attr]
    words[20] = ["1e9", "poison"]
    digests = []
    for number, shown in enumerate((patients, with_words(patients, words))):
        classifier = make_classifier(name)
        classifier.fit(make_splits(shown, range(16)), recipe)
        save_classifier(classifier, tmp_path / str(number), recipe.model)
        digests.append(read_header(tmp_path / str(number))["sha256"])
    assert digests[0] == digests[1]
