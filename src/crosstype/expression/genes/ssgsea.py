"""Functional spectra: enrichment of gene sets within each sample, by single-sample GSEA.

The idea is DeepCC's (Gao et al. 2019, Oncogenesis 8:44): the inputs of a classifier are gene set
activities in place of genes. DeepCC compares each sample with a reference cohort first; here each
sample is independent of others. The method is ssGSEA (Barbie et al. 2009, Nature 462:108) as
implemented in gseapy.
"""

from dataclasses import replace

import numpy as np

from crosstype.errors import CohortError
from crosstype.expression.genes.sets import GeneSets, MatchedSets
from crosstype.expression.matrix import AlignedExpression


def spectrum_of(
    expression: AlignedExpression, gene_sets: GeneSets, least: int
) -> tuple[AlignedExpression, list[str]]:
    """Return each sample's functional spectrum in place of its genes, and notes.

    Each value is a set's enrichment in the sample's ranking of genes: positive if its genes rank
    high, negative if low. It is not divided by the range over all samples (gseapy's NES), which
    depends on other samples. Genes missing in a sample are left out of its ranking; a set that then
    has fewer than `least` genes is missing (NaN) in that sample. Ties, such as zeros, keep the
    order of the table's genes.

    Args:
        expression: genes of patients; z-scores are accepted, with a warning.
        gene_sets: the sets.
        least: sets with fewer genes of the table are dropped, with a note.

    Returns:
        float32 (n_patients, n_sets), the sets as `genes`, unit `log` (no logarithm may follow).

    Raises:
        CohortError: fewer than two sets keep enough genes.
    """
    matched = gene_sets.matched(expression.genes, least)
    if len(matched.names) < 2:
        first = gene_sets.genes[0][0]
        raise CohortError(
            f"[expression] gene_sets: {len(matched.names)} of {len(gene_sets.names)} sets of "
            f"{gene_sets.source} keep at least {least} genes of the table; expected two or more. "
            f"Genes of the sets are such as {first!r}, of the table such as "
            f"{expression.genes[0]!r}. Name genes alike, or lower [expression] least_genes."
        )
    spectra = functional_spectra(expression.values, matched, least).astype(np.float32)
    notes = [
        f"representation: functional spectrum of {len(matched.names)} gene sets in place of "
        f"{len(expression.genes)} genes (ssGSEA by gseapy, each sample by itself)",
        *matched.notes,
    ]
    if expression.unit == "zscore":
        notes.append(
            "warning: the spectrum ranks z-scores, which compare a gene with other samples, not "
            "genes within a sample"
        )
    n_missing = int(np.isnan(spectra).sum())
    if n_missing:
        notes.append(
            f"spectrum: {n_missing} values are missing: too few genes measured, or all in the set"
        )
    return replace(expression, values=spectra, genes=matched.names, unit="log"), notes


def functional_spectra(values: np.ndarray, matched: MatchedSets, least: int) -> np.ndarray:
    """Return float64 (n_samples, n_sets) by gseapy, NaN where a set has too few genes.

    Samples with the same missing genes are computed together, with the same result.

    Args:
        values: (n_samples, n_genes), NaN where missing.
        matched: the sets among these genes.
        least: lowest number of measured genes of a set.
    """
    spectra = np.full((len(values), len(matched.names)), np.nan)
    patterns, pattern_of = np.unique(~np.isnan(values), axis=0, return_inverse=True)
    for number, present in enumerate(patterns):
        rows = np.flatnonzero(pattern_of.reshape(-1) == number)
        members = matched.membership[:, present]
        filled = np.flatnonzero((members.sum(axis=1) >= least) & ~members.all(axis=1))
        if len(filled):
            held = values[np.ix_(rows, np.flatnonzero(present))]
            spectra[np.ix_(rows, filled)] = _enrichment(held, members[filled])
    return spectra


def _enrichment(values: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Return gseapy's enrichment of each set in each sample, not normalised over samples.

    Args:
        values: (n_samples, n_genes), none missing.
        members: bool (n_sets, n_genes); each set has a gene and lacks one.
    """
    import gseapy
    import pandas as pd

    # Capitals, which gseapy does not change; numbers, so that names are unique.
    genes = np.array([f"G{column}" for column in range(values.shape[1])])
    found = gseapy.ssgsea(
        data=pd.DataFrame(values.T.astype(np.float64), index=genes, columns=range(len(values))),
        gene_sets={str(row): genes[own].tolist() for row, own in enumerate(members)},
        outdir=None,
        min_size=1,
        max_size=len(genes),
        threads=1,
        seed=0,
    ).res2d
    spectra = np.full((len(values), len(members)), np.nan)
    spectra[found["Name"].astype(int), found["Term"].astype(int)] = found["ES"].astype(float)
    return spectra
