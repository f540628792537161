"""The contract over everyone who predicts: networks, late fusion and baselines."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from crosstype.models.catalog import ALWAYS_RUN, BASELINE_NAMES, BASELINES, MODEL_NAMES
from crosstype.training import fit as fitting
from crosstype.training.checkpoint import (
    load_classifier,
    make_classifier,
    read_header,
    save_classifier,
)
from crosstype.training.classifier import (
    BaselineClassifier,
    Classifier,
    Split,
    TrainingRecipe,
    training_patients,
)
from crosstype.training.late_fusion import UNIMODAL, LateClassifier
from crosstype.training.network_classifier import NetworkClassifier
from crosstype.training.patients import Patients

EVERYONE = (*MODEL_NAMES, *ALWAYS_RUN)
Make = Callable[..., Patients]
Deal = Callable[..., list[Split]]
Cook = Callable[..., TrainingRecipe]

each_classifier = pytest.mark.parametrize("name", EVERYONE)


def fitted(name: str, splits: list[Split], recipe: TrainingRecipe) -> Classifier:
    classifier = make_classifier(name)
    classifier.fit(splits, recipe)
    return classifier


def fingerprint(classifier: Classifier, recipe: TrainingRecipe, path: Path) -> str:
    """Return the checkpoint's own checksum, which covers every array and setting."""
    save_classifier(classifier, path, recipe.model)
    return str(read_header(path)["sha256"])


def test_the_baselines_are_named_as_evaluation_and_report_know_them() -> None:
    assert (*BASELINES, "site_only") == BASELINE_NAMES


@each_classifier
@pytest.mark.parametrize("n_classes", [2, 3])
def test_fit_predict_save_load(
    name: str,
    n_classes: int,
    tmp_path: Path,
    make_patients: Make,
    make_splits: Deal,
    make_recipe: Cook,
) -> None:
    patients, recipe = make_patients(18, n_classes), make_recipe()
    splits = make_splits(patients, range(12))
    test = patients.take(np.arange(12, 18))
    classifier = fitted(name, splits, recipe)
    said = classifier.predict(test)
    assert said.shape == (6, n_classes)
    assert (said >= 0).all()
    np.testing.assert_allclose(said.sum(axis=1), 1, atol=1e-12)

    first = fingerprint(classifier, recipe, tmp_path / "a")
    loaded = load_classifier(tmp_path / "a")
    assert loaded.name == name
    assert loaded.predict(test).tobytes() == said.tobytes()
    assert fingerprint(loaded, recipe, tmp_path / "b") == first

    again = fingerprint(fitted(name, splits, recipe), recipe, tmp_path / "c")
    assert again == first
    other = make_recipe(seed=1)
    changed = fingerprint(fitted(name, splits, other), other, tmp_path / "d") != first
    assert changed == (name in MODEL_NAMES)


@each_classifier
def test_predictions_do_not_depend_on_the_order_of_patients(
    name: str, make_patients: Make, make_splits: Deal, make_recipe: Cook
) -> None:
    patients = make_patients(18)
    classifier = fitted(name, make_splits(patients, range(12)), make_recipe())
    together = classifier.predict(patients)
    backwards = classifier.predict(patients.take(np.arange(18)[::-1].copy()))
    np.testing.assert_allclose(backwards[::-1], together, atol=1e-5)
    alone = np.concatenate([classifier.predict(patients.take(np.array([i]))) for i in range(18)])
    np.testing.assert_allclose(alone, together, atol=1e-5)


def test_the_same_classifier_gives_the_same_bytes(
    tmp_path: Path, make_patients: Make, make_splits: Deal, make_recipe: Cook
) -> None:
    recipe = make_recipe()
    classifier = fitted("majority", make_splits(make_patients(12)), recipe)
    for number in range(10):
        save_classifier(classifier, tmp_path / str(number), recipe.model)
    assert len({(tmp_path / str(number)).read_bytes() for number in range(10)}) == 1


def test_unknown_names_are_refused() -> None:
    with pytest.raises(KeyError):
        make_classifier("oracle")


def test_there_is_no_place_for_a_test_patient_in_anything_that_fits() -> None:
    kinds = (NetworkClassifier, BaselineClassifier, LateClassifier, Classifier)
    functions: list[Callable[..., object]] = [kind.fit for kind in kinds]
    functions += [one for name, one in vars(fitting).items() if inspect.isfunction(one)]
    names = {name for one in functions for name in inspect.signature(one).parameters}
    names |= {
        name for kind in (Split, TrainingRecipe) for name in inspect.signature(kind).parameters
    }
    assert {"splits", "recipe", "train", "validation"} <= names
    assert not [name for name in names if "test" in name]


def test_late_adopts_parents_and_equals_one_that_fits_its_own(
    tmp_path: Path, make_patients: Make, make_splits: Deal, make_recipe: Cook
) -> None:
    patients, recipe = make_patients(16), make_recipe()
    splits = make_splits(patients)
    parents = []
    for name in UNIMODAL:
        save_classifier(fitted(name, splits, recipe), tmp_path / name, recipe.model)
        parent = load_classifier(tmp_path / name)
        assert isinstance(parent, NetworkClassifier)
        parents.append(parent)
    adopting = LateClassifier()
    adopting.adopt(parents)
    adopting.fit(splits, recipe)
    alone = fitted("late", splits, recipe)
    assert fingerprint(adopting, recipe, tmp_path / "a") == fingerprint(
        alone, recipe, tmp_path / "b"
    )
    assert adopting.predict(patients).tobytes() == alone.predict(patients).tobytes()


def test_training_patients_fit_the_preparation_and_the_base_model(
    make_patients: Make, make_splits: Deal, make_recipe: Cook
) -> None:
    splits = make_splits(make_patients(12))
    honest = training_patients(splits, make_recipe())
    assert sorted(honest.ids) == sorted((*splits[0].train.ids, *splits[0].validation.ids))
    leaking = training_patients(splits, make_recipe("paper"))
    assert leaking.ids == splits[0].train.ids


@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_loss_that_is_no_number_is_one_clear_error(
    n_classes: int, make_patients: Make, make_splits: Deal, make_recipe: Cook
) -> None:
    from crosstype.errors import TrainingError

    patients = make_patients(12, n_classes)
    recipe = make_recipe(start="zero", learning_rate=1e30)
    with pytest.raises(TrainingError, match="learning_rate"):
        fitted("gene_only", make_splits(patients), recipe)
