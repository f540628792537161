"""Many files from one server: a few at a time, each finished one remembered."""

from __future__ import annotations

import errno
import json
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue

try:
    import fcntl
except ImportError:  # Windows has none; two fetches into one folder are then not kept apart
    fcntl = None  # type: ignore[assignment]

from crosstype.errors import FetchError
from crosstype.fetch.download import OnBytes, Wanted, download
from crosstype.fetch.web import StoppedError, Web
from crosstype.files import write_text
from crosstype.progress import Watcher

MEMORY = ".fetched.json"
LOCK = ".fetching.lock"
MOST_WORKERS = 16
NOTES_PER_SECOND = 4
MOST_IN_A_ROW = 25
NO_ROOM = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
NAP_S = 0.2
FAREWELL_S = 1.0
SPARE_BYTES = 64 << 20
UNITS = ("bytes", "KB", "MB", "GB", "TB")

Outcome = FetchError | OSError | None


class Memory:
    """Which files were found whole, by size and modification time, so that none is read twice."""

    def __init__(self, folder: Path) -> None:
        """Read the memory of a folder; a missing or damaged one is empty."""
        self._folder = folder
        self._path = folder / MEMORY
        try:
            self._known: dict[str, list[object]] = dict(json.loads(self._path.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            self._known = {}

    def holds(self, wanted: Wanted) -> bool:
        """Whether this file was found whole, and not touched since."""
        return wanted.path.is_file() and self._known.get(self._key(wanted)) == _mark(wanted)

    def add(self, wanted: Wanted) -> None:
        """Remember a whole file."""
        self._known[self._key(wanted)] = _mark(wanted)

    def _key(self, wanted: Wanted) -> str:
        return wanted.path.relative_to(self._folder).as_posix()

    def save(self) -> None:
        """Write the memory."""
        write_text(self._path, json.dumps(self._known, indent=0, sort_keys=True))


def _mark(wanted: Wanted) -> list[object]:
    status = wanted.path.stat()
    return [status.st_size, status.st_mtime_ns, wanted.md5]


class Meter:
    """Counts the bytes of all workers and notes them for the watcher, not too often."""

    def __init__(self, watcher: Watcher, total: int) -> None:
        """Begin with nothing of `total` bytes."""
        self._watcher = watcher
        self._total = total
        self._n_bytes = 0
        self._lock = threading.Lock()
        self._noted_at = 0.0
        self.stop = threading.Event()

    def add(self, n_bytes: int) -> None:
        """Count bytes; negative for bytes thrown away.

        Raises:
            StoppedError: the work is to stop.
        """
        if self.stop.is_set():
            raise StoppedError("stopped")
        with self._lock:
            self._n_bytes += n_bytes
            now = time.monotonic()
            if now - self._noted_at < 1 / NOTES_PER_SECOND:
                return
            self._noted_at = now
            text = f"{in_words(self._n_bytes)} of {in_words(self._total)}"
        self._watcher.note(text)


def in_words(n_bytes: int) -> str:
    """Return a number of bytes as people say it: `1.2 GB`."""
    value, unit = float(n_bytes), 0
    while abs(value) >= 1000 and unit < len(UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.{1 if unit else 0}f} {UNITS[unit]}"


def download_all(
    web: Web, wanted: Sequence[Wanted], folder: Path, watcher: Watcher, n_workers: int = 4
) -> list[str]:
    """Download files; those that are there whole are not asked for again.

    Args:
        web: the server.
        wanted: the files, all somewhere in the folder.
        folder: where finished files are remembered.
        watcher: is told how far it is.
        n_workers: files in work at a time, at most 16.

    Returns:
        One line per file that could not be had; the others are done. After 25 in a row that
        could not be had the rest is left alone, which the last line says.

    Raises:
        FetchError: the disk is full or has too little room, or another program fetches into the
            folder; what came is kept as `.part` files.
    """
    _check_places(wanted)
    with _alone(folder):
        return _download_missing(web, wanted, folder, watcher, n_workers)


def _download_missing(
    web: Web, wanted: Sequence[Wanted], folder: Path, watcher: Watcher, n_workers: int
) -> list[str]:
    memory = Memory(folder)
    missing = [one for one in wanted if not memory.holds(one)]
    watcher.start("fetch", len(wanted), len(wanted) - len(missing))
    if not missing:
        return []
    _check_room(missing, folder)
    meter = Meter(watcher, sum(one.size or 0 for one in missing))
    finished: SimpleQueue[tuple[Wanted, Outcome]] = SimpleQueue()
    crew = _start_crew(web, missing, finished, meter, n_workers)
    try:
        return _gather(finished, len(missing), memory, watcher)
    finally:
        meter.stop.set()
        memory.save()
        until = time.monotonic() + FAREWELL_S
        for worker in crew:
            worker.join(max(0.0, until - time.monotonic()))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one program at a time fetch into a folder; two would write into the same parts."""
    with (folder / LOCK).open("a") as handle:
        if fcntl is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FetchError(
                    f"{folder}: another crosstype fetch is at work in this folder. Wait for it, "
                    "or name another --out."
                ) from None
        yield  # a kill gives the lock back too


def _gather(
    finished: SimpleQueue[tuple[Wanted, Outcome]], n_files: int, memory: Memory, watcher: Watcher
) -> list[str]:
    """Wait for every file and return the faults; give up where nothing comes any more."""
    faults: list[str] = []
    n_in_a_row = 0
    for n_left in reversed(range(n_files)):
        one, outcome = _next(finished)
        if isinstance(outcome, OSError):
            raise FetchError(_full(one, outcome)) from outcome
        if isinstance(outcome, FetchError):
            faults.append(str(outcome))
            n_in_a_row += 1
        else:
            memory.add(one)
            n_in_a_row = 0
        if n_in_a_row == MOST_IN_A_ROW and n_left:
            faults.append(_gave_up(n_left))
            break
        watcher.step(one.path.name)
    return faults


def _start_crew(
    web: Web,
    missing: Sequence[Wanted],
    finished: SimpleQueue[tuple[Wanted, Outcome]],
    meter: Meter,
    n_workers: int,
) -> list[threading.Thread]:
    """Set threads to work on the files; each puts what became of a file into `finished`."""
    tasks: SimpleQueue[Wanted] = SimpleQueue()
    for one in missing:
        tasks.put(one)
    arguments = (web, tasks, finished, meter)
    # Daemons: Ctrl-C must not wait long for a server that is silent.
    crew = [
        threading.Thread(target=_work, args=arguments, daemon=True)
        for _ in range(max(1, min(n_workers, MOST_WORKERS, len(missing))))
    ]
    for worker in crew:
        worker.start()
    return crew


def _next(finished: SimpleQueue[tuple[Wanted, Outcome]]) -> tuple[Wanted, Outcome]:
    """Wait for the next file, in short naps: Ctrl-C may reach a thread that waits for a server."""
    while True:
        try:
            return finished.get(timeout=NAP_S)
        except Empty:
            continue


def _work(
    web: Web,
    tasks: SimpleQueue[Wanted],
    finished: SimpleQueue[tuple[Wanted, Outcome]],
    meter: Meter,
) -> None:
    """Download one file after the other until none is left or the work is to stop."""
    while not meter.stop.is_set():
        try:
            wanted = tasks.get_nowait()
        except Empty:
            return
        outcome: Outcome = FetchError(f"{wanted.path.name}: crosstype itself failed at this file")
        try:
            outcome = _outcome(web, wanted, meter.add)
        finally:
            finished.put((wanted, outcome))


def _outcome(web: Web, wanted: Wanted, on_bytes: OnBytes) -> Outcome:
    """Download one file unless it is there; return what went wrong."""
    try:
        if wanted.is_there:
            on_bytes(wanted.size or 0)
        else:
            download(web, wanted, on_bytes)
    except (FetchError, OSError) as fault:
        return fault
    return None


def _check_places(wanted: Sequence[Wanted]) -> None:
    """Raise if two files would lie at one place, also where case does not count."""
    places = Counter(str(one.path).casefold() for one in wanted)
    twice = [one.path.name for one in wanted if places[str(one.path).casefold()] > 1]
    if twice:
        raise FetchError(f"{twice[0]}: the server lists two files of this name. Fetch by hand.")


def _check_room(missing: Sequence[Wanted], folder: Path) -> None:
    """Raise if the disk cannot hold what is missing."""
    needed = 0
    for one in missing:
        n_there = one.part.stat().st_size if one.part.is_file() else 0
        n_there = one.path.stat().st_size if one.path.is_file() else n_there
        needed += max(0, (one.size or 0) - n_there)
    free = shutil.disk_usage(folder).free
    if needed + SPARE_BYTES > free:
        raise FetchError(
            f"{folder}: has room for {in_words(free)}, but {in_words(needed)} are missing. Make "
            "room, name another folder with --out, or fetch fewer files."
        )


def _full(wanted: Wanted, fault: OSError) -> str:
    remedy = "make room" if fault.errno in NO_ROOM else "mend that"
    return (
        f"{wanted.path}: {fault.strerror or fault}. Stopped; {remedy}, and the same command goes "
        "on from there."
    )


def _gave_up(n_left: int) -> str:
    return (
        f"{MOST_IN_A_ROW} files in a row could not be had, so the {n_left} after them were not "
        "finished. The same command goes on from there."
    )
