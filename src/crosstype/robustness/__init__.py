"""Predictions under shuffled, missing and perturbed modalities."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "modality_shuffle": ["shuffled_conditions"],
        "perturbations": ["FoldData", "PerturbationTables", "read_perturbation_tables"],
        "study": [
            "RobustnessStudy",
            "join_perturbed",
            "make_study",
            "predict_perturbed",
            "save_perturbed",
        ],
    },
)
