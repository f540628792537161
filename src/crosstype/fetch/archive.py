"""Safe unpacking of downloaded zip archives."""

import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from crosstype.errors import FetchError
from crosstype.fetch.download import format_bytes
from crosstype.io.files import replacing

MOST_MEMBERS = 2_000_000
MOST_BYTES = 500 * 10**9
MOST_TIMES_LARGER = 200
SMALL_BYTES = 64 << 20
LIMITS = (
    f"at most {MOST_MEMBERS:,} members, {format_bytes(MOST_BYTES)} in all, and none over "
    f"{format_bytes(SMALL_BYTES)} that grows more than {MOST_TIMES_LARGER} times"
)
TILE = re.compile(r"(?:^|/)([^/]+)/\1_\(\d+, ?\d+\)\.(?:jpe?g|png)$", re.I)
DRIVE = re.compile(r"^[A-Za-z]:")
IMAGES = (".jpg", ".jpeg", ".png")


def members_of(path: Path) -> list[zipfile.ZipInfo]:
    """Return the files in a zip, folders left out.

    Raises:
        FetchError: it is damaged, or exceeds the limits.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [one for one in archive.infolist() if not one.is_dir()]
    except (zipfile.BadZipFile, NotImplementedError) as fault:
        raise FetchError(f"{path.name}: damaged zip ({fault}). Remove it, fetch again.") from None
    n_bytes = sum(one.file_size for one in members)
    if len(members) > MOST_MEMBERS or n_bytes > MOST_BYTES:
        raise FetchError(
            f"{path.name}: {len(members):,} members of {format_bytes(n_bytes)}. Expected {LIMITS}; "
            "nothing was unpacked."
        )
    return members


def tile_slides_in(members: Sequence[zipfile.ZipInfo]) -> list[str]:
    """Return the slides with tiles in a zip, `<slide>/<slide>_(x,y).jpg`, by name."""
    matches = (TILE.search(one.filename) for one in members)
    return sorted({match[1] for match in matches if match})


def is_tile_zip(members: Sequence[zipfile.ZipInfo]) -> bool:
    """Return whether a zip has tiles and no other files, so that it is read without unpacking."""
    names = [one.filename.lower() for one in members]
    return bool(tile_slides_in(members)) and all(name.endswith(IMAGES) for name in names)


def bad_members(path: Path, members: Sequence[zipfile.ZipInfo]) -> dict[str, str]:
    """Return a message for each member that cannot be unpacked, by the member's name."""
    faults: dict[str, str] = {}
    taken: set[str] = set()
    for one in members:
        reason = _reason_against(one)
        folded = one.filename.casefold()
        if not reason and folded in taken:
            reason = "is repeated"
        taken.add(folded)
        if reason:
            faults[one.filename] = f"{path.name}: member {one.orig_filename!r} {reason}; left out."
    return faults


def unpack(path: Path, folder: Path) -> list[str]:
    """Unpack a zip; existing members with the same content are skipped.

    Args:
        path: the zip.
        folder: of the members; nothing is written outside it.

    Returns:
        A message for each member that was left out.

    Raises:
        FetchError: the zip is damaged or exceeds the limits.
    """
    members = members_of(path)
    faults = bad_members(path, members)
    lines = list(faults.values())
    with zipfile.ZipFile(path) as archive:
        for one in members:
            if one.filename in faults:
                continue
            target = folder / one.filename
            if _is_same(target, one):
                continue
            try:
                with (
                    replacing(target) as temporary,
                    archive.open(one) as source,
                    temporary.open("wb") as handle,
                ):
                    shutil.copyfileobj(source, handle)
            except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as fault:
                lines.append(f"{path.name}: member {one.filename!r} is damaged ({fault}).")
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                lines.append(f"{path.name}: member {one.filename!r} has the path of a folder.")
    return lines


def _reason_against(one: zipfile.ZipInfo) -> str:
    """Return why a member is not unpacked; empty if it is."""
    name = one.orig_filename
    kind = stat.S_IFMT(one.external_attr >> 16)
    grows = one.file_size > MOST_TIMES_LARGER * max(one.compress_size, 1)
    reasons = {
        "has a name that is no plain path": "\0" in name or "\\" in name or DRIVE.match(name),
        "is an absolute path": name.startswith("/"),
        "leads out of the zip": ".." in name.split("/"),
        "has a name that is no plain path ": not {".", ""}.isdisjoint(name.split("/")),
        "is a link or a device": kind not in (0, stat.S_IFREG),
        "is encrypted": one.flag_bits & 0x1,
        f"grows to {format_bytes(one.file_size)} (expected {LIMITS})": grows
        and one.file_size > SMALL_BYTES,
    }
    return next((reason.strip() for reason, holds in reasons.items() if holds), "")


def _is_same(target: Path, one: zipfile.ZipInfo) -> bool:
    """Return whether a member is already unpacked, by size and checksum."""
    if not target.is_file() or target.stat().st_size != one.file_size:
        return False
    checksum = 0
    with target.open("rb") as handle:
        while chunk := handle.read(1 << 20):
            checksum = zlib.crc32(chunk, checksum)
    return checksum == one.CRC
