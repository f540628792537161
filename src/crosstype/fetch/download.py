"""One file from a server: resumed where it broke off, checked, there whole or not at all."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from crosstype.errors import FetchError
from crosstype.fetch.web import BrokenOffError, RefusedError, StoppedError, Tries, Web

MOST_UNSTATED_BYTES = 64 << 20
CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
UNSATISFIABLE = 416
NOT_A_NAME = re.compile(r'[\x00-\x1f<>:"/\\|?*]')

OnBytes = Callable[[int], None]


@dataclass(frozen=True)
class Wanted:
    """A file that is wanted.

    Attributes:
        path: where it is put. Unfinished, it lies beside it as `<name>.part`.
        addresses: where it is to be had; the next is tried if one fails.
        size: its bytes; None where nobody says.
        md5: its MD5 in hexadecimal; empty where nobody says, and then nothing is resumed.
        refusals: for some HTTP statuses, what they mean here and what to do.
    """

    path: Path
    addresses: tuple[str, ...]
    size: int | None = None
    md5: str = ""
    refusals: Mapping[int, str] = field(default_factory=dict)

    @property
    def part(self) -> Path:
        """Where its beginning is kept until it is whole."""
        return self.path.with_name(self.path.name + ".part")

    @property
    def is_there(self) -> bool:
        """Whether the whole file lies at its place; reads it where there is a checksum."""
        if not self.path.is_file():
            return False
        if self.size is not None and self.path.stat().st_size != self.size:
            return False
        return not self.md5 or md5_of(self.path) == self.md5


def checked_name(name: str) -> str:
    """Return a server's file name if it is a plain one.

    Raises:
        FetchError: it is a path, is hidden, or holds characters that file systems refuse.
    """
    if not name or NOT_A_NAME.search(name) or name.startswith(".") or name != name.strip(" "):
        raise FetchError(f"{name!r}: not a plain file name, so it was not fetched")
    return name


def md5_of(path: Path) -> str:
    """Return the MD5 of a file's bytes, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def download(web: Web, wanted: Wanted, on_bytes: OnBytes) -> None:
    """Download a file, going on from its `.part` if there is one.

    Args:
        web: the server.
        wanted: the file.
        on_bytes: called with the number of bytes that came; negative for bytes thrown away.

    Raises:
        FetchError: it cannot be had; one line that names the file. What came is kept as `.part`.
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
    raise FetchError(f"{wanted.path.name}: {found}. {meanings[0] if meanings else web.by_hand}")


def _download_from(web: Web, address: str, wanted: Wanted, on_bytes: OnBytes) -> None:
    """Download from one address; a wrong checksum is given one more try, from zero."""
    found = ""
    for _ in range(2):
        _complete(web, address, wanted, on_bytes)
        found = md5_of(wanted.part) if wanted.md5 else ""
        if found == wanted.md5:
            _put_in_place(wanted)
            return
        _discard(wanted, on_bytes)
    raise FetchError(f"{address}: its md5 is {found} twice, expected {wanted.md5}")


def _complete(web: Web, address: str, wanted: Wanted, on_bytes: OnBytes) -> None:
    """Go on with the part until it is complete, as often as there is progress."""
    tries = Tries(web.patience)
    longest = _size_of(wanted.part)
    while True:
        try:
            _go_on(web, address, wanted, on_bytes)
        except BrokenOffError as fault:
            # Bytes that came before do not count: a server that always starts anew makes none.
            if _size_of(wanted.part) > longest:
                longest = _size_of(wanted.part)
                tries.progressed()
            if not wanted.md5:
                _discard(wanted, on_bytes)
            tries.wait(fault)
        else:
            return


def _go_on(web: Web, address: str, wanted: Wanted, on_bytes: OnBytes) -> None:
    """Ask once for what is missing and append it to the part."""
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
                    raise BrokenOffError(f"{address}: sends another range than was asked for")
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
    """Whether the answer begins where the part ends."""
    if response.status_code == 200:
        return offset == 0
    match = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    if match is None or int(match[1]) != offset:
        return False
    return size is None or match[3] == "*" or int(match[3]) == size


def _append(address: str, response: httpx2.Response, wanted: Wanted, on_bytes: OnBytes) -> None:
    """Write what comes behind the part; stop where the file must end."""
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


def _put_in_place(wanted: Wanted) -> None:
    """Sync the finished part and give it its name."""
    with wanted.part.open("ab") as handle:
        os.fsync(handle.fileno())
    wanted.part.replace(wanted.path)


def _discard(wanted: Wanted, on_bytes: OnBytes) -> None:
    """Throw away the part."""
    length = _size_of(wanted.part)
    if length:
        on_bytes(-length)
    wanted.part.unlink(missing_ok=True)


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
