"""Conversion of feature files between the layouts of TRIDENT, CLAM, STAMP and crosstype.

Tile positions are in level-0 pixels in TRIDENT and CLAM, in micrometres in STAMP. They are
converted with the slide's mpp, never with a nominal magnification.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import h5py
import numpy as np

from crosstype.errors import Fault, FeatureFileError, SlideError, UsageError
from crosstype.features.formats import open
from crosstype.features.formats.writer import creating_hdf5, writing_features
from crosstype.features.slides_table import table_mpps
from crosstype.features.store import feature_files_in
from crosstype.io.files import replacing
from crosstype.slides.slide import check_mpp
from crosstype.types import file_name_of, identifier_of

Layout = Literal["trident", "clam", "stamp", "crosstype"]
MppOf = Callable[[str, float | None], float | None]
"""Function from a slide's id and the mpp in its file to its mpp; None if unknown."""

GIVE_MPP = "Give it as --mpp, or in the column MPP of --slides-table."
NO_MPP = "the slide's micrometres per pixel (mpp) are unknown, needed to convert"
STAMP_VERSION = "2.0.0"
"""STAMP rejects files of later versions than its own."""
MISSING = "None"
"""TRIDENT's string for unknown values."""
MAGNIFICATIONS = ((0.16, 80), (0.2, 60), (0.3, 40), (0.6, 20), (1.2, 10), (2.4, 5))
"""Nominal magnifications of TRIDENT, by upper limit of um per pixel."""
KEPT = {
    "features", "feats", "coords", "tile_xy_px", "format", "version", "slide_id", "name", "mpp",
    "savetodir", "encoder", "extractor", "tile_size_px", "patch_size", "patch_size_level0",
    "level0_magnification", "target_magnification", "overlap", "overlap_px", "slide_mpp",
    "footprint_px", "unit", "feat_type", "tile_size", "tile_size_um", "stamp_version",
}  # fmt: skip
"""Fields that every layout has, or that follow from them."""


@dataclass(frozen=True)
class SlideFeatures:
    """Features of one slide, and metadata of its tiles; None if unknown.

    Attributes:
        slide_id: the slide.
        features: (n_tiles, n_features) float32.
        tile_xy_px: (n_tiles, 2) float64, level-0 top-left corners.
        slide_mpp: micrometres per level-0 pixel.
        footprint_px: width and height of a tile in level-0 pixels.
        tile_size_px: width and height of the encoder's input tile.
        overlap_px: tile pixels that neighbours share.
        encoder: name of the encoder.
        notes: fields of the file that are not kept, and changes.
    """

    slide_id: str
    features: np.ndarray
    tile_xy_px: np.ndarray | None = None
    slide_mpp: float | None = None
    footprint_px: float | None = None
    tile_size_px: int | None = None
    overlap_px: int | None = None
    encoder: str | None = None
    notes: tuple[str, ...] = ()


def read_slide(path: Path, mpp_of: MppOf) -> SlideFeatures:
    """Read one slide's features in any of the four layouts.

    Raises:
        FeatureFileError: the file is damaged, or mpp is needed and unknown.
    """
    with open.open_features(path) as opened:
        rows = np.asarray(opened.rows[:])
        notes = ("features are rounded to 32 bits",) if rows.dtype.itemsize > 4 else ()
        one = SlideFeatures(identifier_of(path.stem), rows.astype(np.float32), notes=notes)
        one = replace(one, encoder=opened.encoder)
        if path.suffix.lower() != ".pt":
            one = _with_metadata(path, one, opened.rows.file, mpp_of)
        else:
            one = replace(one, slide_mpp=mpp_of(one.slide_id, None))
    if not np.isfinite(one.features).all():
        raise FeatureFileError(Fault(path.name, "NaN or infinite features", "Extract it again."))
    return one


def _with_metadata(path: Path, one: SlideFeatures, file: h5py.File, mpp_of: MppOf) -> SlideFeatures:
    """Return the features with the metadata of an HDF5 file's tiles."""
    name = next((key for key in ("tile_xy_px", "coords") if key in file), None)
    about = open.read_attributes(file.attrs)
    xy = None
    if name is not None:
        about |= open.read_attributes(file[name].attrs)
        xy = open.read_positions(file[name])
        if xy.shape != (len(one.features), 2):
            found = f"coordinates of shape {xy.shape} for {len(one.features)} tiles"
            raise FeatureFileError(Fault(path.name, found, "Expected one (x, y) per tile."))
    slide_id = str(about["slide_id"]) if about.get("format") == open.FORMAT else one.slide_id
    mpp = mpp_of(slide_id, open.first_number(about, "slide_mpp"))
    size_px, footprint_px = open.first_number(about, "tile_size_px", "patch_size"), None
    if "feats" in file:
        xy, footprint_px = _from_micrometres(path, xy, about, mpp)
    else:
        footprint_px = open.first_number(about, "footprint_px", "patch_size_level0")
        tile_mpp = open.first_number(about, "mpp")
        if footprint_px is None and mpp and tile_mpp and size_px:
            footprint_px = size_px * tile_mpp / mpp
    lost = sorted({*file, *about} - KEPT)
    notes = (f"not carried over, since layouts have no field for it: {', '.join(lost)}",)
    overlap_px = open.first_number(about, "overlap_px", "overlap")
    return replace(
        one,
        slide_id=slide_id,
        tile_xy_px=xy,
        slide_mpp=mpp,
        footprint_px=footprint_px,
        tile_size_px=None if size_px is None else round(size_px),
        overlap_px=None if overlap_px is None else round(overlap_px),
        notes=(*one.notes, *(notes if lost else ())),
    )


def _from_micrometres(
    path: Path, xy_um: np.ndarray | None, about: Mapping[str, Any], mpp: float | None
) -> tuple[np.ndarray | None, float | None]:
    """Return STAMP's coordinates and tile size in level-0 pixels."""
    if xy_um is None:
        return None, None
    if str(about.get("unit")) != "um":
        found = f"STAMP coordinates in the unit {about.get('unit')!r}"
        raise FeatureFileError(Fault(path.name, found, "Expected 'um': extract with STAMP 2."))
    if mpp is None:
        raise FeatureFileError(Fault(path.name, f"{NO_MPP} its micrometres into pixels", GIVE_MPP))
    size_um = open.first_number(about, "tile_size_um", "tile_size")
    return xy_um / mpp, None if size_um is None else size_um / mpp


def write_slide(folder: Path, one: SlideFeatures, layout: Layout) -> list[str]:
    """Write one slide's features into a folder; return notes on what was not carried over.

    Raises:
        FeatureFileError: the layout needs an mpp or coordinates that are unknown.
        OSError: the folder cannot be written.
    """
    return [*one.notes, *_WRITERS[layout](folder, one)]


def _write_crosstype(folder: Path, one: SlideFeatures) -> list[str]:
    """Write OUT/<slide>.h5."""
    xy, notes = _rounded_xy(one)
    tile_mpp = None
    if one.slide_mpp and one.footprint_px and one.tile_size_px:
        tile_mpp = one.slide_mpp * one.footprint_px / one.tile_size_px
    known = {
        "slide_id": one.slide_id,
        "encoder": one.encoder,
        "tile_size_px": one.tile_size_px,
        "mpp": tile_mpp,
        "slide_mpp": one.slide_mpp,
        "footprint_px": one.footprint_px,
        "overlap_px": one.overlap_px,
    }
    attributes = {key: value for key, value in known.items() if value is not None}
    path = folder / f"{file_name_of(one.slide_id)}.h5"
    with writing_features(path, attributes, len(xy)) as writer:
        writer.append(xy, one.features)
    missing = [key for key, value in known.items() if value is None]
    return [*notes, *([f"not known, left blank: {', '.join(missing)}"] if missing else [])]


def _write_clam(folder: Path, one: SlideFeatures) -> list[str]:
    """Write OUT/h5_files/<slide>.h5 and OUT/pt_files/<slide>.pt."""
    import torch

    xy, notes = _rounded_xy(one)
    name = file_name_of(one.slide_id)
    with replacing(folder / "pt_files" / f"{name}.pt") as temporary:
        torch.save(torch.from_numpy(one.features), temporary)
    with creating_hdf5(folder / "h5_files" / f"{name}.h5") as file:
        file.create_dataset("features", data=one.features, chunks=True)
        file.create_dataset("coords", data=xy, chunks=True)
    return [*notes, "CLAM has no field for encoder, mpp and tile size"]


def _write_trident(folder: Path, one: SlideFeatures) -> list[str]:
    """Write OUT/features_<encoder>/<slide>.h5 and OUT/patches/<slide>_patches.h5."""
    mpp = _needed_mpp(one, "the size of its tiles into TRIDENT's magnifications")
    xy, notes = _rounded_xy(one)
    encoder = one.encoder or "unknown"
    tile_mpp = None
    if one.footprint_px and one.tile_size_px:
        tile_mpp = mpp * one.footprint_px / one.tile_size_px
    folders = folder / f"features_{file_name_of(encoder)}", folder / "patches"
    about = {
        "patch_size": one.tile_size_px,
        "patch_size_level0": None if one.footprint_px is None else round(one.footprint_px),
        "level0_magnification": _magnification(mpp),
        "target_magnification": None if tile_mpp is None else _magnification(tile_mpp),
        "overlap": one.overlap_px,
        "name": one.slide_id,
        "level0_width": None,
        "level0_height": None,
    }
    unknown = [key for key, value in about.items() if value is None]
    about = {key: MISSING if value is None else value for key, value in about.items()}
    name = file_name_of(one.slide_id)
    for target, file_name in zip(folders, (f"{name}.h5", f"{name}_patches.h5"), strict=True):
        with creating_hdf5(target / file_name) as file:
            coords = file.create_dataset("coords", data=xy.astype(np.int64), chunks=True)
            coords.attrs.update({**about, "savetodir": target.name})
            if target == folders[0]:
                features = file.create_dataset("features", data=one.features, chunks=True)
                named = {"name": one.slide_id, "savetodir": target.name, "encoder": encoder}
                features.attrs.update(named)
                file.attrs.update({"slide_mpp": mpp, "footprint_px": one.footprint_px or np.nan})
    return [*notes, f"not known, 'None' as TRIDENT writes it: {', '.join(unknown)}"]


def _write_stamp(folder: Path, one: SlideFeatures) -> list[str]:
    """Write OUT/<slide>.h5."""
    mpp = _needed_mpp(one, "its pixels into STAMP's micrometres")
    xy = _needed_xy(one)
    notes = []
    with np.errstate(over="ignore"):
        half = one.features.astype(np.float16)
    if not np.isfinite(half).all():
        found = f"features up to {np.abs(one.features).max():g}, but STAMP's 16 bits end at 65504"
        raise FeatureFileError(Fault(one.slide_id, found, "They cannot be stored for STAMP."))
    if not np.array_equal(half.astype(np.float32), one.features):
        notes.append("features are rounded to 16 bits, as STAMP stores them")
    about: dict[str, Any] = {
        "stamp_version": STAMP_VERSION,
        "extractor": one.encoder or "unknown",
        "unit": "um",
        "tile_size_um": None if one.footprint_px is None else one.footprint_px * mpp,
        "tile_size_px": one.tile_size_px,
        "code_hash": "converted by crosstype",
        "feat_type": "tile",
        "slide_mpp": mpp,
    }
    unknown = [key for key, value in about.items() if value is None]
    if unknown:
        notes.append(f"not known, left blank: {', '.join(unknown)}")
    with creating_hdf5(folder / f"{file_name_of(one.slide_id)}.h5") as file:
        file.create_dataset("feats", data=half, chunks=True)
        file.create_dataset("coords", data=(xy * mpp).astype(np.float32), chunks=True)
        file.attrs.update({key: value for key, value in about.items() if value is not None})
    return notes


def _needed_mpp(one: SlideFeatures, what: str) -> float:
    if one.slide_mpp is None:
        raise FeatureFileError(Fault(one.slide_id, f"{NO_MPP} {what}", GIVE_MPP))
    return one.slide_mpp


def _needed_xy(one: SlideFeatures) -> np.ndarray:
    if one.tile_xy_px is None:
        found = "the file holds no coordinates of its tiles"
        raise FeatureFileError(Fault(one.slide_id, found, "Convert the .h5 file instead."))
    return one.tile_xy_px


def _rounded_xy(one: SlideFeatures) -> tuple[np.ndarray, list[str]]:
    """Return coordinates rounded to level-0 pixels, and a note if that moved tiles."""
    xy = _needed_xy(one)
    whole = np.round(xy)
    moved = float(np.abs(whole - xy).max())
    note = "coordinates are rounded to whole level-0 pixels, by at most half a pixel"
    return whole.astype(np.int32), [note] if moved >= 0.01 else []


def _magnification(mpp: float) -> int | str:
    """Return TRIDENT's nominal magnification of an mpp."""
    return next((power for limit, power in MAGNIFICATIONS if mpp < limit), MISSING)


_WRITERS: dict[Layout, Callable[[Path, SlideFeatures], list[str]]] = {
    "trident": _write_trident,
    "clam": _write_clam,
    "stamp": _write_stamp,
    "crosstype": _write_crosstype,
}

LAYOUTS: tuple[Layout, ...] = get_args(Layout)


@dataclass(frozen=True)
class Conversion:
    """Result of a conversion.

    Attributes:
        n_files: number of converted files.
        notes: what was not carried over, with the number of files.
        faults: one for each file that was not converted.
    """

    n_files: int
    notes: Sequence[str]
    faults: Sequence[str]


def layout_named(name: str) -> Layout:
    """Return the layout of a name.

    Raises:
        UsageError: there is no such layout.
    """
    for layout in LAYOUTS:
        if layout == name:
            return layout
    raise UsageError(f"--to: found {name!r}, expected one of {', '.join(LAYOUTS)}.")


def convert_features(
    source: Path,
    out: Path,
    layout: Layout,
    mpp: float | None = None,
    slides_table: Path | None = None,
) -> Conversion:
    """Convert one feature file, or all files of a folder; files that fail are listed.

    Args:
        source: a file, or a folder of TRIDENT, CLAM, STAMP or crosstype features.
        out: folder of the converted files.
        layout: of the converted files.
        mpp: micrometres per level-0 pixel of slides whose files have none.
        slides_table: table with FILENAME and MPP, which overrides the files' mpp.

    Raises:
        UsageError: source and out are the same folder.
        FeatureFileError: there is no feature file.
        SlideError: an implausible mpp.
        OSError: `out` cannot be written.
    """
    files = _files_of(source)
    if out.resolve() in {path.parent.resolve() for path in files}:
        raise UsageError(f"{out}: contains the files to convert. Name another folder.")
    mpp_of = _known_mpps(mpp, slides_table)
    notes: Counter[str] = Counter()
    faults: list[str] = []
    for path in files:
        try:
            notes.update(write_slide(out, read_slide(path, mpp_of), layout))
        except (FeatureFileError, SlideError) as error:
            faults.append(str(error))
    lines = [f"{note} ({n} of {len(files)} files)" for note, n in notes.items()]
    return Conversion(len(files) - len(faults), lines, faults)


def _files_of(source: Path) -> list[Path]:
    """Return the file, or the feature files of a folder or of the only TRIDENT folder in it."""
    if source.is_file():
        if source.suffix.lower() in open.SUFFIXES:
            return [source]
        fault = Fault(str(source), "not a .h5 or .pt file", "Give a file or folder of features.")
        raise FeatureFileError(fault)
    if not source.is_dir():
        raise FeatureFileError(Fault(str(source), "does not exist", "Check the path."))
    found = feature_files_in(source)
    inside = [path for path in sorted(source.glob("features_*")) if path.is_dir()]
    if not found and len(inside) > 1:
        names = f"features of several encoders: {', '.join(path.name for path in inside)}"
        raise FeatureFileError(Fault(str(source), names, "Name one of these folders."))
    if not found and inside:
        found = feature_files_in(inside[0])
    if not found:
        raise FeatureFileError(Fault(str(source), "no .h5 or .pt file", "Name another folder."))
    return [found[name] for name in sorted(found)]


def _known_mpps(default: float | None, slides_table: Path | None) -> MppOf:
    """Return the function for a slide's mpp: of the slides table, then the file, then default."""
    stated = {} if slides_table is None else table_mpps(slides_table)
    if default is not None:
        check_mpp("--mpp", default)

    def mpp_of(slide_id: str, own: float | None) -> float | None:
        for mpp in (stated.get(slide_id), own, default):
            if mpp is not None:
                return check_mpp(slide_id, mpp)
        return None

    return mpp_of
