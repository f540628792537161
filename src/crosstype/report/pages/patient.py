"""Pages of a run's patients: predictions, expression, and similar patients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

import numpy as np
import polars as pl
from jaxtyping import Float

from crosstype.expression.matrix import load_expression
from crosstype.io import schema
from crosstype.io.files import write_text
from crosstype.models.catalog import CONCAT, CROSS_ATTENTION, LATE
from crosstype.report.formatting import model_note, number
from crosstype.report.run_tables import RunTables
from crosstype.report.svg import page_environment
from crosstype.report.tables import Cell, PageTable
from crosstype.types import file_name_of


@dataclass(frozen=True)
class Vote:
    """Prediction of one model, or from one modality, for a patient.

    Attributes:
        name: of the model.
        about: its inputs.
        probabilities: of each class; the mean over repeats.
        lows: of each class, the lowest over repeats; empty with one repeat.
        highs: the highest.
        predicted: class.
    """

    name: str
    about: str
    probabilities: tuple[float, ...]
    lows: tuple[float, ...]
    highs: tuple[float, ...]
    predicted: str


@dataclass(frozen=True)
class Picture:
    """A map of a slide, or a strip of tiles, that lies beside the page."""

    source: str
    about: str


@dataclass(frozen=True)
class PatientTables:
    """Content of a patient's page.

    Attributes:
        patient_id: whose page it is.
        facts: pairs of name and value.
        classes: class names; of two, the second is the positive one.
        votes: one per model or modality.
        genes: gene, z-score, percentile in the cohort; the most unusual first.
        nearest: patient, label, correlation of expression; the most similar first.
        pictures: maps of attention.
        notes: warnings, shown first.
        mark: of every table; empty for real data and a protocol without leaks.
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


def write_patient_page(path: Path, content: PatientTables, back: str = "") -> None:
    """Write the page; it needs no network. `back` is a link to the cohort's page, if there is one.

    Args:
        path: of the page.
        content: of the page.
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


def _votes_table(content: PatientTables) -> PageTable:
    shown = range(len(content.classes))[1 if len(content.classes) == 2 else 0 :]
    rows = []
    for vote in content.votes:
        cells = [Cell(vote.name, vote.about), Cell(vote.predicted)]
        for i in shown:
            span = f"{number(vote.lows[i])} to {number(vote.highs[i])}" if vote.lows else ""
            cells.append(Cell(number(vote.probabilities[i]), span, vote.probabilities[i]))
        rows.append(tuple(cells))
    columns = ("Model", "Predicted", *(f"Probability of {content.classes[i]}" for i in shown))
    repeated = any(vote.lows for vote in content.votes)
    caption = "Predictions" + "; below, lowest and highest repeat" * repeated
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


FOLDER = "patients"
MOST_GENES, MOST_NEAREST = 15, 5
ALONE = {"image_absent": "without the image", "genes_absent": "without the genes"}
EXPLANATION = "explanation"
KINDS = {
    "attention": "attention of its networks",
    "contribution": "contribution of each tile to its ridge base model",
    "tiles": "tiles of highest and of lowest attention",
    "strip": "tiles by their attention",
}

Profiles = Float[np.ndarray, "patients genes"]


def write_patient_pages(out: Path, content: RunTables) -> int:
    """Write OUT/patients/<patient>.html for everyone of the cohort; return how many."""
    votes = _votes(content, content.predictions)
    alone = _with_single_modality(out, content)
    for condition, about in ALONE.items():
        rows = alone.filter(condition=condition)
        for patient, more in _votes(content, rows, about).items():
            votes.setdefault(patient, []).extend(more)
    profile = _Profile(out, content)
    folder = out / FOLDER
    folder.mkdir(exist_ok=True)
    pictures = _pictures(out)
    for row in content.cohort.iter_rows(named=True):
        patient = row["patient_id"]
        page = PatientTables(
            patient_id=patient,
            facts=_facts(row),
            classes=content.classes,
            votes=tuple(votes.get(patient, ())),
            genes=profile.unusual(patient),
            nearest=profile.nearest(patient),
            pictures=pictures.get(patient, ()),
            notes=_notes(content),
            mark=content.mark,
        )
        write_patient_page(folder / f"{file_name_of(patient)}.html", page, "../report.html")
    return content.cohort.height


def patient_page_names(out: Path) -> list[str]:
    """Return the names, in OUT, of the pages of everyone in cohort.csv."""
    ids = schema.COHORT.read(out)["patient_id"]
    return [f"{FOLDER}/{file_name_of(one)}.html" for one in ids]


def patients_table(content: RunTables) -> PageTable:
    """Return all patients of the cohort with the best model's prediction and a link."""
    best = content.models[0]
    own = content.predictions.filter(model=best)
    vote_of = {one: votes[0] for one, votes in _votes(content, own).items()}
    rows = []
    for row in content.cohort.sort("patient_id").iter_rows(named=True):
        patient, vote = row["patient_id"], vote_of.get(row["patient_id"])
        share = None if vote is None else vote.probabilities[-1]
        predicted = "" if vote is None else vote.predicted
        wrong = "other than the label" if vote is not None and predicted != row["label"] else ""
        cells = [Cell(patient, link=link_of(patient)), Cell(row["label"]), Cell(row["site"] or "")]
        rows.append((*cells, Cell(predicted, wrong), Cell(number(share), "", share)))
    probability = f"Probability of {content.classes[-1]}"
    columns = ("Patient", "Label", "Site", "Predicted", probability)
    return PageTable(f"Out-of-fold predictions of {best}", columns, tuple(rows))


def link_of(patient: str) -> str:
    """Return the link from the report to a patient's page."""
    return f"{FOLDER}/{quote(file_name_of(patient))}.html"


def _notes(content: RunTables) -> tuple[str, ...]:
    leaks = f"Protocol {content.protocol} leaks test patients: {'; '.join(content.leaks)}."
    simulated = "Synthetic data: this patient is simulated."
    return tuple([leaks] * bool(content.leaks) + [simulated] * content.is_synthetic)


def _facts(row: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    named = {"label": "Label", "site": "Site", "n_slides": "Slides", "n_tiles": "Tiles"}
    return tuple((name, str(row[key] or "unknown")) for key, name in named.items())


def _votes(content: RunTables, table: pl.DataFrame, about: str = "") -> dict[str, list[Vote]]:
    """Return each model's predictions by patient: mean, lowest and highest over repeats."""
    columns = [f"probability_{name}" for name in content.classes]
    measures = [
        getattr(pl.col(name), what)().alias(f"{what} {name}")
        for name in columns
        for what in ("mean", "min", "max")
    ]
    joined = table.group_by("patient_id", "model", maintain_order=True).agg(measures, n=pl.len())
    found: dict[str, list[Vote]] = {}
    for row in joined.iter_rows(named=True):
        means, lows, highs = (
            tuple(float(row[f"{what} {name}"]) for name in columns)
            for what in ("mean", "min", "max")
        )
        predicted = content.classes[int(np.argmax(means))]
        ends = (lows, highs) if row["n"] > 1 else ((), ())
        inputs = about or model_note(row["model"])
        found.setdefault(row["patient_id"], []).append(
            Vote(row["model"], inputs, means, *ends, predicted)
        )
    return found


def _with_single_modality(out: Path, content: RunTables) -> pl.DataFrame:
    """Return predictions without a modality, of a model that otherwise uses both."""
    path = out / schema.STRESSED_PREDICTIONS.name
    if not path.exists():
        return schema.STRESSED_PREDICTIONS.frame(classes=content.classes)
    kinds = schema.STRESSED_PREDICTIONS.polars(content.classes)
    both = [one for one in (CROSS_ATTENTION, CONCAT, LATE) if one in content.models][:1]
    lazy = pl.scan_csv(path, schema_overrides=kinds)
    wanted = lazy.filter(pl.col("condition").is_in(list(ALONE)), pl.col("model").is_in(both))
    return wanted.select(list(kinds)).collect()


def _pictures(out: Path) -> dict[str, tuple[Picture, ...]]:
    """Return the pictures of each patient listed by the explain stage."""
    table = schema.DRAWN.read_if_there(out / EXPLANATION)
    found: dict[str, tuple[Picture, ...]] = {}
    for row in table.filter(pl.col("kind") != "geojson").iter_rows(named=True):
        source = f"../{EXPLANATION}/{quote(row['file'])}"
        kind = row["kind"]
        what = KINDS.get(kind) or kind.replace("token ", "attention of gene token ", 1)
        about = f"{row['model']}: {what}. {row['slide_id'] or 'All slides'}"
        patient = row["patient_id"]
        found[patient] = (*found.get(patient, ()), Picture(source, about))
    return found


class _Profile:
    """The cohort's expression: who is unusual where, and who resembles whom."""

    def __init__(self, out: Path, content: RunTables) -> None:
        path = out / "expression.npz"
        self._row: dict[str, int] = {}
        if not path.exists():
            return
        held = load_expression(path)
        self._row = {patient: row for row, patient in enumerate(held.patient_ids)}
        self._genes, self._ids = held.genes, held.patient_ids
        self._z: Profiles = held.standardised()
        self._label = dict(content.cohort.select("patient_id", "label").iter_rows())

    def unusual(self, patient: str) -> tuple[tuple[str, float, float], ...]:
        """Return the patient's most unusual genes: z-score and percentile in the cohort."""
        if patient not in self._row:
            return ()
        own = np.nan_to_num(self._z[self._row[patient]])
        places = np.argsort(-np.abs(own), kind="stable")[:MOST_GENES]
        below = (self._z[:, places] <= own[places]).mean(axis=0) * 100
        return tuple(
            (self._genes[g], float(own[g]), float(b)) for g, b in zip(places, below, strict=True)
        )

    def nearest(self, patient: str) -> tuple[tuple[str, str, float], ...]:
        """Return the patients whose standardised expression correlates most with this one's."""
        if patient not in self._row:
            return ()
        row = self._row[patient]
        alike = self._unit @ self._unit[row]
        order = [i for i in np.argsort(-alike, kind="stable") if i != row][:MOST_NEAREST]
        return tuple(
            (self._ids[i], self._label.get(self._ids[i], ""), float(alike[i])) for i in order
        )

    @cached_property
    def _unit(self) -> Profiles:
        """Profiles centred and of length 1, so that a product of two is their correlation."""
        centred = np.nan_to_num(self._z)
        centred = centred - centred.mean(axis=1, keepdims=True)
        length = np.linalg.norm(centred, axis=1, keepdims=True)
        unit: Profiles = centred / np.where(length > 0, length, 1)
        return unit
