"""What a user may set about tile features."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FeaturesSpec:
    """Where tile features come from."""

    folder: Path | None = None
    """Folder of existing feature files: crosstype, TRIDENT, CLAM or STAMP layout."""

    encoder: str | None = None
    """Name of the encoder that made the features, where the files do not say it."""
