"""Settings of training."""

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from crosstype.models.catalog import DEFAULT_MODELS
from crosstype.types import Between


@dataclass(frozen=True)
class TrainingSpec:
    """Models to train and their optimisation. The baselines always run too."""

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
    """Class weights in every loss. balanced: inversely proportional to class frequency; none: equal
    weights; root: the square root of balanced, which gave the best F1, MCC and Brier score."""

    image_labels: Literal["graded", "given"] = "graded"
    """Targets of the ridge base model on the image. graded: each training patient's logits from a
    model on genes, fitted on other patients; given: the labels. Either way the image is its only
    input at prediction."""

    calibration: Literal["none", "temperature"] = "none"
    """temperature: the logits of networks and late are divided by the number that minimises the log
    loss of the inner validation patients; ranks within a fold do not change. none: no calibration.
    Baselines are never calibrated."""

    threshold: Literal["argmax", "youden", "f1"] = "argmax"
    """Decision rule of networks and late; baselines predict the most probable class. argmax: the
    most probable class. youden, f1: thresholds (more than two classes: an offset per class) with
    the highest mean recall or mean F1 on inner validation patients. Probabilities do not change."""

    start: Literal["linear", "zero"] = "linear"
    """linear: a network is fitted to the residual of a ridge base model on the same modalities;
    zero: without a base model."""

    corruption: Annotated[float, Between(0, 0.95)] = 0.5
    """Share of the training batches that are corrupted, 0 to 1 (missing-modality training): most or
    all genes are removed and noise is added to the others, or the image is removed. The same for
    all models; 0: never."""

    n_seeds: Annotated[int, Between(1, 100)] = 1
    """Networks per inner fold, each with another initialisation; their logits are averaged."""

    search_minutes: Annotated[float, Between(0, 100_000)] = 0.0
    """Time limit in minutes of the hyperparameter search of each model and outer fold, on the inner
    folds (width, n_blocks, dropouts, learning_rate, weight_decay, batch_size); 0: no search."""

    search_trials: Annotated[int, Between(1, 100_000)] = 30
    """Trials at most of each search. A search that the time limit ends first may not reproduce."""

    views: Literal["drawn", "plain"] = "drawn"
    """drawn: where slides were augmented, each training step uses a patient's plain tiles or one of
    their augmented views, at random; plain: never a view."""

    n_tiles_per_bag: Annotated[int, Between(1, 10_000_000)] = 512
    """Tiles sampled from a bag at each training step at most; prediction uses all tiles."""


@dataclass(frozen=True)
class FitSpec:
    """Model that `crosstype fit` fits on all patients."""

    model: str | None = None
    """A model of [training], or a baseline: logistic_genes, logistic_image, logistic_both,
    best_gene. Unset: the only one in [training] models."""


def published(spec: TrainingSpec) -> TrainingSpec:
    """Return the training settings of the published notebook, for the same models."""
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
