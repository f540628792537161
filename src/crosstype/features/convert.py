"""Feature files from one tool's layout into another's: a file, or a folder of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from crosstype.errors import Fault, FeatureFileError, SlideError, UsageError
from crosstype.features.exchange import Layout, MppOf, read_slide, write_slide
from crosstype.features.layouts import SUFFIXES
from crosstype.features.sources import table_mpps
from crosstype.features.store import feature_files_in
from crosstype.slides.slide import check_mpp

LAYOUTS: tuple[Layout, ...] = get_args(Layout)


@dataclass(frozen=True)
class Conversion:
    """What became of the files.

    Attributes:
        n_files: how many were converted.
        notes: what was not carried over, a line each, with the number of files.
        faults: why files were not converted, a line each.
    """

    n_files: int
    notes: Sequence[str]
    faults: Sequence[str]


def layout_named(name: str) -> Layout:
    """Return the layout that a user means.

    Raises:
        UsageError: there is none of that name.
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
    """Convert one feature file, or every one of a folder; what fails is listed, the rest goes on.

    Args:
        source: a file, or a folder of TRIDENT, CLAM, STAMP or crosstype features.
        out: folder that receives the files.
        layout: that of `out`.
        mpp: micrometres per level-0 pixel of slides whose files state none.
        slides_table: table with FILENAME and MPP, which goes before what files state.

    Raises:
        UsageError: source and out are the same place.
        FeatureFileError: nothing there is a feature file.
        SlideError: an mpp that cannot be.
        OSError: `out` cannot be written.
    """
    files = _files_of(source)
    if out.resolve() in {path.parent.resolve() for path in files}:
        raise UsageError(f"{out}: holds the files to convert. Name another folder.")
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
    """Return the feature files of a folder, also of the one TRIDENT folder in it, or the file."""
    if source.is_file():
        if source.suffix in SUFFIXES:
            return [source]
        fault = Fault(str(source), "not a .h5 or .pt file", "Give a file or folder of features.")
        raise FeatureFileError(fault)
    if not source.is_dir():
        raise FeatureFileError(Fault(str(source), "is not there", "Check the path."))
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
    """Return who knows mpps: the slides table, then the file, then the default."""
    stated = {} if slides_table is None else table_mpps(slides_table)
    if default is not None:
        check_mpp("--mpp", default)

    def mpp_of(slide_id: str, own: float | None) -> float | None:
        for mpp in (stated.get(slide_id), own, default):
            if mpp is not None:
                return check_mpp(slide_id, mpp)
        return None

    return mpp_of
