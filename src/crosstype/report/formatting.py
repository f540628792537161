"""Names, numbers and sentences as the report writes them."""

from typing import Any

import polars as pl

from crosstype.models.catalog import GENE_ONLY, MODELS
from crosstype.report.run_tables import RunTables

METRIC_NAMES = {
    "auroc": "AUROC",
    "pr_auc": "PR-AUC",
    "f1": "F1",
    "mcc": "MCC",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "brier": "Brier (lower is better)",
    "precision": "Precision",
    "recall": "Recall (sensitivity)",
    "specificity": "Specificity",
    "log_loss": "Log loss (lower is better)",
    "ece": "Calibration error (lower is better)",
    "brier_reliability": "Brier: reliability (lower is better)",
    "brier_resolution": "Brier: resolution",
    "brier_uncertainty": "Brier: uncertainty",
    "brier_within": "Brier: within bins",
}
TEST_NAMES = {
    "delong": "DeLong",
    "permutation": "permutation",
    "mcnemar": "McNemar, mid-p",
    "bootstrap": "bootstrap",
    "nadeau_bengio": "Nadeau-Bengio",
}
MINUS = "\N{MINUS SIGN}"


def model_note(name: str) -> str:
    """Return the few words that stand beside a model's name; none for an unknown one."""
    return MODELS[name].note if name in MODELS else ""


def number(value: float | None, digits: int = 3, *, signed: bool = False) -> str:
    """Return a number for the eye, with a true minus sign; a dash if there is none."""
    if value is None:
        return "–"
    text = f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", MINUS)


def p_value(p: float, digits: int = 4) -> str:
    """Return a p for the eye: never 0, which no test can find."""
    least = 10.0**-digits
    return f"< {least:.{digits}f}" if p < least else number(p, digits)


def short(name: str, most: int = 32) -> str:
    """Return a name for a figure, cut if it is longer than so many letters."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def interval(row: dict[str, Any], digits: int = 3) -> str:
    """Return the ends of a row's interval."""
    return f"{number(row['low'], digits)} to {number(row['high'], digits)}"


def best_model_sentence(content: RunTables) -> str:
    """Return a sentence on the best model, with intervals."""
    row = content.headline("auroc").sort("value", descending=True, maintain_order=True)
    if row.is_empty():
        return "No model was evaluated."
    best = row.row(0, named=True)
    level = f"{content.confidence:.0%}"
    found = (
        f"Of {row.height} models on {best['n']} patients, {best['model']} has the highest pooled "
        f"AUROC: {number(best['value'])} ({level} interval {interval(best)})"
    )
    if best["model"] == GENE_ONLY:
        return f"{found}; no model is above genes alone."
    against = content.comparisons.filter(
        (pl.col("model_a") == best["model"])
        & (pl.col("model_b") == GENE_ONLY)
        & (pl.col("metric") == "auroc")
    )
    if against.is_empty():
        return f"{found}."
    shown = _difference(against.row(0, named=True), content.confidence)
    return f"{found}; its difference to gene_only is {shown}."


def modality_sentence(content: RunTables) -> str:
    """Return the drop per shuffled modality of the best model that uses several, if any."""
    use = content.modality_use.filter(
        (pl.col("metric") == "auroc") & pl.col("condition").str.ends_with("_shuffled")
    )
    for model in content.models:
        rows = [row for row in use.filter(model=model).iter_rows(named=True) if row["drop"]]
        if len(rows) > 1:
            drops = " and ".join(
                f"{number(row['drop'])} when {row['modality']} is shuffled between patients "
                f"({interval(row)})"
                for row in rows
            )
            return f"Drop in AUROC of {model}: {drops}."
    return ""


def _difference(row: dict[str, Any], confidence: float) -> str:
    shown = f"{number(row['difference'], signed=True)} ({interval(row)})"
    if row["low"] <= 0 <= row["high"]:
        return f"{shown}, an interval that includes 0: no difference is shown"
    side = "above" if row["low"] > 0 else "below"
    adjusted = f"adjusted p {p_value(row['p_adjusted'], 3)}"
    if row["p_adjusted"] > 1 - confidence:
        found = f"an interval {side} 0, not significant after correction for the number of models"
        return f"{shown}, {found} ({adjusted})"
    return f"{shown}, an interval {side} 0 ({adjusted})"
