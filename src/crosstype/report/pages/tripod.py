"""The TRIPOD+AI checklist of a run, filled as far as the run's tables can fill it.

Collins et al. 2024, BMJ 385:e078378: 27 items, 52 with their parts. Sentences and topics stand in
templates/tripod.md; the topics are in our own words.
"""

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
from crosstype.report.svg import page_environment

TRIPOD = "tripod_ai.md"
SHOWN = ("auroc", "f1", "mcc", "brier")


def write_tripod(out: Path, spec: ReportSpec) -> Path:
    """Write tripod_ai.md: a row per item with what the run's tables give for it.

    Args:
        out: folder of the run; its tables must be there.
        spec: title of the report.

    Returns:
        Path of the file.

    Raises:
        TableError: a table that every run has is missing or damaged.
    """
    run = read_run_tables(out)
    environment = page_environment().overlay(
        autoescape=False, trim_blocks=False, lstrip_blocks=False
    )
    environment.filters["cell"] = cell_text
    page = environment.get_template("tripod.md").render(_context(run), title=spec.title)
    path = out / TRIPOD
    write_text(path, page.strip() + "\n")
    return path


def cell_text(text: str) -> str:
    """Return text that stays in its cell of a Markdown table and is shown as it stands.

    Names come from users: bars, line ends and markup in them must not become structure.
    """
    one_line = " ".join(text.split())
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", one_line)


def _context(run: RunTables) -> dict[str, Any]:
    """Return what the template is filled with."""
    settings = tomllib.loads(run.config_text)
    faults = run.features["fault"].to_list()
    site_only = run.headline("auroc").filter(pl.col("model") == SITE_ONLY)
    return {
        "run": run,
        "settings": settings,
        "leaks_preprocessing": any("preprocessing" in leak for leak in run.leaks),
        "stops_on_test": any("early stopping" in leak for leak in run.leaks),
        "as_published": _as_published(run, settings),
        "inputs": [name for name in run.run.get("inputs", {}) if ": " in name],
        "versions": [" ".join(one) for one in run.run.get("versions", {}).items()],
        "notes": [_closed(str(note)) for note in run.run.get("notes", ())],
        "n_sites": len({site for site in run.cohort["site"].to_list() if site}),
        "n_slides": len(faults),
        "n_faults": sum(1 for fault in faults if fault),
        "encoders": sorted({one for one in run.features["encoder"].to_list() if one}),
        "classes": "; ".join(
            f"{one['name']}: {', '.join(one.get('labels', ())) or 'as called'}"
            for one in settings.get("cohort", {}).get("classes", ())
        ),
        "counted": ", ".join(
            f"{int((run.cohort['label'] == name).sum())} {name}" for name in run.classes
        ),
        "n_left_out": run.left_out["patient_id"].n_unique(),
        "reasons": _reasons(run.left_out),
        "n_unlabelled": n_unlabelled(run),
        "groups": list(dict.fromkeys(run.subgroups["column"])),
        "centres": _centres(run),
        "performance": _performance(run),
        "by_site": _by_site(run),
        "site_auroc": "" if site_only.is_empty() else number(site_only["value"].item()),
    }


def _as_published(run: RunTables, settings: Mapping[str, Any]) -> bool:
    protocol = PROTOCOLS.get(run.protocol)
    if protocol is None:  # a study's own: known from the training settings only
        return bool(settings.get("training", {}).get("schedule") == "published")
    return protocol.published_training


def _closed(note: str) -> str:
    """Return a note that ends as a sentence does, so that the next one can follow it."""
    return note if note.endswith((".", "!", "?")) else f"{note}."


def _reasons(left_out: pl.DataFrame) -> list[str]:
    reasons = left_out.group_by("step", "reason", maintain_order=True).agg(
        pl.col("patient_id").n_unique().alias("n")
    )
    return [f"{n} at {step}: {reason}" for step, reason, n in reasons.iter_rows()]


def _centres(run: RunTables) -> str:
    found = {
        "performance by site (subgroups.csv)": "site" in run.subgroups["column"],
        "whether the site can be predicted from the inputs (site_probe.csv)": (
            not run.site_probe.is_empty()
        ),
        "the baseline site_only": SITE_ONLY in run.models,
    }
    words = "; ".join(name for name, is_there in found.items() if is_there)
    return f"{words[:1].upper()}{words[1:]}." if words else ""


def _performance(run: RunTables) -> list[str]:
    """Return a sentence per metric: every model's value and interval."""
    sentences = []
    for metric in SHOWN:
        rows = {row["model"]: row for row in run.headline(metric).iter_rows(named=True)}
        values = [_value(model, rows[model]) for model in run.models if model in rows]
        if values:
            sentences.append(f"{METRIC_NAMES[metric]}: {'; '.join(values)}.")
    return sentences


def _value(model: str, row: dict[str, Any]) -> str:
    return f"{model} {number(row['value'])} ({interval(row)})"


def _by_site(run: RunTables) -> str:
    if not run.models:
        return ""
    best = run.models[0]
    rows = run.subgroups.filter(
        (pl.col("column") == "site")
        & (pl.col("metric") == "auroc")
        & (pl.col("model") == best)
        & pl.col("value").is_not_null()
    ).sort("value")
    if rows.is_empty():
        return "No site is large enough for an AUROC of its own."
    low, high = rows.row(0, named=True), rows.row(-1, named=True)
    first = (
        f"AUROC of {best} in the {rows.height} sites that are large enough: from "
        f"{number(low['value'])} ({interval(low)}) to {number(high['value'])} ({interval(high)})."
    )
    return " ".join([first, *probe_sentences(run)])
