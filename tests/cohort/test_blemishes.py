"""Generated tables with blemishes: numbers are right, or refused, or what differs is said.

A clean cohort and its twin with one to three blemishes are compared. What differs is listed from
the numbers, not from the blemish, and each difference must be on the terminal.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from crosstype.cohort.cohort import Cohort, build_cohort
from crosstype.cohort.spec import ClassSpec, CohortSpec
from crosstype.errors import CrosstypeError
from crosstype.expression.spec import ExpressionSpec
from crosstype.tcga import patient_of
from crosstype.workflow.cohort import excluded_lines, shown_notes

SEED = 16
N_PATIENTS = 24
LABELS = {"Basal": ("Basal",), "Luminal": ("LumA", "LumB")}
SYMBOLS = (
    "ESR1 ERBB2 MKI67 PGR FOXA1 GATA3 KRT5 KRT14 EGFR MIA TP53 MET SET GC AR STAR REST CLOCK "
    "C1orf112 HLA-DRB1 NKX2-1 BRCA1 BRCA2 CDH1 PTEN MYC CCNB1 AURKA BIRC5 CDC20 FOXC1 GRB7 "
    "MLPH MAPT NAT1 SLC39A6 TMEM45B UBE2C TYMS SFRP1 PHGDH ORC6 MELK KIF2C CEP55 EXO1 ANLN "
    "BAG1 BCL2 BLVRA ACTR3B CXXC5 FGFR4 GPR160 MMP11 NDC80 NUF2 PTTG1 RRM2 UBE2T"
)
GENES = tuple(SYMBOLS.split(" "))
FOREIGN = ("Risk value", "tumour_burden", "Oncotype", "bmi", "KI67 percent", "ploidy.x", "BMI")
DATES = ("1-Mar", "2-Sep", "Mar-01", "2026-03-01", "1-Dec")


@dataclass
class Tables:
    """What is written; values are genes x samples, as text."""

    rng: np.random.Generator
    unit: str
    ids: list[str]
    labels: list[str]
    values: np.ndarray
    expected: np.ndarray
    genes: list[str] = field(default_factory=lambda: list(GENES))
    names: list[str] = field(default_factory=list)
    label_ids: list[str] = field(default_factory=list)
    slide_ids: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    columns: list[tuple[str, list[str]]] = field(default_factory=list)
    first: list[tuple[str, list[str]]] = field(default_factory=list)
    preamble: list[str] = field(default_factory=list)
    postamble: list[str] = field(default_factory=list)
    second_header: bool = False
    corner: str = "gene"
    extra_label: str = ""
    upright: bool = True
    whole: set[str] = field(default_factory=set)

    def pick(self, n: int) -> int:
        return int(self.rng.integers(n))


@dataclass(frozen=True)
class Slide:
    slide_id: str
    patient_id: str
    n_tiles: int = 3
    fault: str = ""


def clean(rng: np.random.Generator) -> Tables:
    ids = patient_ids(rng)
    labels = [("Basal", "LumA", "LumB")[i % 3] for i in range(N_PATIENTS)]
    level = rng.normal(7, 2.5, len(GENES))[:, None]
    log2 = np.clip(level + rng.normal(0, 1.2, (len(GENES), N_PATIENTS)), 0, 19)
    unit = ("log", "linear", "counts")[int(rng.integers(3))]
    values = np.round(log2 if unit == "log" else np.exp2(log2), 4)
    values = np.round(values) if unit == "counts" else values
    tables = Tables(rng, unit, ids, labels, values, values.copy())
    tables.names, tables.label_ids, tables.slide_ids = list(ids), list(ids), list(ids)
    tables.upright = bool(rng.random() < 0.7)
    return tables


def patient_ids(rng: np.random.Generator) -> list[str]:
    kind = int(rng.integers(5))
    numbers = rng.permutation(900)[:N_PATIENTS] + 100
    if kind == 0:
        return [f"TCGA-A{n % 7}-A{n}" for n in numbers]
    if kind == 1:
        return [f"BC-{n}" for n in numbers]
    if kind == 2:
        return [str(1000 + n) for n in numbers]
    if kind == 3:
        return [f"Müller {n}" for n in numbers]
    return [f"Group {n}" for n in numbers]


Blemish = Callable[[Tables], object]


def numbers(t: Tables, low: float = 1, high: float = 90, n: int = N_PATIENTS) -> list[str]:
    return [f"{v:.1f}" for v in t.rng.uniform(low, high, n)]


def summary_rows(t: Tables) -> None:
    for name in ("__no_feature", "__ambiguous", "N_unmapped")[: 1 + t.pick(3)]:
        t.rows.append([name, *numbers(t, 1e5, 1e6)])


def row_numbers(t: Tables) -> None:
    title = ("Unnamed: 0", "", "index")[t.pick(3)]
    t.first.append((title, list(map(str, range(len(t.genes))))))


def clinical(t: Tables) -> None:
    for name in ("OS.time", "age", "OS", "tumor_grade")[: 1 + t.pick(4)]:
        t.rows.append([name, *numbers(t, 1, 4000)])


def label_row(t: Tables) -> None:
    name = ("label", "target", "Code2", "y")[t.pick(4)]
    t.rows.append([name, *(str(int(label == "Basal")) for label in t.labels)])


def foreign(t: Tables) -> None:
    t.rows.append([FOREIGN[t.pick(len(FOREIGN))], *numbers(t, 1, 900)])


def lengths(t: Tables) -> None:
    title = ("Length", "Start", "gene_length")[t.pick(3)]
    t.columns.append((title, [str(1000 + t.pick(9000)) for _ in t.genes]))


def biotypes(t: Tables) -> None:
    t.columns.append(("gene_biotype", ["protein_coding"] * len(t.genes)))


def spelled(change: Callable[[str], str]) -> Blemish:
    def apply(t: Tables) -> None:
        held = (t.names, t.label_ids, t.slide_ids)[t.pick(3)]
        only = t.pick(2)
        held[:] = [one if only and i % 3 else change(one) for i, one in enumerate(held)]

    return apply


def make_names(one: str) -> str:
    dotted = re.sub(r"[^\w.]", ".", one)
    return f"X{dotted}" if dotted[:1].isdigit() else dotted


def zero_width(one: str) -> str:
    return f"{one[:2]}\u200b{one[2:]}"


def with_point(one: str) -> str:
    return f"{one}.0" if one.isdigit() else one


def nfd(one: str) -> str:
    return unicodedata.normalize("NFD", one)


def missing_words(t: Tables) -> None:
    for _ in range(1 + t.pick(3)):
        t.labels[t.pick(N_PATIENTS)] = ("NA", "n/a", "", "None", "[Not Available]")[t.pick(5)]


def label_case(t: Tables) -> None:
    change = (str.lower, str.upper, lambda one: f" {one} ", lambda one: f"{one}\xa0")[t.pick(4)]
    t.labels = [change(one) if i % 2 else one for i, one in enumerate(t.labels)]


def absent_label(t: Tables) -> None:
    t.extra_label = ("Her2", "LumC", "Basal-like")[t.pick(3)]


def conflicting_label(t: Tables) -> None:
    i = t.pick(N_PATIENTS)
    t.label_ids.append(t.label_ids[i])
    t.labels.append("LumA" if t.labels[i] != "LumA" else "Basal")


def dates(t: Tables) -> None:
    for i in t.rng.permutation(len(t.genes))[: 1 + t.pick(3)]:
        t.genes[i] = DATES[t.pick(len(DATES))]


def repeated_sample(t: Tables) -> None:
    t.columns.append((f"{t.names[0]}.1", list(map(str, t.values[:, 1]))))


def y_copy(t: Tables) -> None:
    t.rows.append(["ENSGR0000002586.3", *numbers(t, 0, 1)])


def thousands(t: Tables) -> None:
    if t.values.max() > 1000:
        t.whole.add("thousands")


def second_header(t: Tables) -> None:
    t.second_header, t.corner, t.upright = True, "Hybridization REF", True


def series_matrix(t: Tables) -> None:
    t.preamble[:] = ["!Series_title\ta series", "", "!series_matrix_table_begin"]
    t.postamble[:] = ["!series_matrix_table_end"]
    t.corner, t.upright = "ID_REF", True


def gct(t: Tables) -> None:
    t.preamble[:] = ["#1.2", f"{len(t.genes)}\t{len(t.names)}"]
    t.postamble.clear()
    t.corner, t.upright = "Name", True
    t.columns.insert(0, ("Description", ["na"] * len(t.genes)))
    t.whole.add("description first")


def title_row(t: Tables) -> None:
    t.preamble[:] = ["Supplementary Table 1" + "\t" * (0 if t.pick(2) else len(t.names))]
    t.postamble.clear()


def huge_value(t: Tables) -> None:
    if t.unit == "log":
        i, all_samples = t.pick(len(t.genes)), t.pick(2)
        for j in range(N_PATIENTS if all_samples else 1):
            t.values[i, j] = t.expected[i, j] = round(float(t.rng.uniform(30.1, 33)), 3)


def negatives(t: Tables) -> None:
    if t.unit == "linear":
        for _ in range(1 + t.pick(5)):
            i, j = t.pick(len(t.genes)), t.pick(N_PATIENTS)
            t.values[i, j], t.expected[i, j] = -round(float(t.rng.uniform(0.1, 9)), 3), 0.0


def gone(t: Tables) -> None:
    """Leave one or two patients out of one table."""
    which = t.pick(3)
    for _ in range(1 + t.pick(2)):
        if which == 0:
            t.label_ids.pop()
            t.labels.pop()
        elif which == 1:
            t.slide_ids.pop()
        else:
            t.names[t.pick(N_PATIENTS)] = f"other {t.pick(10**6)}"


def mouse(t: Tables) -> None:
    t.genes = [one.capitalize() for one in t.genes]


def repeated_gene(t: Tables) -> None:
    i = t.pick(len(t.genes))
    t.rows.append([t.genes[i], *map(str, t.values[i])])


def missing_numbers(t: Tables) -> None:
    for _ in range(1 + t.pick(5)):
        i, j = t.pick(len(t.genes)), t.pick(N_PATIENTS)
        t.values[i, j] = t.expected[i, j] = np.nan


def empty_id(t: Tables) -> None:
    """Leave an id empty."""
    t.label_ids[t.pick(N_PATIENTS - 4)] = ""


BLEMISHES: dict[str, Blemish] = {
    "rows of summaries": summary_rows,
    "row numbers": row_numbers,
    "clinical columns": clinical,
    "label column": label_row,
    "foreign column": foreign,
    "Length": lengths,
    "biotype": biotypes,
    "make.names": spelled(make_names),
    "lower case ids": spelled(str.lower),
    "NFD": spelled(nfd),
    "zero-width": spelled(zero_width),
    "blanks": spelled(lambda one: f" {one} "),
    "ids with .0": spelled(with_point),
    "NA as label": missing_words,
    "label case": label_case,
    "listed label absent": absent_label,
    "two labels": conflicting_label,
    "dates": dates,
    "second column .1": repeated_sample,
    "ENSGR": y_copy,
    "thousands": thousands,
    "second header": second_header,
    "GEO": series_matrix,
    "GCT": gct,
    "title row": title_row,
    "huge value": huge_value,
    "negatives": negatives,
    "absent patient": gone,
    "mouse": mouse,
    "repeated gene": repeated_gene,
    "missing numbers": missing_numbers,
    "empty id": empty_id,
}


def number(value: float, t: Tables) -> str:
    if np.isnan(value):
        return ("NA", "", "nan")[t.pick(3)]
    if "thousands" in t.whole and value >= 1000:
        return f"{value:,.4f}"
    return str(int(value)) if t.unit == "counts" and value == int(value) else repr(float(value))


def write(t: Tables, folder: Path) -> tuple[CohortSpec, list[Slide]]:
    lines = zip(t.label_ids, t.labels, strict=True)
    text = "PATIENT,Subtype\n" + "".join(f"{one},{label}\n" for one, label in lines)
    (folder / "labels.csv").write_text(text, encoding="utf-8")
    body = [[number(v, t) for v in row] for row in t.values]
    annotated = t.columns if "description first" in t.whole else []
    others = [] if annotated else t.columns
    empty = [""] * len(t.rows)
    columns = [
        *((title, [*cells, *map(str, range(len(cells), len(cells) + len(t.rows)))])
          for title, cells in t.first),
        (t.corner, [*t.genes, *(row[0] for row in t.rows)]),
        *((title, [*cells, *empty]) for title, cells in annotated),
        *((name, [*(row[j] for row in body), *(row[j + 1] for row in t.rows)])
          for j, name in enumerate(t.names)),
        *((title, [*cells, *empty]) for title, cells in others),
    ]  # fmt: skip
    grid = [[title, *cells] for title, cells in columns]
    if t.upright:
        grid = [list(row) for row in zip(*grid, strict=True)]
        if t.second_header:
            grid.insert(1, ["gene_id", *["normalized_count"] * (len(grid[0]) - 1)])
    lines_of = [*t.preamble, *("\t".join(row) for row in grid), *t.postamble]
    (folder / "expression.tsv").write_text("\n".join(lines_of) + "\n", encoding="utf-8")
    names = {k: (*v, *[t.extra_label] * (k == "Basal" and bool(t.extra_label)))
             for k, v in LABELS.items()}  # fmt: skip
    spec = CohortSpec(
        labels=folder / "labels.csv",
        label_column="Subtype",
        expression=folder / "expression.tsv",
        classes=tuple(ClassSpec(name, labels) for name, labels in names.items()),
    )
    return spec, [Slide(f"s{i}", patient_of(one)) for i, one in enumerate(t.slide_ids)]


def differences(t: Tables, cohort: Cohort, own: dict[str, str], said: str) -> list[str]:
    """Return how the cohort differs from the clean one without a word on the terminal."""
    found = []
    canonical = {canonical_of(one): one for one in t.ids}
    patients = [canonical.get(canonical_of(one), one) for one in cohort.patient_ids]
    if len(set(patients)) < len(patients) or not set(patients) <= set(t.ids):
        found.append(f"patients of nowhere: {sorted(set(patients) - set(t.ids))}")
        return found
    n_said = sum(int(n) for n in re.findall(r"left out: (\d+) patients?", said))
    listed = {canonical_of(one.patient_id) for one in cohort.left_out}
    lost = [p for p in t.ids if p not in patients and canonical_of(p) not in listed]
    if lost or n_said != len(cohort.left_out):
        found.append(f"patients lost: {lost}; {len(cohort.left_out)} left out, {n_said} said")
    wrong = [p for p, c in zip(patients, cohort.labels, strict=True) if own[p] != c]
    if wrong:
        found.append(f"labels of {wrong}")
    genes = cohort.expression.genes
    # symbols of another case count as the same gene if the names are said to be no human ones
    upper = {one.upper(): one for one in GENES}
    known = {gene: upper.get(gene.upper()) for gene in genes}
    odd = re.search(r"(\d+) of \d+ names look like no human gene", said)
    n_odd = int(odd[1]) if odd else 0
    unknown = [gene for gene in genes if known[gene] != gene]
    if len(unknown) > n_odd:
        found.append(f"genes not said: {unknown[:5]}")
    lost_genes = set(GENES) - set(known.values())
    dates_said = re.search(r"(\d+) gene names are dates", said)
    if len(lost_genes) > (int(dates_said[1]) if dates_said else 0):
        found.append(f"genes lost: {sorted(lost_genes)[:5]}")
    unit = "log" if t.unit == "log" else "linear"
    if cohort.expression.unit != unit:
        found.append(f"unit {cohort.expression.unit}, is {unit}")
    columns = [i for i, gene in enumerate(genes) if known[gene]]
    rows = [GENES.index(known[genes[i]] or "") for i in columns]
    wanted = t.expected[np.ix_(rows, [t.ids.index(p) for p in patients])].T
    held = cohort.expression.values[:, columns]
    if not np.allclose(held, wanted, rtol=1e-5, atol=1e-5, equal_nan=True):
        i, j = np.argwhere(~np.isclose(held, wanted, rtol=1e-5, atol=1e-5, equal_nan=True))[0]
        found.append(f"value {held[i, j]} of {genes[columns[j]]}, is {wanted[i, j]}")
    if t.expected[t.values < 0].size and "amounts are negative" not in said:
        found.append("negatives not said")
    return found


def canonical_of(one: str) -> str:
    shown = "".join(c for c in unicodedata.normalize("NFC", one) if c != "\u200b").strip()
    shown = re.sub(r"^x(?=\d)", "", shown.removesuffix(".0").casefold())
    return re.sub(r"[^\w]+", ".", shown).strip(".")


def outcome(seed: int, folder: Path) -> tuple[list[str], str, str]:
    """Return the blemishes of one table, the outcome, and what is wrong with it."""
    rng = np.random.default_rng([SEED, seed])
    t = clean(rng)
    own = classes_of(t)
    chosen = [list(BLEMISHES)[i] for i in rng.permutation(len(BLEMISHES))[: 1 + t.pick(3)]]
    chosen.sort(key=lambda one: one in ("absent patient", "two labels"))  # those change lengths
    for one in chosen:
        BLEMISHES[one](t)
    spec, slides = write(t, folder)
    try:
        cohort = build_cohort(spec, ExpressionSpec(), slides, n_folds=2)
    except CrosstypeError as error:
        text = str(error)
        named = re.search(r"expression\.tsv|labels\.csv|cohort", text)
        clear = named and len(text.splitlines()) <= 6
        return chosen, "refused" if clear else "unclear", text
    said = "\n".join([*excluded_lines(cohort), *shown_notes(cohort.notes)])
    found = differences(t, cohort, own, said)
    if found:
        return chosen, "silent", "; ".join(found)
    same = len(cohort.patient_ids) == N_PATIENTS and set(cohort.expression.genes) == set(GENES)
    return chosen, "right" if same else "said", said


def outcomes(seeds: range, folder: Path) -> tuple[dict[str, Counter[str]], list[str]]:
    """Return the number of each outcome by blemish, and the tables that are wrong in silence."""
    counts: dict[str, Counter[str]] = {}
    wrong = []
    for seed in seeds:
        chosen, result, text = outcome(seed, folder)
        for one in (*chosen, "all"):
            counts.setdefault(one, Counter())[result] += 1
        if result in ("silent", "unclear"):
            wrong.append(f"{seed} {chosen}: {result}: {text}")
    return counts, wrong


def test_fifteen_tables(tmp_path: Path) -> None:
    _, wrong = outcomes(range(15), tmp_path)
    assert wrong == []


def test_the_comparison_sees_what_is_wrong(tmp_path: Path) -> None:
    t = clean(np.random.default_rng(1))
    cohort = build_cohort(*_read(write(t, tmp_path)), n_folds=2)
    own = classes_of(t)
    assert differences(t, cohort, own, "") == []
    t.expected[3, 4] += 0.1
    [value] = differences(t, cohort, own, "")
    assert value.startswith("value ")
    t.expected[3, 4] -= 0.1
    own[t.ids[0]] = "Luminal"
    assert differences(t, cohort, own, "") == [f"labels of ['{t.ids[0]}']"]
    fewer = replace(cohort.expression, genes=("age", *cohort.expression.genes[1:]))
    renamed = differences(t, replace(cohort, expression=fewer), classes_of(t), "")
    assert renamed == ["genes not said: ['age']", f"genes lost: ['{GENES[0]}']"]


def classes_of(t: Tables) -> dict[str, str]:
    pairs = zip(t.ids, t.labels, strict=True)
    return {one: "Basal" if label == "Basal" else "Luminal" for one, label in pairs}


def test_tables_without_a_blemish_are_right(tmp_path: Path) -> None:
    for seed in range(5):
        t = clean(np.random.default_rng(seed))
        cohort = build_cohort(*_read(write(t, tmp_path)), n_folds=2)
        assert differences(t, cohort, classes_of(t), "") == []
        assert not any(note.startswith("warning: ") and "counts" not in note
                       for note in cohort.notes)  # fmt: skip


def _read(
    written: tuple[CohortSpec, list[Slide]],
) -> tuple[CohortSpec, ExpressionSpec, list[Slide]]:
    spec, slides = written
    return spec, ExpressionSpec(), slides


@pytest.mark.long
def test_a_thousand_tables(tmp_path: Path) -> None:
    counts, wrong = outcomes(range(1000), tmp_path)
    assert wrong == []
    assert set(counts) == {*BLEMISHES, "all"}
    assert counts["all"]["right"] + counts["all"]["said"] > 500
