"""Features of tiles: extracted by an encoder, or read in other tools' formats."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "compatibility": [
            "FeatureInput",
            "NewSlides",
            "check_feature_files",
            "difference",
            "feature_input_of",
            "find_new_slides",
        ],
        "encoders.catalog": ["pretraining_cohorts", "pretraining_note"],
        "encoders.colour_texture": ["ColourTexture"],
        "encoders.encoder": ["load_encoder"],
        "extract": ["TileEncoder", "check_notes", "extract_slides", "feature_path"],
        "formats.convert": ["convert_features", "layout_named", "read_slide"],
        "formats.open": ["read_views"],
        "slide_sources": ["Source", "find_sources", "table_mpps"],
        "spec": ["FeaturesSpec"],
        "store": [
            "FeatureRow",
            "bag_length",
            "feature_files_in",
            "find_slides",
            "inspect_slides",
            "read_bag",
            "read_feature_rows",
            "write_feature_rows",
        ],
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
