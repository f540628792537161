"""Reader of AnnData (`.h5ad`) and MuData (`.h5mu`) files: obs are samples, var are genes."""

import mmap
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from crosstype.errors import CohortError, Fault, TableError
from crosstype.expression.genes.names import ENSEMBL
from crosstype.expression.matrix import RawExpression
from crosstype.expression.readers.table import SYMBOL_COLUMNS, n_known, shown
from crosstype.expression.spec import ExpressionSpec
from crosstype.expression.units import Measure

GENE_MODALITIES = ("rna", "gex", "expression", "transcriptome")
UNREADABLE = (
    OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError, IndexError,
    OverflowError, AssertionError, MemoryError,
)  # fmt: skip
"""Exceptions of anndata, mudata and HDF5 for damaged files, as found on 1,100 of them."""


def read_scverse(path: Path, spec: ExpressionSpec, known: Collection[str] = ()) -> RawExpression:
    """Read an AnnData file, or one modality of a MuData file.

    Args:
        path: `.h5ad` or `.h5mu`.
        spec: `layer` names a layer (unset: X); `modality` a modality of MuData.
        known: patients of the other tables, by which a column of obs may name the samples.

    Raises:
        TableError: the file is damaged, or lacks the layer or the modality.
    """
    data, about = _opened(path, spec)
    matrix = data.X if spec.layer is None else _named(path, data.layers, spec.layer, "layer")
    if matrix is None:
        found = f"no X; layers {shown(sorted(data.layers)) or 'none'}"
        raise TableError(Fault(path.name, found, "Name one as layer under [expression]."))
    if hasattr(matrix, "toarray"):
        matrix = matrix.toarray()
    values = np.asarray(matrix, dtype=np.float32)
    notes: tuple[str, ...] = ()
    bad = np.argwhere(np.isinf(values))
    if len(bad):
        where = f"{path.name} observation {data.obs_names[bad[0][0]]!r}"
        raise TableError(Fault(where, "an infinite value", "Expected numbers."))
    if spec.layer is None and "log1p" in data.uns:
        values, logged = _base_two(values, data.uns["log1p"])
        notes = (logged,)
    genes, note = _names_of_genes(data)
    of = "X" if spec.layer is None else f"layer {spec.layer}"
    samples, named = _names_of_samples(data, known)
    about = f"{path.name}: {about}, {of}; samples named by {named}, genes by {note}"
    unit: Measure | None = "log" if notes else None
    return RawExpression(values, samples, genes, (about, *notes), unit)


def _base_two(values: np.ndarray, log1p: Any) -> tuple[np.ndarray, str]:
    """Return log2(x + 1) of what scanpy's `log1p` took: natural unless it says a base."""
    base = log1p.get("base") if hasattr(log1p, "get") else None
    base = float(np.e if base is None else np.asarray(base).ravel()[0])
    name = "natural logarithms" if np.isclose(base, np.e) else f"logarithms to base {base:g}"
    changed = values if base == 2 else values * np.float32(np.log2(base))
    return changed, f"{name} of x + 1 (uns['log1p'] of scanpy); taken as log2(x + 1)"


def _names_of_samples(data: Any, known: Collection[str]) -> tuple[tuple[str, ...], str]:
    """Return the obs names, or the obs column with most known patients if they have none."""
    names = tuple(str(name).strip() for name in data.obs_names)
    if not known or n_known(names, known):
        return names, "obs names"
    columns = {str(name): [str(cell).strip() for cell in data.obs[name]] for name in data.obs}
    best = max(columns, key=lambda name: n_known(columns[name], known), default="")
    if not best or not n_known(columns[best], known):
        found = f"no known patient among the obs names (such as {names[0]!r}) and obs columns"
        remedy = (
            f"Expected patients such as {min(known)!r}. Columns of obs: {shown(list(columns))}."
        )
        raise CohortError(f"{found}. {remedy}" if columns else f"{found}. Expected {min(known)!r}.")
    return tuple(columns[best]), f"obs column {best}"


HEAP = b"GCOL\1\0\0\0"
"""Signature of HDF5's global heaps (of strings), version 1; its size follows."""
OBJECT_HEADER_BYTES = 16


def _check_heaps(path: Path) -> None:
    """Raise TableError for a global heap with sizes that send HDF5 into an endless loop.

    HDF5 goes from object to object by their sizes, which have no checksum.
    """
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        begin = data.find(HEAP)
        while begin >= 0:
            end = begin + int.from_bytes(data[begin + 8 : begin + 16], "little")
            offset = begin + OBJECT_HEADER_BYTES
            while offset + OBJECT_HEADER_BYTES <= end <= len(data):
                number = int.from_bytes(data[offset : offset + 2], "little")
                size = int.from_bytes(data[offset + 8 : offset + 16], "little")
                # Object 0 is free space, whose size includes its header; sizes are padded to 8.
                step = OBJECT_HEADER_BYTES + -(-size // 8) * 8 if number else size
                if not 0 < step <= end - offset:
                    found = "its strings are damaged (an impossible size)"
                    raise TableError(Fault(path.name, found, "Copy or write it again."))
                offset += step
            begin = data.find(HEAP, begin + len(HEAP))


def _opened(path: Path, spec: ExpressionSpec) -> tuple[Any, str]:
    """Return the AnnData and a description of its source."""
    import anndata
    import mudata

    # anndata exports this error nowhere else; it is a subclass of Exception only.
    from anndata._io.specs.registry import IORegistryError

    _check_heaps(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # names that are not unique are checked later
            if path.suffix.lower() != ".h5mu":
                return anndata.read_h5ad(path), "AnnData"
            modalities = mudata.read_h5mu(path).mod
    except (*UNREADABLE, IORegistryError) as error:
        first = (str(error).splitlines() or ["no message"])[0][:120]
        found = f"not a readable {path.suffix} file ({first})"
        raise TableError(Fault(path.name, found, "Copy or write it again.")) from None
    name = spec.modality
    if name is None:
        likely = [one for one in modalities if one.lower() in GENE_MODALITIES]
        candidates = likely if len(modalities) > 1 else list(modalities)
        if len(candidates) != 1:
            found = f"modalities {shown(sorted(modalities))}"
            raise TableError(Fault(path.name, found, "Name one as modality under [expression]."))
        name = candidates[0]
    return _named(path, modalities, name, "modality"), f"MuData, modality {name}"


def _named(path: Path, held: Any, name: str, what: str) -> Any:
    if name not in held:
        found = f"no {what} {name!r}; there are {shown(sorted(held)) or 'none'}"
        raise TableError(Fault(path.name, found, f"Name one of these as {what}."))
    return held[name]


def _names_of_genes(data: Any) -> tuple[tuple[str, ...], str]:
    """Return symbols from a var column if the var names are Ensembl ids, else the var names."""
    names = tuple(str(name).strip() for name in data.var_names)
    if names and all(ENSEMBL.match(name) for name in names[:100]):
        folded = {str(column).casefold(): column for column in data.var.columns}
        for column in (*SYMBOL_COLUMNS, "gene_symbols", "feature_name", "gene_names"):
            if column in folded:
                held = data.var[folded[column]]
                cells = [
                    str(cell).strip() if cell == cell and cell is not None else ""  # noqa: PLR0124  NaN
                    for cell in held
                ]
                kept = tuple(c or name for c, name in zip(cells, names, strict=True))
                return kept, f"var column {folded[column]}"
    return names, "var names"
