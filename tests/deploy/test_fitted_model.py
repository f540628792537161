"""An artefact predicts as the model in memory, holds no patient data, and is whole or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from crosstype.deploy.drift import shift_of
from crosstype.deploy.fitted_model import (
    Artefact,
    TrainingSummary,
    fingerprint,
    load_artefact,
    model_card,
    save_artefact,
    uses_of,
)
from crosstype.deploy.new_expression import check_level, level_shift
from crosstype.errors import CheckpointError, CohortError
from crosstype.expression.harmonize import GeneInput
from crosstype.features.tile_kind import FeatureInput
from crosstype.models.catalog import FITTED_BASELINES
from crosstype.progress import NoProgress
from crosstype.training.checkpoint import make_classifier, save_classifier
from crosstype.training.classifier import Split, TrainingRecipe
from crosstype.training.patients import Patients
from crosstype.types import Modality

MODELS = ("image_only", "gene_only", "concat", "late", "cross_attention", *FITTED_BASELINES)
N_GENES = 60


@pytest.fixture(scope="module")
def make_artefact(
    make_patients: Callable[..., Patients],
    make_splits: Callable[..., list[Split]],
    make_recipe: Callable[..., TrainingRecipe],
) -> Callable[[str], Artefact]:
    """Fit a model on twelve patients and put it into an artefact."""

    def make(name: str) -> Artefact:
        patients, recipe = make_patients(12, n_genes=N_GENES), make_recipe()
        classifier = make_classifier(name)
        classifier.fit(make_splits(patients), recipe)
        genes = tuple(f"GENE{i}" for i in range(N_GENES))
        uses = uses_of(name)
        return Artefact(
            classifier,
            recipe.model,
            patients.classes,
            GeneInput(genes, "linear", 0.0, "genes", "mean", "auto")
            if Modality.GENES in uses
            else None,
            FeatureInput("uni", 6) if Modality.IMAGE in uses else None,
            None,
            TrainingSummary(
                n_patients=12,
                classes={"Luminal": 6, "Basal/Her2": 6},
                sites={"": 12},
                single_modality={"image": 0, "genes": 0},
                provenance="unknown",
                synthetic=True,
                protocol="strict",
                seed=0,
                inputs={"labels: labels.csv": "0" * 64},
                patients=tuple(sorted(map(fingerprint, patients.ids))),
            ),
        )

    return make


@pytest.fixture(scope="module")
def written(
    make_artefact: Callable[[str], Artefact], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("artefact") / "model.safetensors"
    save_artefact(make_artefact("gene_only"), path)
    return path


@pytest.mark.parametrize("name", MODELS)
def test_it_predicts_as_the_model_in_memory(
    make_artefact: Callable[[str], Artefact],
    make_patients: Callable[..., Patients],
    tmp_path: Path,
    name: str,
) -> None:
    made, path = make_artefact(name), tmp_path / "a.safetensors"
    save_artefact(made, path)
    loaded = load_artefact(path)
    new = make_patients(8, n_genes=N_GENES, seed=5)
    some = new.with_genes(np.where(np.arange(N_GENES) % 3 == 0, np.nan, new.genes).astype("f4"))
    for patients in (new, some):
        said, wanted = (one.classifier.predict(patients) for one in (loaded, made))
        assert np.abs(said - wanted).max() < 1e-6
    assert replace(loaded, classifier=made.classifier) == made
    # The same once more gives the same bytes; the card has a line for each modality.
    save_artefact(loaded, tmp_path / "b.safetensors")
    assert (tmp_path / "b.safetensors").read_bytes() == path.read_bytes()
    card = model_card(loaded, path)
    assert ("- Slides: " in card) == (Modality.IMAGE in uses_of(name))
    assert ("- Expression: " in card) == (Modality.GENES in uses_of(name))
    assert "research use only" in card.lower()
    assert str(tmp_path) not in card


def test_the_file_holds_no_patient(written: Path, make_patients: Callable[..., Patients]) -> None:
    data = written.read_bytes()
    patients = make_patients(12, n_genes=N_GENES)
    assert not any(patient.encode() in data for patient in patients.ids)
    assert not any("inner_logits" in name for name in load_file(written))
    taught = load_artefact(written).training
    assert taught.among(["P003", "nobody", "P001"]) == ["P001", "P003"]


def refused(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(CheckpointError) as raised:
        load_artefact(path)
    message = str(raised.value)
    assert message.startswith(path.name)
    assert message.count("\n") == 0
    assert message.endswith(".")
    return message


def test_truncated_files_are_refused(written: Path, tmp_path: Path) -> None:
    whole = written.read_bytes()
    for kept in (0, 1, 8, 100, len(whole) // 2, len(whole) - 1):
        message = refused(tmp_path / "x.safetensors", whole[:kept])
        assert "Copy the file again" in message
    refused(tmp_path / "x.safetensors", whole + b"\0")


def test_a_flipped_bit_anywhere_is_refused(written: Path, tmp_path: Path) -> None:
    whole = written.read_bytes()
    rng = np.random.default_rng(3)
    end = 8 + int.from_bytes(whole[:8], "little")
    places = [*rng.integers(0, end, 60).tolist(), *rng.integers(end, len(whole), 60).tolist()]
    for place in places:
        data = bytearray(whole)
        data[place] ^= 1 << int(rng.integers(8))
        if json_is_the_same(bytes(data), whole):
            continue
        refused(tmp_path / "x.safetensors", bytes(data))


def json_is_the_same(data: bytes, whole: bytes) -> bool:
    """Whether only white space around the header's JSON differs."""
    end = 8 + int.from_bytes(whole[:8], "little")
    try:
        return json.loads(data[8:end]) == json.loads(whole[8:end]) and data[end:] == whole[end:]
    except ValueError:
        return False


def test_other_files_are_refused(
    make_artefact: Callable[[str], Artefact], tmp_path: Path, written: Path
) -> None:
    one = make_artefact("logistic_genes")
    save_classifier(one.classifier, tmp_path / "c.safetensors", one.model)
    with pytest.raises(CheckpointError, match="expected 'crosstype artefact' version '2'"):
        load_artefact(tmp_path / "c.safetensors")
    with pytest.raises(CheckpointError, match="no such file"):
        load_artefact(tmp_path / "absent.safetensors")


def test_shift_equals_numpy(
    make_artefact: Callable[[str], Artefact], make_patients: Callable[..., Patients]
) -> None:
    artefact = make_artefact("cross_attention")
    train = make_patients(12, n_genes=N_GENES)
    genes = make_patients(10, n_genes=N_GENES, seed=7)
    raw = genes.genes.copy()
    raw[:, 5] *= 8
    raw[:4, 6], raw[:, 7] = np.nan, np.nan
    found = shift_of(artefact, genes.with_genes(raw))
    assert found["input"][:2].to_list() == ["GENE0", "GENE1"]
    assert found["kind"].to_list() == ["gene"] * N_GENES + ["feature"] * 6
    before, after = np.log1p(train.genes.astype("f8")), np.log1p(raw.astype("f8"))
    for place in (0, 5, 6):
        mean, deviation = before[:, place].mean(), before[:, place].std()
        here = np.nanmean(after[:, place])
        assert found["mean_training"][place] == pytest.approx(mean, rel=1e-4)
        assert found["sd_training"][place] == pytest.approx(deviation, rel=1e-3)
        assert found["mean_here"][place] == pytest.approx(here, rel=1e-4)
        assert found["sd_here"][place] == pytest.approx(np.nanstd(after[:, place]), rel=1e-3)
        wanted = (here - mean) / deviation
        assert found["standardised_difference"][place] == pytest.approx(wanted, rel=1e-3)
    assert found["share_missing"][6:8].to_list() == pytest.approx([0.4, 1.0])
    assert found["standardised_difference"][7] is None
    tiles = np.stack([train.bags.read(one).mean(axis=0) for one in train.ids])
    assert found["mean_training"][N_GENES] == pytest.approx(tiles[:, 0].mean(), abs=1e-5)


def test_a_table_of_another_level_is_refused(
    make_artefact: Callable[[str], Artefact], make_patients: Callable[..., Patients]
) -> None:
    from crosstype.expression.harmonize import NewExpression

    artefact, new = make_artefact("gene_only"), make_patients(10, n_genes=N_GENES, seed=9)
    rows = {patient: row for row, patient in enumerate(new.ids)}

    def check(values: np.ndarray) -> None:
        offered = NewExpression(values, new.ids, ~np.isnan(values), {}, ())
        check_level(artefact, offered, rows, NoProgress())

    check(new.genes)
    with pytest.raises(CohortError, match="expected at most 1"):
        check(new.genes / 20)
    few = np.where(np.arange(N_GENES) < 40, new.genes, np.float32(np.nan))
    assert level_shift(artefact, few) is None  # 40 genes say nothing of a level
