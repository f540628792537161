"""Whole runs with gene-set tokens and with functional spectra in place of genes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import gseapy
import numpy as np
import pandas as pd
import polars as pl
import pytest

from crosstype.config.read import read_config
from crosstype.errors import CohortError, ConfigError, TableError
from crosstype.expression.matrix import load_expression
from crosstype.training.checkpoint import read_header

SETS = {"FIRST": range(8), "SECOND": range(5, 12), "THIRD": range(12, 19), "TINY": range(18, 20)}
TOKENS = ("[models]\n", '[models]\ngene_sets = "sets.gmt"\n')
SPECTRUM = (
    "[folds]\n",
    '[expression]\nrepresentation = "spectrum"\ngene_sets = "sets.gmt"\n\n[folds]\n',
)
MADE = ("cohort.csv", "folds.csv", "predictions.csv", "stressed_predictions.csv", "training.csv",
        "metrics.csv", "models/cross_attention/0_0.safetensors")  # fmt: skip


def write_sets(path: Path, names: str = "GENE{}") -> None:
    lines = [
        "\t".join([name, "about", *(names.format(gene) for gene in genes)])
        for name, genes in SETS.items()
    ]
    path.write_text("\n".join(lines) + "\n")


def change(tiny: Any, *changes: tuple[str, str]) -> None:
    write_sets(tiny.folder / "sets.gmt")
    text = tiny.config.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    tiny.config.write_text(text)


def notes_of(out: Path) -> str:
    return "\n".join(json.loads((out / "run.json").read_text())["notes"])


@pytest.mark.long
@pytest.mark.parametrize("change_of", [TOKENS, SPECTRUM], ids=["tokens", "spectrum"])
def test_the_run_command_goes_through_reuses_and_gives_the_same_bytes_with_two_workers(
    tiny: Any, tmp_path: Path, change_of: tuple[str, str]
) -> None:
    tiny.change(models=("gene_only", "cross_attention"))
    change(tiny, change_of)
    tiny.run(tmp_path / "1", last="report")
    command = ["run", str(tiny.config), "--out", str(tmp_path / "2"), "--workers", "2"]
    done = subprocess.run(
        [sys.executable, "-c", "from crosstype.cli.app import main; main()", *command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for name in MADE:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes(), name
    assert "3 of 4 gene sets keep at least 5 genes" in notes_of(tmp_path / "1")
    assert "dropped for too few genes: 1 sets (TINY)" in notes_of(tmp_path / "1")
    before = {name: (tmp_path / "1" / name).stat().st_mtime_ns for name in MADE}
    # Another folder, the same contents: nothing is done again.
    moved = tiny.folder / "elsewhere"
    moved.mkdir()
    (tiny.folder / "sets.gmt").rename(moved / "sets.gmt")
    tiny.config.write_text(tiny.config.read_text().replace('"sets.gmt"', '"elsewhere/sets.gmt"'))
    tiny.run(tmp_path / "1", last="report")
    assert {name: (tmp_path / "1" / name).stat().st_mtime_ns for name in MADE} == before
    # The same place, other contents: what depends on it is.
    text = (moved / "sets.gmt").read_text()
    (moved / "sets.gmt").write_text(text.replace("FIRST\tabout\tGENE0", "FIRST\tabout\tGENE19"))
    tiny.run(tmp_path / "1", last="report")
    checkpoint = "models/cross_attention/0_0.safetensors"
    assert (tmp_path / "1" / checkpoint).stat().st_mtime_ns > before[checkpoint]
    about = json.loads((tmp_path / "1" / "run.json").read_text())
    assert "gene_sets: sets.gmt" in about["inputs"]
    assert read_config(tmp_path / "1" / "config.toml") == read_config(tiny.config)


def test_tokens_are_named_in_the_checkpoint_and_leave_the_other_models_alone(
    tiny: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    tiny.change(models=("gene_only", "cross_attention"))
    tiny.run(out, "train")
    gene_only = (out / "models" / "gene_only" / "0_0.safetensors").stat().st_mtime_ns
    plain = pl.read_csv(out / "predictions.csv")
    change(tiny, TOKENS)
    tiny.run(out, "train")
    header = read_header(out / "models" / "cross_attention" / "0_1.safetensors")
    assert header["about"]["settings"]["gene_sets"] == ["FIRST", "SECOND", "THIRD"]
    assert str(tiny.folder) not in json.dumps(header)
    assert (out / "models" / "gene_only" / "0_0.safetensors").stat().st_mtime_ns == gene_only
    named = pl.read_csv(out / "predictions.csv")
    other = pl.col("model") != "cross_attention"
    assert named.filter(other).equals(plain.filter(other))


def test_the_spectrum_is_the_librarys_and_stands_in_for_the_genes(
    tiny: Any, tmp_path: Path
) -> None:
    change(tiny, SPECTRUM)
    tiny.run(tmp_path / "out", "cohort")
    found = load_expression(tmp_path / "out" / "expression.npz")
    assert found.genes == ("FIRST", "SECOND", "THIRD")
    assert found.unit == "log"
    table = pd.read_csv(tiny.folder / "expression.tsv", sep="\t", index_col=0)
    sets = {name: [f"GENE{gene}" for gene in genes] for name, genes in SETS.items()}
    called = gseapy.ssgsea(data=table, gene_sets=sets, outdir=None, min_size=5, threads=1).res2d
    wanted = called.pivot(index="Name", columns="Term", values="ES").astype(float)
    wanted = wanted.loc[list(found.patient_ids), list(found.genes)].to_numpy()
    np.testing.assert_allclose(found.values, wanted, rtol=1e-6, atol=1e-6)


def test_withheld_genes_are_gone_before_the_spectrum(tiny: Any, tmp_path: Path) -> None:
    """Poisoned PAM50 genes change no spectrum, for they are not there."""
    names = ["ESR1", "ERBB2", "MKI67", "KRT5", *(f"GENE{i}" for i in range(4, 20))]
    path = tiny.folder / "expression.tsv"
    lines = path.read_text().splitlines()
    rows = [line.split("\t")[1:] for line in lines[1:]]
    spectra = []
    for factor in (1.0, 1e6):
        written = [lines[0]]
        for i, (name, row) in enumerate(zip(names, rows, strict=True)):
            cells = [float(cell) * (factor if i < 4 else 1) for cell in row]
            written.append("\t".join([name, *map(str, cells)]))
        path.write_text("\n".join(written) + "\n")
        tiny.change()
        change(tiny, (SPECTRUM[0], SPECTRUM[1].replace("\n\n", "\nexclude_pam50 = true\n\n")))
        sets = (tiny.folder / "sets.gmt").read_text()
        for i, name in enumerate(names[:4]):
            sets = sets.replace(f"GENE{i}\t", f"{name}\t")
        (tiny.folder / "sets.gmt").write_text(sets)
        out = tmp_path / f"out{factor}"
        tiny.run(out, "cohort")
        spectra.append(load_expression(out / "expression.npz").values)
    np.testing.assert_array_equal(spectra[0], spectra[1])


@pytest.mark.parametrize("change_of", [TOKENS, SPECTRUM], ids=["tokens", "spectrum"])
def test_wrong_files_are_one_line_before_anything_is_trained(
    tiny: Any, tmp_path: Path, change_of: tuple[str, str]
) -> None:
    change(tiny, change_of)
    path = tiny.folder / "sets.gmt"
    write_sets(path, "ENSG{}")
    with pytest.raises(CohortError, match="0 of 4 sets"):
        tiny.run(tmp_path / "out")
    path.write_text("a table, not sets\n")
    with pytest.raises(TableError, match="Expected a GMT file"):
        tiny.run(tmp_path / "out")
    path.unlink()
    with pytest.raises(ConfigError, match="not there"):
        tiny.run(tmp_path / "out")
    assert not (tmp_path / "out" / "models").exists()


@pytest.mark.parametrize(
    ("section", "lines", "named"),
    [
        ("[folds]", '[expression]\nrepresentation = "spectrum"\n', "expression.gene_sets"),
        ("[folds]", '[expression]\ngene_sets = "s.gmt"\n', "expression.gene_sets"),
        (
            "[folds]",
            SPECTRUM[1].replace("\n\n[folds]\n", "\ndrop_zero_genes = true\n"),
            "expression.drop_zero_genes",
        ),
        ("[models]", "[models]\nn_outside_tokens = 2\n", "models.n_outside_tokens"),
        ("[models]", "[models]\nleast_genes = 0\n", "models.least_genes"),
        (
            "[models]",
            SPECTRUM[1].replace("[folds]\n", "") + TOKENS[1],
            "models.gene_sets",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    tiny: Any, section: str, lines: str, named: str
) -> None:
    added = lines if lines.startswith(section) or section in lines else f"{lines}\n{section}\n"
    change(tiny, (f"{section}\n", added))
    with pytest.raises(ConfigError, match=named):
        read_config(tiny.config)
