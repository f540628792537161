"""Every network by name. To add a model: one file with a Network, and one line here."""

from __future__ import annotations

from crosstype.models.concat import Concat
from crosstype.models.cross_attention import CrossAttention
from crosstype.models.network import Network, Sizes
from crosstype.models.paper import (
    MendedConcat,
    MendedCrossAttention,
    PaperConcat,
    PaperCrossAttention,
)
from crosstype.models.spec import ModelSpec
from crosstype.models.unimodal import GeneOnly, ImageOnly

NETWORKS: dict[str, type[Network]] = {
    "image_only": ImageOnly,
    "gene_only": GeneOnly,
    "concat": Concat,
    "cross_attention": CrossAttention,
    "paper_concat": PaperConcat,
    "paper_cross_attention": PaperCrossAttention,
    "mended_concat": MendedConcat,
    "mended_cross_attention": MendedCrossAttention,
}


def make_network(name: str, sizes: Sizes, spec: ModelSpec) -> Network:
    """Return a freshly initialised network; chance comes from torch's global generator."""
    network: Network = NETWORKS[name](sizes, spec)  # type: ignore[call-arg]
    return network
