"""The cohort stage: splits of a file in, splits for other tools out; withheld genes stay out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from crosstype.errors import ConfigError, TrainingError
from crosstype.expression.matrix import load_expression
from crosstype.folds.external_splits import read_splits


def set_folds(tiny: Any, *lines: str) -> None:
    text = tiny.config.read_text()
    tiny.config.write_text(text.replace("[models]", "\n".join(lines) + "\n\n[models]"))


def notes(out: Path) -> str:
    record = json.loads((out / ".stages" / "cohort.json").read_text())
    return "\n".join(record["notes"]["notes"])


def test_splits_of_a_file_are_followed_and_written_on(tiny: Any, tmp_path: Path) -> None:
    patients = sorted(pl.read_csv(tiny.folder / "labels.csv", infer_schema=False)["PATIENT"])
    parts = [patients[:6], patients[6:12]]
    splits = [
        {"train_patients": [p for p in patients[:14] if p not in one], "test_patients": one}
        for one in parts
    ]
    (tiny.folder / "splits.json").write_text(json.dumps({"splits": splits}))
    set_folds(tiny, 'file = "splits.json"', 'write = ["stamp", "clam", "patho_bench"]')
    tiny.run(tmp_path / "out", "evaluate")
    predicted = pl.read_csv(tmp_path / "out" / "predictions.csv", infer_schema=False)
    for number, one in enumerate(parts):
        held = predicted.filter(pl.col("fold") == str(number))["patient_id"]
        assert set(held) == set(one)
    left = pl.read_csv(tmp_path / "out" / "left_out.csv", infer_schema=False)
    assert left.filter(pl.col("step") == "folds")["patient_id"].to_list() == patients[14:]
    cohort = pl.read_csv(tmp_path / "out" / "cohort.csv", infer_schema=False)
    assert cohort["patient_id"].to_list() == patients[:14]
    again = read_splits(tmp_path / "out" / "splits" / "stamp" / "repeat_0")
    assert [sorted(one.test) for one in again] == parts
    assert "patients tested by no split: 2" in notes(tmp_path / "out")
    changed = (tiny.folder / "splits.json").read_text().replace(patients[0], "nobody")
    (tiny.folder / "splits.json").write_text(changed)
    tiny.run(tmp_path / "out", "cohort")
    assert "not in the cohort: 1 (nobody)" in notes(tmp_path / "out")


def test_a_deleted_split_file_is_written_anew(tiny: Any, tmp_path: Path) -> None:
    set_folds(tiny, 'write = ["clam"]')
    out = tmp_path / "out"
    tiny.run(out, "cohort")
    first = out / "splits" / "clam" / "repeat_0" / "splits_0.csv"
    text = first.read_text()
    first.unlink()
    tiny.run(out, "cohort")
    assert first.read_text() == text
    assert not (out / "splits" / "stamp").exists()


def test_an_absent_file_of_splits_is_named_before_anything_is_done(
    tiny: Any, tmp_path: Path
) -> None:
    set_folds(tiny, 'file = "absent.json"')
    with pytest.raises(ConfigError, match=r"\[folds\] file: found .*absent.json"):
        tiny.run(tmp_path / "out", "cohort")
    assert not (tmp_path / "out" / "folds.csv").exists()


def test_site_folds_say_how_even_they_are(tiny: Any, tmp_path: Path) -> None:
    tiny.change(protocol="site")
    tiny.run(tmp_path / "out", "cohort")
    assert "folds by site, repeat 0: class shares differ" in notes(tmp_path / "out")
    assert "inner folds are assigned by class, not by site" in notes(tmp_path / "out")


def shuffle_gene(folder: Path, number: int, name: str, seed: int) -> None:
    """Rename a gene and shuffle its values between patients."""
    lines = (folder / "expression.tsv").read_text().splitlines()
    cells = lines[1 + number].split("\t")[1:]
    order = np.random.default_rng(seed).permutation(len(cells))
    lines[1 + number] = "\t".join([name, *(cells[i] for i in order)])
    (folder / "expression.tsv").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("withheld", [True, False])
def test_no_model_uses_an_excluded_gene(withheld: bool, tiny: Any, tmp_path: Path) -> None:
    tiny.change(models=("gene_only", "cross_attention"), n_shuffles=0)
    with tiny.config.open("a") as file:
        file.write(f"\n[expression]\nexclude_pam50 = {str(withheld).lower()}\n")
    shuffle_gene(tiny.folder, 0, "ESR1", 0)
    shuffle_gene(tiny.folder, 1, "CDCA1", 0)
    tiny.run(tmp_path / "a", "train")
    shuffle_gene(tiny.folder, 0, "ESR1", 1)
    shuffle_gene(tiny.folder, 1, "CDCA1", 1)
    tiny.run(tmp_path / "b", "train")
    said = [(tmp_path / out / "predictions.csv").read_text() for out in "ab"]
    assert (said[0] == said[1]) is withheld
    genes = load_expression(tmp_path / "a" / "expression.npz").genes
    assert ("ESR1" in genes, "NUF2" in genes, len(genes)) == (  # CDCA1 is read as NUF2
        (False, False, 18) if withheld else (True, True, 20)
    )
    assert ("PAM50 genes excluded from all models: 2" in notes(tmp_path / "a")) is withheld


def test_genes_with_zeros_are_dropped_by_training_patients(
    make_patients: Any, make_recipe: Any
) -> None:
    from dataclasses import replace

    patients = make_patients(8)
    patients.genes[2, 5] = 0.0
    preparing = make_recipe().preparing
    preparing = replace(preparing, expression=replace(preparing.expression, drop_zero_genes=True))
    taught = preparing.fit(patients.take(np.arange(2, 8)))
    assert taught.genes(patients.genes).shape == (8, 19)
    untaught = preparing.fit(patients.take(np.array([0, 1, 3, 4])))
    assert untaught.genes(patients.genes).shape == (8, 20)
    patients.genes[0] = 0.0
    with pytest.raises(TrainingError, match="Set it to false"):
        preparing.fit(patients)
