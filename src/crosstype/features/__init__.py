"""Features of tiles: extracted by an encoder, or read in other tools' formats."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "compatibility": [
            "NewSlides",
            "check_feature_files",
            "feature_input_of",
            "find_new_slides",
        ],
        "encoders.catalog": ["pretraining_cohorts", "pretraining_note"],
        "encoders.colour_texture": ["ColourTexture"],
        "encoders.encoder": ["load_encoder"],
        "extract": ["TileEncoder", "check_notes", "extract_slides", "feature_path"],
        "formats.convert": ["convert_features", "layout_named", "read_slide"],
        "formats.open": ["read_views"],
        "slide_names": ["match_files", "slide_id_of"],
        "slide_notes": ["row_notes"],
        "slide_sources": ["Source", "find_sources", "SourceListing", "list_sources"],
        "slides_table": ["read_slides_table", "table_mpps"],
        "spec": ["FeaturesSpec"],
        "store": [
            "FeatureRow",
            "SlideListing",
            "bag_length",
            "feature_files_in",
            "find_slides",
            "inspect_slides",
            "list_slides",
            "read_bag",
            "read_feature_rows",
            "without_copies",
            "write_feature_rows",
        ],
        "tile_kind": ["FeatureInput", "difference", "stated_by"],
        "tile_batches": [
            "ExtractionRecipe",
            "TileSet",
            "cut_tiles",
            "grid_tiles",
            "pixel_batches",
            "stain_of",
        ],
    },
)
