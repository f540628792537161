"""The TRIPOD+AI checklist of a run: what it can say for itself, and what its authors have to.

Collins et al. 2024, BMJ 385:e078378: 27 items, 52 with their parts. Topics are in our own words;
the statement has the full text.
"""

from __future__ import annotations

import re
from pathlib import Path

from crosstype.files import write_text
from crosstype.report.content import read_content
from crosstype.report.spec import ReportSpec
from crosstype.report.tripod_methods import methods_said
from crosstype.report.tripod_results import results_said

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
    content = read_content(out)
    said = {"1": f"Title of the report: {spec.title}"}
    said |= methods_said(content) | results_said(content)
    lines = [HEAD]
    if content.mark:
        lines.append(f"**{cell_text(content.mark)}**\n")
    section = ""
    for part, number, topic in ITEMS:
        if part != section:
            lines += [f"\n## {part}\n", "| item | topic | what the run says |", "|---|---|---|"]
            section = part
        words = cell_text(said[number]) if said.get(number) else BY_AUTHORS
        lines.append(f"| {number} | {topic} | {words} |")
    path = out / TRIPOD
    write_text(path, "\n".join(lines) + "\n")
    return path


def cell_text(text: str) -> str:
    """Return text that stays in its cell of a Markdown table and is shown as it stands.

    Names come from users: bars, line ends and markup in them must not become structure.
    """
    one_line = " ".join(text.split())
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", one_line)
