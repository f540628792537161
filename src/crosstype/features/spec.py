"""What a user may set about tile features."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from crosstype.types import Between


@dataclass(frozen=True)
class FeaturesSpec:
    """Where tile features come from."""

    folder: Path | None = None
    """Folder of existing feature files: crosstype, TRIDENT, CLAM or STAMP layout."""

    encoder: str | None = None
    """Encoder that turns tiles into features (from slides; unset: resnet50), or the one that made
    existing features, where their files do not say it."""

    weights: Path | None = None
    """Weights of the encoder as a file (safetensors or .pth); unset: downloaded."""

    precision: Literal["fp32", "reduced"] = "fp32"
    """fp32; reduced: bfloat16 where the machine has it, about twice as fast."""

    normalisation: Literal["encoder", "none"] = "encoder"
    """encoder: colours are normalised as the encoder was trained; none: they stay between 0 and 1,
    the fault of the published code, for `crosstype replay`."""

    batch_size: Annotated[int, Between(1, 100_000)] = 32
    """Tiles (views counted) that are encoded together."""

    n_readers: Annotated[int, Between(1, 256)] = 2
    """Threads that read tiles; changes no number."""

    damaged_tiles: Literal["fail", "skip"] = "fail"
    """A damaged tile fails its slide, or is passed over. It never becomes a white tile."""
