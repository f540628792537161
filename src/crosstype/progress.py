"""Progress of long stages: an interface, and an implementation that does nothing."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """Progress of a long stage."""

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """Start a stage of `total` pieces, `done` of which are finished already."""

    def step(self, piece: str) -> None:
        """Report a finished piece."""

    def note(self, text: str) -> None:
        """Report the state of unfinished pieces; replaces the previous note."""

    def message(self, line: str) -> None:
        """Report a message."""


class NoProgress:
    """Progress that is not reported."""

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """Do nothing."""

    def step(self, piece: str) -> None:
        """Do nothing."""

    def note(self, text: str) -> None:
        """Do nothing."""

    def message(self, line: str) -> None:
        """Do nothing."""
