"""Resumable, verified and parallel download of files, and the result of a fetch."""

import errno
import hashlib
import json
import os
import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue

import httpx2

from crosstype.errors import FetchError
from crosstype.fetch.http import BrokenOffError, RefusedError, Retries, StoppedError, Web
from crosstype.io.files import write_text
from crosstype.progress import Progress

MOST_UNSTATED_BYTES = 64 << 20
CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
UNSATISFIABLE = 416
NOT_A_NAME = re.compile(r'[\x00-\x1f<>:"/\\|?*]')

OnBytes = Callable[[int], None]


@dataclass(frozen=True)
class RemoteFile:
    """A file to download.

    Attributes:
        path: of the file; a partial file is `<name>.part` beside it.
        addresses: URLs; the next is tried if one fails.
        size: bytes; None if unknown.
        md5: MD5 in hexadecimal; empty if unknown, and then downloads are not resumed.
        refusals: messages for some HTTP statuses: their meaning and what to do.
    """

    path: Path
    addresses: tuple[str, ...]
    size: int | None = None
    md5: str = ""
    refusals: Mapping[int, str] = field(default_factory=dict)

    @property
    def part(self) -> Path:
        """Path of the partial file."""
        return self.path.with_name(self.path.name + ".part")

    @property
    def is_there(self) -> bool:
        """Whether the complete file exists; verifies its checksum, if known."""
        if not self.path.is_file():
            return False
        if self.size is not None and self.path.stat().st_size != self.size:
            return False
        return not self.md5 or md5_of(self.path) == self.md5


def checked_name(name: str) -> str:
    """Return a server's file name if it is safe.

    Raises:
        FetchError: it is a path, is hidden, or has characters that file systems do not allow.
    """
    if not name or NOT_A_NAME.search(name) or name.startswith(".") or name != name.strip(" "):
        raise FetchError(f"{name!r}: not a plain file name, so it was not fetched")
    return name


def md5_of(path: Path) -> str:
    """Return the MD5 of a file's bytes, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def download(web: Web, wanted: RemoteFile, on_bytes: OnBytes) -> None:
    """Download a file, resuming from its `.part` if possible.

    Args:
        web: the server.
        wanted: the file.
        on_bytes: called with the number of received bytes; negative for discarded bytes.

    Raises:
        FetchError: the download failed; the `.part` file is kept.
        OSError: the disk is full or cannot be written.
    """
    wanted.path.parent.mkdir(parents=True, exist_ok=True)
    if not wanted.md5:
        wanted.part.unlink(missing_ok=True)
    elif wanted.part.is_file():
        on_bytes(wanted.part.stat().st_size)
    faults: list[FetchError] = []
    for address in wanted.addresses:
        try:
            _download_from(web, address, wanted, on_bytes)
        except StoppedError:
            raise
        except FetchError as fault:
            faults.append(fault)
        else:
            return
    statuses = [one.status for one in faults if isinstance(one, RefusedError)]
    meanings = [wanted.refusals[one] for one in statuses if one in wanted.refusals]
    found = "; ".join(map(str, faults))
    raise FetchError(
        f"{wanted.path.name}: {found}. {meanings[0] if meanings else web.manual_instructions}"
    )


def _download_from(web: Web, address: str, wanted: RemoteFile, on_bytes: OnBytes) -> None:
    """Download from one address; after a wrong checksum once more from the start."""
    found = ""
    for _ in range(2):
        _complete(web, address, wanted, on_bytes)
        found = md5_of(wanted.part) if wanted.md5 else ""
        if found == wanted.md5:
            _put_in_place(wanted)
            return
        _discard(wanted, on_bytes)
    raise FetchError(f"{address}: its md5 is {found} twice, expected {wanted.md5}")


def _complete(web: Web, address: str, wanted: RemoteFile, on_bytes: OnBytes) -> None:
    """Resume until the part is complete, as long as there is progress."""
    retries = Retries(web.retry_policy)
    longest = _size_of(wanted.part)
    while True:
        try:
            _resume(web, address, wanted, on_bytes)
        except BrokenOffError as fault:
            # Only a longer part is progress: a server may always start from the beginning.
            if _size_of(wanted.part) > longest:
                longest = _size_of(wanted.part)
                retries.progressed()
            if not wanted.md5:
                _discard(wanted, on_bytes)
            retries.wait(fault)
        else:
            return


def _resume(web: Web, address: str, wanted: RemoteFile, on_bytes: OnBytes) -> None:
    """Request the missing bytes once and append them to the part."""
    if wanted.size is not None and _size_of(wanted.part) > wanted.size:
        _discard(wanted, on_bytes)
    offset = _size_of(wanted.part)
    if offset and offset == wanted.size:
        return
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    try:
        with web.open(address, headers) as response:
            if not _continues(response, offset, wanted.size):
                _discard(wanted, on_bytes)
                if response.status_code != 200:
                    raise BrokenOffError(f"{address}: sends another range than was requested")
            _append(address, response, wanted, on_bytes)
    except RefusedError as fault:
        if not offset or fault.status != UNSATISFIABLE:
            raise
        _discard(wanted, on_bytes)
        found = f"{address}: has no more than {offset} bytes, expected {wanted.size}"
        raise BrokenOffError(found) from fault
    length = _size_of(wanted.part)
    if wanted.size is not None and length != wanted.size:
        if length > wanted.size:
            _discard(wanted, on_bytes)
        raise BrokenOffError(f"{address}: ended after {length} bytes, expected {wanted.size}")


def _continues(response: httpx2.Response, offset: int, size: int | None) -> bool:
    """Return whether the response starts where the part ends."""
    if response.status_code == 200:
        return offset == 0
    match = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    if match is None or int(match[1]) != offset:
        return False
    return size is None or match[3] == "*" or int(match[3]) == size


def _append(address: str, response: httpx2.Response, wanted: RemoteFile, on_bytes: OnBytes) -> None:
    """Append the response to the part, up to the expected size."""
    most = MOST_UNSTATED_BYTES if wanted.size is None else wanted.size
    with wanted.part.open("ab") as handle:
        length = handle.tell()
        for chunk in response.iter_raw():
            handle.write(chunk)
            on_bytes(len(chunk))
            length += len(chunk)
            if length > most:
                break
    if wanted.size is None and length > most:
        _discard(wanted, on_bytes)
        raise RefusedError(f"{address}: more than {most:,} bytes, which cannot be the file")


def _put_in_place(wanted: RemoteFile) -> None:
    """Sync the complete part and rename it."""
    with wanted.part.open("ab") as handle:
        os.fsync(handle.fileno())
    wanted.part.replace(wanted.path)


def _discard(wanted: RemoteFile, on_bytes: OnBytes) -> None:
    """Delete the part."""
    length = _size_of(wanted.part)
    if length:
        on_bytes(-length)
    wanted.part.unlink(missing_ok=True)


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


try:
    import fcntl
except ImportError:  # not on Windows; there is then no lock on the folder
    fcntl = None  # type: ignore[assignment]

MEMORY = ".fetched.json"
LOCK = ".fetching.lock"
MOST_WORKERS = 16
NOTES_PER_SECOND = 4
MOST_IN_A_ROW = 25
NO_ROOM = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
POLL_S = 0.2
SHUTDOWN_S = 1.0
SPARE_BYTES = 64 << 20
UNITS = ("bytes", "KB", "MB", "GB", "TB")

Outcome = FetchError | OSError | None


class Memory:
    """Cache of verified files, by size and modification time."""

    def __init__(self, folder: Path) -> None:
        """Read the cache of a folder; a missing or damaged one is empty."""
        self._folder = folder
        self._path = folder / MEMORY
        try:
            self._known: dict[str, list[object]] = dict(json.loads(self._path.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            self._known = {}

    def holds(self, wanted: RemoteFile) -> bool:
        """Return whether this file was verified and not changed since."""
        return wanted.path.is_file() and self._known.get(self._key(wanted)) == _mark(wanted)

    def add(self, wanted: RemoteFile) -> None:
        """Add a verified file."""
        self._known[self._key(wanted)] = _mark(wanted)

    def _key(self, wanted: RemoteFile) -> str:
        return wanted.path.relative_to(self._folder).as_posix()

    def save(self) -> None:
        """Write the cache."""
        write_text(self._path, json.dumps(self._known, indent=0, sort_keys=True))


def _mark(wanted: RemoteFile) -> list[object]:
    status = wanted.path.stat()
    return [status.st_size, status.st_mtime_ns, wanted.md5]


class Meter:
    """Counter of the bytes of all workers, reported as rate-limited notes of progress."""

    def __init__(self, progress: Progress, total: int) -> None:
        """Start with 0 of `total` bytes."""
        self._progress = progress
        self._total = total
        self._n_bytes = 0
        self._lock = threading.Lock()
        self._noted_at = 0.0
        self.stop = threading.Event()

    def add(self, n_bytes: int) -> None:
        """Count bytes; negative for discarded bytes.

        Raises:
            StoppedError: the download was stopped.
        """
        if self.stop.is_set():
            raise StoppedError("stopped")
        with self._lock:
            self._n_bytes += n_bytes
            now = time.monotonic()
            if now - self._noted_at < 1 / NOTES_PER_SECOND:
                return
            self._noted_at = now
            text = f"{format_bytes(self._n_bytes)} of {format_bytes(self._total)}"
        self._progress.note(text)


def format_bytes(n_bytes: int) -> str:
    """Return a number of bytes with a unit, such as `1.2 GB`."""
    value, unit = float(n_bytes), 0
    while abs(value) >= 1000 and unit < len(UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.{1 if unit else 0}f} {UNITS[unit]}"


def download_all(
    web: Web, wanted: Sequence[RemoteFile], folder: Path, progress: Progress, n_workers: int = 4
) -> list[str]:
    """Download files in parallel; existing complete files are skipped.

    Args:
        web: the server.
        wanted: the files, all in the folder.
        folder: of the cache of verified files.
        progress: receives progress.
        n_workers: parallel downloads, at most 16.

    Returns:
        A message for each file that failed. After 25 failures in a row the download ends, with a
        message.

    Raises:
        FetchError: the disk is full or has too little space, or another fetch uses the folder;
            `.part` files are kept.
    """
    _check_unique(wanted)
    with _locked(folder):
        return _download_missing(web, wanted, folder, progress, n_workers)


def _download_missing(
    web: Web, wanted: Sequence[RemoteFile], folder: Path, progress: Progress, n_workers: int
) -> list[str]:
    memory = Memory(folder)
    missing = [one for one in wanted if not memory.holds(one)]
    progress.start("fetch", len(wanted), len(wanted) - len(missing))
    if not missing:
        return []
    _check_room(missing, folder)
    meter = Meter(progress, sum(one.size or 0 for one in missing))
    finished: SimpleQueue[tuple[RemoteFile, Outcome]] = SimpleQueue()
    threads = _start_downloads(web, missing, finished, meter, n_workers)
    try:
        return _gather(finished, len(missing), memory, progress)
    finally:
        meter.stop.set()
        memory.save()
        until = time.monotonic() + SHUTDOWN_S
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock a folder, since two fetches would write to the same parts."""
    with (folder / LOCK).open("a") as handle:
        if fcntl is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FetchError(
                    f"{folder}: another crosstype fetch is at work in this folder. Wait for it, "
                    "or name another --out."
                ) from None
        yield  # a kill releases the lock too


def _gather(
    finished: SimpleQueue[tuple[RemoteFile, Outcome]],
    n_files: int,
    memory: Memory,
    progress: Progress,
) -> list[str]:
    """Wait for all files and return the faults; end after too many failures in a row."""
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
            faults.append(_too_many_failures(n_left))
            break
        progress.step(one.path.name)
    return faults


def _start_downloads(
    web: Web,
    missing: Sequence[RemoteFile],
    finished: SimpleQueue[tuple[RemoteFile, Outcome]],
    meter: Meter,
    n_workers: int,
) -> list[threading.Thread]:
    """Start download threads, which put the outcome of each file into `finished`."""
    tasks: SimpleQueue[RemoteFile] = SimpleQueue()
    for one in missing:
        tasks.put(one)
    arguments = (web, tasks, finished, meter)
    # Daemons, so that Ctrl-C does not wait for an unresponsive server.
    threads = [
        threading.Thread(target=_work, args=arguments, daemon=True)
        for _ in range(max(1, min(n_workers, MOST_WORKERS, len(missing))))
    ]
    for thread in threads:
        thread.start()
    return threads


def _next(finished: SimpleQueue[tuple[RemoteFile, Outcome]]) -> tuple[RemoteFile, Outcome]:
    """Wait for the next file by polling, so that Ctrl-C is handled."""
    while True:
        try:
            return finished.get(timeout=POLL_S)
        except Empty:
            continue


def _work(
    web: Web,
    tasks: SimpleQueue[RemoteFile],
    finished: SimpleQueue[tuple[RemoteFile, Outcome]],
    meter: Meter,
) -> None:
    """Download files until none is left or the download is stopped."""
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


def _outcome(web: Web, wanted: RemoteFile, on_bytes: OnBytes) -> Outcome:
    """Download one file unless it exists; return the error, if any."""
    try:
        if wanted.is_there:
            on_bytes(wanted.size or 0)
        else:
            download(web, wanted, on_bytes)
    except (FetchError, OSError) as fault:
        return fault
    return None


def _check_unique(wanted: Sequence[RemoteFile]) -> None:
    """Raise if two files have the same path, ignoring case."""
    counts = Counter(str(one.path).casefold() for one in wanted)
    repeated = [one.path.name for one in wanted if counts[str(one.path).casefold()] > 1]
    if repeated:
        raise FetchError(f"{repeated[0]}: the server lists two files of this name. Fetch by hand.")


def _check_room(missing: Sequence[RemoteFile], folder: Path) -> None:
    """Raise if the disk has too little space for the missing files."""
    needed = 0
    for one in missing:
        n_present = one.part.stat().st_size if one.part.is_file() else 0
        n_present = one.path.stat().st_size if one.path.is_file() else n_present
        needed += max(0, (one.size or 0) - n_present)
    free = shutil.disk_usage(folder).free
    if needed + SPARE_BYTES > free:
        raise FetchError(
            f"{folder}: has room for {format_bytes(free)}, but {format_bytes(needed)} are missing. "
            "Make room, name another folder with --out, or fetch fewer files."
        )


def _full(wanted: RemoteFile, fault: OSError) -> str:
    remedy = "free space" if fault.errno in NO_ROOM else "correct this"
    return f"{wanted.path}: {fault.strerror or fault}. Stopped; {remedy}; the same command resumes."


def _too_many_failures(n_left: int) -> str:
    return (
        f"{MOST_IN_A_ROW} files in a row failed, so the {n_left} after them were not downloaded. "
        "Later the same command resumes."
    )


CONFIG = "crosstype.toml"
CONFIG_BESIDE = "crosstype.fetched.toml"


@dataclass(frozen=True)
class Fetched:
    """The result of a fetch.

    Attributes:
        n_files: number of complete files.
        notes: messages: titles, licences, choices.
        faults: a message for each failure.
        config: the config that was written; None if there is none.
    """

    n_files: int
    notes: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    config: Path | None = None


def quoted(text: str) -> str:
    """Return a string in TOML syntax."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def write_config(folder: Path, lines: Sequence[str]) -> Path:
    """Write the config; if there is another one, write to `crosstype.fetched.toml` beside it."""
    text = "\n".join(lines) + "\n"
    path = folder / CONFIG
    if path.exists() and path.read_bytes() != text.encode():
        path = folder / CONFIG_BESIDE
    write_text(path, text)
    return path
