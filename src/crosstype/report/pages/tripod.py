"""What a run says of the items of TRIPOD+AI about data and methods.

What a run says of the items of TRIPOD+AI about results and discussion.

The TRIPOD+AI checklist of a run: what it can say for itself, and what its authors have to.

Collins et al. 2024, BMJ 385:e078378: 27 items, 52 with their parts. Topics are in our own words;
the statement has the full text.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from crosstype.io.files import write_text
from crosstype.models.catalog import SITE_ONLY
from crosstype.protocol import PROTOCOLS
from crosstype.report.formatting import METRIC_NAMES, interval, number
from crosstype.report.run_tables import RunTables, read_run_tables
from crosstype.report.sections.groups import n_unlabelled, probe_sentences
from crosstype.report.spec import ReportSpec

Settings = Mapping[str, Any]
IMBALANCE = {
    "root": "losses weigh each class by the root of the inverse of its share in training patients",
    "balanced": "losses weigh each class by the inverse of its share in training patients",
    "none": "every patient weighs the same in the losses",
}
OUTLIERS = {
    "protocol": "outliers as the protocol has it (removed under paper, kept otherwise)",
    "keep": "outliers kept",
    "remove": "outliers set to missing by the interquartile fences of training patients",
}


def methods_said(content: RunTables) -> dict[str, str]:
    """Return what the run says, by number of the item; absent where it says nothing."""
    settings = tomllib.loads(content.config_text)
    return {
        "4": "Development with internal validation (cross-validation); no external validation.",
        **_data(content, settings),
        **_predictors(content, settings),
        **_analysis(content, settings),
        **_open_science(content),
    }


def _data(content: RunTables, settings: Settings) -> dict[str, str]:
    names = [name for name in content.run.get("inputs", {}) if ": " in name]
    sites = {site for site in content.cohort["site"].to_list() if site}
    classes = "; ".join(
        f"{one['name']}: {', '.join(one.get('labels', ())) or 'as called'}"
        for one in settings.get("cohort", {}).get("classes", ())
    )
    provenance = content.run.get("labels_provenance") or "provenance not stated"
    made_up = " The patients were made up." if content.is_synthetic else ""
    return {
        "5a": f"Files read: {', '.join(names) or 'not recorded'}. SHA-256 in run.json.{made_up}",
        "6a": f"{len(sites)} tissue source sites, as far as recorded." if sites else "",
        "6b": "Patients with a label of the classes, a usable slide and expression"
        f"{_asked_sites(settings)}; {_others(settings)}.",
        "7": _preparation(content, settings),
        "8a": f"Classes {classes or ', '.join(content.classes)}. Labels: {provenance}.",
    }


def _asked_sites(settings: Settings) -> str:
    cohort = settings.get("cohort", {})
    kept, left = cohort.get("sites"), cohort.get("exclude_sites")
    said = f"; sites {', '.join(kept)} only" if kept else ""
    return said + (f"; sites {', '.join(left)} excluded" if left else "")


def _others(settings: Settings) -> str:
    if _trains_on_single_modality(settings):
        return (
            "those with a label and one of the two teach and are not tested (single_modality.csv); "
            "everybody else is listed in left_out.csv"
        )
    return "everybody else is listed in left_out.csv"


def _trains_on_single_modality(settings: Settings) -> bool:
    return bool(settings.get("cohort", {}).get("single_modality") == "train")


def _preparation(content: RunTables, settings: Settings) -> str:
    notes = [_closed(str(note)) for note in content.run.get("notes", ())]
    bad = content.features["fault"].to_list()
    n_bad = sum(1 for fault in bad if fault)
    checks = f"{n_bad} of {len(bad)} slides had a fault and were not used." if bad else ""
    outliers = OUTLIERS.get(settings.get("expression", {}).get("outliers", ""), "")
    fitted = "Preprocessing is fitted on training patients of each fold."
    if content.leaks:
        fitted = f"The protocol leaks: {'; '.join(content.leaks)}."
    said = [fitted, f"{outliers[:1].upper()}{outliers[1:]}." if outliers else "", checks, *notes]
    return " ".join(one for one in said if one)


def _predictors(content: RunTables, settings: Settings) -> dict[str, str]:
    expression = settings.get("expression", {})
    encoders = sorted({one for one in content.features["encoder"].to_list() if one})
    what = expression.get("representation", "genes")
    said = f"Expression ({what}"
    said += ", without the PAM50 genes" if expression.get("exclude_pam50") else ""
    if expression.get("n_genes"):
        said += f", the {expression['n_genes']} of highest variance in {_fitted_on(content)}"
    said += f") and tile features of slides (encoder: {', '.join(encoders) or 'not recorded'})"
    covariates = settings.get("cohort", {}).get("covariates")
    said += f"; clinical covariates {', '.join(covariates)}." if covariates else "."
    imputed = expression.get("imputation", "median")
    return {
        "9a": said,
        "11": f"{_missing(settings)} Missing expression values become the gene's {imputed} over "
        f"{_fitted_on(content)}.",
        "12b": "As numbers. Genes are scaled by means and spreads of "
        f"{_fitted_on(content)}; tile features {_features_scaled(content, settings)}; "
        "what was found of the expression's unit stands under item 7.",
        "10": f"Whoever is in the tables and eligible: {content.cohort.height} patients. No "
        "calculation of a sample size was made by the run.",
    }


def _missing(settings: Settings) -> str:
    if _trains_on_single_modality(settings):
        return (
            "Patients without a label, or without slide and expression, are left out "
            "(left_out.csv); those with one of the two teach what they have."
        )
    return "Patients without label, slide or expression are left out (left_out.csv)."


def _features_scaled(content: RunTables, settings: Settings) -> str:
    as_they_are = _as_published(content, settings)
    return "as they are" if as_they_are else "by those of training patients"


def _as_published(content: RunTables, settings: Settings) -> bool:
    protocol = PROTOCOLS.get(content.protocol)
    if protocol is None:  # a study's own: only the training settings tell
        return bool(settings.get("training", {}).get("schedule") == "published")
    return protocol.published_training


def _fitted_on(content: RunTables) -> str:
    leaks = any("preprocessing" in leak for leak in content.leaks)
    return "all patients, test patients included" if leaks else "training patients"


def _analysis(content: RunTables, settings: Settings) -> dict[str, str]:
    training = settings.get("training", {})
    seed = content.run.get("seed", "not recorded")
    one_network = _stops_on_test(content) or _as_published(content, settings)
    networks = "" if one_network else ", networks as the mean over inner folds"
    return {
        "12a": f"Cross-validation, protocol {content.protocol}: {_assigned(content, settings)}"
        f"number of repeats {content.n_repeats}, seed {seed}. Every patient is predicted out of "
        "fold, once per repeat (folds.csv).",
        "12c": f"Models: {', '.join(content.models)}; settings in config.toml; "
        f"{_tuned(content, training)}.{_temperature(training)}",
        "12d": _centres(content),
        "12e": _measures(content, settings),
        "12f": "None: no model was changed after it was judged.",
        "12g": f"A model of the fold that holds the patient out{networks}; checkpoints of all "
        "folds under models/.",
        "13": _imbalance(training),
        "14": _fairness(content),
        "15": f"A probability of each class ({', '.join(content.classes)}), and the called class: "
        f"{_threshold(training)}.",
        "16": "None by design: training and test patients are of one cohort"
        f"{', of different sites' if content.protocol == 'site' else ''}.",
    }


def _stops_on_test(content: RunTables) -> bool:
    return any("early stopping" in leak for leak in content.leaks)


def _assigned(content: RunTables, settings: Settings) -> str:
    folds = settings.get("folds", {})
    n_folds, n_inner = folds.get("n_folds"), folds.get("n_inner_folds")
    if n_folds is None:
        return ""
    if _stops_on_test(content):
        return f"{n_folds} folds, training stopped by the fold that is tested; "
    return f"{n_folds} outer folds, {n_inner} inner folds of their training patients; "


def _tuned(content: RunTables, training: Settings) -> str:
    search = training.get("search_minutes", 0)
    if not search:
        return "no search"
    where = "the fold that is tested" if _stops_on_test(content) else "inner folds"
    return f"settings searched on {where}, {search:g} minutes each"


def _centres(content: RunTables) -> str:
    said = []
    if "site" in content.subgroups["column"]:
        said.append("performance by site (subgroups.csv)")
    if not content.site_probe.is_empty():
        said.append("whether the site can be told from the inputs (site_probe.csv)")
    if SITE_ONLY in content.models:
        said.append("the baseline site_only")
    return _sentence("; ".join(said))


def _measures(content: RunTables, settings: Settings) -> str:
    evaluation = settings.get("evaluation", {})
    resampled = f"{evaluation.get('n_bootstrap', 2000)} resamples of patients"
    by = f"DeLong for AUROC, else by {resampled}"
    if evaluation.get("auroc_interval") == "bootstrap":
        by = resampled
    said = (
        "AUROC, PR-AUC, F1, MCC, accuracy, Brier, calibration and decision curves, pooled over "
        f"folds; {content.confidence:.0%} intervals by {by}, conditional on the fitted models"
    )
    compared = "; paired tests with Holm's correction (tests.csv)"
    return f"{said}{'' if content.tests.is_empty() else compared}."


def _imbalance(training: Settings) -> str:
    weighed = _sentence(IMBALANCE.get(training.get("class_weights", ""), ""))
    return f"{weighed}{_temperature(training)}" if weighed else ""


def _temperature(training: Settings) -> str:
    if training.get("calibration") == "temperature":
        return " Temperature chosen on inner validation patients (calibration.csv)."
    return ""


def _threshold(training: Settings) -> str:
    rule = training.get("threshold", "argmax")
    if rule == "argmax":
        return "the most probable one"
    return f"by thresholds ({rule}) chosen on inner validation patients"


def _fairness(content: RunTables) -> str:
    columns = list(dict.fromkeys(content.subgroups["column"]))
    if not columns:
        return "No groups were asked for."
    return f"Performance by {', '.join(columns)} (subgroups.csv); nothing was done to even it out."


def _open_science(content: RunTables) -> dict[str, str]:
    versions = content.run.get("versions", {})
    said = ", ".join(f"{name} {version}" for name, version in versions.items())
    return {
        "18f": f"Command: {content.run.get('command', 'not recorded')}; config.toml; seed "
        f"{content.run.get('seed', 'not recorded')}; versions: {said or 'not recorded'}. The same "
        "of these give the same predictions.csv.",
    }


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}." if words else ""


def _closed(note: str) -> str:
    """Return a note that ends as a sentence does, so that the next one can follow it."""
    return note if note.endswith((".", "!", "?")) else f"{note}."


SHOWN = ("auroc", "f1", "mcc", "brier")


def results_said(content: RunTables) -> dict[str, str]:
    """Return what the run says, by number of the item; absent where it says nothing."""
    sizes = [(name, int((content.cohort["label"] == name).sum())) for name in content.classes]
    counted = ", ".join(f"{n} {name}" for name, n in sizes)
    return {
        "20a": _flow(content, counted),
        "20b": f"{counted}; classes by site, slides and tiles in report.html (Site)."
        f"{_known_columns(content)}",
        "21": f"Each model: {content.cohort.height} patients ({counted}), "
        f"number of repeats {content.n_repeats}.",
        "22": "Checkpoints with weights, genes and preprocessing under models/; one model on all "
        "patients by `crosstype fit`.",
        "23a": _performance(content),
        "23b": _by_site(content),
        "24": "No model was updated.",
        "26": _limitations(content),
        "27a": _lost_input(content),
    }


def _known_columns(content: RunTables) -> str:
    cohort = tomllib.loads(content.config_text).get("cohort", {})
    named = [*cohort.get("covariates", ()), *cohort.get("subgroups", ())]
    if not named:
        return " Age, stage and treatment are not known to the run."
    return (
        f" Read beside them: {', '.join(dict.fromkeys(named))}; groups and their sizes in "
        "subgroups.csv where asked for. Nothing else is known to the run."
    )


def _flow(content: RunTables, counted: str) -> str:
    n_left = content.left_out["patient_id"].n_unique()
    reasons = content.left_out.group_by("step", "reason", maintain_order=True).agg(
        pl.col("patient_id").n_unique().alias("n")
    )
    why = "; ".join(f"{n} at {step}: {reason}" for step, reason, n in reasons.iter_rows())
    said = f"{content.cohort.height + n_left} patients in the tables, {n_left} left out"
    said += f" ({why})" if why else ""
    said += f", {content.cohort.height} in the cohort ({counted})."
    unlabelled = n_unlabelled(content)
    if unlabelled:
        said += f" {unlabelled} without a class were predicted and count nowhere."
    return said


def _performance(content: RunTables) -> str:
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


def _by_site(content: RunTables) -> str:
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


def _limitations(content: RunTables) -> str:
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


def _lost_input(content: RunTables) -> str:
    if content.rna_loss.is_empty():
        return "Loss of expression was not studied ([evaluation] rna_loss)."
    return "Loss of expression at test time: rna_loss.csv and report.html (Lost genes)."


TRIPOD = "tripod_ai.md"
BY_AUTHORS = "to be filled by the authors"
ITEMS: tuple[tuple[str, str, str], ...] = (
    ("Title", "1", "That a prediction model is developed or evaluated, in whom, for what"),
    ("Abstract", "2", "As TRIPOD+AI for abstracts asks"),
    ("Introduction", "3a", "The health problem and why a model is wanted; models that exist"),
    ("Introduction", "3b", "Who is to be predicted, at which point of care, who uses it"),
    ("Introduction", "3c", "Known inequalities between groups of patients"),
    ("Introduction", "4", "Aim: development, evaluation, or both"),
    ("Methods", "5a", "Sources of the data, and why they serve"),
    ("Methods", "5b", "Dates of the data"),
    ("Methods", "6a", "Setting: kind, number and place of the centres"),
    ("Methods", "6b", "Who could take part"),
    ("Methods", "6c", "Treatments received"),
    ("Methods", "7", "Preparation and checks of the data"),
    ("Methods", "8a", "Outcome: what, when and how it was assessed"),
    ("Methods", "8b", "Who assessed it, if judgement was needed"),
    ("Methods", "8c", "Blinding of that assessment"),
    ("Methods", "9a", "Which predictors, and why these"),
    ("Methods", "9b", "How and when they were measured"),
    ("Methods", "9c", "Who assessed them, if judgement was needed"),
    ("Methods", "10", "How the number of patients came about, and whether it is enough"),
    ("Methods", "11", "Missing data"),
    ("Methods", "12a", "Which data served which purpose; how they were split"),
    ("Methods", "12b", "How predictors entered the models"),
    ("Methods", "12c", "Kinds of model, how they were built, tuned and validated"),
    ("Methods", "12d", "Differences between centres"),
    ("Methods", "12e", "Measures of performance and their chance; comparisons"),
    ("Methods", "12f", "Updating, such as recalibration"),
    ("Methods", "12g", "How predictions were computed"),
    ("Methods", "13", "Class imbalance"),
    ("Methods", "14", "Fairness"),
    ("Methods", "15", "Output of the model; thresholds"),
    ("Methods", "16", "How data of development and evaluation differ"),
    ("Methods", "17", "Ethical approval and consent"),
    ("Open science", "18a", "Funding"),
    ("Open science", "18b", "Conflicts of interest"),
    ("Open science", "18c", "Study protocol"),
    ("Open science", "18d", "Registration"),
    ("Open science", "18e", "Data sharing"),
    ("Open science", "18f", "Code sharing"),
    ("Patients and public", "19", "Their involvement"),
    ("Results", "20a", "Flow of the patients, with and without the outcome"),
    ("Results", "20b", "Their characteristics, overall and by centre; what is missing"),
    ("Results", "20c", "Comparison with the patients of the development"),
    ("Results", "21", "Patients and outcomes in each analysis"),
    ("Results", "22", "The whole model, for use by others"),
    ("Results", "23a", "Performance with intervals, in key subgroups too"),
    ("Results", "23b", "Performance by centre"),
    ("Results", "24", "Results of updating"),
    ("Discussion", "25", "Interpretation, fairness included"),
    ("Discussion", "26", "Limitations"),
    ("Discussion", "27a", "Poor or absent input at the point of use"),
    ("Discussion", "27b", "What users have to do and to know"),
    ("Discussion", "27c", "Next steps; use elsewhere"),
)
HEAD = """\
# TRIPOD+AI checklist of this run

Items of TRIPOD+AI (Collins et al. 2024, BMJ 385:e078378), their topics in short words; read the
statement for the full text. The last column holds what the run's files say. A run cannot fill
what it does not know (aims, ethics, care, funding): those items, and all judgement, are the
authors'. What it says is no proof that an item is met.
"""


def write_tripod(out: Path, spec: ReportSpec) -> Path:
    """Write tripod_ai.md: a row per item with what the run says of it.

    Args:
        out: folder of the run; its tables must be there.
        spec: title of the report.

    Returns:
        Path of the file.

    Raises:
        TableError: a table that every run has is missing or damaged.
    """
    content = read_run_tables(out)
    said = {"1": f"Title of the report: {spec.title}"}
    said |= methods_said(content) | results_said(content)
    lines = [HEAD]
    if content.mark:
        lines.append(f"**{cell_text(content.mark)}**\n")
    section = ""
    for part, item, topic in ITEMS:
        if part != section:
            lines += [f"\n## {part}\n", "| item | topic | what the run says |", "|---|---|---|"]
            section = part
        words = cell_text(said[item]) if said.get(item) else BY_AUTHORS
        lines.append(f"| {item} | {topic} | {words} |")
    path = out / TRIPOD
    write_text(path, "\n".join(lines) + "\n")
    return path


def cell_text(text: str) -> str:
    """Return text that stays in its cell of a Markdown table and is shown as it stands.

    Names come from users: bars, line ends and markup in them must not become structure.
    """
    one_line = " ".join(text.split())
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", one_line)
