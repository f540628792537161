"""Genes that no model may see: taken out of the cohort's expression before anything is fitted."""

from __future__ import annotations

import re
from dataclasses import replace

import polars as pl

from crosstype.cohort.aligned import AlignedExpression
from crosstype.cohort.gene_choice import GeneChoice
from crosstype.cohort.pam50_genes import FORMER_SYMBOLS, PAM50_GENES, pam50_among
from crosstype.cohort.spec import ExpressionSpec
from crosstype.errors import CohortError

NO_SYMBOL = re.compile(r"^(ENS[A-Z]*G\d+.*|\d+)$")


def withhold_genes(
    expression: AlignedExpression, spec: ExpressionSpec
) -> tuple[AlignedExpression, list[str]]:
    """Return the expression that models may see, and in words what they may not or will not see.

    The PAM50 genes are taken away here and not in each fold, since nothing is learned by it: what
    comes after, from `expression.npz` over every checkpoint to prediction, never has them. Genes
    with zeros are only counted here; each fold drops its own, by its training patients.

    Raises:
        CohortError: genes are to be withheld, but their names are no symbols; or none is left.
    """
    notes = []
    if spec.exclude_pam50:
        expression, note = _without_pam50(expression)
        notes.append(note)
    if spec.drop_zero_genes:
        n_zero = int((expression.values == 0).any(axis=0).sum())
        notes.append(
            f"drop_zero_genes: {n_zero} of {len(expression.genes)} genes are 0 in some patient of "
            "the cohort; each fold drops those that are 0 in one of its training patients"
        )
    return expression, notes


def _without_pam50(expression: AlignedExpression) -> tuple[AlignedExpression, str]:
    """Return the expression without the PAM50 genes, and which they were."""
    genes = expression.genes
    n_other = sum(bool(NO_SYMBOL.match(gene)) for gene in genes)
    if n_other > len(genes) / 2:
        raise CohortError(
            f"[expression] exclude_pam50: found gene names such as {genes[0]!r}, expected gene "
            "symbols, by which the PAM50 genes are known. Name the genes by symbol, or set "
            "exclude_pam50 = false."
        )
    found = pam50_among(genes)
    if len(found) == len(genes):
        raise CohortError(
            f"[expression] exclude_pam50: all {len(genes)} genes of the table are PAM50 genes, so "
            "none is left. Give a table with other genes, or set exclude_pam50 = false."
        )
    plain = {gene.partition("|")[0].strip().upper() for gene in found}
    present = {FORMER_SYMBOLS.get(name, name) for name in plain}
    absent = [gene for gene in PAM50_GENES if gene not in present]
    note = f"exclude_pam50: PAM50 genes withheld from every model: {len(found)}"
    if absent and found:
        note += f"; not in the table: {', '.join(absent)}"
    elif absent:
        note += ", for the table has none of them"
    frame = pl.DataFrame(expression.values, schema=list(genes), orient="row")
    choice = GeneChoice(found, withhold=True).fit(frame)
    values = expression.values[:, choice.get_support()]
    kept = tuple(choice.get_feature_names_out().tolist())
    return replace(expression, values=values, genes=kept), note
