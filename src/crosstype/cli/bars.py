"""Progress bars on a terminal; plain lines where the output goes to a file."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Bars:
    """One bar per stage: stage, finished of all, time left, and what was finished last."""

    def __init__(self) -> None:
        """Get ready to draw on standard error."""
        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.fields[stage]:<9}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.description}", markup=False),
            console=console,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop drawing."""
        self._progress.stop()

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """Begin a bar."""
        self._task = self._progress.add_task("", total=total, completed=done, stage=stage)

    def step(self, piece: str) -> None:
        """Move the bar and name what was finished."""
        if self._task is not None:
            self._progress.update(self._task, advance=1, description=piece)

    def say(self, line: str) -> None:
        """Print a line above the bars."""
        self._progress.console.print(line, markup=False, highlight=False)
