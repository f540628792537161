"""Every exception of crosstype, under one root.

    CrosstypeError          one clear line for the user; exit code 1
    ├── UsageError          the command or its options cannot be meant so; exit code 2
    │   └── ConfigError     the config file is wrong; exit code 2
    ├── InputFaultsError    faults of one input, collected and raised once
    │   ├── TableError          a label, slides or expression table is damaged or contradicts itself
    │   ├── FeatureFileError    a feature file is damaged or holds what nobody can use
    │   └── SlideError          a slide is damaged, or lacks what reading it needs
    ├── EncoderError        an encoder cannot be had: its weights, its connection, its licence
    ├── FetchError          public data cannot be had: the server, the connection, the disk
    ├── CohortError         the inputs are readable but make no cohort
    ├── TrainingError       a model could not be fitted
    └── CheckpointError     a saved model is damaged, or of another version

A message says where, what was found, what was expected and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class CrosstypeError(Exception):
    """Root of all errors a user can cause and mend."""

    exit_code = 1


class UsageError(CrosstypeError):
    """The command line cannot be meant as it stands."""

    exit_code = 2


class ConfigError(UsageError):
    """The config file is wrong; names the key and the nearest known one."""


@dataclass(frozen=True)
class Fault:
    """One thing wrong in one place.

    Attributes:
        where: file, and line or column where known, as a user would look it up.
        found: what stands there.
        remedy: what was expected and what to do about it.
    """

    where: str
    found: str
    remedy: str

    def __str__(self) -> str:
        """Return the fault as one line."""
        return f"{self.where}: {self.found}. {self.remedy}"


class InputFaultsError(CrosstypeError):
    """An input with one or more faults, collected and raised once."""

    most_shown = 10

    def __init__(self, faults: Sequence[Fault] | Fault) -> None:
        """Keep the faults and write the first ten into the message."""
        self.faults = (faults,) if isinstance(faults, Fault) else tuple(faults)
        lines = [str(fault) for fault in self.faults[: self.most_shown]]
        if len(self.faults) > self.most_shown:
            lines.append(f"... and {len(self.faults) - self.most_shown} more faults of this file")
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[type[InputFaultsError], tuple[tuple[Fault, ...]]]:
        """Travel between processes as the faults, not as the message."""
        return type(self), (self.faults,)


class TableError(InputFaultsError):
    """A label, slides or expression table is damaged or contradicts itself."""


class FeatureFileError(InputFaultsError):
    """A feature file is damaged or holds what nobody can use."""


class SlideError(InputFaultsError):
    """A slide is damaged, or lacks what reading it needs (such as its mpp)."""


class EncoderError(CrosstypeError):
    """An encoder cannot be had: weights missing, damaged or another network's, hub out of reach."""


class FetchError(CrosstypeError):
    """Public data cannot be had: server, connection, checksum or disk; what was had is kept."""


class CohortError(CrosstypeError):
    """The inputs are readable but make no cohort (nobody in common, one class only...)."""


class TrainingError(CrosstypeError):
    """A model could not be fitted."""


class CheckpointError(CrosstypeError):
    """A saved model is damaged, or of another version."""
