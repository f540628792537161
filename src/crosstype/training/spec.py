"""What a user may set about training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from crosstype.models.catalog import DEFAULT_MODELS
from crosstype.types import Between


@dataclass(frozen=True)
class TrainingSpec:
    """Which models are trained, and how. The baselines always run too."""

    models: tuple[str, ...] = DEFAULT_MODELS
    """Models to train: image_only, gene_only, concat, late, cross_attention; paper_concat and
    paper_cross_attention, as published; mended_concat and mended_cross_attention, the same with the
    image connected."""

    learning_rate: Annotated[float, Between(1e-8, 1)] = 0.001
    """Highest learning rate, reached after the warm-up."""

    weight_decay: Annotated[float, Between(0, 100)] = 0.05
    """Weight decay: decoupled (AdamW) under the cosine schedule, L2 (Adam) under published."""

    batch_size: Annotated[int, Between(2, 100_000)] = 32
    """Patients per step."""

    max_epochs: Annotated[int, Between(1, 100_000)] = 60
    """Epochs at most."""

    patience: Annotated[int, Between(1, 100_000)] = 15
    """Epochs without a lower validation loss after which training stops."""

    schedule: Literal["cosine", "published"] = "cosine"
    """cosine: AdamW, short warm-up, then down to 0 over max_epochs; published: Adam, constant
    for ten epochs, then times exp(-0.1) each."""

    class_weights: Literal["root", "balanced", "none"] = "root"
    """How much a patient weighs in every loss. balanced: each class the same; none: each patient
    the same; root: halfway, by the square root, which served F1, MCC and Brier best."""

    image_labels: Literal["graded", "given"] = "graded"
    """What the image's line learns. graded: how far each training patient's expression lies on the
    side of a class, by a line over genes fitted on other patients; given: the label alone. At
    prediction it sees the image and nothing else, either way."""

    calibration: Literal["none", "temperature"] = "none"
    """temperature: the logits of networks and late are divided by one number, of least log loss on
    inner validation patients; who ranks above whom within a fold does not change. none: as they
    come. Baselines stay as they are."""

    threshold: Literal["argmax", "youden", "f1"] = "argmax"
    """Which class networks and late call; baselines call the most probable one. argmax: the most
    probable. youden, f1: thresholds (more than two classes: an offset per class) chosen on inner
    validation patients for the highest mean recall or mean F1. Probabilities do not change."""

    start: Literal["linear", "zero"] = "linear"
    """linear: a network learns what a ridge-penalised line over its modalities leaves unexplained;
    zero: it starts from nothing."""

    corruption: Annotated[float, Between(0, 0.95)] = 0.5
    """Share of the training batches whose patients are shown damaged, 0 to 1: with most or all of
    their genes lost and the others noised, or without an image. All models alike; 0: never."""

    n_seeds: Annotated[int, Between(1, 100)] = 1
    """Networks per inner fold, each from another initialisation; the mean of all of them corrects
    the line."""

    search_minutes: Annotated[float, Between(0, 100_000)] = 0.0
    """Minutes at most that each model of each outer fold searches for better settings on its inner
    folds (width, n_blocks, dropouts, learning_rate, weight_decay, batch_size); 0: no search."""

    search_trials: Annotated[int, Between(1, 100_000)] = 30
    """Trials at most of each search. Where minutes end it first, a repetition may differ."""

    views: Literal["drawn", "plain"] = "drawn"
    """drawn: where slides were augmented, each training step shows a patient's plain tiles or one
    of their views, by chance; plain: never a view."""

    n_tiles_per_bag: Annotated[int, Between(1, 10_000_000)] = 512
    """Tiles drawn from a bag at each training step at most; prediction always sees all."""


@dataclass(frozen=True)
class FitSpec:
    """Which model `crosstype fit` fits on all patients."""

    model: str | None = None
    """A model of [training], or a baseline: logistic_genes, logistic_image, logistic_both,
    best_gene. Unset: the only one in [training] models."""


def published(spec: TrainingSpec) -> TrainingSpec:
    """Return the training of the published notebook, for the same models."""
    return replace(
        spec,
        learning_rate=1e-5,
        weight_decay=2e-4,  # Keras adds 1e-4 |w|^2 to the loss, whose gradient is 2e-4 w
        batch_size=8,
        max_epochs=50,
        patience=5,
        schedule="published",
        class_weights="none",
        calibration="none",  # validation patients are test patients there
        threshold="argmax",
        start="zero",
        corruption=0.0,
    )
