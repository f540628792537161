"""`crosstype pam50`: exit codes, what stands on which stream, and a reference made and used."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from crosstype.cli.app import main
from crosstype.io.files import write_text
from crosstype.pam50.centroids import PUBLISHED, read_centroids

Call = Callable[..., tuple[int, str, str]]
CENTROIDS = read_centroids()


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Call `crosstype pam50` in this process; return exit code, output and errors."""
    monkeypatch.setattr("sys.excepthook", sys.excepthook)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["crosstype", "pam50", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        return int(str(left.value.code or 0)), said.out, said.err

    return run


def write_cohort(path: Path, n: int = 60, first: int = 0) -> Path:
    rng = np.random.default_rng(9)
    level = rng.uniform(4, 14, 50)[:, None]
    values = level + CENTROIDS.values[:, np.arange(n) % 5] + rng.normal(0, 0.2, (50, n))
    lines = ["\t".join(["gene", *(f"S{i}" for i in range(first, n))])]
    for gene, row in zip(CENTROIDS.genes, values, strict=True):
        lines.append("\t".join([gene, *(f"{one:.3f}" for one in row[first:])]))
    write_text(path, "\n".join(lines) + "\n")
    return path


def test_calls_go_to_a_file_counts_to_stdout_and_warnings_to_stderr(
    call: Call, tmp_path: Path
) -> None:
    table, out = write_cohort(tmp_path / "log2.tsv"), tmp_path / "calls.csv"
    code, said, warned = call(table, "--centring", "er-balanced", "--out", out)
    assert code == 0
    for name in CENTROIDS.subtypes:
        assert f"{name:<8}    12   20.0%" in said
    assert "60 samples called by er-balanced centring" in said
    assert "Note: ER status by ESR1" in warned
    calls = pl.read_csv(out)
    assert calls["call"].to_list() == [CENTROIDS.subtypes[i % 5] for i in range(60)]
    assert calls["sample_id"].to_list() == [f"S{i}" for i in range(60)]
    code, _, warned = call(
        table, "--centring", "none", "--out", out, "--centroids", PUBLISHED, "--unit", "zscore"
    )
    assert code == 0
    assert "Warning: the values are z-scores" in warned


def test_a_reference_is_written_from_a_cohort_and_used_for_one_sample(
    call: Call, tmp_path: Path
) -> None:
    table, stored = write_cohort(tmp_path / "log2.tsv"), tmp_path / "toy.json"
    out = tmp_path / "calls.csv"
    options = ("--centring", "median", "--out", out)
    code, _, err = call(table, *options, "--write-reference", stored)
    assert code == 2
    assert "Give --assay" in err
    assert call(table, *options, "--write-reference", stored, "--assay", "toy")[0] == 0
    whole = pl.read_csv(out)
    one = write_cohort(tmp_path / "one.tsv", first=59)
    code, _, err = call(one, *options)
    assert code == 1
    assert "1 sample cannot be centred on themselves" in err.splitlines()[-1]
    code, said, err = call(one, "--reference", stored, "--assay", "toy", "--out", out)
    assert code == 0
    assert "Normal       1  100.0%" in said
    assert "assay 'toy'" in err
    assert pl.read_csv(out).rows() == whole.tail(1).rows()
    for option, value in (("--assay", "other"), ("--centring", "er-balanced")):
        code, _, err = call(one, "--reference", stored, option, value, "--out", out)
        assert code == 2
        assert f"{option}: found '{value}', but toy.json holds medians of" in err


@pytest.mark.parametrize(
    ("options", "code", "wanted"),
    [
        ((), 2, "--centring is not set"),
        (("--centring", "mean"), 2, "mean"),
        (("--centring", "none", "--centroids", "absent.tsv"), 1, "absent.tsv: there is no such"),
        (("--centring", "median", "--er-table", "absent.csv"), 1, "absent.csv: there is no such"),
        (("--reference", "absent.json"), 1, "absent.json: there is no such file"),
    ],
)
def test_errors_are_one_line_and_leave_no_file(
    call: Call, tmp_path: Path, options: tuple[str, ...], code: int, wanted: str
) -> None:
    table, out = write_cohort(tmp_path / "log2.tsv"), tmp_path / "calls.csv"
    found, said, err = call(table, *options, "--out", out)
    assert (found, said) == (code, "")
    assert wanted in err
    assert sum(line.startswith("Error:") for line in err.splitlines()) == 1
    assert not out.exists()


def test_er_status_of_a_table_replaces_the_mixture(call: Call, tmp_path: Path) -> None:
    table = write_cohort(tmp_path / "log2.tsv")
    er = [f"S{i},{'negative' if i % 5 < 2 else 'positive'}" for i in range(60)]
    write_text(tmp_path / "er.csv", "\n".join(["id,status", *er]) + "\n")
    options = ("--er-table", tmp_path / "er.csv", "--er-column", "status")
    code, _, err = call(table, "--centring", "er-balanced", *options, "--out", tmp_path / "c.csv")
    assert code == 0
    assert "ER status by er.csv, column status: 36 positive, 24 negative (60%)" in err
