"""crosstype: breast cancer subtypes from H&E slides and gene expression."""

from __future__ import annotations

__version__ = "0.1.0"
