"""Patients: labels, slides and expression joined by identifier."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "cohort": [
            "Cohort",
            "LeftOut",
            "build_cohort",
            "check_class_sizes",
            "write_cohort",
            "write_left_out",
        ],
        "covariates": [
            "Covariates",
            "covariate_notes",
            "load_covariates",
            "number_of",
            "read_covariates",
            "same_words",
            "write_covariates",
        ],
        "labels": ["Labels", "normal_like_words", "read_labels"],
        "matching": ["spelled_as", "spelling_note"],
        "second_assay": ["read_other_assay"],
        "single_modality": ["read_single_modality", "write_single_modality"],
        "slide_selection": ["usable_slides"],
        "spec": ["ClassSpec", "CohortSpec"],
        "subgroups": ["read_subgroups", "write_subgroups"],
        "unlabelled": ["read_unlabelled", "write_unlabelled"],
    },
)
