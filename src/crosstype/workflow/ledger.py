"""Cache of finished stages, by settings, inputs, code and outputs."""

import json
import sys
import time
from pathlib import Path
from typing import Any

from crosstype.io.files import HashCache, code_version, hash_of, write_text
from crosstype.workflow.stage import Stage

MAXRSS_PER_MIB = 1024 if sys.platform == "linux" else 1024**2  # Linux counts in KiB


class Ledger:
    """The finished stages of OUT, each with its hash, outputs, seconds and memory."""

    def __init__(self, out: Path) -> None:
        """Open or begin the ledger of this OUT."""
        self.out = out
        self._folder = out / ".stages"
        self.hashes = HashCache(self._folder / "sha256.json")

    def do(self, stage: Stage, *, force: bool = False) -> dict[str, Any]:
        """Run the stage unless its result is in OUT already; return its record.

        A stage that fails, or is killed, leaves no record and is run again next time.

        Args:
            stage: the stage.
            force: run it although its result is there.
        """
        inputs = {name: self.hashes.sha256_of(path) for name, path in stage.inputs().items()}
        code = code_version(*stage.modules)
        key = hash_of([code, stage.name, stage.settings(), inputs])
        record = self._record(stage.name)
        if force:
            stage.discard()
        elif record.get("hash") == key and record.get("outputs") == self._outputs(stage):
            return record
        self._path(stage.name).unlink(missing_ok=True)
        began = time.monotonic()
        notes = dict(stage.run())
        stage.mark()
        record = {
            "hash": key,
            "seconds": round(time.monotonic() - began, 2),
            "peak_memory_mb": _peak_memory_mib(),
            "inputs": inputs,
            "notes": notes,
            "outputs": self._outputs(stage),
        }
        write_text(self._path(stage.name), json.dumps(record, indent=1, ensure_ascii=False))
        self.hashes.save()
        return record

    def _outputs(self, stage: Stage) -> dict[str, str | None]:
        paths = {name: self.out / name for name in stage.outputs()}
        return {
            name: self.hashes.sha256_of(path) if path.exists() else None
            for name, path in paths.items()
        }

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _record(self, name: str) -> dict[str, Any]:
        try:
            record: dict[str, Any] = json.loads(self._path(name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return record


def _peak_memory_mib() -> float | None:
    """Return the peak memory of this process or its largest finished child; None on Windows."""
    if sys.platform == "win32":
        return None
    import resource

    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return round(max(own, children) / MAXRSS_PER_MIB, 1)
