"""Progress bars on a terminal, or lines in a file; and messages on skipped files."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import typer
from rich import progress
from rich.console import Console

LINES_PER_STAGE = 20


class Bars:
    """Progress as one bar per stage: finished pieces, time left, and the last piece."""

    def __init__(self) -> None:
        """Set up bars on standard error."""
        self._console = Console(stderr=True)
        self._progress = progress.Progress(
            progress.TextColumn("{task.fields[stage]:<9}"),
            progress.BarColumn(bar_width=24),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TimeRemainingColumn(compact=True),
            progress.TextColumn("{task.description}", markup=False),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task: progress.TaskID | None = None

    def __enter__(self) -> Self:
        """Start drawing."""
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
        """Start a bar."""
        self._task = self._progress.add_task("", total=total, completed=done, stage=stage)

    def step(self, piece: str) -> None:
        """Advance the bar and show the finished piece."""
        if self._task is None:
            return
        self._progress.update(self._task, advance=1, description=piece)
        if self._console.is_terminal:
            return
        task = self._progress.tasks[self._task]
        done, total = int(task.completed), int(task.total or 1)
        if total <= LINES_PER_STAGE or done == total or done % (total // LINES_PER_STAGE) == 0:
            self.message(f"{task.fields['stage']} {done}/{total}: {piece}")

    def note(self, text: str) -> None:
        """Show the state of unfinished pieces beside the bar, until the next step."""
        if self._task is not None:
            self._progress.update(self._task, description=text)

    def message(self, line: str) -> None:
        """Print a line above the bars."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


MOST_NAMED = 5


def report_skipped(faults: Sequence[str]) -> None:
    """Print skipped files; files with the same fault share a line."""
    for line in gather(faults):
        typer.echo(f"Skipped: {line}", err=True)


def gather(faults: Sequence[str]) -> list[str]:
    """Group `file: fault` lines by fault, in order of appearance."""
    files: dict[str, list[str]] = {}
    for fault in faults:
        file, _, found = fault.partition(": ")
        files.setdefault(found, []).append(file)
    return [f"{_named(names)}: {found}" for found, names in files.items()]


def _named(files: Sequence[str]) -> str:
    """Return the first names of files and the number of others, as text."""
    shown, n_more = files[:MOST_NAMED], len(files) - MOST_NAMED
    return ", ".join(shown) + (f" and {n_more} more" if n_more > 0 else "")
