"""Identifiers that tables spell differently: matched where unambiguous, and said."""

from __future__ import annotations

import unicodedata

import pytest

from crosstype.cohort.matching import spelled_as, spelling_note
from crosstype.tcga import comparable, patient_of, visible_text


@pytest.mark.parametrize(
    ("other", "own"),
    [
        ("BC.017", "BC-017"),
        ("bc-017", "BC-017"),
        ("BC-017 ", "BC-017"),
        ("BC\u200b-017", "BC-017"),
        ("\ufeffBC-017", "BC-017"),
        ("BC 017", "BC-017"),
        ("BC\xa0017", "BC 017"),
        ("X1017", "1017"),
        ("1017.0", "1017"),
        ("X1017.B", "1017-B"),
        (unicodedata.normalize("NFD", "Müller-3"), "Müller-3"),
        ("tcga.a2.a04p", "TCGA-A2-A04P"),
    ],
)
def test_spellings_of_one_id_are_matched(other: str, own: str) -> None:
    assert comparable(patient_of(other)) == comparable(patient_of(own))
    found = spelled_as([patient_of(other)], [own])
    assert found.get(patient_of(other), patient_of(other)) == own


@pytest.mark.parametrize(
    ("one", "other"),
    [("P1", "P10"), ("7", "007"), ("P1", "P1.1"), ("Xena1", "ena1"), ("1.5", "15"), ("P-1", "P1")],
)
def test_ids_of_different_patients_stay_apart(one: str, other: str) -> None:
    assert comparable(one) != comparable(other)
    assert spelled_as([one], [other]) == {}


def test_ambiguous_spellings_are_not_matched() -> None:
    assert spelled_as(["P.1", "p-1"], ["P 1"]) == {}
    assert spelled_as(["P.1"], ["P 1", "P-1"]) == {}
    assert spelled_as(["P.1", "P-1"], ["P-1"]) == {}
    assert spelled_as(["P.1", "P.2"], ["P-1", "P-2"]) == {"P.1": "P-1", "P.2": "P-2"}


def test_a_note_gives_the_number_and_an_example() -> None:
    assert spelling_note("e.tsv", {}) == []
    [note] = spelling_note("e.tsv", {"P.1": "P-1", "P.2": "P-2"})
    assert "2 ids of e.tsv" in note
    assert "'P.1' is 'P-1'" in note


def test_what_cannot_be_seen_is_removed() -> None:
    assert visible_text(" P1\u200b\xa0") == "P1"
    assert visible_text(unicodedata.normalize("NFD", "é")) == "é"
