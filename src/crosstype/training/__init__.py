"""Training of one model on one fold."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "calibration": ["Calibration"],
        "checkpoint": [
            "described",
            "load_classifier",
            "make_classifier",
            "read_sealed",
            "restored",
            "save_classifier",
            "write_sealed",
        ],
        "classifier": [
            "BaselineClassifier",
            "Classifier",
            "Split",
            "TrainingRecipe",
            "concatenate",
        ],
        "fit": ["Prepared"],
        "late_fusion": ["LateClassifier"],
        "linear.base_model": ["RidgeBaseModel", "base_model_inputs"],
        "network_classifier": ["NetworkClassifier"],
        "patients": ["Bags", "Patients"],
        "preprocessing": ["Preparation", "Preparing"],
        "search": ["own_values", "searched"],
        "spec": ["FitSpec", "TrainingSpec", "published"],
    },
)
