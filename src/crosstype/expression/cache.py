"""Expression as it was read last, kept in OUT so that it need not be parsed again.

The file is known by the content of what it was read from and by how; it is mapped, not loaded, and
a checksum tells whether it is whole.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from crosstype.expression.read import Expression, check_known, read_expression
from crosstype.expression.spec import ExpressionSpec
from crosstype.io.files import hash_of, replacing, write_text
from crosstype.tcga import patient_of

VERSION = 1


@dataclass(frozen=True)
class ExpressionCache:
    """Where expression is kept, and how files are fingerprinted.

    Attributes:
        folder: holds one `.npy` and one `.json` per table read.
        sha256_of: gives a file's SHA-256.
    """

    folder: Path
    sha256_of: Callable[[Path], str]

    def read(self, path: Path, spec: ExpressionSpec, known_patients: Collection[str]) -> Expression:
        """Return what `read_expression` does, from the cache if it was read before.

        Raises:
            TableError, CohortError: as `read_expression`.
        """
        place = self.folder / self._key(path, spec)
        found = _load(place)
        if found is None:
            found = read_expression(path, spec, known_patients)
            _save(place, found)
        check_known(path.name, found.sample_ids, {patient_of(one) for one in known_patients})
        return found

    def _key(self, path: Path, spec: ExpressionSpec) -> str:
        """Return a hash over the contents of all files read and over how they are read."""
        files = {"table": expression_files(path)} | {
            key: [one]
            for key, one in (("names", spec.gene_names), ("sheet", spec.sample_sheet))
            if one is not None
        }
        contents = {
            key: [[one.name, self.sha256_of(one)] for one in some if one.is_file()]
            for key, some in files.items()
        }
        settings = replace(spec, gene_names=None, sample_sheet=None)
        return hash_of([VERSION, path.name, contents, settings])


def expression_files(path: Path) -> list[Path]:
    """Return the files that a table or a folder of GDC counts consists of."""
    if not path.is_dir():
        return [path]
    return sorted(one for one in path.rglob("*.tsv*") if one.is_file())


def _save(place: Path, expression: Expression) -> None:
    about = {
        "crc32": zlib.crc32(np.ascontiguousarray(expression.values).data),
        "shape": expression.values.shape,
        "sample_ids": expression.sample_ids,
        "genes": expression.genes,
        "measure": expression.measure,
        "notes": expression.notes,
    }
    with replacing(place.with_suffix(".npy")) as temporary, temporary.open("wb") as handle:
        np.save(handle, expression.values)
    write_text(place.with_suffix(".json"), json.dumps(about, ensure_ascii=False))


def _load(place: Path) -> Expression | None:
    """Return what was kept; None if it is not there or not whole."""
    try:
        about = json.loads(place.with_suffix(".json").read_text(encoding="utf-8"))
        values = np.load(place.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
        if list(values.shape) != about["shape"] or zlib.crc32(values.data) != about["crc32"]:
            return None
        samples, genes, notes = (tuple(about[key]) for key in ("sample_ids", "genes", "notes"))
        return Expression(values, samples, genes, about["measure"], notes)
    except (OSError, ValueError, KeyError, TypeError):
        return None
