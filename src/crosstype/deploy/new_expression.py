"""Expression of new patients: read, looked at for genes and level, or refused."""

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
"""Least share of a model's genes that a patient must have. Networks and late mask what is missing:
with a twentieth of the genes their AUROC was .975 (docs/decisions/0005-lost-genes.md). Baselines
impute it, which pretends to be data."""
MOST_SHIFT = 1.0
"""Standard deviations by which the median gene of all new patients may lie off training's."""
LEAST_GENES_TO_COMPARE = 50
"""Fewer genes say nothing of the level of a table."""


def find_measured(
    artefact: Artefact, inputs: PredictionInputs, progress: Progress
) -> NewExpression | None:
    """Return the expression that is offered, as the model may be given it; None if there is none.

    Raises:
        ConfigError: the table is not there.
        TableError, CohortError: as `read_new_expression`.
    """
    path = inputs.expression
    if path is None or artefact.genes is None:
        if path is not None:
            progress.say(f"{artefact.classifier.name} does not look at genes; they are not read")
        return None
    if not path.exists():
        raise ConfigError(f"--expression: found {str(path)!r}, which is not there.")
    progress.start("genes", 1)
    found = read_new_expression(path, inputs.reading, artefact.genes)
    progress.step(f"{len(found.patient_ids)} patients")
    for note in found.notes:
        progress.say(note if note.startswith(path.name) else f"expression: {note}")
    kept = {p: why for p, why in found.reasons.items() if inputs.concerns(p)}
    return replace(found, reasons=kept)


def _shares(artefact: Artefact, measured: NewExpression) -> np.ndarray:
    """Return which share of the model's genes each patient has, 0 to 1."""
    assert artefact.genes is not None
    used = slice(None) if artefact.genes.set_names else artefact.preparation.kept
    shares: np.ndarray = measured.measured[:, used].mean(axis=1)
    return shares


def enough_genes(
    artefact: Artefact, inputs: PredictionInputs, measured: NewExpression | None, progress: Progress
) -> tuple[dict[str, int], dict[str, str]]:
    """Return the rows of patients with enough genes, and why others are not judged by theirs."""
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
        said = "they are masked" if artefact.masks else "they would be imputed"
        progress.say(f"{len(thin)} patients have too few genes, and {said}: not judged by genes")
    return rows, thin


def check_level(
    artefact: Artefact, measured: NewExpression, rows: Mapping[str, int], progress: Progress
) -> None:
    """Raise CohortError if the median gene of the new patients lies far off the training level."""
    shift = level_shift(artefact, measured.values[list(rows.values())])
    if shift is None:
        return
    progress.say(f"level: the median gene lies {shift:+.2f} training SD off the training mean")
    assert artefact.genes is not None
    if abs(shift) <= MOST_SHIFT:
        return
    raise CohortError(
        f"expression: the median gene of {len(rows)} patients lies {shift:+.2f} training standard "
        f"deviations off the training mean, expected at most {MOST_SHIFT:g}: another unit or assay "
        f"than the model's {artefact.genes.kind}. Give a table made as the training table was, or "
        'fit the model with [expression] representation = "scaled" (docs/assays.md).'
    )


def level_shift(artefact: Artefact, values: np.ndarray) -> float | None:
    """Return the median over patients and genes of expression as the model sees it, in training SD.

    None where there are too few genes to say anything of a level.
    """
    prepared = artefact.preparation.measured_genes(values)
    there = (~np.isnan(prepared)).sum(axis=1) >= LEAST_GENES_TO_COMPARE
    if not there.any():
        return None
    return float(np.median(np.nanmedian(prepared[there], axis=1)))
