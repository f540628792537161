"""Runs that differ in one setting each."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "label_shuffles": ["run_label_shuffles"],
        "table": ["evaluate_study"],
        "variants": ["Study", "run_variants"],
    },
)
