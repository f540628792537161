"""OpenSeadragon, which draws slides in the browser; fetched once, from npm.

It is no Python package, so that pip cannot bring it. `npm pack` checks what it fetches against the
registry; the archive must also be the one that this version was tested with.
"""

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from crosstype.errors import FetchError, UsageError

VERSION = "6.1.1"
SHA256 = "b4ab2942f33b90e0448e4d20fc5ed14cee049f1f3ae49d70afd4b05e9a2f92d0"
BUILD = "package/build/openseadragon/"
LEAST = "openseadragon.min.js"


def assets_folder() -> Path:
    """Return the folder of OpenSeadragon in the user's cache."""
    cache = os.environ.get("CROSSTYPE_CACHE") or os.environ.get("XDG_CACHE_HOME")
    base = Path(cache) if cache else Path.home() / ".cache"
    return base / "crosstype" / f"openseadragon-{VERSION}"


def need_assets() -> Path:
    """Return the folder with OpenSeadragon; raises UsageError where it was not fetched yet."""
    folder = assets_folder()
    if not (folder / LEAST).is_file():
        raise UsageError(
            f"view: OpenSeadragon {VERSION}, which draws the slides, is not on this machine yet. "
            "Fetch it once: `crosstype fetch viewer` (by npm, or --archive FILE without a network)."
        )
    return folder


def fetch_assets(archive: Path | None) -> Path:
    """Put OpenSeadragon into the cache and return its folder; what is there stays.

    Args:
        archive: npm's archive of it; None: `npm pack` fetches it.

    Raises:
        FetchError: npm is not there or fails, or the archive is another one.
    """
    folder = assets_folder()
    if (folder / LEAST).is_file():
        return folder
    with tempfile.TemporaryDirectory() as place:
        path = archive or _packed(Path(place))
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != SHA256:
            raise FetchError(
                f"{path.name}: found sha256 {found[:12]}..., expected {SHA256[:12]}... of "
                f"OpenSeadragon {VERSION}. Fetch that version."
            )
        _unpack(path, folder)
    return folder


def _packed(folder: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise FetchError(
            "fetch viewer: there is no npm on this machine. Install it, or get the archive of "
            f"openseadragon {VERSION} elsewhere and name it by --archive."
        )
    words = [npm, "pack", f"openseadragon@{VERSION}", "--silent"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    path = folder / f"openseadragon-{VERSION}.tgz"
    if done.returncode or not path.is_file():
        found = (done.stderr.strip() or "no word").splitlines()[-1]
        raise FetchError(f"fetch viewer: npm failed ({found}). Check the network and try again.")
    return path


def _unpack(path: Path, folder: Path) -> None:
    """Copy script, pictures and licence, whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as place, tarfile.open(path) as archive:
        new = Path(place) / "new"
        for one in archive.getmembers():
            wanted = one.name == BUILD + LEAST or one.name.startswith(BUILD + "images/")
            if one.isfile() and (wanted or one.name == "package/LICENSE.txt"):
                target = new / one.name.removeprefix(BUILD).removeprefix("package/")
                target.parent.mkdir(parents=True, exist_ok=True)
                source = archive.extractfile(one)
                target.write_bytes(source.read() if source else b"")
        new.rename(folder)
