"""What a run says of the items of TRIPOD+AI about data and methods."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

from crosstype.cohort.protocol import PROTOCOLS
from crosstype.report.content import RunContent
from crosstype.report.site import SITE_ONLY

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
    if _one_modality_teaches(settings):
        return (
            "those with a label and one of the two teach and are not tested (one_modality.csv); "
            "everybody else is listed in left_out.csv"
        )
    return "everybody else is listed in left_out.csv"


def _one_modality_teaches(settings: Settings) -> bool:
    return bool(settings.get("cohort", {}).get("one_modality") == "train")


def _preparation(content: RunContent, settings: Settings) -> str:
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


def _predictors(content: RunContent, settings: Settings) -> dict[str, str]:
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
    if _one_modality_teaches(settings):
        return (
            "Patients without a label, or without slide and expression, are left out "
            "(left_out.csv); those with one of the two teach what they have."
        )
    return "Patients without label, slide or expression are left out (left_out.csv)."


def _features_scaled(content: RunContent, settings: Settings) -> str:
    as_they_are = _as_published(content, settings)
    return "as they are" if as_they_are else "by those of training patients"


def _as_published(content: RunContent, settings: Settings) -> bool:
    protocol = PROTOCOLS.get(content.protocol)
    if protocol is None:  # a study's own: only the training settings tell
        return bool(settings.get("training", {}).get("schedule") == "published")
    return protocol.published_training


def _fitted_on(content: RunContent) -> str:
    leaks = any("preprocessing" in leak for leak in content.leaks)
    return "all patients, test patients included" if leaks else "training patients"


def _analysis(content: RunContent, settings: Settings) -> dict[str, str]:
    training = settings.get("training", {})
    seed = content.run.get("seed", "not recorded")
    one_network = _stops_on_test(content) or _as_published(content, settings)
    networks = "" if one_network else ", networks as the mean over inner folds"
    return {
        "12a": f"Cross-validation, protocol {content.protocol}: {_dealt(content, settings)}number "
        f"of repeats {content.n_repeats}, seed {seed}. Every patient is predicted out of fold, "
        "once per repeat (folds.csv).",
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


def _stops_on_test(content: RunContent) -> bool:
    return any("early stopping" in leak for leak in content.leaks)


def _dealt(content: RunContent, settings: Settings) -> str:
    folds = settings.get("folds", {})
    n_folds, n_inner = folds.get("n_folds"), folds.get("n_inner_folds")
    if n_folds is None:
        return ""
    if _stops_on_test(content):
        return f"{n_folds} folds, training stopped by the fold that is tested; "
    return f"{n_folds} outer folds, {n_inner} inner folds of their training patients; "


def _tuned(content: RunContent, training: Settings) -> str:
    search = training.get("search_minutes", 0)
    if not search:
        return "no search"
    where = "the fold that is tested" if _stops_on_test(content) else "inner folds"
    return f"settings searched on {where}, {search:g} minutes each"


def _centres(content: RunContent) -> str:
    said = []
    if "site" in content.subgroups["column"]:
        said.append("performance by site (subgroups.csv)")
    if not content.site_probe.is_empty():
        said.append("whether the site can be told from the inputs (site_probe.csv)")
    if SITE_ONLY in content.models:
        said.append("the baseline site_only")
    return _sentence("; ".join(said))


def _measures(content: RunContent, settings: Settings) -> str:
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


def _closed(note: str) -> str:
    """Return a note that ends as a sentence does, so that the next one can follow it."""
    return note if note.endswith((".", "!", "?")) else f"{note}."
