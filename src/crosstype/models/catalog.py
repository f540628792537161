"""Every model by name: what it sees, what it is and where it is built.

No other file spells a model's name. To add a network: one file with a Network, and one card here.
Nothing heavy is imported before a network is made, so that config and report can read the cards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from crosstype.types import Modality

if TYPE_CHECKING:
    from crosstype.models.network import Network, Sizes
    from crosstype.models.spec import ModelSpec

IMAGE, GENES, CLINICAL = (frozenset({one}) for one in Modality)
BOTH = IMAGE | GENES

IMAGE_ONLY = "image_only"
GENE_ONLY = "gene_only"
CONCAT = "concat"
LATE = "late"
CROSS_ATTENTION = "cross_attention"
PAPER_CONCAT = "paper_concat"
PAPER_CROSS_ATTENTION = "paper_cross_attention"
MENDED_CONCAT = "mended_concat"
MENDED_CROSS_ATTENTION = "mended_cross_attention"
LOGISTIC_GENES = "logistic_genes"
LOGISTIC_IMAGE = "logistic_image"
LOGISTIC_BOTH = "logistic_both"
LOGISTIC_CLINICAL = "logistic_clinical"
BEST_GENE = "best_gene"
MAJORITY = "majority"
SITE_ONLY = "site_only"


@dataclass(frozen=True)
class ModelCard:
    """What is known of a model before it is fitted.

    Attributes:
        uses: the modalities that can change its prediction, where they are present.
        network: module and class of its network; empty for baselines and late fusion.
        is_baseline: whether other models are compared with it.
        same_inputs: the baseline of the same inputs.
        has_base_model: whether training may let the network correct a ridge base model.
        sees_gene_sets: whether the network can make its gene tokens from named gene sets.
        strength: inverse of a logistic baseline's L2 penalty (scikit-learn's C).
        note: a few words beside its name in tables.
    """

    uses: frozenset[Modality]
    network: str = ""
    is_baseline: bool = False
    same_inputs: str = ""
    has_base_model: bool = True
    sees_gene_sets: bool = False
    strength: float | None = None
    note: str = ""


def _published(network: str, uses: frozenset[Modality], note: str) -> ModelCard:
    return ModelCard(uses, f"paper:{network}", has_base_model=False, note=note)


def _baseline(
    uses: frozenset[Modality], strength: float | None = None, note: str = ""
) -> ModelCard:
    return ModelCard(uses, is_baseline=True, strength=strength, note=note)


# C as measured to serve on cohorts of 80 to 800 patients: 0.001 on genes, 0.01 on mean features.
MODELS: Mapping[str, ModelCard] = {
    IMAGE_ONLY: ModelCard(IMAGE, "unimodal:ImageOnly", same_inputs=LOGISTIC_IMAGE),
    GENE_ONLY: ModelCard(GENES, "unimodal:GeneOnly", same_inputs=LOGISTIC_GENES),
    CONCAT: ModelCard(frozenset(Modality), "concat:Concat", same_inputs=LOGISTIC_BOTH),
    LATE: ModelCard(BOTH, same_inputs=LOGISTIC_BOTH),
    CROSS_ATTENTION: ModelCard(
        frozenset(Modality),
        "cross_attention:CrossAttention",
        same_inputs=LOGISTIC_BOTH,
        sees_gene_sets=True,
    ),
    PAPER_CONCAT: _published("PaperConcat", GENES, "cannot see the image by construction"),
    PAPER_CROSS_ATTENTION: _published(
        "PaperCrossAttention", GENES, "cannot see the image by construction"
    ),
    MENDED_CONCAT: _published("MendedConcat", BOTH, "as published, with the image connected"),
    MENDED_CROSS_ATTENTION: _published(
        "MendedCrossAttention", BOTH, "as published, with several gene tokens"
    ),
    LOGISTIC_GENES: _baseline(GENES, 0.001),
    LOGISTIC_IMAGE: _baseline(IMAGE, 0.01),
    LOGISTIC_BOTH: _baseline(BOTH, 0.001),
    BEST_GENE: _baseline(GENES, 1.0),
    MAJORITY: _baseline(frozenset()),
    LOGISTIC_CLINICAL: _baseline(CLINICAL, 1.0, "clinical covariates alone"),
    SITE_ONLY: _baseline(frozenset(), note="knows nothing but the site"),
}
"""In the order of every table."""

MODEL_NAMES = tuple(name for name, card in MODELS.items() if not card.is_baseline)
"""What `[training] models` may name."""
DEFAULT_MODELS = (IMAGE_ONLY, GENE_ONLY, CONCAT, LATE, CROSS_ATTENTION)
BASELINE_NAMES = tuple(name for name, card in MODELS.items() if card.is_baseline)
NETWORKS = {name: card for name, card in MODELS.items() if card.network}
BASELINES = {name: card for name, card in MODELS.items() if card.is_baseline and name != SITE_ONLY}
"""Baselines that are fitted; site_only is computed from the fold's training labels."""
ALWAYS_RUN = tuple(name for name, card in BASELINES.items() if card.uses != CLINICAL)
"""Baselines that need no clinical covariates."""
FITTED_BASELINES = tuple(name for name in ALWAYS_RUN if BASELINES[name].uses)
"""Baselines that `crosstype fit` fits."""
UNIMODAL = (IMAGE_ONLY, GENE_ONLY)
"""What late fusion stacks, and what fusion models are compared with."""
FUSION = (CROSS_ATTENTION, LATE, CONCAT)
"""Fusion models, the one that stands for all first."""


def make_network(name: str, sizes: Sizes, spec: ModelSpec) -> Network:
    """Return a freshly initialised network; torch's global generator draws the weights."""
    module, _, kind = MODELS[name].network.partition(":")
    network: Network = getattr(import_module(f"crosstype.models.{module}"), kind)(sizes, spec)
    return network
