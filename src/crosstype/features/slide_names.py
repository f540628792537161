"""Matching of listed slides with files, whose names are often spelled otherwise.

Equal names are always preferred. Otherwise a file is taken where exactly one unused file and one
slide without a file have the same name but for one of the differences in `DIFFERENCES`.
"""

import difflib
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePosixPath

from crosstype.features.formats.open import SUFFIXES
from crosstype.tcga import SECTION, canonical_id
from crosstype.types import file_name_of, identifier_of

SLIDE_SUFFIXES = frozenset(
    {".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".dcm", ".czi"}
    | {".jpg", ".jpeg", ".png", ".qptiff", *SUFFIXES}
)
COPY = re.compile(r"([\s_]*\(\d{1,3}\)|[\s_-]+(copy|kopie)([\s_]*\(?\d{1,3}\)?)?)$", re.IGNORECASE)
"""The end of a file's name that a browser or desktop gives to a second copy."""
UUID = re.compile(r"[._]([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$", re.IGNORECASE)
"""The end of a file's name that GDC gives to each file."""
FEWEST_LETTERS = 0.6
"""Similarity (`difflib`) from which a name counts as near."""
LEAST_START = 6
"""Letters at the start that names without this similarity must have in common."""


def slide_id_of(file_name: str) -> str:
    """Return a slide's id: its file name without folder and suffix."""
    name = PurePosixPath(file_name.strip().replace("\\", "/")).name
    suffix = PurePosixPath(name).suffix
    return name.removesuffix(suffix) if suffix.lower() in SLIDE_SUFFIXES else name


def spelling_of(name: str) -> str:
    """Return a name without differences of spelling: Unicode form, case, blanks, slide suffixes."""
    text = canonical_id(identifier_of(name))
    while (shorter := canonical_id(slide_id_of(text))) != text:
        text = shorter
    return re.sub(r"[\s_]+", " ", text).strip().casefold()


def original_of(name: str) -> str:
    """Return the name without the mark of a copy, such as ` (1)`."""
    return COPY.sub("", name)


def owner_of(slide_id: str, slide_ids: Collection[str]) -> str:
    """Return the id that names a slide's patient: of a copy the original's, if that is there."""
    original = original_of(slide_id)
    return original if original in slide_ids else slide_id


def _without_uuid(name: str) -> str:
    """Return the name without its UUID; of a TCGA slide the barcode up to its section."""
    barcode = SECTION.match(name)
    rest = name[barcode.end() :] if barcode else ""
    return barcode.group() if barcode and rest[:1] in "._" else UUID.sub("", name)


DIFFERENCES: Mapping[str, Callable[[str], str]] = {
    "in Unicode form, case, blanks or a slide suffix": lambda name: name,
    "by the mark of a copy": lambda name: spelling_of(original_of(name)),
    "by a UUID that only one of the two has": _without_uuid,
}
"""What names may differ in, and the function that removes it from a spelling."""


@dataclass(frozen=True)
class MatchedFiles:
    """The files of listed slides.

    Attributes:
        files: of each slide that has one.
        missing: slides without a file, sorted.
        notes: which names differ, and how many.
    """

    files: Mapping[str, Path]
    missing: tuple[str, ...]
    notes: tuple[str, ...]


def match_files(slide_ids: Collection[str], files: Mapping[str, Path]) -> MatchedFiles:
    """Return the file of each slide, by equal names first.

    Args:
        slide_ids: the listed slides.
        files: by name without suffix.
    """
    names = {one: one if one in files else file_name_of(one) for one in slide_ids}
    matched = {one: files[name] for one, name in names.items() if name in files}
    used = {names[one] for one in matched}
    notes = []
    for difference, shortened in DIFFERENCES.items():
        lacking = sorted(set(slide_ids).difference(matched))
        unused = [name for name in files if name not in used]
        if not lacking or not unused:
            break
        found = _pairs(lacking, unused, shortened)
        matched |= {one: files[name] for one, name in found.items()}
        used |= set(found.values())
        if found:
            first = min(found)
            notes.append(
                f"{len(found)} of {len(slide_ids)} listed slides have a file whose name differs "
                f"{difference}, first {files[found[first]].name!r} for {first!r}."
            )
    return MatchedFiles(matched, tuple(sorted(set(slide_ids).difference(matched))), tuple(notes))


def _pairs(
    lacking: Sequence[str], unused: Sequence[str], shortened: Callable[[str], str]
) -> dict[str, str]:
    """Return the unused name of each slide where neither has another candidate."""
    full_names, short_names = _by_spelling(unused, str), _by_spelling(unused, shortened)
    candidates: dict[str, set[str]] = {}
    for one in lacking:
        full = spelling_of(one)
        # One of the two is shortened: two copies, or two UUIDs, are different files.
        found = {*full_names.get(shortened(full), ()), *short_names.get(full, ())}
        if found:
            candidates[one] = found
    claims = Counter(name for found in candidates.values() for name in found)
    alone = {one: next(iter(found)) for one, found in candidates.items() if len(found) == 1}
    return {one: name for one, name in alone.items() if claims[name] == 1}


def _by_spelling(names: Sequence[str], shortened: Callable[[str], str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(shortened(spelling_of(name)), []).append(name)
    return found


def missing_note(
    n_listed: int, missing: Sequence[str], files: Mapping[str, Path], folder: Path
) -> str:
    """Return a sentence on listed slides without a file, with the nearest name in the folder."""
    first = missing[0]
    near = _nearest(spelling_of(first), {spelling_of(name): path for name, path in files.items()})
    nearest = f" (nearest file {near.name!r})" if near else ""
    return (
        f"{len(missing)} listed slides are missing, first {first}{nearest}, of {n_listed}; "
        f"the folder {folder.name} holds {holdings(folder, files)}."
    )


def _nearest(name: str, files: Mapping[str, Path]) -> Path | None:
    """Return the most similar file, else the one with the longest common start."""
    near = difflib.get_close_matches(name, files, n=1, cutoff=FEWEST_LETTERS)
    if near:
        return files[near[0]]
    start = max((_common_start(name, one) for one in files), default=0)
    if start < LEAST_START:
        return None
    return next(path for one, path in files.items() if _common_start(name, one) == start)


def _common_start(one: str, other: str) -> int:
    """Return the number of letters at the start that two names have in common."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def holdings(folder: Path, files: Mapping[str, Path]) -> str:
    """Return what a folder holds, as text: its usable files, else what else is in it."""
    if files:
        return f"{_counted(len(files), 'file')} such as {files[min(files)].name!r}"
    inside = [one for one in folder.iterdir() if not one.name.startswith(".")]
    folders = sorted(one.name for one in inside if one.is_dir())
    suffixes = Counter(one.suffix.lower() or "no suffix" for one in inside if one.is_file())
    parts = [f"{_counted(n, 'file')} with {suffix}" for suffix, n in sorted(suffixes.items())[:3]]
    parts += [f"{_counted(len(folders), 'folder')} such as {folders[0]!r}"] if folders else []
    return " and ".join(parts) or "nothing"


def _counted(number: int, noun: str) -> str:
    """Return a number and its noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
