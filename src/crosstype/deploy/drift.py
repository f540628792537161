"""Covariate shift: means and standard deviations of a model's inputs, in training and elsewhere."""

import numpy as np
import polars as pl
from jaxtyping import Float

from crosstype.deploy.fitted_model import Artefact
from crosstype.io.schema import REAL, SHIFT
from crosstype.training.patients import Patients


def shift_of(artefact: Artefact, patients: Patients) -> pl.DataFrame:
    """Return each input's mean and SD in training and in these patients, as shift.csv has it.

    Genes are on the scale on which the model standardises them (for amounts log(1 + x); `docs/
    artefact.md`), tile features are means over a patient's tiles.

    Args:
        artefact: the model; training means and SDs are those of its preparation.
        patients: other patients, with expression as for prediction.

    Returns:
        A row per input; its difference is None where all values are missing or training's SD is 0.
    """
    parts = []
    preparation = artefact.preparation
    if artefact.genes is not None:
        names = np.array(artefact.genes.set_names or artefact.genes.genes)[preparation.kept]
        steps = preparation.expression.named_steps
        mean, spread = np.asarray(steps["standardise"].mean_), preparation.gene_spread
        parts.append(
            _rows(names, "gene", (mean, spread), preparation.measured_genes(patients.genes))
        )
    if artefact.features is not None:
        n = len(preparation.feature_mean)
        names = np.array([f"feature_{number}" for number in range(n)])
        mean, spread = preparation.summary_mean[:n], preparation.summary_scale[:n]
        found = preparation.bag_summary(patients)[:, :n]
        parts.append(_rows(names, "feature", (mean, spread), found))
    return pl.concat(parts)


def _rows(
    names: np.ndarray,
    kind: str,
    training: tuple[np.ndarray, np.ndarray],
    standardised: Float[np.ndarray, "patients inputs"],
) -> pl.DataFrame:
    """Return the rows of inputs of one kind from their values in training SD."""
    mean, spread = (one.astype(np.float64) for one in training)
    measured = ~np.isnan(standardised)
    n_measured = measured.sum(axis=0)
    filled = np.where(measured, standardised, 0).astype(np.float64)
    difference = filled.sum(axis=0) / np.maximum(n_measured, 1)
    squares = np.where(measured, (filled - difference) ** 2, 0)
    variance = squares.sum(axis=0) / np.maximum(n_measured, 1)
    known = (n_measured > 0) & (spread > 0)
    here = mean + difference * spread
    found = (here, np.sqrt(variance) * spread, difference)
    known_here = [np.where(known, one, np.nan) for one in found]
    missing = 1 - n_measured / max(1, len(standardised))
    rows = zip(names, [kind] * len(names), mean, spread, *known_here, missing, strict=True)
    return SHIFT.frame(list(rows)).with_columns(pl.col(REAL).fill_nan(None))


NOTABLE = 0.5
"""Standardised difference from which an input counts as shifted."""


def shift_sentence(table: pl.DataFrame) -> str:
    """Return one sentence: the number of shifted inputs of each kind, and the most shifted.

    Args:
        table: shift.csv: input, kind, standardised_difference, worst first.
    """
    parts = []
    for (kind,), rows in table.group_by("kind", maintain_order=True):
        known = rows.drop_nulls("standardised_difference")
        if known.is_empty():
            parts.append(f"none of {rows.height} {kind}s is measured")
            continue
        shifted = known.filter(pl.col("standardised_difference").abs() >= NOTABLE)
        worst = known.row(0, named=True)
        middle = float(np.median(known["standardised_difference"].abs().to_numpy()))
        parts.append(
            f"{shifted.height} of {rows.height} {kind}s are shifted by {NOTABLE:g} training SD or "
            f"more, most {worst['input']} ({worst['standardised_difference']:+.2f}); median "
            f"{middle:.2f}"
        )
    return f"shift: {'; '.join(parts) or 'no input'}"
