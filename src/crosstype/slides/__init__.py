"""Whole-slide images: tissue, tiles and stain."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "augment": ["draw_view", "view_margin"],
        "open": ["open_slide"],
        "readers.image": ["ImageSlide"],
        "readers.openslide": ["knows"],
        "readers.tile_folder": ["TileSlide", "find_tile_slides"],
        "slide": ["Slide", "check_mpp", "check_resolution"],
        "spec": ["AugmentationSpec", "SlidesSpec", "StainSpec", "TilesSpec", "TissueSpec"],
        "stain": ["StainNormaliser", "fit_stain"],
        "thumbnail": ["draw_thumbnail", "tissue_geojson", "tissue_outlines", "write_image"],
        "tiles": ["Tiles", "select_tiles", "spread_choice"],
        "tissue": ["Tissue", "find_tissue"],
    },
)
