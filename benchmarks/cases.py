"""Runs situations from real life and says which came out as they should.

    python benchmarks/cases.py CASES [NAME ...]

CASES is a folder of cases: one folder each, with its inputs and `cmd`, the commands to run in it.
What must come out stands in `CASES` below, by the name of the folder. Either all is read, and what
was mended or lost is said on the terminal, or it is refused in a few lines that name the reason.
Exit code 1 if a case came out otherwise.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from crosstype.cli.app import main as crosstype

MOST_LINES = 6
"""Lines that an error may take."""


@dataclass(frozen=True)
class Result:
    """How one command ended: exit code and what stood on the terminal."""

    code: int
    text: str


@dataclass(frozen=True)
class Case:
    """What must come out of a case.

    Attributes:
        patients: in OUT/cohort.csv if the commands succeed; None: not looked at.
        said: regular expressions that the terminal must hold if the commands succeed; None: they
            may not succeed.
        refused: regular expression that an error must hold; None: it may not be refused.
        unsaid: regular expression that the terminal may never hold.
        no_genes: genes that OUT/expression.npz may not hold.
        twin: makes the inputs what they should be; tables must then be equal.
        other: looks at the folder; returns what is wrong, or nothing.
    """

    patients: int | None = 24
    said: tuple[str, ...] | None = ()
    refused: str | None = None
    unsaid: str = "Traceback"
    no_genes: tuple[str, ...] = ()
    twin: Callable[[Path], None] | None = None
    other: Callable[[Path, Sequence[Result]], str] | None = None


def edit(name: str, change: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    """Return what changes the lines of a file."""

    def twin(folder: Path) -> None:
        path = folder / name
        path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")

    return twin


def without_column(name: str) -> Callable[[Path], None]:
    """Return what removes a column of expression.csv."""

    def twin(folder: Path) -> None:
        table = pl.read_csv(folder / "expression.csv", infer_schema=False)
        table.drop(name).write_csv(folder / "expression.csv")

    return twin


def each_cell(change: Callable[[str], str]) -> Callable[[list[str]], list[str]]:
    """Return what changes every cell but names."""

    def changed(lines: list[str]) -> list[str]:
        rows = [line.split("\t") for line in lines[1:]]
        return [lines[0], *("\t".join([row[0], *map(change, row[1:])]) for row in rows)]

    return changed


def samples_without(name: str) -> Callable[[Path, Sequence[Result]], str]:
    """Return what looks whether a column was taken for a sample."""

    def looked(folder: Path, results: Sequence[Result]) -> str:
        path = folder / "calls.csv"
        if path.exists() and name in pl.read_csv(path)["sample_id"].to_list():
            return f"{name} was called"
        return ""

    return looked


def all_extracted(folder: Path, results: Sequence[Result]) -> str:
    """Look whether every slide has features."""
    for out in (folder / line.split()[-1] for line in (folder / "cmd").read_text().splitlines()):
        path = out / "features.csv"
        table = pl.read_csv(path, infer_schema=False) if path.exists() else pl.DataFrame()
        if not len(table):
            return "no features.csv"
        if any(table["fault"].fill_null("")):
            return f"faults in {out.name}"
    return ""


def drafted(folder: Path, results: Sequence[Result]) -> str:
    """Look which column a drafted config names."""
    text = (folder / "my.toml").read_text()
    return "" if 'label_column = "SUBTYPE"' in text else "another label column"


def same_warning(folder: Path, results: Sequence[Result]) -> str:
    """Look whether both commands warn of the normals."""
    warned = [bool(re.search(r"20 .*normal", one.text)) for one in results]
    return "" if all(warned) else f"20 normals named: {warned}"


def same_probabilities(folder: Path, results: Sequence[Result]) -> str:
    """Look whether log2 and natural logarithms give the same predictions."""
    if any(one.code for one in results[:2]):
        return f"exit codes {[one.code for one in results]}"
    if results[2].code:
        return "" if "natural" in results[2].text else "refused for another reason"
    two, e = (pl.read_csv(folder / name).sort("patient_id") for name in ("p2.csv", "pe.csv"))
    p2, pe = (one[one.columns[3]].to_numpy() for one in (two, e))
    return (
        "" if np.abs(p2 - pe).max() < 1e-4 else f"probabilities differ by {np.abs(p2 - pe).max()}"
    )


def never_log(folder: Path, results: Sequence[Result]) -> str:
    """Look whether amounts given as logarithms are refused."""
    return "" if results[0].code == 0 and results[1].code else "--unit log was taken for amounts"


HTSEQ = ("__no_feature", "__ambiguous", "__too_low_aQual", "__not_aligned")
EXCEL = r"(?i)excel|date"
CASES = {
    "00-base": Case(),
    "01-htseq-special-rows": Case(
        said=("__",),
        no_genes=HTSEQ,
        twin=lambda folder: (folder / "clean.tsv").replace(folder / "expression.tsv") and None,
    ),
    "02-dots-ids": Case(refused="dots"),
    "03-x-prefix": Case(said=(r"\bX\b|make\.names",)),
    "04-unnamed-0": Case(
        said=("Unnamed: 0",), no_genes=("Unnamed: 0",), twin=without_column("Unnamed: 0")
    ),
    "05-clinical-in-expression": Case(
        said=(r"OS\.time", "age", "label"),
        refused="label",
        no_genes=("OS", "OS.time", "age", "label"),
    ),
    "05c-survival-flips-the-unit": Case(
        said=(r"OS\.time",), no_genes=("OS.time",), twin=without_column("OS.time")
    ),
    "06-featurecounts": Case(said=("Length",), refused="featureCounts|Length"),
    "06b-featurecounts-length-left": Case(
        None, ("Length",), refused="Length", other=samples_without("Length")
    ),
    "07-firehose-second-header": Case(said=("normalized_count",), refused="normalized_count"),
    "08-geo-series-matrix": Case(refused="GEO series matrix"),
    "09-gct": Case(refused="GCT"),
    "10-excel-dates-text": Case(said=(EXCEL,), refused=EXCEL, no_genes=("1-Mar",)),
    "10b-excel-dates-cells": Case(said=(EXCEL,), refused=EXCEL),
    "11-ensgr-par": Case(
        twin=edit("expression.tsv", lambda lines: [o for o in lines if not o.startswith("ENSGR")])
    ),
    "12-pancan-negative-rsem": Case(
        None,
        ("negative",),
        unsaid="Traceback|--unit log\\b(?!2)",
        refused="",
        other=never_log,
        twin=edit("data_mrna_seq_v2_rsem.txt", each_cell(lambda o: "0" if o[0] == "-" else o)),
    ),
    "13-log2-fpkm-uq-above-30": Case(
        None, twin=edit("fpkm_uq.tsv", each_cell(lambda o: str(min(float(o), 29.9))))
    ),
    "15-nfd-slide-names": Case(),
    "17-svs-in-feature-name": Case(),
    "18-features-without-uuid": Case(refused="DX1"),
    "19-leading-dimension": Case(refused=r"\(1, "),
    "20-mixed-magnification": Case(said=None, refused=r"10x|20x|magnification|mpp|µm"),
    "21-two-encoders-tie": Case(said=None, refused="(?i)uni.*1536|1536.*uni|uni2"),
    "24-float-ids": Case(refused=r"1000\.0"),
    "24b-xlsx-int-ids": Case(),
    "25-pandas-dup-columns": Case(said=(r"\.1",), refused=r"\.1"),
    "27-downloaded-twice": Case(
        said=("(?i)identical|same|twice|cop(y|ies)",), refused="twice|same"
    ),
    "28-fractional-expected-counts": Case(said=("library size",)),
    "29b-mpp-na-only": Case(None, other=all_extracted),
    "30-label-blanks": Case(),
    "30b-label-case-of-some": Case(),
    "30c-zero-width-ids": Case(refused="(?i)invisible|U\\+200B"),
    "32-metabric-er-positve": Case(
        None, ("151", "Positve"), "Positve.*151", r"Traceback|\b0 (ER-)?positive"
    ),
    "34-dots-normals": Case(None, other=same_warning),
    "36-mouse-symbols": Case(said=None, refused="mouse"),
    "37-filename-na": Case(None, (r"FILENAME|slide",), "NA"),
    "39-cbioportal-init": Case(None, other=drafted),
    "40-predict-other-magnification": Case(
        said=None, refused="10x|20x|magnification|mpp|µm", patients=None
    ),
    "41-predict-natural-log": Case(None, refused="natural", other=same_probabilities),
    "42-gdc-client-folder": Case(said=("sample",), refused="sample"),
    "43-h5ad-patient-in-obs": Case(refused="obs"),
    "44-clam-dataset-csv": Case(),
    "45-thousands-separators": Case(refused="thousands"),
    "47-pam50-transposed-own-ids": Case(None, refused="rows|other way"),
    "48-xlsx-title-row": Case(refused="(?i)row 1|header|title"),
    "49-id-case-differs": Case(),
    "52-gdc-client-slide-folders": Case(None, refused="folder", other=all_extracted),
    "54-integer-labels": Case(refused="quot"),
    "54b-float-labels": Case(refused=r"0\.0"),
    "55-biomart-columns": Case(refused="external_gene_name"),
    "71-xena-log2-counts": Case(said=("library size",), no_genes=HTSEQ),
    "72-frozen-and-diagnostic": Case(said=("12", "26", "(?i)frozen")),
}


def call(arguments: Sequence[str]) -> Result:
    """Run one command in this process."""
    out = io.StringIO()
    sys.argv = ["crosstype", *arguments]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            crosstype()
            code = 0
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else int(left.code is not None)
    return Result(code, out.getvalue())


def run_commands(folder: Path) -> list[Result]:
    """Run the commands of a case in its folder."""
    os.chdir(folder)
    commands = [shlex.split(line)[1:] for line in Path("cmd").read_text().splitlines() if line]
    return [call(one) for one in commands]


def tables_of(folder: Path) -> dict[str, object]:
    """Return the tables that a twin must equal."""
    found: dict[str, object] = {
        path.name: path.read_text() for path in folder.glob("*.csv") if path.stem.startswith("call")
    }
    for path in folder.glob("out*/expression.npz"):
        with np.load(path) as held:
            found[path.name] = {name: held[name].tolist() for name in held.files}
    return found


def faults_of(case: Case, folder: Path, results: Sequence[Result]) -> list[str]:
    """Return what came out otherwise than it must."""
    text, failed = "\n".join(one.text for one in results), results[-1].code != 0
    faults = [f"says {case.unsaid}"] if re.search(case.unsaid, text) else []
    found = case.other(folder, results) if case.other else ""
    faults += [found] if found else []
    if failed and case.refused is None:
        return [*faults, "is refused"]
    if failed:
        errors = results[-1].text.partition("Error: ")[2].splitlines()
        long = [f"{len(errors)} lines of errors"] if len(errors) > MOST_LINES else []
        named = re.search(case.refused or "", results[-1].text)
        return [*faults, *long, *([] if named else [f"no line says {case.refused}"])]
    if case.said is None:
        return [*faults, "is not refused"]
    faults += [f"no line says {one}" for one in case.said if not re.search(one, text)]
    cohort = folder / "out" / "cohort.csv"
    if case.patients is not None:
        found = len(pl.read_csv(cohort)) if cohort.exists() else 0
        faults += [f"{found} patients, not {case.patients}"] if found != case.patients else []
    if (folder / "out" / "expression.npz").exists():
        genes = set(np.load(folder / "out" / "expression.npz")["genes"].tolist())
        faults += [f"{one} is a gene" for one in case.no_genes if one in genes]
    return faults


def check(case: Case, folder: Path) -> tuple[list[str], list[Result]]:
    """Run a case, and its twin; return what came out otherwise, and the terminal."""
    twin = folder.with_name(f"{folder.name}_twin")
    shutil.copytree(folder, twin)
    results = run_commands(folder)
    faults = faults_of(case, folder, results)
    if case.twin is not None and results[0].code == 0:
        case.twin(twin)
        run_commands(twin)
        faults += ["differs from its twin"] if tables_of(folder) != tables_of(twin) else []
    return faults, results


def main() -> None:
    """Run the cases named, or all."""
    source, named = Path(sys.argv[1]).resolve(), sys.argv[2:]
    names = named or sorted(CASES)
    wrong = 0
    with tempfile.TemporaryDirectory() as place:
        data = Path(place) / "data"
        data.symlink_to(source.parent / "data")
        for name in names:
            folder = Path(place) / "cases" / name
            shutil.copytree(source / name, folder)
            if not (base := folder.with_name("00-base")).exists():
                base.symlink_to(source / "00-base")
            faults, results = check(CASES[name], folder)
            os.chdir(source)
            wrong += bool(faults)
            print(f"{'WRONG' if faults else 'right':6}{name:34}{'; '.join(faults)}", flush=True)
            if named:
                for one in results:
                    print(f"exit code {one.code}\n{one.text}")
    print(f"{len(names) - wrong} of {len(names)} right")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
