"""What a fitted model was given of expression, so that another table can be brought to it.

A new table brought to the unit of the table that a model was fitted on, or refused.

What is done is said; where the result would be a number that nobody can vouch for, it is an error.

Expression of new patients, brought to what a fitted model was given.
"""

from __future__ import annotations

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
"""A measure, with counts told apart by whether they were divided by their sum."""


@dataclass(frozen=True)
class GeneInput:
    """Expression as a model was fitted on it.

    Attributes:
        genes: names of the table's genes, in the order in which values are given on.
        kind: of the training table.
        offset: what stands before the logarithm in log2(amount + offset), 0 for amounts; None
            where values have no amount (z-scores) or it is not known (logarithms of another kind).
        representation: what the model sees, as `[expression] representation`.
        duplicate_genes: what became of genes that stood there twice.
        counts: how counts were divided, as `[expression] counts`.
        set_names: gene sets that the model sees in place of genes; only of a spectrum.
        set_genes: genes of each of them.
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
        """Whether the training table held amounts, logarithms or z-scores."""
        measure: Measure = "counts" if self.kind in COUNTS else self.kind  # type: ignore[assignment]
        return unit_of(measure)

    def reading(self, spec: ExpressionSpec) -> ExpressionSpec:
        """Return how a new table is read: as the training table was, where the format leaves it.

        Unit, names of genes, columns and layers are the new table's own.
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
    """Return the kind of a table as it was read."""
    if found.measure != "counts":
        return found.measure
    return COUNTS[0] if divides_counts(len(found.genes), spec) else COUNTS[1]  # type: ignore[return-value]


def offset_of(values: np.ndarray, unit: Unit) -> float | None:
    """Return what was added before a table's logarithm: 0 for amounts; None where nobody knows."""
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
    """Return what a model is given that is fitted on this table.

    Args:
        found: the training table.
        genes: those of its genes that models may see.
        spec: how it was read, and what models see.
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
"""Amounts, or logarithms of amounts, of which it is not known what they count."""
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
    """Return a table's values in the unit of the training table, and what was done, in words.

    Args:
        where: name of the table.
        found: the new table.
        kind: its kind.
        wanted: what the model was fitted on.

    Raises:
        CohortError: z-scores meet anything else; the step between logarithms and amounts is not
            exact; amounts are of another kind and the model does not bring patients to one level.
    """
    notes: list[str] = []
    if (found.unit == "zscore") != (wanted.unit == "zscore"):
        raise _refused(where, kind, wanted, "z-scores compare a gene with other patients")
    if found.unit == "zscore":
        return found.values, notes
    if wanted.representation == "ranks":
        if kind != wanted.kind:
            notes.append(
                f"conversion: {_words(kind)} serve where {_words(wanted.kind)} were trained on, "
                "for the model sees ranks within each patient"
            )
        return found.values, notes
    values = _in_unit(where, found, kind, wanted, notes)
    if not _alike(kind, wanted.kind):
        if wanted.representation != "scaled":
            why = "another unit shifts every gene, and with it every probability"
            raise _refused(where, kind, wanted, why, SCALED)
        notes.append(
            f"conversion: {_words(kind)} serve where {_words(wanted.kind)} were trained on: each "
            "patient's amounts are multiplied by one number, to the level of the training patients"
        )
    elif kind != wanted.kind:
        notes.append(
            f"unit: {_words(kind)} here, {_words(wanted.kind)} in training; nothing tells "
            "them apart, so only the level of the genes is compared"
        )
    return values, notes


def _in_unit(
    where: str, found: Expression, kind: Kind, wanted: GeneInput, notes: list[str]
) -> np.ndarray:
    """Return the values as amounts or as logarithms, whichever the model was fitted on."""
    offset = offset_of(found.values, found.unit)
    if found.unit == wanted.unit and offset == wanted.offset:
        return found.values
    if offset is None or wanted.offset is None:
        raise _refused(where, kind, wanted, "the step between the two is not exactly known")
    own = LinearScale(found.unit == "log", offset, 0.0)
    theirs = LinearScale(wanted.unit == "log", wanted.offset, 0.0)
    notes.append(f"conversion: {_formula(own, theirs)}, base 2 taken for granted")
    return theirs.values(own.amounts(found.values))


def _formula(own: LinearScale, theirs: LinearScale) -> str:
    amount = f"2^x - {own.offset:g}" if own.is_log else "x"
    return f"log2({amount} + {theirs.offset:g})" if theirs.is_log else amount


def _alike(kind: Kind, wanted: Kind) -> bool:
    """Return whether two kinds may be the same amounts; counts are known for what they are."""
    unknown = kind in UNKNOWN or wanted in UNKNOWN
    return kind == wanted or (unknown and not {kind, wanted} & set(COUNTS))


def _refused(
    where: str, kind: Kind, wanted: GeneInput, why: str, otherwise: str = ""
) -> CohortError:
    remedy = "Give a table of that unit" + (f", or {otherwise}" if otherwise else "")
    return CohortError(
        f"{where}: found {_words(kind)}, expected {_words(wanted.kind)}, on which this model was "
        f"fitted: {why}. {remedy}; state --unit if the unit was not recognised."
    )


def _words(kind: Kind) -> str:
    return WORDS.get(kind, kind)


@dataclass(frozen=True)
class NewExpression:
    """Expression of new patients, as a model may be given it.

    Attributes:
        values: float32 (n_patients, n_inputs), genes or gene sets of the model in its order; NaN
            where missing.
        patient_ids: one per row.
        measured: bool (n_patients, n_genes); which genes of the training table each has.
        reasons: why others of the table have none.
        notes: what was found and done, in words.
    """

    values: np.ndarray
    patient_ids: tuple[str, ...]
    measured: np.ndarray
    reasons: dict[str, str]
    notes: tuple[str, ...]


def read_new_expression(path: Path, spec: ExpressionSpec, wanted: GeneInput) -> NewExpression:
    """Read the expression of new patients.

    Several samples of a patient are chosen from as in a cohort (`chosen`). Genes are matched by
    name; those that the table lacks are missing, those that the model does not know are dropped.

    Args:
        path: any table, file or folder that `read_expression` takes.
        spec: unit, names of genes and what the format leaves open.
        wanted: what the model was fitted on.

    Raises:
        TableError, CohortError: as `read_expression` and `converted`; or no gene is the model's.
    """
    reading = wanted.reading(spec)
    return new_expression(path.name, read_expression(path, reading, ()), reading, wanted)


def new_expression(
    where: str, found: Expression, reading: ExpressionSpec, wanted: GeneInput
) -> NewExpression:
    """Return the expression of new patients from a table that was read; as above."""
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
    told = (*found.notes, *sample_notes, *notes)
    given = _spectrum(aligned, wanted) if wanted.set_names else aligned
    return NewExpression(given, tuple(samples), measured, reasons, told)


def _spectrum(values: np.ndarray, wanted: GeneInput) -> np.ndarray:
    """Return each patient's enrichment of the model's sets, among the training table's genes."""
    from crosstype.expression.genes.ssgsea import functional_spectra

    place = {gene: column for column, gene in enumerate(wanted.genes)}
    membership = np.zeros((len(wanted.set_names), len(wanted.genes)), dtype=bool)
    for row, genes in enumerate(wanted.set_genes):
        membership[row, [place[gene] for gene in genes]] = True
    matched = MatchedSets(wanted.set_names, membership, {}, ())
    return functional_spectra(values, matched, wanted.least_genes).astype(np.float32)
