"""Catalogue of models: names, modalities, and the modules of their networks.

To add a network: one file with a Network, and one card here. Networks are imported when made, so
that config and report can read the cards without torch.
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
    """Description of a model.

    Attributes:
        uses: its modalities.
        network: module and class of its network; empty for baselines and late fusion.
        is_baseline: whether it is a baseline.
        same_inputs: the baseline with the same inputs.
        has_base_model: whether its network may be fitted to the residual of a ridge base model.
        sees_gene_sets: whether its gene tokens can be made from named gene sets.
        strength: inverse of a logistic baseline's L2 penalty (scikit-learn's C).
        note: short remark beside its name in tables.
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


# C was chosen on cohorts of 80 to 800 patients: 0.001 on genes, 0.01 on mean features.
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
    SITE_ONLY: _baseline(frozenset(), note="tissue source site alone"),
}
"""All models, in the order of tables."""

MODEL_NAMES = tuple(name for name, card in MODELS.items() if not card.is_baseline)
"""Allowed values of `[training] models`."""
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
"""Models that late fusion stacks, and that fusion models are compared with."""
FUSION = (CROSS_ATTENTION, LATE, CONCAT)
"""Fusion models, the main one first."""


def make_network(name: str, sizes: Sizes, spec: ModelSpec) -> Network:
    """Return a freshly initialised network; weights are drawn with torch's global generator."""
    module, _, kind = MODELS[name].network.partition(":")
    network: Network = getattr(import_module(f"crosstype.models.{module}"), kind)(sizes, spec)
    return network
