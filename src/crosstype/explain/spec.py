"""Settings of explanations.

Which of the trained models are explained.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from crosstype.models.catalog import CROSS_ATTENTION, LATE
from crosstype.types import Between


@dataclass(frozen=True)
class ExplanationSpec:
    """Explanations of models: attention over tiles and attributions of genes."""

    enabled: bool = True
    """Whether `crosstype run` explains at all; `crosstype explain` always does."""

    models: tuple[str, ...] = ()
    """Models of [training] to explain; late and baselines cannot be. Empty: cross_attention, or
    every other network where that is not trained."""

    n_maps: Annotated[int, Between(0, 10_000_000)] = 20
    """Slides (without coordinates: patients) of each model whose map is drawn, those of the most
    certain predictions first; the tables always hold everyone. 0: none."""

    n_tiles_shown: Annotated[int, Between(0, 64)] = 6
    """Tiles of highest and of lowest attention that are cut from each drawn slide, where it is
    there; also the tiles listed for each gene token."""

    tokens: tuple[str, ...] = ()
    """Gene tokens of cross_attention (gene sets by name; without gene sets program_01, ...) whose
    own attention is drawn as a map too."""

    n_permutations: Annotated[int, Between(0, 1000)] = 3
    """How often each gene is permuted between test patients, against which attributions are
    compared."""

    n_permuted_genes: Annotated[int, Between(1, 100_000)] = 60
    """Genes that are permuted where the residual weight is above 0, evenly over the ranks; each
    takes a prediction of its own. Where the line alone decides, every gene is."""


def models_to_explain(wanted: Sequence[str], trained: Sequence[str]) -> tuple[str, ...]:
    """Return which of the trained models are explained.

    Args:
        wanted: as the settings name them; none: cross_attention, or every network without it.
        trained: as they were trained.
    """
    if wanted:
        return tuple(name for name in dict.fromkeys(wanted) if name in trained)
    if CROSS_ATTENTION in trained:
        return (CROSS_ATTENTION,)
    return tuple(name for name in dict.fromkeys(trained) if name != LATE)
