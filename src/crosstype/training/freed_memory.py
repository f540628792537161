"""Freed memory is used again instead of being handed back to the system."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Names of glibc's settings (mallopt(3))."""
KEPT_FREE_BYTES = 1 << 30


def keep_freed_memory() -> None:
    """Have this process keep up to 1 GiB of freed memory; does nothing without glibc.

    Each step of training frees gradients and batches of many megabytes and asks for as many again.
    By default glibc gets each of them from the system, page by page, which took a third of a step
    of the published networks. No number depends on it.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, KEPT_FREE_BYTES)
