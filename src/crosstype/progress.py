"""How a long stage tells whoever watches; the command line draws bars, a library call is silent."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """Someone who wants to know how far a stage is."""

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """A stage of `total` pieces begins, `done` of which were found finished."""

    def step(self, piece: str) -> None:
        """A piece was finished."""

    def note(self, text: str) -> None:
        """How far the pieces in work are; replaces the note before it and is never a line."""

    def say(self, line: str) -> None:
        """Something worth a line happened."""


class NoProgress:
    """Nobody watches."""

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """Do nothing."""

    def step(self, piece: str) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""

    def say(self, line: str) -> None:
        """Do nothing."""
