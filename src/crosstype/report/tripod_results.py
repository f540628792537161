"""What a run says of the items of TRIPOD+AI about results and discussion."""

from __future__ import annotations

from typing import Any

import polars as pl

from crosstype.report.apart import n_apart
from crosstype.report.content import RunContent
from crosstype.report.site import SITE_ONLY, probe_sentences
from crosstype.report.words import METRIC_NAMES, interval, number

SHOWN = ("auroc", "f1", "mcc", "brier")


def results_said(content: RunContent) -> dict[str, str]:
    """Return what the run says, by number of the item; absent where it says nothing."""
    sizes = [(name, int((content.cohort["label"] == name).sum())) for name in content.classes]
    counted = ", ".join(f"{n} {name}" for name, n in sizes)
    return {
        "20a": _flow(content, counted),
        "20b": f"{counted}; classes by site, slides and tiles in report.html (Site). Age, stage "
        "and treatment are not known to the run.",
        "21": f"Each model: {content.cohort.height} patients ({counted}), "
        f"number of repeats {content.n_repeats}.",
        "22": "Checkpoints with weights, genes and preprocessing under models/; one model on all "
        "patients by `crosstype fit`.",
        "23a": _performance(content),
        "23b": _by_site(content),
        "26": _limitations(content),
        "27a": _lost_input(content),
    }


def _flow(content: RunContent, counted: str) -> str:
    n_left = content.left_out["patient_id"].n_unique()
    reasons = content.left_out.group_by("step", "reason", maintain_order=True).agg(
        pl.col("patient_id").n_unique().alias("n")
    )
    why = "; ".join(f"{n} at {step}: {reason}" for step, reason, n in reasons.iter_rows())
    said = f"{content.cohort.height + n_left} patients in the tables, {n_left} left out"
    said += f" ({why})" if why else ""
    said += f", {content.cohort.height} in the cohort ({counted})."
    apart = n_apart(content)
    if apart:
        said += f" {apart} without a class were predicted apart and count nowhere."
    return said


def _performance(content: RunContent) -> str:
    said = []
    for metric in SHOWN:
        found = {row["model"]: row for row in content.headline(metric).iter_rows(named=True)}
        values = [_value(model, found[model]) for model in content.models if model in found]
        if values:
            said.append(f"{METRIC_NAMES[metric]}: {'; '.join(values)}.")
    columns = list(dict.fromkeys(content.subgroups["column"]))
    if columns:
        said.append(f"By {', '.join(columns)}: subgroups.csv.")
    return " ".join(said)


def _value(model: str, row: dict[str, Any]) -> str:
    return f"{model} {number(row['value'])} ({interval(row)})"


def _by_site(content: RunContent) -> str:
    if not content.models:
        return ""
    best = content.models[0]
    rows = content.subgroups.filter(
        (pl.col("column") == "site")
        & (pl.col("metric") == "auroc")
        & (pl.col("model") == best)
        & pl.col("value").is_not_null()
    ).sort("value")
    if rows.is_empty():
        return "No site is large enough for an AUROC of its own."
    low, high = rows.row(0, named=True), rows.row(-1, named=True)
    said = (
        f"AUROC of {best} in the {rows.height} sites that are large enough: from "
        f"{number(low['value'])} ({interval(low)}) to {number(high['value'])} ({interval(high)})."
    )
    return " ".join([said, *probe_sentences(content)])


def _limitations(content: RunContent) -> str:
    said = [
        "One cohort; no external validation by this run.",
        "Intervals are conditional on the fitted models.",
        "The best of several models was picked on the same patients.",
    ]
    if content.n_repeats == 1:
        said.append("One repeat: the chance of the split is not in the numbers.")
    sites = content.headline("auroc").filter(pl.col("model") == SITE_ONLY)
    if not sites.is_empty() and content.protocol != "site":
        said.append(
            "Patients of one site stand in training and test; site_only has an AUROC of "
            f"{number(sites['value'].item())}."
        )
    if content.leaks:
        said.append(f"The protocol leaks test patients: {'; '.join(content.leaks)}.")
    return " ".join([*said, *content.warnings])


def _lost_input(content: RunContent) -> str:
    if content.rna_loss.is_empty():
        return "Loss of expression was not studied ([evaluation] rna_loss)."
    return "Loss of expression at test time: rna_loss.csv and report.html (Lost genes)."
