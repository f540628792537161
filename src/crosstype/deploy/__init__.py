"""Fit one model on all patients, keep it as a file, and predict new patients."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "fit": ["fit_artefact"],
        "fitted_model": ["load_artefact"],
        "inputs": ["PredictionInputs"],
        "pages": ["write_predicted_pages"],
        "predict": ["write_predicted"],
        "validate": ["validate_artefact"],
    },
)
