"""Networks and their catalog."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "baselines": ["fit_baseline", "predict_baseline"],
        "catalog": ["make_network"],
        "network": ["Batch", "Network", "Output", "Sizes"],
        "paper": ["PaperNetwork"],
        "spec": ["ModelSpec"],
    },
)
