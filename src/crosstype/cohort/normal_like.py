"""Normal-like samples of the expression table that are of nobody in the cohort."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import numpy as np

from crosstype.cohort.expression import Expression
from crosstype.terms import patient_of, sample_type_of

NORMAL_LIKE_LABEL = re.compile(r"^(brca|pam50)?[._ -]*normal([ _-]?like)?$", re.IGNORECASE)
NORMAL_TISSUE = ("10", "15")
"""TCGA sample types from the first up to, not including, the second are normal tissue."""


def normal_like_among(labels: Mapping[str, str]) -> frozenset[str]:
    """Return the patients whose label says normal-like: Normal, BRCA.Normal, Normal-like."""
    return frozenset(p for p, label in labels.items() if NORMAL_LIKE_LABEL.match(label.strip()))


def normal_like_rows(
    expression: Expression,
    samples: Mapping[str, int],
    normal_like: Collection[str],
    cohort: Collection[str],
) -> dict[str, int]:
    """Return the rows of samples that look like normal breast, by their id.

    Tumours that are labelled normal-like go first; if there are none, normal tissue. Nobody of the
    cohort is among them, whatever their label or tissue, and sites play no part.

    Args:
        expression: of everyone.
        samples: each patient's row of the primary tumour.
        normal_like: patients whose label says so.
        cohort: patients of the cohort.
    """
    others = set(normal_like) - set(cohort)
    tumours = {patient: samples[patient] for patient in sorted(others) if patient in samples}
    if tumours:
        return tumours
    tissue: dict[str, int] = {}
    present = ~np.isnan(expression.values).all(axis=1)
    for row, sample in enumerate(expression.sample_ids):
        kind = sample_type_of(sample) or ""
        is_tissue = NORMAL_TISSUE[0] <= kind < NORMAL_TISSUE[1]
        if is_tissue and present[row] and patient_of(sample) not in cohort:
            tissue[sample] = row
    return tissue


def normal_like_words(samples: Collection[str]) -> str:
    """Return in words what samples `normal_like_rows` found."""
    is_tissue = any((sample_type_of(sample) or "") >= NORMAL_TISSUE[0] for sample in samples)
    what = "samples of normal tissue" if is_tissue else "tumours labelled normal-like"
    return f"the mean of {len(samples)} {what}, of nobody in the cohort"
