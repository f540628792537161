"""Expression of new patients, brought to what a fitted model was given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crosstype.cohort.chosen import chosen_samples
from crosstype.cohort.conversion import converted
from crosstype.cohort.expression import Expression, read_expression
from crosstype.cohort.gene_input import GeneInput, kind_of
from crosstype.cohort.genes import align_genes
from crosstype.cohort.genesets import MatchedSets
from crosstype.cohort.spec import ExpressionSpec
from crosstype.errors import CohortError


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
    samples, reasons, sample_notes = chosen_samples(found)
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
    from crosstype.cohort.spectrum import functional_spectra

    place = {gene: column for column, gene in enumerate(wanted.genes)}
    membership = np.zeros((len(wanted.set_names), len(wanted.genes)), dtype=bool)
    for row, genes in enumerate(wanted.set_genes):
        membership[row, [place[gene] for gene in genes]] = True
    matched = MatchedSets(wanted.set_names, membership, {}, ())
    return functional_spectra(values, matched, wanted.least_genes).astype(np.float32)
