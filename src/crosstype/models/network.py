"""Interface of the networks: batch, output, sizes. Torch only, no tables and no files."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

from jaxtyping import Bool, Float
from torch import Tensor, nn

from crosstype.types import Modality


@dataclass(frozen=True)
class Batch:
    """Batch of patients, padded to the longest bag.

    An absent modality has a mask of False throughout; zeros are data.

    Attributes:
        tiles: standardised tile features, patients x tiles x features.
        tile_mask: True for tiles, False for padding.
        genes: standardised expression, patients x genes.
        gene_mask: True where the gene was measured.
        covariates: standardised clinical covariates and missing indicators, patients x columns;
            None: none.
        covariate_mask: True where the covariate was recorded; False throughout, indicators
            included, for a patient without any.
    """

    tiles: Float[Tensor, "patients tiles features"]
    tile_mask: Bool[Tensor, "patients tiles"]
    genes: Float[Tensor, "patients genes"]
    gene_mask: Bool[Tensor, "patients genes"]
    covariates: Float[Tensor, "patients columns"] | None = None
    covariate_mask: Bool[Tensor, "patients columns"] | None = None


@dataclass(frozen=True)
class Output:
    """Output of a network.

    Attributes:
        logits: one per patient for two classes (higher means the positive, second class),
            else one per class.
        tile_attention: patients x tiles; sums to 1 over a patient's tiles, 0 on padding.
        gene_attention: patients x gene tokens x tiles; the same for each gene token, in the last
            block. None where gene tokens do not attend to tiles.
        votes: unimodal logits, for networks that have them.
    """

    logits: Float[Tensor, "patients logits"]
    tile_attention: Float[Tensor, "patients tiles"] | None = None
    gene_attention: Float[Tensor, "patients tokens tiles"] | None = None
    votes: Mapping[Modality, Float[Tensor, "patients logits"]] = field(default_factory=dict)


@dataclass(frozen=True)
class Sizes:
    """Sizes of a network that follow from the data.

    Attributes:
        n_features: number of features of a tile.
        n_genes: number of genes after preprocessing.
        n_classes: number of classes, at least 2.
        membership: gene sets x genes, for networks with `sees_gene_sets`; None: learned gene
            tokens.
        n_covariates: number of clinical columns; 0: no clinical branch.
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
        sizes: that follow from the data.
    """

    def __init__(self, sizes: Sizes) -> None:
        """Store the sizes."""
        super().__init__()
        self.sizes = sizes

    @abstractmethod
    def forward(self, batch: Batch) -> Output:
        """Return logits, and attention if any, for each patient of the batch."""
