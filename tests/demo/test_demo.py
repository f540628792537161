"""The demo: the same bytes each time, and an answer that only fusion can give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from crosstype.config.read import read_config
from crosstype.demo.synthetic import N_PATIENTS, write_demo
from crosstype.features.store import read_bag
from crosstype.pipeline import Run, run

UNIMODAL = ("image_only", "gene_only")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_demo_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    write_demo(tmp_path / "one")
    write_demo(tmp_path / "two")
    one = contents(tmp_path / "one")
    assert one == contents(tmp_path / "two")
    assert len(one) == N_PATIENTS + 4
    write_demo(tmp_path / "three", seed=1)
    assert contents(tmp_path / "three").keys() == one.keys()
    assert contents(tmp_path / "three") != one


def test_writing_over_a_demo_leaves_the_same_bytes(tmp_path: Path) -> None:
    write_demo(tmp_path)
    before = contents(tmp_path)
    write_demo(tmp_path)
    assert contents(tmp_path) == before


def test_the_demo_is_what_it_says(tmp_path: Path) -> None:
    spec = read_config(write_demo(tmp_path))
    assert spec.cohort.synthetic
    labels = pl.read_csv(tmp_path / "labels.csv")
    assert len(labels) == N_PATIENTS
    positive = labels["SUBTYPE"].is_in(["Basal", "Her2"]).to_numpy()
    assert positive.sum() == N_PATIENTS // 2
    expression = pl.read_csv(tmp_path / "expression.tsv", separator="\t")
    assert expression.shape == (2000, N_PATIENTS + 1)
    # The best that one modality allows is 0.8: 40% of the positives do not show in it.
    program = np.log2(expression.drop("gene").to_numpy()[:60]).mean(axis=0)
    pattern = np.array(
        [
            read_bag([tmp_path / "features" / f"{patient}-slide.h5"])[:, :8].mean()
            for patient in labels["PATIENT"]
        ]
    )
    for shown in (program, pattern):
        assert positive[np.argsort(shown)[-18:]].all()
    both = (program - program.mean()) / program.std() + (pattern - pattern.mean()) / pattern.std()
    assert both[positive].min() > np.median(both[~positive])


@pytest.mark.long
def test_in_the_demo_fusion_wins_and_uses_the_image(tmp_path: Path) -> None:
    spec = read_config(write_demo(tmp_path / "input"))
    run(Run(spec, tmp_path / "out", n_workers=2))
    metrics = pl.read_csv(tmp_path / "out" / "metrics.csv", infer_schema_length=None)
    rows = metrics.filter(pl.col("metric") == "auroc", pl.col("class") == "Basal/Her2")
    auroc = dict(zip(rows["model"], rows["value"], strict=True))
    for model in UNIMODAL:
        assert auroc["cross_attention"] >= auroc[model] + 0.1
        assert 0.6 < auroc[model] < 0.9
    use = pl.read_csv(tmp_path / "out" / "modality_use.csv", infer_schema_length=None)
    drops = use.filter(pl.col("model") == "cross_attention", pl.col("metric") == "auroc")
    by_modality = dict(zip(drops["modality"], drops["drop"], strict=True))
    assert by_modality["image"] > 0.1
    assert by_modality["genes"] > 0.1
    page = (tmp_path / "out" / "report.html").read_text()
    assert "synthetic" in page.lower()
