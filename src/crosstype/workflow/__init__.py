"""The stages of a run, and when each is run again."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "cohort": ["of_genes"],
        "features": ["feature_folder", "load_encoder_of", "recipe_of"],
        "ledger": ["Ledger"],
        "pipeline": ["run"],
        "stage": ["Run"],
        "train": ["make_plan"],
    },
)
