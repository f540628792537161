"""Cache of parsed expression tables in OUT.

Keys are hashes of the table's content and of the settings of reading. Files are memory-mapped and
verified by a checksum.
"""

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
    """Cache of expression in a folder.

    Attributes:
        folder: one `.npy` and one `.json` per table.
        sha256_of: returns a file's SHA-256.
    """

    folder: Path
    sha256_of: Callable[[Path], str]

    def read(self, path: Path, spec: ExpressionSpec, known_patients: Collection[str]) -> Expression:
        """Return the result of `read_expression`, from the cache if possible.

        Raises:
            TableError, CohortError: as `read_expression`.
        """
        stem = self.folder / self._key(path, spec)
        found = _load(stem)
        if found is None:
            found = read_expression(path, spec, known_patients)
            _save(stem, found)
        check_known(path.name, found.sample_ids, {patient_of(one) for one in known_patients})
        return found

    def _key(self, path: Path, spec: ExpressionSpec) -> str:
        """Return a hash of the contents of all files and of the settings of reading."""
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
    """Return the files of a table or of a folder of GDC counts."""
    if not path.is_dir():
        return [path]
    return sorted(one for one in path.rglob("*.tsv*") if one.is_file())


def _save(stem: Path, expression: Expression) -> None:
    about = {
        "crc32": zlib.crc32(np.ascontiguousarray(expression.values).data),
        "shape": expression.values.shape,
        "sample_ids": expression.sample_ids,
        "genes": expression.genes,
        "measure": expression.measure,
        "notes": expression.notes,
    }
    with replacing(stem.with_suffix(".npy")) as temporary, temporary.open("wb") as handle:
        np.save(handle, expression.values)
    write_text(stem.with_suffix(".json"), json.dumps(about, ensure_ascii=False))


def _load(stem: Path) -> Expression | None:
    """Return the cached expression; None if it is missing or damaged."""
    try:
        about = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))
        values = np.load(stem.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
        if list(values.shape) != about["shape"] or zlib.crc32(values.data) != about["crc32"]:
            return None
        samples, genes, notes = (tuple(about[key]) for key in ("sample_ids", "genes", "notes"))
        return Expression(values, samples, genes, about["measure"], notes)
    except (OSError, ValueError, KeyError, TypeError):
        return None
