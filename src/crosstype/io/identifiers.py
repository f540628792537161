"""Identifiers in tables, and their canonical form."""

from collections.abc import Sequence

from crosstype.tcga import canonical_id


def note_on_ids(where: str, ids: Sequence[str]) -> list[str]:
    """Return a note on the ids of a column that are not in canonical form, or nothing.

    Args:
        where: table and column.
        ids: as written.
    """
    changed = {one: canonical_id(one) for one in dict.fromkeys(ids)}
    changed = {one: read for one, read in changed.items() if one.strip() != read}
    if not changed:
        return []
    first, read = next(iter(changed.items()))
    return [f"{where}: {len(changed)} ids are read in another form, first {first!r} as {read!r}."]
