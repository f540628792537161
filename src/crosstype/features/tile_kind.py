"""The kind of a file's tiles: encoder, tile size and magnification, in the words of any layout.

Two kinds differ only in what both state. TRIDENT states a magnification and a tile size in pixels,
STAMP a tile size in micrometres, CLAM a tile size in pixels and a level of the slide's pyramid, and
crosstype all but these two by micrometres per pixel (mpp).
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import h5py

from crosstype.errors import Fault, FeatureFileError
from crosstype.features.encoders.catalog import ENCODERS
from crosstype.features.formats.open import HDF5_SUFFIXES, first_number, read_attributes

TOLERANCE = 0.05
"""Relative difference that is none: scanners' pixels vary by 2% about their nominal size."""
NOMINAL_FACTOR = 1.4
"""Factor between a nominal magnification and micrometres per pixel that is another magnification:
pixels of 20x slides measure 0.4 to 0.6 um, of 40x slides 0.2 to 0.3 um."""
MPP_AT_1X = 10.0
"""Micrometres per pixel times nominal magnification."""


@dataclass(frozen=True)
class FeatureInput:
    """Feature input of a fitted model, or of one file; None where files have no such metadata.

    Attributes:
        encoder: its name; empty if neither files nor config name it.
        n_features: features per tile.
        weights_sha256: of the encoder's weights.
        transform: preprocessing of tiles.
        tile_size_px: width of a tile in its own pixels.
        mpp: micrometres per pixel of the tile.
        magnification: nominal magnification of the tile, such as 20.
        tile_size_um: width of a tile in micrometres.
        level: level of the slide's pyramid that tiles were read from, 0 the finest.
    """

    encoder: str
    n_features: int
    weights_sha256: str | None = None
    transform: str | None = None
    tile_size_px: float | None = None
    mpp: float | None = None
    magnification: float | None = None
    tile_size_um: float | None = None
    level: float | None = None

    @property
    def nominal_mpp(self) -> float | None:
        """Micrometres per pixel, from the nominal magnification if only that is stated."""
        if self.mpp is None and self.magnification:
            return MPP_AT_1X / self.magnification
        return self.mpp

    @property
    def width_um(self) -> float | None:
        """Width of a tile in micrometres, by stated micrometres only."""
        if self.tile_size_um is None and self.mpp and self.tile_size_px:
            return self.mpp * self.tile_size_px
        return self.tile_size_um

    @property
    def nominal_width_um(self) -> float | None:
        """Width of a tile in micrometres, by the nominal magnification if only that is stated."""
        if self.width_um is None and self.nominal_mpp and self.tile_size_px:
            return self.nominal_mpp * self.tile_size_px
        return self.width_um


def stated_by(path: Path) -> dict[str, Any]:
    """Return a feature file's metadata other than encoder and number of features.

    Raises:
        FeatureFileError: the file cannot be read.
    """
    if path.suffix.lower() not in HDF5_SUFFIXES:
        return {}
    try:
        with h5py.File(path, "r", locking=False) as file:
            about = read_attributes(file.attrs)
            for name in ("features", "feats", "coords", "tile_xy_px"):
                if name in file:
                    about |= read_attributes(file[name].attrs)
    except (OSError, RuntimeError, KeyError) as error:
        raise FeatureFileError(
            Fault(path.name, f"cannot be read ({error})", "Extract or copy the file again.")
        ) from None
    texts = {key: str(about[key]) for key in ("weights_sha256", "transform") if key in about}
    numbers = _scales_of(about)
    return texts | {key: value for key, value in numbers.items() if value is not None}


def _scales_of(about: Mapping[str, Any]) -> dict[str, float | None]:
    """Return tile size and magnification, from a file's attributes in any layout."""
    in_um = str(about.get("unit")) == "um"  # of STAMP, whose early files call it tile_size
    size_px = first_number(about, "tile_size_px", "patch_size", *(() if in_um else ("tile_size",)))
    size_um = first_number(about, "tile_size_um", *(("tile_size",) if in_um else ()))
    footprint_px = first_number(about, "footprint_px", "patch_size_level0")
    slide_mpp = first_number(about, "slide_mpp")
    mpp = first_number(about, "mpp")
    if mpp is None and size_px and size_um:
        mpp = size_um / size_px
    if mpp is None and size_px and footprint_px and slide_mpp:
        mpp = slide_mpp * footprint_px / size_px
    magnification = _magnification(about, "target_magnification", "magnification")
    at_level_0 = _magnification(about, "level0_magnification")
    if magnification is None and at_level_0 and size_px and footprint_px:
        magnification = at_level_0 * size_px / footprint_px
    return {
        "tile_size_px": size_px,
        "mpp": mpp,
        "magnification": magnification,
        "tile_size_um": size_um,
        "level": first_number(about, "patch_level"),
    }


def _magnification(about: Mapping[str, Any], *keys: str) -> float | None:
    """Return the first of these attributes that is a magnification, such as 20 or `20x`."""
    texts = {key: re.sub(r"\s*x$", "", str(about[key]), flags=re.I) for key in keys if key in about}
    found = first_number(texts, *keys)
    return found if found and found > 0 else None


@dataclass(frozen=True)
class TileProperty:
    """A property in which kinds of tiles can differ.

    Attributes:
        name: for messages.
        shown: returns the property as text; empty if it is not stated.
        differ: returns whether two kinds that both state it differ.
    """

    name: str
    shown: Callable[[FeatureInput], str]
    differ: Callable[[FeatureInput, FeatureInput], bool]


def _equal_property(name: str, key: str) -> TileProperty:
    """Return a property whose values are equal or different."""

    def shown(one: FeatureInput) -> str:
        value = getattr(one, key)
        if value is None or value == "":
            return ""
        return f"{value:g}" if isinstance(value, float) else repr(value)

    return TileProperty(name, shown, lambda one, other: shown(one) != shown(other))


def _apart(one: float, other: float, factor: float = 1 + TOLERANCE) -> bool:
    """Return whether two positive numbers differ by more than a factor."""
    return max(one, other) > min(one, other) * factor


def _scales_differ(one: FeatureInput, other: FeatureInput) -> bool:
    """Return whether magnifications differ, or micrometres per pixel where these are unknown."""
    if one.magnification and other.magnification:
        return _apart(one.magnification, other.magnification)
    if one.mpp and other.mpp:
        return _apart(one.mpp, other.mpp)
    mine, theirs = one.nominal_mpp, other.nominal_mpp
    return bool(mine and theirs and _apart(mine, theirs, NOMINAL_FACTOR))


def _widths_differ(one: FeatureInput, other: FeatureInput) -> bool:
    """Return whether tiles are of other micrometres, the variation of scanners apart."""
    nominal = bool(one.magnification and other.magnification)
    if one.width_um and other.width_um and not nominal:
        return _apart(one.width_um, other.width_um)
    mine, theirs = one.nominal_width_um, other.nominal_width_um
    return bool(mine and theirs and _apart(mine, theirs, NOMINAL_FACTOR))


def _scale_shown(one: FeatureInput) -> str:
    if one.magnification:
        return f"{one.magnification:g}x"
    return f"{one.mpp:.4g} micrometres per pixel (mpp)" if one.mpp else ""


def _width_shown(one: FeatureInput) -> str:
    width_um = one.nominal_width_um
    return f"{width_um:.4g} micrometres" if width_um else ""


PROPERTIES = (
    _equal_property("features per tile", "n_features"),
    _equal_property("encoder", "encoder"),
    _equal_property("weights (SHA-256)", "weights_sha256"),
    _equal_property("transform", "transform"),
    _equal_property("tile size in pixels", "tile_size_px"),
    TileProperty("magnification", _scale_shown, _scales_differ),
    TileProperty("tile size", _width_shown, _widths_differ),
    _equal_property("level of the pyramid", "level"),
)
"""In this order the first difference is told."""


def _contradict(of: TileProperty, one: FeatureInput, other: FeatureInput) -> bool:
    """Return whether both state a property, and differently."""
    return bool(of.shown(one) and of.shown(other)) and of.differ(one, other)


def difference(found: FeatureInput, wanted: FeatureInput) -> str:
    """Return a message on the first difference of a file from a model, or an empty string."""
    for one in PROPERTIES:
        if _contradict(one, found, wanted):
            own, expected = one.shown(found), one.shown(wanted)
            return f"found {one.name} {own}, expected {expected}, on which this model was fitted"
    return ""


def minority_faults(kinds: Mapping[str, FeatureInput], folder: str) -> dict[str, str]:
    """Return a fault for each slide whose tiles are of another kind than the majority's.

    Args:
        kinds: kind of each usable slide's tiles.
        folder: of the files, for messages.

    Raises:
        FeatureFileError: two kinds are equally common.
    """
    faults: dict[str, str] = {}
    for one in PROPERTIES:
        left = {slide: kind for slide, kind in kinds.items() if slide not in faults}
        usual = _usual(one, list(left.values()), folder)
        if usual is None:
            continue
        count = _support(one, usual, left.values())
        for slide, kind in left.items():
            if _contradict(one, kind, usual):
                faults[slide] = (
                    f"{slide}: {one.name} {one.shown(kind)}, but {one.shown(usual)} in {count} "
                    "other files. Use one encoder and one kind of tiles for all slides."
                )
    return faults


def _support(of: TileProperty, usual: FeatureInput, kinds: Collection[FeatureInput]) -> int:
    """Return the number of kinds that state a property and do not contradict `usual`."""
    stated = [one for one in kinds if of.shown(one)]
    return sum(not _contradict(of, one, usual) for one in stated)


def _usual(of: TileProperty, kinds: Sequence[FeatureInput], folder: str) -> FeatureInput | None:
    """Return the most common kind in one property; None if there are no two different ones."""
    distinct = {(of.shown(one), one.mpp is None): one for one in kinds if of.shown(one)}
    if len(distinct) < 2:
        return None
    counts = {key: _support(of, one, kinds) for key, one in distinct.items()}
    best = max(sorted(counts), key=lambda key: counts[key])
    usual = distinct[best]
    for key in sorted(counts):
        if counts[key] == counts[best] and _contradict(of, distinct[key], usual):
            sides = (_side(of, one, kinds) for one in (usual, distinct[key]))
            found = f"two kinds of tiles, equally common: {' and '.join(sides)}"
            raise FeatureFileError(
                Fault(folder, found, "Keep the files of one encoder and one kind of tiles.")
            )
    return usual


def _side(of: TileProperty, one: FeatureInput, kinds: Collection[FeatureInput]) -> str:
    """Return how many slides are of a kind, in words."""
    return f"{_support(of, one, kinds)} slides with {of.name} {of.shown(one)}{_encoders(of, one)}"


def _encoders(of: TileProperty, one: FeatureInput) -> str:
    """Return which encoders have so many features per tile, if that is the difference."""
    names = [card.name for card in ENCODERS.values() if card.n_features == one.n_features]
    if of is not PROPERTIES[0] or not names:
        return ""
    return f" (as {', '.join(sorted(names))})"


def alike(stated: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the metadata that no two files contradict each other in, of those that state it."""
    found: dict[str, Any] = {}
    for key in [one.name for one in fields(FeatureInput)][2:]:
        values = [one[key] for one in stated if key in one]
        if not values:
            continue
        if all(value == values[0] for value in values):
            found[key] = values[0]
        elif key in ("mpp", "tile_size_um") and not _apart(min(values), max(values)):
            found[key] = sorted(values)[len(values) // 2]
    return found
