"""The real cohorts through the command line: who comes in, who is left out; no model is run."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from crosstype.cli.app import main

CONFIG = """\
[cohort]
labels = "{data}/labels.csv"
label_column = "TCGA Subtype"
slides = "{data}/slides.csv"
expression = "{data}/{table}"
sites = [{sites}]

[[cohort.classes]]
name = "Luminal"
labels = ["BRCA.LumA", "BRCA.LumB"]

[[cohort.classes]]
name = "Basal/Her2"
labels = ["BRCA.Basal", "BRCA.Her2"]

[features]
folder = "{data}/features_hipt_vit256"
"""


@pytest.mark.real
@pytest.mark.parametrize(
    ("sites", "table", "counts"),
    [
        ('"A2"', "expression_rsem_909.tsv.gz", (63, 28)),
        ("", "expression_rsem_909.tsv.gz", (586, 205)),
        ("", "counts_20124.tsv.gz", (44, 36)),
    ],
)
def test_the_cohort_command_on_real_tables(
    real_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sites: str,
    table: str,
    counts: tuple[int, int],
) -> None:
    config, out = tmp_path / "real.toml", tmp_path / "out"
    config.write_text(CONFIG.format(data=real_data / "tcga_brca", table=table, sites=sites))
    monkeypatch.setattr("sys.argv", ["crosstype", "cohort", str(config), "--out", str(out)])
    monkeypatch.setattr("sys.excepthook", sys.excepthook)
    with pytest.raises(SystemExit) as left:
        main()
    assert not left.value.code
    cohort = pl.read_csv(out / "cohort.csv", infer_schema=False)
    found = Counter(cohort["label"])
    assert (found["Luminal"], found["Basal/Her2"]) == counts
    left_out = pl.read_csv(out / "left_out.csv", infer_schema=False)
    assert len(cohort) + len(left_out) == 921
    assert (left_out["reason"].str.len_chars() > 0).all()
    assert not set(cohort["patient_id"]) & set(left_out["patient_id"])
    folds = pl.read_csv(out / "folds.csv").filter(pl.col("role") == "test")
    assert sorted(folds["patient_id"]) == sorted(cohort["patient_id"])
