"""Columns of the tables that the report reads, and what stands in them."""

from __future__ import annotations

import polars as pl

Columns = dict[str, type[pl.DataType]]
INTERVAL: Columns = {"low": pl.Float64, "high": pl.Float64}
METRICS: Columns = {
    "model": pl.String,
    "metric": pl.String,
    "class": pl.String,
    "value": pl.Float64,
    **INTERVAL,
    "n": pl.Int64,
    "fold_mean": pl.Float64,
    "fold_sd": pl.Float64,
    "n_folds": pl.Int64,
    "n_folds_skipped": pl.Int64,
}
COMPARISONS: Columns = {
    "model_a": pl.String,
    "model_b": pl.String,
    "metric": pl.String,
    "difference": pl.Float64,
    **INTERVAL,
    "p": pl.Float64,
    "p_adjusted": pl.Float64,
    "n": pl.Int64,
    "test": pl.String,
}
MODALITY_USE: Columns = {
    "model": pl.String,
    "modality": pl.String,
    "condition": pl.String,
    "level": pl.Float64,
    "metric": pl.String,
    "drop": pl.Float64,
    **INTERVAL,
}
PREDICTIONS: Columns = {
    "patient_id": pl.String,
    "model": pl.String,
    "repeat": pl.Int64,
    "label": pl.String,
    "predicted": pl.String,
}
TRAINING: Columns = {
    "model": pl.String,
    "repeat": pl.Int64,
    "fold": pl.Int64,
    "epoch": pl.Int64,
    "train_loss": pl.Float64,
    "validation_loss": pl.Float64,
    "trust": pl.Float64,
}
COHORT: Columns = {
    "patient_id": pl.String,
    "label": pl.String,
    "site": pl.String,
    "n_slides": pl.Int64,
    "n_tiles": pl.Int64,
}
LEFT_OUT: Columns = {"patient_id": pl.String, "step": pl.String, "reason": pl.String}
FEATURES: Columns = {
    "slide_id": pl.String,
    "patient_id": pl.String,
    "encoder": pl.String,
    "fault": pl.String,
}
OUTLIERS: Columns = {
    "gene": pl.String,
    "class": pl.String,
    "n": pl.Float64,
    "n_removed": pl.Float64,
    "share": pl.Float64,
}
RNA_LOSS: Columns = {
    "model": pl.String,
    "pattern": pl.String,
    "level": pl.Float64,
    "metric": pl.String,
    "value": pl.Float64,
    **INTERVAL,
    "n": pl.Int64,
    "note": pl.String,
}
RNA_LOSS_COMPARISONS: Columns = {
    "model_a": pl.String,
    "model_b": pl.String,
    "pattern": pl.String,
    "level": pl.Float64,
    "difference": pl.Float64,
    **INTERVAL,
    "n": pl.Int64,
    "note": pl.String,
}
COVERAGE: Columns = {
    "model": pl.String,
    "rule": pl.String,
    "coverage": pl.Float64,
    "threshold": pl.Float64,
    "accuracy": pl.Float64,
    **INTERVAL,
    "n": pl.Int64,
    "n_abstained": pl.Int64,
    "macro_f1": pl.Float64,
    "macro_f1_low": pl.Float64,
    "macro_f1_high": pl.Float64,
    "aurc": pl.Float64,
    "aurc_low": pl.Float64,
    "aurc_high": pl.Float64,
}
CALIBRATION: Columns = {
    "model": pl.String,
    "n": pl.Int64,
    "temperature": pl.Float64,
    "class": pl.String,
    "offset": pl.Float64,
    "threshold": pl.Float64,
}
CALIBRATION_CURVE: Columns = {
    "model": pl.String,
    "class": pl.String,
    **dict.fromkeys(("bin", "n"), pl.Int64),
    **dict.fromkeys(("mean_probability", "observed"), pl.Float64),
    **INTERVAL,
}
DECISION_CURVE: Columns = {
    "model": pl.String,
    "class": pl.String,
    **dict.fromkeys(("threshold", "net_benefit", "treat_all"), pl.Float64),
    **INTERVAL,
}
TESTS: Columns = {
    "model_a": pl.String,
    "model_b": pl.String,
    "metric": pl.String,
    "test": pl.String,
    **dict.fromkeys(("statistic", "p", "p_adjusted"), pl.Float64),
    "n": pl.Int64,
}
SUBGROUPS: Columns = {
    **dict.fromkeys(("column", "group", "model", "metric", "note"), pl.String),
    "value": pl.Float64,
    **INTERVAL,
    **dict.fromkeys(("n", "n_positive"), pl.Int64),
}
SITE_PROBE: Columns = {
    "input": pl.String,
    "metric": pl.String,
    "value": pl.Float64,
    **INTERVAL,
    "guessing": pl.Float64,
    **dict.fromkeys(("n_sites", "n"), pl.Int64),
}
APART_PREDICTIONS: Columns = {
    **dict.fromkeys(("patient_id", "reason", "model", "predicted"), pl.String),
    "n_models": pl.Int64,
}
ARCHITECTURE: Columns = {
    **dict.fromkeys(("model", "box", "module", "kind", "settings", "shape", "inputs"), pl.String),
    **dict.fromkeys(("n_parameters", "n_networks"), pl.Int64),
}
VECTOR_MAPS: Columns = {
    **dict.fromkeys(("model", "patient_id", "label", "space", "method"), pl.String),
    **dict.fromkeys(("repeat", "fold"), pl.Int64),
    **dict.fromkeys(("x", "y"), pl.Float64),
}
EXAMPLES: Columns = dict.fromkeys(("key", "value"), pl.String)
SAMPLE_PROFILE: Columns = {"gene": pl.String, "z": pl.Float64, "rank": pl.Int64}
EXPRESSION_SPREAD: Columns = {
    **dict.fromkeys(("gene", "step", "who"), pl.String),
    "n": pl.Int64,
    **dict.fromkeys(("low", "q25", "median", "q75", "high"), pl.Float64),
}
EXPRESSION_STEPS: Columns = {
    **dict.fromkeys(("patient_id", "label", "gene"), pl.String),
    **dict.fromkeys(("before", "z", "without_outliers"), pl.Float64),
}
ATTRIBUTIONS: Columns = {
    **dict.fromkeys(("model", "gene", "gene_sets"), pl.String),
    "rank": pl.Int64,
    "mean_absolute": pl.Float64,
}
DRAWN: Columns = dict.fromkeys(("model", "patient_id", "slide_id", "kind", "file"), pl.String)
