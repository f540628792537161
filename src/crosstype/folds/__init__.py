"""Fold assignment: stratified, by site, or read from a file."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "assign": ["CohortPatients", "assign_inner", "check_sites"],
        "external_splits": ["split_files", "split_outputs", "write_splits"],
        "folds": ["Fold", "fold_cohort", "folds_of"],
        "spec": ["FoldsSpec"],
    },
)
