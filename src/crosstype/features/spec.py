"""Settings of tile features."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from crosstype.types import Between


@dataclass(frozen=True)
class FeaturesSpec:
    """Source of tile features: existing files, or an encoder."""

    folder: Path | None = None
    """Folder of existing feature files: crosstype, TRIDENT, CLAM or STAMP layout."""

    encoder: str | None = None
    """Encoder of tiles (from slides; unset: resnet50), or the encoder of existing features, for
    files without this metadata."""

    weights: Path | None = None
    """Weights of the encoder as a file (safetensors or .pth); unset: downloaded."""

    precision: Literal["fp32", "reduced"] = "fp32"
    """fp32; reduced: bfloat16 if the machine supports it, about twice as fast."""

    normalisation: Literal["encoder", "none"] = "encoder"
    """encoder: colours are normalised as in the encoder's training; none: they stay between 0 and
    1, the fault of the published code, for `crosstype replay`."""

    batch_size: Annotated[int, Between(1, 100_000)] = 32
    """Tiles per batch of the encoder, views included."""

    n_readers: Annotated[int, Between(1, 256)] = 2
    """Threads that read tiles; results do not depend on it."""

    damaged_tiles: Literal["fail", "skip"] = "fail"
    """Whether a damaged tile fails its slide or is skipped. It never becomes a white tile."""
