"""A run, and the interface of its stages: settings, inputs, outputs and `run`."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from crosstype.config.run_spec import RunSpec
from crosstype.io.files import HashCache
from crosstype.io.schema import MARK, TABLES
from crosstype.io.tables import read_table, write_table
from crosstype.progress import NoProgress, Progress
from crosstype.protocol import Protocol, protocol_named

MARKED = {table.path for table in TABLES if table.is_marked}


@dataclass
class Run:
    """One config run into one OUT.

    Attributes:
        spec: all settings.
        out: folder that receives everything.
        n_workers: training processes at once; changes no number. With one, training runs in this
            process.
        progress: receives how far each stage is.
        command: how it was called, for run.json.
        faults: damaged inputs that were listed and skipped; if any, the exit code is 1.
        mended: a protocol that no config can name, in place of the config's; of a study.
        force: whether the last requested stage is run again although its result is there.
    """

    spec: RunSpec
    out: Path
    n_workers: int = 2
    progress: Progress = field(default_factory=NoProgress)
    command: str = "crosstype.run"
    faults: list[str] = field(default_factory=list)
    mended: Protocol | None = None
    force: bool = False

    @property
    def protocol(self) -> Protocol:
        """Return the protocol that the config names, or what a study made of it."""
        return self.mended or protocol_named(self.spec.folds.protocol)

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the classes, in order."""
        return tuple(one.name for one in self.spec.cohort.classes)


class Stage(ABC):
    """One stage of a run.

    The ledger recognises a finished stage by its settings, its inputs, its outputs and the code
    that makes them; anything else is run again.

    Attributes:
        name: as the user knows it.
        modules: where its code begins; what they import counts too.
        counts_pieces: whether it shows its progress piece by piece itself.
        of: the run it belongs to.
        hashes: fingerprints of files.
    """

    name: ClassVar[str]
    modules: ClassVar[tuple[str, ...]]
    counts_pieces: ClassVar[bool] = False

    def __init__(self, of: Run, hashes: HashCache) -> None:
        """Make the stage of a run."""
        self.of = of
        self.hashes = hashes

    @abstractmethod
    def settings(self) -> Any:
        """Return every setting, besides files, on which the result depends."""

    @abstractmethod
    def inputs(self) -> Mapping[str, Path]:
        """Return the files it reads, by a name that does not change with their place."""

    @abstractmethod
    def outputs(self) -> Sequence[str]:
        """Return the names of the files in OUT that it leaves."""

    @abstractmethod
    def run(self) -> Mapping[str, Any]:
        """Make the outputs; return notes that JSON can hold, which are kept with the stage.

        Of these the terminal shows `summary`, a line on what the stage came to unless it counts
        its pieces, and `messages`, lines that the user must read; `faults` lists damaged inputs.
        """

    def mark(self) -> None:
        """Write into every marked table made under a leaking protocol that it was."""
        protocol = self.of.protocol
        if not protocol.leaks:
            return
        words = f"{protocol.name}: {'; '.join(protocol.leaks)}"
        for name in MARKED.intersection(self.outputs()):
            path = self.of.out / name
            if path.exists() and not pl.read_csv(path, n_rows=1).is_empty():
                write_table(path, read_table(path).with_columns(pl.lit(words).alias(MARK)))

    def discard(self) -> None:
        """Remove what an earlier run of the stage left, so that all of it is made again."""
        for name in self.outputs():
            (self.of.out / name).unlink(missing_ok=True)
