"""Bad inputs, generated: one clear error, a listed exclusion or a correct read, nothing else."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import openpyxl
import pytest

from crosstype.cohort.cohort import Cohort, build_cohort
from crosstype.cohort.spec import ClassSpec, CohortSpec
from crosstype.errors import CrosstypeError, InputFaultsError
from crosstype.expression.spec import ExpressionSpec
from crosstype.features.formats.open import write_features
from crosstype.features.spec import FeaturesSpec
from crosstype.features.store import find_slides, inspect_slides
from crosstype.folds.folds import make_folds
from crosstype.folds.spec import FoldsSpec
from crosstype.io.files import sha256_of
from crosstype.protocol import protocol_named

TABLES = ("labels", "slides", "expression")
MISSING = ("", "NA", "NaN", "nan", "null", "N/A", "-")
Rows = list[list[str]]


@dataclass
class Inputs:
    """Three tables as cells, the bags of the slides, and how each table becomes bytes."""

    rng: np.random.Generator
    rows: dict[str, Rows] = field(default_factory=dict)
    bags: dict[str, np.ndarray | bytes | None] = field(default_factory=dict)
    separator: dict[str, str] = field(default_factory=dict)
    finish: dict[str, Callable[[bytes], bytes]] = field(default_factory=dict)
    sheets: dict[str, int] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    genes_in_rows: bool = True

    def pick(self, *names: str) -> str:
        return str(self.rng.choice(names or TABLES))

    def row(self, table: str) -> int:
        return int(self.rng.integers(1, len(self.rows[table])))

    def gene_row(self) -> int:
        return self.row("expression")

    def cell(self, text: str, times: int = 1) -> None:
        for _ in range(times):
            row = self.row("expression")
            self.rows["expression"][row][int(self.rng.integers(1, 13))] = text


def tiny(seed: int) -> Inputs:
    """Twelve patients, one of them `007`, six genes, two classes; genes in rows."""
    made = Inputs(np.random.default_rng(seed))
    patients = ["007", *(f"P{i:02d}" for i in range(1, 12))]
    made.rng.shuffle(patients)
    labels = ["BRCA.LumA", "BRCA.Basal"] * 6
    made.rows["labels"] = [["PATIENT", "Subtype"], *map(list, zip(patients, labels, strict=True))]
    made.rows["slides"] = [["PATIENT", "FILENAME"], *([p, f"slide {p}.svs"] for p in patients)]
    values = made.rng.gamma(2.0, 100.0, (6, 12)).round(3)
    genes = [f"GENE{i}" for i in range(6)]
    made.rows["expression"] = [["gene", *patients]]
    made.rows["expression"] += [
        [gene, *map(str, row)] for gene, row in zip(genes, values.tolist(), strict=True)
    ]
    made.bags = {f"slide {p}": made.rng.normal(size=(3, 4)).astype(np.float32) for p in patients}
    made.separator = {table: str(made.rng.choice([",", "\t", ";", "|"])) for table in TABLES}
    return made


def corrupt_bag(bag: str) -> Callable[[Inputs], None]:
    def change(made: Inputs) -> None:
        slide = made.rng.choice(sorted(made.bags))
        changed: dict[str, np.ndarray | bytes | None] = {
            "nan": np.full((3, 4), np.nan, dtype=np.float32),
            "inf": np.full((3, 4), np.inf, dtype=np.float32),
            "width": np.zeros((3, 5), dtype=np.float32),
            "empty": np.zeros((0, 4), dtype=np.float32),
            "rank": np.zeros((2, 3, 4), dtype=np.float32),
            "damaged": b"\x89HDF\r\n\x1a\n and no more",
            "gone": None,
        }
        made.bags[slide] = changed[bag]

    return change


def finish(change: Callable[[bytes], bytes]) -> Callable[[Inputs], None]:
    def corrupt(made: Inputs) -> None:
        made.finish[made.pick()] = change

    return corrupt


def lengthen(made: Inputs) -> None:
    table = made.pick()
    made.rows[table][made.row(table)].append("1")


def shorten(made: Inputs) -> None:
    table = made.pick("slides", "labels", "expression")
    made.rows[table][made.row(table)].pop()


def repeat_label(made: Inputs) -> None:
    made.rows["labels"].append(list(made.rows["labels"][made.row("labels")]))


def contradict_label(made: Inputs) -> None:
    row = made.rows["labels"][made.row("labels")]
    made.rows["labels"].append([row[0], "BRCA.LumA" if row[1] == "BRCA.Basal" else "BRCA.Basal"])


def repeat_slide(made: Inputs) -> None:
    row = made.rows["slides"][made.row("slides")]
    made.rows["slides"].append([made.pick(row[0], "P01"), row[1]])


def repeat_sample(made: Inputs) -> None:
    column = int(made.rng.integers(1, 13))
    for row in made.rows["expression"]:
        row.append(row[column])


def repeat_gene(made: Inputs) -> None:
    made.rows["expression"].append(["GENE0", *map(str, range(12))])


def empty_column(made: Inputs) -> None:
    for row in made.rows[made.pick()]:
        row.append("")


def empty_gene(made: Inputs) -> None:
    made.rows["expression"].append(["GENE9", *[made.pick(*MISSING) for _ in range(12)]])


def empty_sample(made: Inputs) -> None:
    column = int(made.rng.integers(1, 13))
    for row in made.rows["expression"][1:]:
        row[column] = made.pick(*MISSING)


def gene_called_na(made: Inputs) -> None:
    made.rows["expression"][made.gene_row()][0] = made.pick("NA", "nan", "007", "1e5")


def nobody_in_common(made: Inputs) -> None:
    table = made.pick()
    if table == "expression":
        made.rows[table][0][1:] = [f"X{i}" for i in range(12)]
    else:
        for i, row in enumerate(made.rows[table][1:]):
            row[0] = f"X{i}"


def one_class(made: Inputs) -> None:
    label = made.pick("BRCA.LumA", "BRCA.Basal")
    for row in made.rows["labels"][1:]:
        row[1] = label


def unknown_label(made: Inputs) -> None:
    made.rows["labels"][made.row("labels")][1] = made.pick("BRCA.Normal", "", "luma", "?")


def unknown_patient(made: Inputs) -> None:
    made.rows["labels"].append(["NEW1", "BRCA.LumA"])
    made.rows["slides"].append(["NEW2", "slide NEW2.svs"])
    made.bags["slide NEW2"] = np.ones((2, 4), dtype=np.float32)
    for i, row in enumerate(made.rows["expression"]):
        row.append("NEW3" if i == 0 else "5.5")


def mixed_separators(made: Inputs) -> None:
    made.rows["labels"][made.row("labels")] = ["P01 BRCA.LumA"]


def repeated_name(made: Inputs) -> None:
    table = made.pick("labels", "slides")
    for i, row in enumerate(made.rows[table]):
        row.append(made.rows[table][0][1] if i == 0 else "x")


def quoted(made: Inputs) -> None:
    made.rows["labels"][0].append("remark")
    for row in made.rows["labels"][1:]:
        row.append(made.pick('"a, b; c|d\te"', '"two\nlines"', '"said ""no"""', '"plain"'))


def kill_file(made: Inputs) -> None:
    made.gone.add(made.pick())


def sheets(n: int) -> Callable[[Inputs], None]:
    def corrupt(made: Inputs) -> None:
        made.sheets[made.pick()] = n

    return corrupt


KINDS: dict[str, tuple[Callable[[Inputs], None], str]] = {
    "untouched": (lambda made: None, "read"),
    "mixed separators": (mixed_separators, "error"),
    "repeated label row": (repeat_label, "read"),
    "contradicting labels": (contradict_label, "listed"),
    "repeated slide": (repeat_slide, "error"),
    "repeated sample": (repeat_sample, "error"),
    "repeated gene": (repeat_gene, "read"),
    "repeated column name": (repeated_name, "error"),
    "long row": (lengthen, "error"),
    "short row": (shorten, "error"),
    "empty column": (empty_column, "read"),
    "empty gene": (empty_gene, "read"),
    "empty sample": (empty_sample, "listed"),
    "missing values": (lambda made: made.cell(made.pick(*MISSING), 3), "read"),
    "infinite value": (lambda made: made.cell(made.pick("inf", "-inf", "1e300")), "error"),
    "text in numbers": (lambda made: made.cell(made.pick("abc", "1,5x", "12 3", "0x1F")), "error"),
    "a gene called NA": (gene_called_na, "read"),
    "nobody in common": (nobody_in_common, "error"),
    "one class": (one_class, "error"),
    "unmapped label": (unknown_label, "listed"),
    "patients of one table": (unknown_patient, "listed"),
    "byte-order mark": (finish(lambda data: b"\xef\xbb\xbf" + data), "read"),
    "CRLF": (finish(lambda data: data.replace(b"\n", b"\r\n")), "read"),
    "comment lines": (finish(lambda data: b"# one\n# two\n" + data), "read"),
    "gz under a plain name": (finish(gzip.compress), "read"),
    "truncated gz": (finish(lambda data: gzip.compress(data)[:-12]), "error"),
    "UTF-16": (finish(lambda data: data.decode().encode("utf-16")), "error"),
    "NUL": (finish(lambda data: data[:20] + b"\0" + data[20:]), "error"),
    "Latin-1": (finish(lambda data: data + "\xe9".encode("latin-1")), "error"),
    "empty file": (finish(lambda data: b""), "error"),
    "header only": (finish(lambda data: data.split(b"\n")[0] + b"\n"), "error"),
    "one column": (finish(lambda data: b"a\nb\nc\n"), "error"),
    "file not there": (kill_file, "error"),
    "quoted fields": (quoted, "read"),
    "workbook": (sheets(1), "read"),
    "workbook of two sheets": (sheets(2), "error"),
    **{
        f"features: {bag}": (corrupt_bag(bag), "listed")
        for bag in ("nan", "inf", "width", "empty", "rank", "damaged", "gone")
    },
}


def as_bytes(made: Inputs, table: str) -> bytes:
    rows = made.rows[table]
    if table == "expression" and not made.genes_in_rows:
        rows = [list(row) for row in zip(*rows, strict=True)]
    if table in made.sheets:
        book = openpyxl.Workbook()
        for number in range(made.sheets[table]):
            sheet = book.active if number == 0 else book.create_sheet()
            for row in rows:
                sheet.append(row)
        buffer = io.BytesIO()
        book.save(buffer)
        return buffer.getvalue()
    separator = made.separator[table]
    text = "".join(separator.join(row) + "\n" for row in rows).encode()
    return made.finish.get(table, lambda data: data)(text)


def written(made: Inputs, folder: Path) -> None:
    import h5py

    folder.mkdir()
    for table in TABLES:
        if table not in made.gone:
            (folder / f"{table}.csv").write_bytes(as_bytes(made, table))
    for slide, bag in made.bags.items():
        path = folder / f"{slide}.h5"
        if isinstance(bag, bytes):
            path.write_bytes(bag)
        elif bag is not None and bag.ndim == 2 and len(bag):
            write_features(path, bag)
        elif bag is not None:
            with h5py.File(path, "w") as file:
                file["features"] = bag


def run(folder: Path) -> Cohort:
    spec = CohortSpec(
        labels=folder / "labels.csv",
        label_column="Subtype",
        slides=folder / "slides.csv",
        expression=folder / "expression.csv",
        classes=(
            ClassSpec("Luminal", ("BRCA.LumA", "BRCA.LumB")),
            ClassSpec("Basal/Her2", ("BRCA.Basal", "BRCA.Her2")),
        ),
    )
    features = FeaturesSpec(folder=folder)
    slides = find_slides(features, spec.slides, spec.patient_column)
    rows = inspect_slides(slides, features, sha256_of)
    cohort = build_cohort(spec, ExpressionSpec(), rows, n_folds=2)
    folds = FoldsSpec(n_folds=2, n_inner_folds=2)
    make_folds(cohort.patient_ids, cohort.labels, cohort.sites, folds, protocol_named("strict"))
    return cohort


def check_nothing_lost(made: Inputs, cohort: Cohort) -> None:
    everyone = {row[0] for table in ("labels", "slides") for row in made.rows[table][1:]}
    everyone |= {name for name in made.rows["expression"][0][1:] if name}
    left_out = [row.patient_id for row in cohort.left_out]
    assert sorted([*cohort.patient_ids, *left_out]) == sorted(everyone)
    assert all(row.reason for row in cohort.left_out)
    label = {row[0]: row[1] for row in made.rows["labels"][1:]}
    names = {"BRCA.LumA": "Luminal", "BRCA.Basal": "Basal/Her2"}
    assert list(cohort.labels) == [names[label[patient]] for patient in cohort.patient_ids]


def check_values(made: Inputs, cohort: Cohort) -> None:
    header, *rows = made.rows["expression"]
    cells: dict[str, list[list[float]]] = {}
    for row in rows:
        numbers = [float("nan") if text in MISSING else float(text) for text in row[1:]]
        cells.setdefault(row[0], []).append(numbers)
    for gene, several in cells.items():
        expected = np.mean(several, axis=0)
        if np.isnan(expected).all():
            assert gene not in cohort.expression.genes
            continue
        column = cohort.expression.values[:, cohort.expression.genes.index(gene)]
        wanted = [expected[header[1:].index(patient)] for patient in cohort.patient_ids]
        np.testing.assert_allclose(column, wanted, rtol=1e-6)


def try_one(kind: str, seed: int, folder: Path) -> None:
    change, outcome = KINDS[kind]
    made = tiny(seed)
    change(made)
    # Rows of unequal length cannot be turned.
    regular = len({len(row) for row in made.rows["expression"]}) == 1
    made.genes_in_rows = not (regular and bool(made.rng.random() < 0.5))
    written(made, folder)
    if outcome == "error":
        with pytest.raises(CrosstypeError) as raised:
            run(folder)
        lines = str(raised.value).splitlines()
        assert lines
        assert all(line.strip() and len(line) < 500 for line in lines), lines
        if isinstance(raised.value, InputFaultsError):
            assert len(lines) == min(len(raised.value.faults), 11)
        else:
            assert len(lines) == 1
        return
    cohort = run(folder)
    check_nothing_lost(made, cohort)
    check_values(made, cohort)
    assert bool(cohort.left_out) == (outcome == "listed")


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_input_is_one_error_a_listed_exclusion_or_a_correct_read(
    kind: str, tmp_path: Path
) -> None:
    for seed in range(3):
        try_one(kind, seed, tmp_path / str(seed))


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_bad_inputs(kind: str, tmp_path: Path) -> None:
    for seed in range(100, 125):
        try_one(kind, seed, tmp_path / str(seed))
