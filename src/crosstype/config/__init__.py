"""Settings: read, checked and written as TOML."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "draft": ["UserFiles", "draft_config"],
        "read": ["read_config"],
        "run_spec": ["RunSpec"],
        "toml": ["resolved_toml"],
        "validate": ["check_ready"],
    },
)
