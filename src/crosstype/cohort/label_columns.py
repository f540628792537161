"""Columns of expression that hold the label, or could only by accident separate the classes."""

from collections.abc import Sequence
from itertools import pairwise
from math import comb, prod

import numpy as np

from crosstype.errors import CohortError
from crosstype.expression.annotation import listed, unrecognised
from crosstype.expression.matrix import AlignedExpression
from crosstype.expression.spec import ExpressionSpec

UNLIKELY = 1e-3
"""Probability, over all genes, below which a perfectly separating gene is warned of."""


def separates(values: np.ndarray, labels: np.ndarray) -> bool:
    """Return whether the classes are disjoint intervals of a column's values, NaN apart."""
    known = ~np.isnan(values)
    values, labels = values[known], labels[known]
    ranges = sorted(
        (float(own.min()), float(own.max()))
        for c in np.unique(labels)
        if (own := values[labels == c]).size
    )
    disjoint = all(low > high for (_, high), (low, _) in pairwise(ranges))
    return len(ranges) > 1 and disjoint


def recodes(values: np.ndarray, labels: np.ndarray) -> bool:
    """Return whether a column has one value for each class, NaN apart."""
    known = ~np.isnan(values)
    pairs = set(zip(values[known].tolist(), labels[known].tolist(), strict=True))
    n_values, n_classes = len({v for v, _ in pairs}), len({c for _, c in pairs})
    return n_classes > 1 and len(pairs) == n_values == n_classes


def chance_of_separation(labels: np.ndarray, n_genes: int) -> float:
    """Return the expected number of genes that separate the classes by chance.

    Of n patients, all orders of whom are equally likely, one of k classes each: k! products of the
    class sizes' factorials by n!, times the number of genes.
    """
    sizes = np.unique(labels, return_counts=True)[1].tolist()
    ways = prod(comb(sum(sizes[: i + 1]), size) for i, size in enumerate(sizes))
    return n_genes * float(prod(range(1, len(sizes) + 1))) / ways


def check_label_columns(
    file_name: str, expression: AlignedExpression, classes: Sequence[str], spec: ExpressionSpec
) -> list[str]:
    """Return warnings of genes that separate the classes.

    Args:
        file_name: of the expression table.
        expression: of the cohort.
        classes: class of each patient.
        spec: `keep_genes` may do so.

    Raises:
        CohortError: a column recodes the classes, or separates them and is no gene name.
    """
    names, labels = np.unique(np.array(classes), return_inverse=True)
    suspects = [i for i, gene in enumerate(expression.genes) if gene not in spec.keep_genes]
    perfect = [i for i in suspects if separates(expression.values[:, i], labels)]
    others = unrecognised(expression.genes)  # most are, in mice and on other platforms
    no_genes = set(others) if 2 * len(others) < len(expression.genes) else set()
    few = [i for i in suspects if recodes(expression.values[:, i], labels)]
    leaks = [expression.genes[i] for i in dict.fromkeys((*few, *perfect)) if i in few
             or expression.genes[i] in no_genes]  # fmt: skip
    if leaks:
        raise CohortError(
            f"{file_name}: {listed(leaks)} gives the classes away ({', '.join(names)}): it recodes "
            "them, or separates them perfectly and is no gene name. Remove it from the table; if "
            "it is a gene, list it as keep_genes under [expression]."
        )
    if perfect and chance_of_separation(labels, len(suspects)) < UNLIKELY:
        shown = listed([expression.genes[i] for i in perfect])
        return [
            f"warning: {len(perfect)} genes separate the classes perfectly, which by chance is "
            f"unlikely: {shown}. Make sure that they are measured, not made from the label"
        ]
    return []
