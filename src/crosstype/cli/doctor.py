"""What is installed, and whether it works together."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from crosstype import __version__

LIBRARIES = (
    "torch",
    "numpy",
    "polars",
    "scikit-learn",
    "scipy",
    "h5py",
    "matplotlib",
    "safetensors",
)


def diagnose() -> Iterator[str]:
    """Give one line per finding."""
    yield f"crosstype {__version__}, Python {platform.python_version()}, {platform.platform()}"
    yield f"cores: {os.cpu_count()}"
    for name in LIBRARIES:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            yield f"{name}: missing. Install crosstype again."
    import torch

    yield f"GPU: {'CUDA ' + str(torch.version.cuda) if torch.cuda.is_available() else 'none'}"
