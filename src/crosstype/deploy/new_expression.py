"""Expression of new patients: read, and checked for genes and level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from crosstype.deploy.inputs import PredictionInputs
from crosstype.errors import CohortError, ConfigError
from crosstype.expression.harmonize import NewExpression, read_new_expression
from crosstype.progress import Progress

if TYPE_CHECKING:
    from crosstype.deploy.fitted_model import Artefact


LEAST_MASKED, LEAST_IMPUTED = 0.05, 0.5
"""Lowest share of a model's genes that must be measured, 0 to 1. Networks and late mask missing
genes: with a twentieth of the genes their AUROC was .975 (docs/decisions/0005-lost-genes.md).
Baselines impute them."""
MOST_SHIFT = 1.0
"""Largest shift of the median gene of all new patients, in training standard deviations."""
LEAST_GENES_TO_COMPARE = 50
"""Genes needed to estimate the level of a table."""


def find_expression(
    artefact: Artefact, inputs: PredictionInputs, progress: Progress
) -> NewExpression | None:
    """Read the expression of new patients, harmonised to the model's input; None if there is none.

    Raises:
        ConfigError: there is no such file.
        TableError, CohortError: as `read_new_expression`.
    """
    path = inputs.expression
    if path is None or artefact.genes is None:
        if path is not None:
            progress.message(f"{artefact.classifier.name} does not use genes; they are not read")
        return None
    if not path.exists():
        raise ConfigError(f"--expression: found {str(path)!r}, which does not exist.")
    progress.start("genes", 1)
    found = read_new_expression(path, inputs.reading, artefact.genes)
    progress.step(f"{len(found.patient_ids)} patients")
    for note in found.notes:
        progress.message(note if note.startswith(path.name) else f"expression: {note}")
    kept = {p: why for p, why in found.reasons.items() if inputs.concerns(p)}
    return replace(found, reasons=kept)


def _shares(artefact: Artefact, measured: NewExpression) -> np.ndarray:
    """Return the share of the model's genes that was measured in each patient, 0 to 1."""
    assert artefact.genes is not None
    used = slice(None) if artefact.genes.set_names else artefact.preparation.kept
    shares: np.ndarray = measured.measured[:, used].mean(axis=1)
    return shares


def enough_genes(
    artefact: Artefact, inputs: PredictionInputs, measured: NewExpression | None, progress: Progress
) -> tuple[dict[str, int], dict[str, str]]:
    """Return the rows of patients with enough genes, and the reason why others have too few."""
    if measured is None:
        return {}, {}
    least = inputs.least_genes
    if least is None:
        least = LEAST_MASKED if artefact.masks else LEAST_IMPUTED
    shares = _shares(artefact, measured)
    rows, thin = {}, {}
    for row, (patient, share) in enumerate(zip(measured.patient_ids, shares, strict=True)):
        if not inputs.concerns(patient):
            continue
        if share >= least and share > 0:
            rows[patient] = row
        else:
            thin[patient] = (
                f"has {share:.1%} of the model's genes, fewer than {least:.0%} (--least-genes)"
            )
    if thin:
        progress.message(f"{len(thin)} patients have too few genes; their expression is not used")
    return rows, thin


def check_level(
    artefact: Artefact, measured: NewExpression, rows: Mapping[str, int], progress: Progress
) -> None:
    """Raise CohortError if the median gene is shifted by more than `MOST_SHIFT` training SD."""
    shift = level_shift(artefact, measured.values[list(rows.values())])
    if shift is None:
        return
    progress.message(f"level: the median gene is {shift:+.2f} training SD from the training mean")
    assert artefact.genes is not None
    if abs(shift) <= MOST_SHIFT:
        return
    raise CohortError(
        f"expression: the median gene of {len(rows)} patients is {shift:+.2f} training standard "
        f"deviations from the training mean, expected at most {MOST_SHIFT:g}: another unit or "
        f"assay than the model's {artefact.genes.kind}. Give a table made as the training table "
        'was, or fit the model with [expression] representation = "scaled" (docs/assays.md).'
    )


def level_shift(artefact: Artefact, values: np.ndarray) -> float | None:
    """Return the median over patients and genes of preprocessed expression, in training SD.

    None if no patient has `LEAST_GENES_TO_COMPARE` measured genes.
    """
    prepared = artefact.preparation.measured_genes(values)
    enough = (~np.isnan(prepared)).sum(axis=1) >= LEAST_GENES_TO_COMPARE
    if not enough.any():
        return None
    return float(np.median(np.nanmedian(prepared[enough], axis=1)))
