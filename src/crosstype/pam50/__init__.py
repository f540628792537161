"""PAM50 subtypes from expression."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "centring": ["read_reference", "write_reference"],
        "centroids": ["read_centroids"],
        "classify": [
            "CohortCentring",
            "Pam50Calls",
            "call_by_reference",
            "call_cohort",
            "write_calls",
        ],
        "er_status": ["er_from_table"],
    },
)
