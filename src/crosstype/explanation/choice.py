"""Which of the trained models are explained."""

from __future__ import annotations

from collections.abc import Sequence

UNEXPLAINED = ("late",)
"""Stacks other models, which explain themselves."""


def models_to_explain(wanted: Sequence[str], trained: Sequence[str]) -> tuple[str, ...]:
    """Return which of the trained models are explained.

    Args:
        wanted: as the settings name them; none: cross_attention, or every network without it.
        trained: as they were trained.
    """
    if wanted:
        return tuple(name for name in dict.fromkeys(wanted) if name in trained)
    if "cross_attention" in trained:
        return ("cross_attention",)
    return tuple(name for name in dict.fromkeys(trained) if name not in UNEXPLAINED)
