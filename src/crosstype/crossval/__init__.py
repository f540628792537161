"""Cross-validation of every model, resumable and in parallel."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "plan": ["Job", "Plan"],
        "prediction_table": ["prediction_rows", "write_unlabelled_predictions"],
        "run": ["cross_validate", "one_thread", "write_perturbed", "write_predictions"],
        "site_probe": ["probe_sites"],
        "worker": ["WorkerData", "records_of"],
    },
)
