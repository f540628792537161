"""Fitted on all sites but A2, evaluated on A2; fitted on RSEM, applied to counts."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score

from crosstype.config.read import read_config
from crosstype.deploy.fit import fit_artefact
from crosstype.deploy.fitted_model import Artefact, load_artefact
from crosstype.deploy.inputs import PredictionInputs
from crosstype.deploy.predict import PredictedPatients, predict
from crosstype.deploy.validate import validate_artefact
from crosstype.errors import CohortError
from crosstype.progress import NoProgress
from crosstype.workflow.stage import Run

pytestmark = pytest.mark.xdist_group("artefact")  # they share fitted models

CONFIG = """\
[cohort]
labels = "{labels}"
label_column = "TCGA Subtype"
slides = "{data}/slides.csv"
expression = "{data}/{table}"
{more}

[[cohort.classes]]
name = "Luminal"
labels = ["BRCA.LumA", "BRCA.LumB"]

[[cohort.classes]]
name = "Basal/Her2"
labels = ["BRCA.Basal", "BRCA.Her2"]

[features]
folder = "{data}/features_hipt_vit256"

[expression]
representation = "{representation}"

[folds]
protocol = "{protocol}"

[fit]
model = "{model}"
"""
RSEM, COUNTS = "expression_rsem_909.tsv.gz", "counts_20124.tsv.gz"
SETTINGS = {
    "table": RSEM,
    "more": 'exclude_sites = ["A2"]',
    "representation": "genes",
    "protocol": "site",
    "model": "gene_only",
}
Fit = Callable[..., tuple[Artefact, Path]]


def write_config(path: Path, data: Path, **changed: str) -> Path:
    filled = {"data": str(data), "labels": f"{data}/labels.csv"} | SETTINGS | changed
    path.write_text(CONFIG.format(**filled))
    return path


@pytest.fixture(scope="module")
def fit(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """Fit a model, each once; the stages are shared by configs that make the same cohort."""
    folder, made = tmp_path_factory.mktemp("artefacts"), {}

    def fitted(**changed: str) -> tuple[Artefact, Path]:
        key = repr(sorted(changed.items()))
        if key not in made:
            config = write_config(folder / "c.toml", real_data / "tcga_brca", **changed)
            path = folder / f"{len(made)}.safetensors"
            work = folder / repr(sorted(set(changed) - {"model"}))
            fit_artefact(Run(read_config(config), work), path)
            made[key] = load_artefact(path), path
        return made[key]

    return fitted


def judged(artefact: Artefact, config: Path, out: Path) -> tuple[np.ndarray, np.ndarray]:
    """Validate; return who is positive, and the probabilities of it."""
    validate_artefact(artefact, "m", read_config(config), out, NoProgress())
    table = pl.read_csv(out / "predictions.csv")
    truth = (table["label"] == "Basal/Her2").to_numpy()
    return truth, table["probability_Basal/Her2"].to_numpy()


@pytest.mark.long
@pytest.mark.real
def test_classes_of_another_site_are_predicted(fit: Fit, real_data: Path, tmp_path: Path) -> None:
    data = real_data / "tcga_brca"
    other = write_config(tmp_path / "a2.toml", data, more='sites = ["A2"]')
    auroc = {}
    for model in ("logistic_image", "image_only", "gene_only", "cross_attention"):
        artefact, _ = fit(model=model)
        truth, said = judged(artefact, other, tmp_path / model)
        assert (len(truth), int(truth.sum())) == (91, 28)
        auroc[model] = roc_auc_score(truth, said)
    assert auroc["image_only"] >= auroc["logistic_image"]
    assert min(auroc["gene_only"], auroc["cross_attention"]) >= 0.98


@pytest.mark.long
@pytest.mark.real
def test_fitting_twice_gives_the_same_bytes(fit: Fit, real_data: Path, tmp_path: Path) -> None:
    _, path = fit(model="gene_only")
    config = write_config(tmp_path / "c.toml", real_data / "tcga_brca")
    fit_artefact(Run(read_config(config), tmp_path / "elsewhere"), tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


@pytest.mark.long
@pytest.mark.real
def test_counts_are_refused_by_a_plain_model(fit: Fit, real_data: Path) -> None:
    artefact, _ = fit(model="gene_only")
    counts = real_data / "tcga_brca" / COUNTS
    with pytest.raises(CohortError, match=r'counts per million.*representation = "scaled"'):
        predict(artefact, PredictionInputs(expression=counts), NoProgress())
    from crosstype.expression.spec import ExpressionSpec

    # Stated as another unit they are told by their level.
    stated = PredictionInputs(expression=counts, reading=ExpressionSpec(unit="linear"))
    with pytest.raises(CohortError, match="training standard deviations from"):
        predict(artefact, stated, NoProgress())


@pytest.mark.long
@pytest.mark.real
def test_a_scaled_model_stays_calibrated_on_counts(
    fit: Fit, real_data: Path, tmp_path: Path
) -> None:
    data = real_data / "tcga_brca"
    with gzip.open(data / COUNTS, "rt") as handle:
        counted = {name[:12] for name in handle.readline().split("\t")}
    labels = pl.read_csv(data / "labels.csv", infer_schema=False)
    inside = pl.col("PATIENT").str.slice(0, 12).is_in(list(counted))
    tables = {"train": labels.filter(~inside), "new": labels.filter(inside)}
    for name, table in tables.items():
        table.write_csv(tmp_path / f"{name}.csv")
    shared = {"more": "", "representation": "scaled"}
    artefact, _ = fit(**shared, labels=str(tmp_path / "train.csv"))
    brier = {}
    for table in (RSEM, COUNTS):
        new = {"labels": str(tmp_path / "new.csv"), "table": table}
        config = write_config(tmp_path / "new.toml", data, **shared, **new)
        truth, said = judged(artefact, config, tmp_path / table)
        assert len(truth) == 80
        assert abs(said.mean() - truth.mean()) < 0.05
        brier[table] = brier_score_loss(truth, said)
    assert brier[COUNTS] < brier[RSEM] + 0.02


@pytest.mark.long
@pytest.mark.real
def test_either_modality_serves(fit: Fit, real_data: Path) -> None:
    artefact, _ = fit(model="cross_attention")
    data = real_data / "tcga_brca"
    expression, features = data / RSEM, data / "features_hipt_vit256"

    def served(**given: Path) -> PredictedPatients:
        return predict(artefact, PredictionInputs(**given), NoProgress())  # type: ignore[arg-type]

    assert set(served(expression=expression).modalities) == {"genes"}
    assert set(served(features=features).modalities) == {"image"}
    both = served(expression=expression, features=features)
    assert set(both.modalities) == {"image+genes", "genes"}
    assert not both.left_out
