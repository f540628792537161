"""PAM50 in four and in five classes, end to end, on real patients of other sites than A2."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from crosstype.config.read import read_config
from crosstype.workflow.pipeline import run
from crosstype.workflow.stage import Run

CONFIG = """\
[cohort]
labels = "{data}/labels.csv"
label_column = "TCGA Subtype"
slides = "{data}/slides.csv"
expression = "{data}/expression_rsem_909.tsv.gz"
exclude_sites = ["A2"]
{classes}
[features]
folder = "{data}/features_hipt_vit256"
[training]
models = ["gene_only"]
max_epochs = 5
corruption = 0.0
calibration = "temperature"
threshold = "f1"
[evaluation]
n_bootstrap = 100
n_shuffles = 0
abstain_below = 0.8
"""
COUNTS = {"LumA": 362, "LumB": 161, "Basal": 118, "Her2": 59, "Normal": 25}


@pytest.mark.long
@pytest.mark.real
@pytest.mark.parametrize("n_classes", [4, 5])
def test_pam50_subtypes_run_end_to_end(real_data: Path, tmp_path: Path, n_classes: int) -> None:
    names = list(COUNTS)[:n_classes]
    classes = "".join(
        f'[[cohort.classes]]\nname = "{name}"\nlabels = ["BRCA.{name}"]\n' for name in names
    )
    config, out = tmp_path / "real.toml", tmp_path / "out"
    config.write_text(CONFIG.format(data=real_data / "tcga_brca", classes=classes))
    run(Run(read_config(config), out, 1))
    table = pl.read_csv(out / "predictions.csv").filter(pl.col("model") == "gene_only")
    assert dict(table["label"].value_counts().iter_rows()) == {n: COUNTS[n] for n in names}
    assert set(table["predicted"]) == set(names)
    found = pl.read_csv(out / "metrics.csv").filter(pl.col("model") == "gene_only")
    of = {(row["metric"], row["class"]): row["value"] for row in found.iter_rows(named=True)}
    assert of["auroc", "macro"] > 0.95
    assert of["accuracy", "all"] > 0.8
    curve = pl.read_csv(out / "coverage.csv").filter(pl.col("model") == "gene_only")
    by_share = dict(curve.select("coverage", "accuracy").iter_rows())
    assert by_share[0.5] > by_share[0.8] > by_share[1.0]
    assert "Abstention" in (out / "report.html").read_text()
