"""Exceptions of crosstype.

    CrosstypeError          root; exit code 1
    ├── UsageError          the command or its options are invalid; exit code 2
    │   └── ConfigError     the config file is invalid; exit code 2
    ├── InputFaultsError    faults of one input, collected and raised once
    │   ├── TableError          a label, slides or expression table is damaged or inconsistent
    │   ├── FeatureFileError    a feature file is damaged or unusable
    │   └── SlideError          a slide is damaged or lacks metadata
    ├── EncoderError        an encoder is not available: weights, connection, licence
    ├── FetchError          public data are not available: server, connection, disk
    ├── CohortError         the inputs are readable but do not form a cohort
    ├── TrainingError       a model could not be fitted
    └── CheckpointError     a saved model is damaged, or of another version

Messages state where, what was found, what was expected and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class CrosstypeError(Exception):
    """Root of all expected errors, which a user can correct."""

    exit_code = 1


class UsageError(CrosstypeError):
    """The command or its options are invalid."""

    exit_code = 2


class ConfigError(UsageError):
    """The config file is invalid."""


@dataclass(frozen=True)
class Fault:
    """One fault of an input.

    Attributes:
        where: file, and line or column if known.
        found: what was found.
        remedy: what was expected and what to do.
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
        """Store the faults; the message has the first ten."""
        self.faults = (faults,) if isinstance(faults, Fault) else tuple(faults)
        lines = [str(fault) for fault in self.faults[: self.most_shown]]
        if len(self.faults) > self.most_shown:
            lines.append(f"... and {len(self.faults) - self.most_shown} more faults of this file")
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[type[InputFaultsError], tuple[tuple[Fault, ...]]]:
        """Pickle the faults, not the message."""
        return type(self), (self.faults,)


class TableError(InputFaultsError):
    """A label, slides or expression table is damaged or inconsistent."""


class FeatureFileError(InputFaultsError):
    """A feature file is damaged or unusable."""


class SlideError(InputFaultsError):
    """A slide is damaged or lacks metadata, such as its mpp."""


class EncoderError(CrosstypeError):
    """An encoder is not available: weights missing, damaged or another network's, no connection."""


class FetchError(CrosstypeError):
    """Public data are not available: server, connection, checksum or disk."""


class CohortError(CrosstypeError):
    """The inputs are readable but do not form a cohort (no patient in common, one class only)."""


class TrainingError(CrosstypeError):
    """A model could not be fitted."""


class CheckpointError(CrosstypeError):
    """A saved model is damaged, or of another version."""
