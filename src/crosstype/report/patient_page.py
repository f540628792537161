"""The page of one patient: what each model says, on what, and whom the patient resembles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crosstype.files import write_text
from crosstype.report.environment import page_environment
from crosstype.report.page_tables import Cell, PageTable
from crosstype.report.words import number


@dataclass(frozen=True)
class Vote:
    """What one model, or one modality, says of a patient.

    Attributes:
        name: of the model.
        about: what it saw, in words.
        probabilities: of each class; the mean over repeats.
        lows: of each class, the lowest over repeats; empty with one repeat.
        highs: the highest.
        called: the class it calls.
    """

    name: str
    about: str
    probabilities: tuple[float, ...]
    lows: tuple[float, ...]
    highs: tuple[float, ...]
    called: str


@dataclass(frozen=True)
class Picture:
    """A map of a slide, or a strip of tiles, that lies beside the page."""

    source: str
    about: str


@dataclass(frozen=True)
class PatientContent:
    """Everything that a patient's page is made of.

    Attributes:
        patient_id: whose page it is.
        facts: pairs of name and value.
        classes: class names; of two, the second is the positive one.
        votes: one per model or modality.
        genes: gene, z-score, percentile in the cohort; the most unusual first.
        nearest: patient, label, correlation of expression; the most similar first.
        pictures: maps of attention.
        notes: what must be read before the numbers.
        mark: what every table must say about itself; empty for honest, real data.
    """

    patient_id: str
    facts: tuple[tuple[str, str], ...]
    classes: tuple[str, ...]
    votes: tuple[Vote, ...]
    genes: tuple[tuple[str, float, float], ...] = ()
    nearest: tuple[tuple[str, str, float], ...] = ()
    pictures: tuple[Picture, ...] = ()
    notes: tuple[str, ...] = ()
    mark: str = ""


def write_patient_page(path: Path, content: PatientContent, back: str = "") -> None:
    """Write the page; it needs no network. `back` is a link to the cohort's page, if there is one.

    Args:
        path: of the page.
        content: what it says.
        back: relative link to the page of the cohort; empty: none.
    """
    page = page_environment().get_template("patient.html")
    context = {
        "content": content,
        "votes": _votes_table(content),
        "genes": _genes_table(content.genes),
        "nearest": _nearest_table(content.nearest),
        "back": back,
    }
    write_text(path, page.render(context))


def _votes_table(content: PatientContent) -> PageTable:
    shown = range(len(content.classes))[1 if len(content.classes) == 2 else 0 :]
    rows = []
    for vote in content.votes:
        cells = [Cell(vote.name, vote.about), Cell(vote.called)]
        for i in shown:
            span = f"{number(vote.lows[i])} to {number(vote.highs[i])}" if vote.lows else ""
            cells.append(Cell(number(vote.probabilities[i]), span, vote.probabilities[i]))
        rows.append(tuple(cells))
    columns = ("Model", "Called", *(f"Probability of {content.classes[i]}" for i in shown))
    repeated = any(vote.lows for vote in content.votes)
    caption = "What each model says" + "; below, lowest and highest repeat" * repeated
    return PageTable(caption, columns, tuple(rows))


def _genes_table(genes: Sequence[tuple[str, float, float]]) -> PageTable:
    rows = tuple(
        (Cell(gene), Cell(number(z, 2, signed=True), "", z), Cell(f"{place:.0f}", "", place))
        for gene, z, place in genes
    )
    return PageTable("The most unusual genes", ("Gene", "z in the cohort", "Percentile"), rows)


def _nearest_table(nearest: Sequence[tuple[str, str, float]]) -> PageTable:
    rows = tuple(
        (Cell(patient), Cell(label), Cell(number(alike), "", alike))
        for patient, label, alike in nearest
    )
    columns = ("Patient", "Label", "Correlation")
    return PageTable("Patients of most similar expression", columns, rows)
