"""What every network takes and gives; torch only, no tables and no files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from jaxtyping import Bool, Float
from torch import Tensor, nn

from crosstype.types import Modality


@dataclass(frozen=True)
class Batch:
    """Some patients, padded to the longest bag.

    An absent modality is a mask that is False throughout, never zeros that pretend to be data.

    Attributes:
        tiles: standardised tile features, patients x tiles x features.
        tile_mask: True where a tile is real, False on padding.
        genes: standardised expression, patients x genes.
        gene_mask: True where the gene was measured.
        covariates: standardised clinical covariates and indicators of missing ones, patients x
            columns; None: there are none.
        covariate_mask: True where the covariate was recorded; False throughout, indicators
            included, for a patient of whom none was.
    """

    tiles: Float[Tensor, "patients tiles features"]
    tile_mask: Bool[Tensor, "patients tiles"]
    genes: Float[Tensor, "patients genes"]
    gene_mask: Bool[Tensor, "patients genes"]
    covariates: Float[Tensor, "patients columns"] | None = None
    covariate_mask: Bool[Tensor, "patients columns"] | None = None


@dataclass(frozen=True)
class Output:
    """What a network says about each patient.

    Attributes:
        logits: one per patient for two classes (higher means the positive, second class),
            else one per class.
        tile_attention: patients x tiles; sums to 1 over a patient's real tiles, 0 on padding.
        gene_attention: patients x gene tokens x tiles; the same for each gene token, in the last
            round. None where gene tokens do not look at tiles.
        votes: logits that each modality gives by itself, for networks that form them.
    """

    logits: Float[Tensor, "patients logits"]
    tile_attention: Float[Tensor, "patients tiles"] | None = None
    gene_attention: Float[Tensor, "patients tokens tiles"] | None = None
    votes: Mapping[Modality, Float[Tensor, "patients logits"]] = field(default_factory=dict)


@dataclass(frozen=True)
class Sizes:
    """Sizes that the data dictate.

    Attributes:
        n_features: width of a tile's feature vector.
        n_genes: number of genes after preprocessing.
        n_classes: number of classes, at least 2.
        membership: which gene is in which gene set, for networks with `sees_gene_sets`; None:
            gene tokens are learned programs.
        n_covariates: number of clinical columns; 0: there are none, and no weights for them.
    """

    n_features: int
    n_genes: int
    n_classes: int
    membership: Bool[Tensor, "sets genes"] | None = field(default=None, compare=False)
    n_covariates: int = 0

    @property
    def n_logits(self) -> int:
        """Return 1 for two classes (one logit for the positive class), else one per class."""
        return 1 if self.n_classes == 2 else self.n_classes


class Network(nn.Module, ABC):
    """A fusion model.

    Attributes:
        uses: the modalities that can change its output, where they are there.
        has_base_model: whether training may let it correct a fitted line instead of starting from
            nothing; the published models have no line.
        sees_gene_sets: whether it can make its gene tokens from named gene sets.
    """

    def __init__(self, sizes: Sizes) -> None:
        """Remember the sizes that the data dictated."""
        super().__init__()
        self.sizes = sizes

    @abstractmethod
    def forward(self, batch: Batch) -> Output:
        """Return logits (and attention, where there is any) for each patient of the batch."""
