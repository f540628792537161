"""Unlabelled patients are predicted by every fold's models and used to train none of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.conftest import EVERY_KIND, NO_MAPS, Tiny

from crosstype.expression.matrix import load_expression
from crosstype.features.formats.open import write_features
from crosstype.io.files import write_text
from crosstype.training.checkpoint import load_classifier, read_header
from crosstype.training.patients import Bags, Patients

NORMAL_LIKE, UNLABELLED = "TCGA-A1-9001", "TCGA-A2-9002"
CLASSES = ("Luminal", "Basal/Her2")
MODELS = ("logistic_genes", "logistic_image", "image_only", "late", "cross_attention")


def add(folder: Path, patient: str, label: str | None, *, amount: float | None = None) -> None:
    """Give a patient tiles and expression, and a label unless it is None."""
    rng = np.random.default_rng(int(patient[-4:]))
    lines = (folder / "expression.tsv").read_text().splitlines()
    values = rng.gamma(3.0, 100.0, len(lines) - 1) if amount is None else [amount] * len(lines)
    lines[0] += f"\t{patient}"
    lines[1:] = [
        f"{line}\t{value}"
        for line, value in zip(lines[1:], [*values][: len(lines) - 1], strict=True)
    ]
    write_text(folder / "expression.tsv", "\n".join(lines) + "\n")
    if label is not None:
        write_text(
            folder / "labels.csv", (folder / "labels.csv").read_text() + f"{patient},{label}\n"
        )
    slides = (folder / "slides.csv").read_text() + f"{patient},{patient} slide.svs\n"
    write_text(folder / "slides.csv", slides)
    tiles = rng.normal(size=(4, 6)).astype(np.float32) if amount is None else np.full((4, 6), 1e6)
    write_features(folder / "features" / f"{patient} slide.h5", tiles.astype(np.float32))


def checksums(out: Path) -> dict[str, str]:
    paths = sorted((out / "models").rglob("*.safetensors"))
    return {str(path.relative_to(out)): read_header(path)["sha256"] for path in paths}


@pytest.fixture
def with_unlabelled(tiny: Any) -> Any:
    add(tiny.folder, NORMAL_LIKE, "BRCA.Normal")
    add(tiny.folder, UNLABELLED, None)
    held = Tiny(tiny.config, EVERY_KIND)
    held.change()
    return held


def test_they_are_predicted_by_the_mean_of_all_folds(with_unlabelled: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with_unlabelled.change(repeats=2, max_epochs=1, more=NO_MAPS)
    with_unlabelled.run(out, last="report")
    reasons = dict(pl.read_csv(out / "unlabelled.csv").iter_rows())
    assert reasons[NORMAL_LIKE] == "label 'BRCA.Normal' is in no class"
    assert set(reasons) == {NORMAL_LIKE, UNLABELLED}
    assert not set(pl.read_csv(out / "predictions.csv")["patient_id"]) & set(reasons)

    held = load_expression(out / "unlabelled.npz")
    paths = {one: (with_unlabelled.folder / "features" / f"{one} slide.h5",) for one in reasons}
    people = Patients(
        tuple(reasons),
        np.zeros(2, dtype=np.int64),
        CLASSES,
        held.values[[held.patient_ids.index(one) for one in reasons]],
        Bags(paths),
        tuple(reasons),
    )
    table = pl.read_csv(out / "unlabelled_predictions.csv")
    for model in MODELS:
        folds = sorted((out / "models" / model).glob("*.safetensors"))
        said = [load_classifier(path).predict(people) for path in folds]
        expected = np.mean(said, axis=0)
        rows = table.filter(pl.col("model") == model)
        assert rows["patient_id"].to_list() == list(reasons)
        assert rows["n_models"].to_list() == [4, 4]
        found = rows.select(f"probability_{name}" for name in CLASSES).to_numpy()
        assert np.allclose(found, expected, atol=1e-6), model
        assert rows["predicted"].to_list() == [CLASSES[i] for i in expected.argmax(axis=1)]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert NORMAL_LIKE in page
    assert "2 patients have slides and expression and no class" in page


def test_nothing_fitted_changes_when_one_is_added_or_poisoned(tiny: Any, tmp_path: Path) -> None:
    tiny.change(models=("cross_attention",), max_epochs=1)
    tiny.run(tmp_path / "without", "train")
    before = checksums(tmp_path / "without")
    add(tiny.folder, NORMAL_LIKE, "BRCA.Normal")
    tiny.run(tmp_path / "with", "train")
    assert checksums(tmp_path / "with") == before
    add(tiny.folder, UNLABELLED, None, amount=1e9)
    tiny.run(tmp_path / "poisoned", "train")
    assert checksums(tmp_path / "poisoned") == before
    own = (tmp_path / "without" / "predictions.csv").read_bytes()
    for name in ("with", "poisoned"):
        assert (tmp_path / name / "predictions.csv").read_bytes() == own
    said = pl.read_csv(tmp_path / "poisoned" / "unlabelled_predictions.csv")
    assert set(said["patient_id"]) == {NORMAL_LIKE, UNLABELLED}


def test_an_excluded_site_stays_out(with_unlabelled: Any, tmp_path: Path) -> None:
    text = with_unlabelled.config.read_text(encoding="utf-8")
    text = text.replace("[cohort]\n", '[cohort]\nexclude_sites = ["A1"]\n', 1)
    write_text(with_unlabelled.config, text)
    with_unlabelled.run(tmp_path / "out", "cohort")
    left = pl.read_csv(tmp_path / "out" / "unlabelled.csv")["patient_id"].to_list()
    assert left == [UNLABELLED]
