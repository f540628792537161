"""crosstype: breast cancer subtypes from H&E slides and gene expression.

The public names are imported when they are first used, so that `import crosstype` stays fast.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "CrosstypeError": "crosstype.errors",
    "Run": "crosstype.workflow.stage",
    "read_config": "crosstype.config.read",
    "run": "crosstype.workflow.pipeline",
}

__all__ = ["CrosstypeError", "Run", "__version__", "read_config", "run"]


def __getattr__(name: str) -> Any:
    """Return a public name from where it lives."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'crosstype' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
