"""Hyperparameter search on inner folds: nested, with a time budget, resumable.

Each model of each outer fold has its own search (Optuna, Akiba et al. 2019, arXiv 1907.10902): a
trial fits the model on the inner splits, and its objective is the loss of the inner validation
patients under networks that were not trained on them. Test patients are not used, so the outer
fold evaluates the whole procedure, search included. Trials are stored in a journal beside the
checkpoint; an interrupted search resumes from it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crosstype.errors import TrainingError
from crosstype.training.classifier import Split, TrainingRecipe
from crosstype.training.fit import make_loss
from crosstype.training.missingness import MissingnessPattern
from crosstype.training.network_classifier import NetworkClassifier

MODEL_SPACE: dict[str, tuple[Any, ...]] = {
    "width": (32, 64, 128),
    "n_blocks": (1, 2),
    "dropout": (0.1, 0.25, 0.5),
    "gene_dropout": (0.0, 0.3, 0.6),
    "tile_dropout": (0.0, 0.3, 0.6),
}
TRAINING_SPACE: dict[str, tuple[Any, ...]] = {
    "learning_rate": (1e-4, 3e-4, 1e-3, 3e-3),
    "weight_decay": (0.005, 0.05, 0.5),
    "batch_size": (16, 32, 64),
}
"""Search space; the values of the config are always the first trial."""


def searched(
    name: str, splits: Sequence[Split], recipe: TrainingRecipe, journal: Path
) -> TrainingRecipe:
    """Return the recipe with the settings of lowest loss on the inner folds.

    Stops after `search_minutes` or with `search_trials` trials, those of the journal included. With
    enough minutes the same seed gives the same trials.

    Args:
        name: of a network.
        splits: inner splits of the training patients.
        recipe: settings of the config, the first trial.
        journal: file to which each finished trial is appended.

    Raises:
        TrainingError: no trial ended in time with a finite loss.
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal.parent.mkdir(parents=True, exist_ok=True)
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(journal)))
    seed = int(recipe.seeds(name, -1 % 2**32).generate_state(1)[0])
    study = optuna.create_study(
        storage=storage,
        sampler=optuna.samplers.TPESampler(seed=seed),
        study_name=name,
        load_if_exists=True,
    )
    if not study.trials:
        study.enqueue_trial(own_values(recipe))
    left = recipe.training.search_trials - len(_finished(study))
    if left > 0:
        study.optimize(
            _objective(name, splits, recipe),
            n_trials=left,
            timeout=60 * recipe.training.search_minutes,
            catch=(TrainingError,),
        )
    if not _finished(study):
        raise TrainingError(
            f"{name}: no trial of the search ended in {recipe.training.search_minutes:g} minutes "
            "with a finite loss. Raise [training] search_minutes, or set it to 0."
        )
    return _with(recipe, study.best_params)


def _objective(
    name: str, splits: Sequence[Split], recipe: TrainingRecipe
) -> Callable[[Any], float]:
    def loss_of(trial: Any) -> float:
        space = _space(recipe)
        values = {key: trial.suggest_categorical(key, list(v)) for key, v in space.items()}
        return inner_loss(name, splits, _with(recipe, values))

    return loss_of


def inner_loss(name: str, splits: Sequence[Split], recipe: TrainingRecipe) -> float:
    """Return the class-weighted cross-fitted loss of the inner validation patients."""
    classifier = NetworkClassifier(name)
    classifier.fit(splits, recipe)
    targets = torch.from_numpy(np.concatenate([one.validation.targets for one in splits]))
    loss = make_loss(targets, len(splits[0].train.classes), recipe.training)
    return float(loss(classifier.inner_logits[MissingnessPattern.WHOLE], targets))


def _space(recipe: TrainingRecipe) -> dict[str, tuple[Any, ...]]:
    """Return the candidate values of each setting: the config's, then the search space."""
    own = own_values(recipe)
    space = MODEL_SPACE | TRAINING_SPACE
    space["width"] = tuple(one for one in space["width"] if one % recipe.model.n_heads == 0)
    return {key: tuple(dict.fromkeys((own[key], *values))) for key, values in space.items()}


def own_values(recipe: TrainingRecipe) -> dict[str, Any]:
    """Return a recipe's values of all settings in the search space."""
    return {key: getattr(recipe.model, key) for key in MODEL_SPACE} | {
        key: getattr(recipe.training, key) for key in TRAINING_SPACE
    }


def _with(recipe: TrainingRecipe, values: dict[str, Any]) -> TrainingRecipe:
    """Return the recipe with these settings."""
    model = {key: value for key, value in values.items() if key in MODEL_SPACE}
    training = {key: value for key, value in values.items() if key in TRAINING_SPACE}
    return replace(
        recipe,
        model=replace(recipe.model, **model),
        training=replace(recipe.training, **training),
    )


def _finished(study: Any) -> list[Any]:
    return [one for one in study.trials if one.state.is_finished() and one.value is not None]
