"""Pages made from a run's tables."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "pages.patient": ["PatientTables", "Vote", "patient_page_names", "write_patient_page"],
        "pages.study": ["write_study_page"],
        "pages.tripod": ["write_tripod"],
        "pages.validation": ["write_validation_page"],
        "paper.page": ["write_figures"],
        "report": ["write_report"],
        "spec": ["ReportSpec"],
    },
)
