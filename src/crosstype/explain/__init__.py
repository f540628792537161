"""Attention over tiles and attributions of genes."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "figures.examples": ["TileExamples", "write_examples"],
        "maps": ["Pictures"],
        "spec": ["ExplanationSpec", "models_to_explain"],
        "tile_locations": ["TileLocations"],
    },
)
