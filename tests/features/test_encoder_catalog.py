"""Whose slides an encoder has seen."""

from __future__ import annotations

import pytest

from crosstype.features.encoders.catalog import (
    ENCODERS,
    pretraining_cohorts,
    pretraining_note,
    projects_of,
)

TCGA = ["TCGA-A2-A04N", "TCGA-A2-A04P-01A", "P1"]


@pytest.mark.parametrize(
    "name", ["ctranspath", "phikon-v2", "hipt_vit256_region_mean", "Phikon", "CHIEF"]
)
def test_encoders_that_saw_the_cohort_are_warned_of(name: str) -> None:
    note = pretraining_note(name, TCGA)
    assert note.startswith("Warning: ")
    assert "2 of 3 patients are TCGA's" in note


@pytest.mark.parametrize("name", ["resnet50", "uni", "uni2-h", "virchow2", "conch_v15"])
def test_encoders_that_did_not_are_not(name: str) -> None:
    assert "none of the cohort" in pretraining_note(name, TCGA)
    assert not pretraining_note(name, TCGA).startswith("Warning")


def test_what_is_unknown_is_noted() -> None:
    assert "not known" in pretraining_note("my-encoder", TCGA)
    assert "which no file names" in pretraining_note("", TCGA)


def test_every_encoder_states_its_pretraining_slides() -> None:
    for name, card in ENCODERS.items():
        assert pretraining_cohorts(name) == card.pretraining_cohorts


def test_projects_are_known_by_their_ids() -> None:
    ids = ["TCGA-A2-A04N", "C3L-00001", "11BR047", "GTEX-1117F", "patient 7"]
    assert projects_of(ids) == {"TCGA": 1, "CPTAC": 2, "GTEx": 1}
