"""Importing torchvision and timm beside a torch they were not built for.

A torchvision built for CUDA beside a CPU-only torch fails on import, since its two compiled
operators for box suppression are not registered. No encoder needs them: their schemas alone let
the rest of torchvision, and timm, be imported.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

MISSING_OPERATOR = "operator torchvision::nms does not exist"
"""The one error that is mended; any other passes through."""

SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
OPERATORS = ("nms", "qnms")

_kept_libraries: list[Any] = []
"""Registered schemas live as long as the library object that registered them."""


def import_torchvision() -> ModuleType:
    """Import torchvision, declaring its missing operators first if that is what it fails on.

    `torchvision.ops.nms` and `torchvision.io` stay unusable after the mending.

    Raises:
        ImportError: torchvision is not installed.
        RuntimeError: torchvision fails for another reason than the missing operators.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if MISSING_OPERATOR not in str(error):
            raise
    _declare_operators()
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    return importlib.import_module("torchvision")


def import_timm() -> ModuleType:
    """Import timm, with torchvision mended before it where that is needed.

    Raises:
        ImportError: timm or torchvision is not installed.
        RuntimeError: torchvision fails for another reason than the missing operators.
    """
    import_torchvision()
    return importlib.import_module("timm")


def _declare_operators() -> None:
    """Declare the schemas of torchvision's compiled operators, without an implementation."""
    import torch

    library: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in OPERATORS:
        library.define(name + SCHEMA)
    _kept_libraries.append(library)
