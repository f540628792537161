"""What a run says of the items of TRIPOD+AI about data and methods."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

from crosstype.report.content import RunContent

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


def methods_said(content: RunContent) -> dict[str, str]:
    """Return what the run says, by number of the item; absent where it says nothing."""
    settings = tomllib.loads(content.config_text)
    return {
        "4": "Development with internal validation (cross-validation); no external validation.",
        **_data(content, settings),
        **_predictors(content, settings),
        **_analysis(content, settings),
        **_open_science(content),
    }


def _data(content: RunContent, settings: Settings) -> dict[str, str]:
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
        f"{_asked_sites(settings)}; everybody else is listed in left_out.csv.",
        "7": _preparation(content, settings),
        "8a": f"Classes {classes or ', '.join(content.classes)}. Labels: {provenance}.",
    }


def _asked_sites(settings: Settings) -> str:
    cohort = settings.get("cohort", {})
    kept, left = cohort.get("sites"), cohort.get("exclude_sites")
    said = f"; sites {', '.join(kept)} only" if kept else ""
    return said + (f"; sites {', '.join(left)} excluded" if left else "")


def _preparation(content: RunContent, settings: Settings) -> str:
    notes = [str(note) for note in content.run.get("notes", ())]
    bad = content.features["fault"].to_list()
    n_bad = sum(1 for fault in bad if fault)
    checks = f"{n_bad} of {len(bad)} slides had a fault and were not used." if bad else ""
    outliers = OUTLIERS.get(settings.get("expression", {}).get("outliers", ""), "")
    fitted = "Preprocessing is fitted on training patients of each fold."
    if content.leaks:
        fitted = f"The protocol leaks: {'; '.join(content.leaks)}."
    said = [fitted, f"{outliers[:1].upper()}{outliers[1:]}." if outliers else "", checks, *notes]
    return " ".join(one for one in said if one)


def _predictors(content: RunContent, settings: Settings) -> dict[str, str]:
    expression = settings.get("expression", {})
    encoders = sorted({one for one in content.features["encoder"].to_list() if one})
    what = expression.get("representation", "genes")
    said = f"Expression ({what}"
    said += ", without the PAM50 genes" if expression.get("exclude_pam50") else ""
    if expression.get("n_genes"):
        said += f", the {expression['n_genes']} of highest variance in training patients"
    said += f") and tile features of slides (encoder: {', '.join(encoders) or 'not recorded'})"
    covariates = settings.get("cohort", {}).get("covariates")
    said += f"; clinical covariates {', '.join(covariates)}." if covariates else "."
    imputed = expression.get("imputation", "median")
    return {
        "9a": said,
        "11": "Patients without label, slide or expression are left out (left_out.csv). Missing "
        f"expression values become the gene's {imputed} over {_fitted_on(content)}.",
        "12b": "As numbers. Genes are scaled by means and spreads of "
        f"{_fitted_on(content)}, tile features by those of training patients; what was found of "
        "the expression's unit stands under item 7.",
        "10": f"Whoever is in the tables and eligible: {content.cohort.height} patients. No "
        "calculation of a sample size was made by the run.",
    }


def _fitted_on(content: RunContent) -> str:
    leaks = any("preprocessing" in leak for leak in content.leaks)
    return "all patients, test patients included" if leaks else "training patients"


def _analysis(content: RunContent, settings: Settings) -> dict[str, str]:
    folds, training = settings.get("folds", {}), settings.get("training", {})
    n_folds, n_inner = folds.get("n_folds"), folds.get("n_inner_folds")
    dealt = f"{n_folds} outer folds, {n_inner} inner folds of their training patients; "
    if n_folds is None:
        dealt = ""
    search = training.get("search_minutes", 0)
    tuned = f"settings searched on inner folds, {search:g} minutes each" if search else "no search"
    n_drawn = settings.get("evaluation", {}).get("n_bootstrap", 2000)
    seed = content.run.get("seed", "not recorded")
    return {
        "12a": f"Cross-validation, protocol {content.protocol}: {dealt}number of repeats "
        f"{content.n_repeats}, seed {seed}. Every patient is predicted out of fold, "
        "once per repeat (folds.csv).",
        "12c": f"Models: {', '.join(content.models)}; settings in config.toml; {tuned}.",
        "12d": "Performance by site (subgroups.csv); whether the site can be told from the inputs "
        "(site_probe.csv); the baseline site_only.",
        "12e": "AUROC, PR-AUC, F1, MCC, accuracy, Brier, calibration and decision curves, pooled "
        f"over folds; {content.confidence:.0%} intervals by DeLong for AUROC, else by {n_drawn} "
        "resamples of patients, conditional on the fitted models; paired tests with Holm's "
        "correction (tests.csv).",
        "12f": _calibrated(training),
        "12g": "A model of the fold that holds the patient out, networks as the mean over inner "
        "folds; checkpoints of all folds under models/.",
        "13": _sentence(IMBALANCE.get(training.get("class_weights", ""), "")),
        "14": _fairness(content),
        "15": f"A probability of each class ({', '.join(content.classes)}), and the called class: "
        f"{_threshold(training)}.",
        "16": "None by design: training and test patients are of one cohort"
        f"{', of different sites' if content.protocol == 'site' else ''}.",
    }


def _calibrated(training: Settings) -> str:
    if training.get("calibration") == "temperature":
        return "Temperature chosen on inner validation patients (calibration.csv)."
    return "None."


def _threshold(training: Settings) -> str:
    rule = training.get("threshold", "argmax")
    if rule == "argmax":
        return "the most probable one"
    return f"by thresholds ({rule}) chosen on inner validation patients"


def _fairness(content: RunContent) -> str:
    columns = list(dict.fromkeys(content.subgroups["column"]))
    if not columns:
        return "No groups were asked for."
    return f"Performance by {', '.join(columns)} (subgroups.csv); nothing was done to even it out."


def _open_science(content: RunContent) -> dict[str, str]:
    versions = content.run.get("versions", {})
    said = ", ".join(f"{name} {version}" for name, version in versions.items())
    return {
        "18f": f"Command: {content.run.get('command', 'not recorded')}; config.toml; seed "
        f"{content.run.get('seed', 'not recorded')}; versions: {said or 'not recorded'}. The same "
        "of these give the same predictions.csv.",
    }


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}." if words else ""
