"""Gene alignment, counts of removed outliers, and serialisation of fitted preprocessing."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from crosstype.errors import CheckpointError
from crosstype.expression import transformers
from crosstype.expression.genes.selection import GeneChoice, ZeroGeneDropper
from crosstype.io.schema import OUTLIERS

STEPS: dict[str, tuple[type[BaseEstimator], tuple[str, ...], tuple[str, ...]]] = {
    "GeneChoice": (GeneChoice, ("support_",), ()),
    "ZeroGeneDropper": (ZeroGeneDropper, ("support_", "n_zeros_"), ()),
    "NormalRanks": (transformers.NormalRanks, ("measured_",), ()),
    "MedianRatio": (transformers.MedianRatio, ("medians_",), ("is_log_", "offset_", "lowest_")),
    "ShiftLog": (transformers.ShiftLog, (), ("minimum_", "shift_")),
    "VarianceChoice": (transformers.VarianceChoice, ("variances_", "support_"), ()),
    "Standardiser": (transformers.Standardiser, ("mean_", "factor_"), ()),
    "OutlierRemover": (transformers.OutlierRemover, ("low_", "high_"), ()),
    "MissingImputer": (transformers.MissingImputer, ("statistics_",), ()),
}
"""Class, fitted arrays and fitted numbers of each step."""


def align_genes(
    values: np.ndarray, genes: Sequence[str], wanted: Sequence[str]
) -> tuple[np.ndarray, float]:
    """Return the columns of the wanted genes, in order; NaN for genes that the table lacks.

    Other genes are dropped.

    Args:
        values: (n_patients, n_genes).
        genes: names of the columns.
        wanted: names of the columns to return.

    Returns:
        float32 (n_patients, n_wanted), and the share of the wanted genes that was found.
    """
    column_of = {gene: i for i, gene in enumerate(genes)}
    columns = np.array([column_of.get(gene, -1) for gene in wanted], dtype=np.intp)
    present = columns >= 0
    aligned = np.full((len(values), len(wanted)), np.nan, dtype=np.float32)
    aligned[:, present] = values[:, columns[present]]
    return aligned, float(present.mean()) if len(wanted) else 0.0


def outlier_cost(
    values: np.ndarray, labels: Sequence[str], genes: Sequence[str], factor: float
) -> pl.DataFrame:
    """Return the share of each gene's values that outlier removal would delete, by class.

    Descriptive: the fences are those of all given patients. Values must be logarithms.

    Args:
        values: (n_patients, n_genes); NaN where missing.
        labels: class name of each patient.
        genes: name of each gene.
        factor: distance of the fences from the quartiles, in interquartile ranges.

    Returns:
        gene, class, n (values present), n_removed and share (of n; empty if n is 0).
    """
    low, high = transformers.fences(values, factor)
    present = ~np.isnan(values)
    outside = (values < low) | (values > high)
    label = np.array(labels)
    frames = []
    for name in sorted(set(labels)):
        own = label == name
        frames.append(
            OUTLIERS.frame(
                {
                    "gene": list(genes),
                    "class": name,
                    "n": present[own].sum(axis=0),
                    "n_removed": outside[own].sum(axis=0),
                    "share": None,
                }
            )
        )
    share = pl.when(pl.col("n") > 0).then(pl.col("n_removed") / pl.col("n")).alias("share")
    return pl.concat(frames).with_columns(share)


def pipeline_state(pipeline: Pipeline) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return a fitted pipeline as arrays and JSON-able settings, for a checkpoint."""
    arrays: dict[str, np.ndarray] = {}
    steps: list[dict[str, Any]] = []
    for name, step in pipeline.steps:
        kind = type(step).__name__
        _, array_names, number_names = STEPS[kind]
        arrays.update({f"{name}.{key}": np.asarray(getattr(step, key)) for key in array_names})
        steps.append(
            {
                "name": name,
                "kind": kind,
                "settings": step.get_params(),
                "numbers": {key: getattr(step, key) for key in number_names},
                "n_genes": int(step.n_features_in_),
            }
        )
    return arrays, {"steps": steps}


def pipeline_from_state(arrays: Mapping[str, np.ndarray], state: Mapping[str, Any]) -> Pipeline:
    """Return the fitted pipeline from the state of `pipeline_state`.

    Raises:
        CheckpointError: a step is unknown or one of its arrays is missing.
    """
    steps = []
    try:
        for saved in state["steps"]:
            kind, array_names, number_names = STEPS[saved["kind"]]
            step = kind(**saved["settings"])
            for key in array_names:
                setattr(step, key, np.asarray(arrays[f"{saved['name']}.{key}"]))
            for key in number_names:
                setattr(step, key, float(saved["numbers"][key]))
            step.n_features_in_ = int(saved["n_genes"])
            steps.append((saved["name"], step))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"checkpoint: its expression preprocessing lacks or mistakes {error}. "
            "Fit the model anew with this version."
        ) from None
    return Pipeline(steps)
