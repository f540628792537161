"""Reading of expression from any supported format, with unique gene names and a known unit.

Notes report format, orientation, unit, genes and samples.
"""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from crosstype.errors import CohortError, Fault, TableError
from crosstype.expression import units
from crosstype.expression.annotation import are_row_numbers, note_unrecognised, without_annotation
from crosstype.expression.genes.names import drop_empty_genes, join_duplicates, name_genes
from crosstype.expression.matrix import RawExpression
from crosstype.expression.readers.anndata import read_scverse
from crosstype.expression.readers.gdc import read_gdc_folder
from crosstype.expression.readers.table import read_expression_table
from crosstype.expression.spec import ExpressionSpec
from crosstype.tcga import comparable, patient_of, visible_text


@dataclass(frozen=True)
class Expression:
    """Expression of samples, before any fitted preprocessing.

    Attributes:
        values: float32 (n_samples, n_genes); NaN where missing.
        sample_ids: one id per row, verbatim and unique.
        genes: one name per column, unique.
        measure: unit of the file: counts, tpm, fpkm, rsem, linear, log or zscore.
        notes: messages about format, orientation, unit, duplicates and dropped genes.
    """

    values: np.ndarray
    sample_ids: tuple[str, ...]
    genes: tuple[str, ...]
    measure: units.Measure
    notes: tuple[str, ...]

    @property
    def unit(self) -> units.Unit:
        """Scale of the values: `linear`, `log` or `zscore`."""
        return units.unit_of(self.measure)


def read_expression(
    path: Path, spec: ExpressionSpec, known_patients: Collection[str]
) -> Expression:
    """Read expression in any format of `docs/formats.md`.

    Genes without name and genes without any value are dropped with a note; a sample without any
    value is kept as missing. Counts of a genome become counts per million.

    Args:
        path: csv, tsv (gz or not), xlsx, parquet, h5ad, h5mu, or a folder of GDC STAR counts.
        spec: unit, rule for duplicated genes, and options of formats.
        known_patients: patient ids of the other tables; empty if there are none.

    Raises:
        TableError: the file is damaged; a sample is repeated; a cell is text or infinite.
        CohortError: no sample is of a known patient.
    """
    known = {patient_of(patient) for patient in known_patients}
    raw = without_annotation(_read_raw(path, spec, known), known, spec.keep_genes)
    _check_samples(path.name, raw.sample_ids, known)
    check_known(path.name, raw.sample_ids, known)
    if len(raw.genes) > 2 and are_row_numbers(raw.genes):
        found = f"genes numbered {raw.genes[0]}, {raw.genes[1]}, ..., and not named"
        raise TableError(Fault(path.name, found, "Write it anew with the genes' names."))
    notes = list(raw.notes)
    genes = name_genes(raw.genes, spec, notes)
    note_unrecognised(dict.fromkeys(filter(None, genes)), notes)
    values, genes = drop_empty_genes(raw.values, genes, notes)
    values, genes = join_duplicates(path.name, values, genes, spec, notes)
    if not genes:
        raise TableError(Fault(path.name, "no gene has any value", "Give an expression table."))
    keys = {comparable(one) for one in known}
    ours = [i for i, one in enumerate(raw.sample_ids) if comparable(patient_of(one)) in keys]
    measure = _measure(path.name, values[ours] if ours else values, raw.unit, spec, notes)
    values, measure = _amounts_of(path.name, values, measure, spec, notes)
    notes.append(f"{len(values)} samples, {len(genes)} genes")
    return Expression(np.ascontiguousarray(values), raw.sample_ids, genes, measure, tuple(notes))


def _read_raw(path: Path, spec: ExpressionSpec, known: Collection[str]) -> RawExpression:
    """Read by the file's content, not its name."""
    if path.is_dir():
        return read_gdc_folder(path, spec)
    if path.is_file() and h5py.is_hdf5(path):
        return read_scverse(path, spec, known)
    return read_expression_table(path, known, spec.keep_genes)


def check_known(file_name: str, samples: Sequence[str], known: Collection[str]) -> None:
    """Raise CohortError if there are known patients and no sample is of them."""
    keys = {comparable(one) for one in known}
    if known and not any(comparable(patient_of(sample)) in keys for sample in samples):
        raise CohortError(
            f"{file_name}: nobody in common with the other tables. Found {len(samples)} samples "
            f"such as {samples[0]!r}; expected {len(known)} patients such as {min(known)!r}."
        )


def _check_samples(file_name: str, samples: Sequence[str], known: Collection[str]) -> None:
    faults = [
        Fault(
            file_name,
            f"sample {sample!r} is there {n} times" if sample else f"{n} samples without an id",
            "Keep one of them.",
        )
        for sample, n in Counter(samples).items()
        if n > 1 or not sample
    ]
    own = set(map(visible_text, samples))
    others = [one for one in map(visible_text, samples) if one not in known]
    pandas = [one for one in others if re.sub(r"\.\d+$", "", one) in own - {one}]
    if pandas:
        found = f"{len(pandas)} samples look like pandas' second columns, such as {pandas[0]!r}"
        remedy = "Keep one column of each sample, or rename them."
        faults.append(Fault(file_name, found, remedy))
    if faults:
        raise TableError(faults)


def divides_counts(n_genes: int, spec: ExpressionSpec) -> bool:
    """Return whether counts of this many genes are converted to counts per million."""
    return spec.counts == "per_million" or (spec.counts == "auto" and n_genes >= units.GENOME_WIDE)


def _amounts_of(
    file_name: str,
    values: np.ndarray,
    measure: units.Measure,
    spec: ExpressionSpec,
    notes: list[str],
) -> tuple[np.ndarray, units.Measure]:
    """Return counts per million of counts, and amounts without the negatives of batch correction.

    Raises:
        CohortError: more amounts are negative than a correction leaves.
    """
    if measure == "log" and spec.unit == "auto" and units.are_log_counts(values):
        notes.append("log2(count + 1) of whole counts: taken back to counts")
        values, measure = np.exp2(values) - 1, "counts"
    if measure == "counts":
        return _counts(values, spec, notes), measure
    if units.unit_of(measure) != "linear":
        return values, measure
    negative = float((values < 0).sum() / max(1, (~np.isnan(values)).sum()))
    low = float(np.nanmin(values))
    if negative > units.MOST_NEGATIVE:
        raise CohortError(
            f"{file_name}: {negative:.0%} of the values are negative, down to {low:.4g}, and some "
            f"too large for logarithms ({np.nanmax(values):.4g}); expected amounts, logarithms or "
            "z-scores. Look at the table."
        )
    if negative:
        notes.append(
            f"warning: {negative:.2%} of the amounts are negative, down to {low:.4g}, as batch "
            "correction leaves them; they count as 0"
        )
        values = np.maximum(values, 0)  # NaN stays
    notes.extend(units.library_size_note(values, measure))
    return values, measure


def _counts(values: np.ndarray, spec: ExpressionSpec, notes: list[str]) -> np.ndarray:
    """Return counts per million or raw counts, as set."""
    n_genes = values.shape[1]
    if divides_counts(n_genes, spec):
        return units.normalise_counts(values, notes)
    why = "as set" if spec.counts == "raw" else f"{n_genes} genes are too few for a library size"
    notes.append(f"warning: counts are not divided by library size ({why})")
    return values


def _measure(
    file_name: str,
    values: np.ndarray,
    stated: units.Measure | None,
    spec: ExpressionSpec,
    notes: list[str],
) -> units.Measure:
    """Return the unit: as set, else known from the format, else recognised from the values.

    Raises:
        CohortError: set as logarithms, and too large for them.
    """
    recognised, evidence = units.recognise_measure(values)
    if spec.unit == "log" and not units.may_be_logarithms(values):
        raise CohortError(
            f"{file_name}: set as logarithms (unit: log), but the values look like {recognised}: "
            f"{evidence}; no logarithm of an amount is so large. Leave the unit to be recognised."
        )
    measure, by = recognised, evidence
    if spec.unit != "auto":
        measure = spec.unit
        by = f"as set; the values look like {recognised}: {evidence}"
    elif stated is not None:
        measure, by = stated, f"by the file's format; {evidence}"
    notes.append(f"unit: {measure} ({by})")
    return measure
