"""Identifiers that tables spell differently, matched where that is unambiguous."""

from collections import Counter
from collections.abc import Collection, Iterable

from crosstype.tcga import comparable


def spelled_as(ids: Iterable[str], reference: Collection[str]) -> dict[str, str]:
    """Return the reference's spelling of identifiers that are written otherwise there.

    Only where one identifier on each side has that form (see `tcga.comparable`), and the
    reference's own is not among `ids`.
    """
    own = set(ids)
    others, wanted = own.difference(reference), set(reference).difference(own)
    n_own = Counter(map(comparable, others))
    n_wanted = Counter(map(comparable, wanted))
    spelling = {comparable(one): one for one in wanted}
    keys = {one: comparable(one) for one in others}
    return {one: spelling[key] for one, key in keys.items() if n_own[key] == n_wanted[key] == 1}


def spelling_note(
    file_name: str, spelled: dict[str, str], reference: str = "the slides table"
) -> list[str]:
    """Return a note on identifiers that were matched although written otherwise; or nothing."""
    if not spelled:
        return []
    first = min(spelled)
    return [
        f"warning: {len(spelled)} ids of {file_name} are written otherwise than in {reference}, by "
        "case, blanks, invisible characters or R's make.names (dots, X before a digit), and "
        f"matched: {first!r} is {spelled[first]!r}"
    ]
