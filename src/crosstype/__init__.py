"""crosstype: breast cancer subtypes from H&E slides and gene expression.

The public names are imported when they are first used, so that `import crosstype` stays fast.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, _, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "config.read": ["read_config"],
        "errors": ["CrosstypeError"],
        "workflow.pipeline": ["run"],
        "workflow.stage": ["Run"],
    },
)
__all__ = ["CrosstypeError", "Run", "__version__", "read_config", "run"]


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
