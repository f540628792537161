"""Harmonisation of new expression tables with the expression input of a fitted model.

Genes are aligned and units converted, with notes; a conversion that is not exact is an error.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from crosstype.errors import CohortError
from crosstype.expression.genes.sets import MatchedSets
from crosstype.expression.pipeline_state import align_genes
from crosstype.expression.read import Expression, divides_counts, read_expression
from crosstype.expression.sample_selection import select_samples
from crosstype.expression.spec import ExpressionSpec
from crosstype.expression.units import LinearScale, Measure, Unit, linear_scale_of, unit_of

Kind = Literal["counts per million", "raw counts", "tpm", "fpkm", "rsem", "linear", "log", "zscore"]
"""A measure, with counts distinguished by whether they were divided by library size."""


@dataclass(frozen=True)
class GeneInput:
    """Expression input of a fitted model.

    Attributes:
        genes: names of the training table's genes, in order.
        kind: of the training table.
        offset: of log2(amount + offset), 0 for amounts; None for z-scores, and for logarithms with
            an unknown offset.
        representation: `[expression] representation`.
        duplicate_genes: `[expression] duplicate_genes`.
        counts: `[expression] counts`.
        set_names: gene sets of representation spectrum, else empty.
        set_genes: genes of each set.
        least_genes: a set with fewer measured genes is missing.
    """

    genes: tuple[str, ...]
    kind: Kind
    offset: float | None
    representation: str
    duplicate_genes: str
    counts: str
    set_names: tuple[str, ...] = ()
    set_genes: tuple[tuple[str, ...], ...] = ()
    least_genes: int = 1

    @property
    def unit(self) -> Unit:
        """Whether the training table has amounts, logarithms or z-scores."""
        measure: Measure = "counts" if self.kind in COUNTS else self.kind  # type: ignore[assignment]
        return unit_of(measure)

    def reading(self, spec: ExpressionSpec) -> ExpressionSpec:
        """Return the settings of reading a new table: its own, with those of training for the rest.

        Unit, names of genes, columns and layers are the new table's.
        """
        changed: dict[str, str] = {"duplicate_genes": self.duplicate_genes, "counts": self.counts}
        return replace(
            spec,
            representation="genes",
            gene_sets=None,
            least_genes=ExpressionSpec().least_genes,
            **changed,  # type: ignore[arg-type]
        )


COUNTS = ("counts per million", "raw counts")
EXACT_OFFSETS = (1.0, 1e-3)
"""log2(x + 1), and log2(x + 0.001) of UCSC Xena's Toil tables."""


def kind_of(found: Expression, spec: ExpressionSpec) -> Kind:
    """Return the kind of a table."""
    if found.measure != "counts":
        return found.measure
    return COUNTS[0] if divides_counts(len(found.genes), spec) else COUNTS[1]  # type: ignore[return-value]


def offset_of(values: np.ndarray, unit: Unit) -> float | None:
    """Return the offset of a table's logarithm: 0 for amounts; None if unknown."""
    scale = linear_scale_of(values, unit)
    if scale is None or (scale.is_log and scale.offset not in EXACT_OFFSETS):
        return None
    return scale.offset


def gene_input_of(
    found: Expression,
    genes: tuple[str, ...],
    spec: ExpressionSpec,
    sets: tuple[tuple[str, ...], tuple[tuple[str, ...], ...]] = ((), ()),
) -> GeneInput:
    """Return the expression input of a model that is fitted on this table.

    Args:
        found: the training table.
        genes: its genes after gene exclusion.
        spec: settings of reading and representation.
        sets: names and genes of the sets of a spectrum.
    """
    return GeneInput(
        genes=genes,
        kind=kind_of(found, spec),
        offset=offset_of(found.values, found.unit),
        representation=spec.representation,
        duplicate_genes=spec.duplicate_genes,
        counts=spec.counts,
        set_names=sets[0],
        set_genes=sets[1],
        least_genes=spec.least_genes,
    )


UNKNOWN = ("linear", "log")
"""Amounts, or logarithms of amounts, of unknown kind."""
WORDS: dict[str, str] = {
    "linear": "amounts whose unit the values do not show",
    "log": "logarithms",
    "zscore": "z-scores",
    "tpm": "TPM",
    "fpkm": "FPKM",
    "rsem": "RSEM",
}
SCALED = 'fit the model with [expression] representation = "scaled" (docs/assays.md)'


def converted(
    where: str, found: Expression, kind: Kind, wanted: GeneInput
) -> tuple[np.ndarray, list[str]]:
    """Return a table's values in the unit of the training table, and notes on the conversion.

    Args:
        where: name of the table.
        found: the new table.
        kind: its kind.
        wanted: expression input of the model.

    Raises:
        CohortError: only one table has z-scores; the conversion between logarithms and amounts is
            not exact; amounts are of another kind and the representation does not scale patients.
    """
    notes: list[str] = []
    if (found.unit == "zscore") != (wanted.unit == "zscore"):
        raise _refused(where, kind, wanted, "z-scores compare a gene with other patients")
    if found.unit == "zscore":
        return found.values, notes
    if wanted.representation == "ranks":
        if kind != wanted.kind:
            notes.append(
                f"conversion: {_words(kind)} are used for a model trained on "
                f"{_words(wanted.kind)}, since it uses ranks within each patient"
            )
        return found.values, notes
    values = _in_unit(where, found, kind, wanted, notes)
    if not _alike(kind, wanted.kind):
        if wanted.representation != "scaled":
            why = "another unit shifts every gene, and with it every probability"
            raise _refused(where, kind, wanted, why, SCALED)
        notes.append(
            f"conversion: {_words(kind)} are used for a model trained on {_words(wanted.kind)}: "
            "each patient's amounts are multiplied by one number, to the level of the training "
            "patients"
        )
    elif kind != wanted.kind:
        notes.append(
            f"unit: {_words(kind)} here, {_words(wanted.kind)} in training; they may be the "
            "same, so only the level of the genes is compared"
        )
    return values, notes


def _in_unit(
    where: str, found: Expression, kind: Kind, wanted: GeneInput, notes: list[str]
) -> np.ndarray:
    """Return the values as amounts or logarithms, as in training; append a note."""
    offset = offset_of(found.values, found.unit)
    if found.unit == wanted.unit and offset == wanted.offset:
        return found.values
    if offset is None or wanted.offset is None:
        raise _refused(where, kind, wanted, "the conversion between them is not exactly known")
    own = LinearScale(found.unit == "log", offset, 0.0)
    training = LinearScale(wanted.unit == "log", wanted.offset, 0.0)
    notes.append(f"conversion: {_formula(own, training)}, assuming base 2")
    return training.values(own.amounts(found.values))


def _formula(own: LinearScale, training: LinearScale) -> str:
    amount = f"2^x - {own.offset:g}" if own.is_log else "x"
    return f"log2({amount} + {training.offset:g})" if training.is_log else amount


def _alike(kind: Kind, wanted: Kind) -> bool:
    """Return whether two kinds may be the same amounts; counts are always recognised."""
    unknown = kind in UNKNOWN or wanted in UNKNOWN
    return kind == wanted or (unknown and not {kind, wanted} & set(COUNTS))


def _refused(
    where: str, kind: Kind, wanted: GeneInput, why: str, otherwise: str = ""
) -> CohortError:
    remedy = "Give a table of that unit" + (f", or {otherwise}" if otherwise else "")
    return CohortError(
        f"{where}: found {_words(kind)}, expected {_words(wanted.kind)}, on which this model was "
        f"fitted: {why}. {remedy}; give --unit if the unit was not recognised."
    )


def _words(kind: Kind) -> str:
    return WORDS.get(kind, kind)


@dataclass(frozen=True)
class NewExpression:
    """Expression of new patients, harmonised with a model's input.

    Attributes:
        values: float32 (n_patients, n_inputs), genes or gene sets of the model in its order; NaN
            where missing.
        patient_ids: one per row.
        measured: bool (n_patients, n_genes); measured genes of the training table.
        reasons: for other patients of the table, why they have none.
        notes: messages about the table and its conversion.
    """

    values: np.ndarray
    patient_ids: tuple[str, ...]
    measured: np.ndarray
    reasons: dict[str, str]
    notes: tuple[str, ...]


def read_new_expression(path: Path, spec: ExpressionSpec, wanted: GeneInput) -> NewExpression:
    """Read the expression of new patients.

    Samples are selected as in a cohort (`sample_selection`). Genes are matched by name; those that
    the table lacks are missing, other genes of the table are dropped.

    Args:
        path: as for `read_expression`.
        spec: unit, names of genes and options of the format.
        wanted: expression input of the model.

    Raises:
        TableError, CohortError: as `read_expression` and `converted`; or the table has no gene of
            the model.
    """
    reading = wanted.reading(spec)
    return new_expression(path.name, read_expression(path, reading, ()), reading, wanted)


def new_expression(
    where: str, found: Expression, reading: ExpressionSpec, wanted: GeneInput
) -> NewExpression:
    """Return the expression of new patients from a table that is already read."""
    samples, reasons, sample_notes = select_samples(found)
    values, notes = converted(where, found, kind_of(found, reading), wanted)
    aligned, share = align_genes(values[list(samples.values())], found.genes, wanted.genes)
    if not share:
        raise CohortError(
            f"{where}: has 0 of the {len(wanted.genes)} genes of this model, such as "
            f"{wanted.genes[0]!r}; found genes such as {found.genes[0]!r}. Name genes alike, or "
            "give --gene-names, a table of identifier and symbol."
        )
    n_found = round(share * len(wanted.genes))
    notes.append(f"genes: {n_found} of the model's {len(wanted.genes)} are there ({share:.1%})")
    measured = ~np.isnan(aligned)
    all_notes = (*found.notes, *sample_notes, *notes)
    inputs = _spectrum(aligned, wanted) if wanted.set_names else aligned
    return NewExpression(inputs, tuple(samples), measured, reasons, all_notes)


def _spectrum(values: np.ndarray, wanted: GeneInput) -> np.ndarray:
    """Return the enrichment of the model's gene sets, from the training table's genes."""
    from crosstype.expression.genes.ssgsea import functional_spectra

    column_of = {gene: column for column, gene in enumerate(wanted.genes)}
    membership = np.zeros((len(wanted.set_names), len(wanted.genes)), dtype=bool)
    for row, genes in enumerate(wanted.set_genes):
        membership[row, [column_of[gene] for gene in genes]] = True
    matched = MatchedSets(wanted.set_names, membership, {}, ())
    return functional_spectra(values, matched, wanted.least_genes).astype(np.float32)
