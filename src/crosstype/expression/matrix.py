"""Expression matrices: of patients, with their file format, and of samples as read from a file."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from crosstype.errors import Fault, TableError
from crosstype.expression.units import Measure, Unit
from crosstype.io.files import replacing


@dataclass(frozen=True)
class AlignedExpression:
    """Expression of patients, one row each.

    Attributes:
        values: float32 (n_patients, n_genes); NaN where missing.
        patient_ids: one per row.
        genes: one per column.
        unit: `linear`, `log` or `zscore`.
    """

    values: np.ndarray
    patient_ids: tuple[str, ...]
    genes: tuple[str, ...]
    unit: Unit

    def standardised(self) -> np.ndarray:
        """Return z-scores of each gene over these patients, of log2(x + 1) where it is linear.

        float64 (n_patients, n_genes), for figures only, since test patients are included. NaN where
        missing; 0 for a constant gene.
        """
        values = self.values.astype(np.float64)
        if self.unit == "linear":
            values = np.log2(values + 1)
        spread = np.nanstd(values, axis=0)
        found: np.ndarray = (values - np.nanmean(values, axis=0)) / np.where(spread > 0, spread, 1)
        return found


def save_expression(path: Path, expression: AlignedExpression) -> None:
    """Write expression of patients as npz without pickle, atomically."""
    with replacing(path) as temporary, temporary.open("wb") as handle:
        np.savez(
            handle,
            values=expression.values,
            patient_ids=np.array(expression.patient_ids, dtype=np.str_),
            genes=np.array(expression.genes, dtype=np.str_),
            unit=np.array(expression.unit),
        )


def load_expression(path: Path) -> AlignedExpression:
    """Read a file of `save_expression`; raises TableError if it is damaged."""
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as arrays:
            values, unit = arrays["values"], str(arrays["unit"])
            patients, genes = arrays["patient_ids"].tolist(), arrays["genes"].tolist()
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        found = f"cannot be read ({error})"
        raise TableError(Fault(path.name, found, "Run the cohort stage anew.")) from None
    known: dict[str, Unit] = {name: name for name in get_args(Unit)}
    if unit not in known or values.shape != (len(patients), len(genes)):
        found = f"values of shape {values.shape} in unit {unit!r}"
        raise TableError(Fault(path.name, found, "Run the cohort stage anew."))
    return AlignedExpression(values, tuple(patients), tuple(genes), known[unit])


@dataclass(frozen=True)
class RawExpression:
    """Expression as read from a file of any format.

    Attributes:
        values: float32 (n_samples, n_genes); NaN where missing.
        sample_ids: one id per row, verbatim.
        genes: one name per column as written, possibly repeated or empty.
        notes: messages about the file.
        unit: known from the format; None if unknown.
    """

    values: np.ndarray
    sample_ids: tuple[str, ...]
    genes: tuple[str, ...]
    notes: tuple[str, ...]
    unit: Measure | None = None
