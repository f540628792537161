"""Files are there whole or not at all; fingerprints notice every change."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosstype.io.files import HashCache, hash_of, plain, replacing, sha256_of, write_text
from crosstype.tcga import patient_of, sample_type_of, section_of, site_of
from crosstype.types import file_name_of, identifier_of


def test_an_exception_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "table.csv"
    write_text(path, "old\n")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old\n"
    assert [one.name for one in path.parent.iterdir()] == ["table.csv"]


def test_a_file_that_was_never_written_is_an_error_and_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "x"):
        pass
    assert not list(tmp_path.iterdir())


def test_text_is_utf_8_with_unix_line_ends(tmp_path: Path) -> None:
    write_text(tmp_path / "x", "ü\n")
    assert (tmp_path / "x").read_bytes() == "ü\n".encode()


def test_the_memory_of_hashes_notices_a_change_and_reads_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, memory = tmp_path / "x", tmp_path / "memory.json"
    path.write_bytes(b"one")
    hashes = HashCache(memory)
    first = hashes.sha256_of(path)
    assert first == sha256_of(path)
    hashes.save()

    path.write_bytes(b"two")
    os.utime(path, ns=(10**18, 10**18))
    assert HashCache(memory).sha256_of(path) == sha256_of(path) != first

    path.write_bytes(b"one")
    fresh = HashCache(memory)
    fresh.sha256_of(path)
    fresh.save()
    monkeypatch.setattr("crosstype.io.files.sha256_of", lambda _: pytest.fail("read again"))
    assert HashCache(memory).sha256_of(path) == first


@pytest.mark.parametrize("corruption", ["", "{", "\x00"])
def test_a_damaged_memory_is_an_empty_one(tmp_path: Path, corruption: str) -> None:
    (tmp_path / "memory.json").write_text(corruption)
    (tmp_path / "x").write_bytes(b"x")
    hashes = HashCache(tmp_path / "memory.json")
    assert hashes.sha256_of(tmp_path / "x") == sha256_of(tmp_path / "x")


@dataclass(frozen=True)
class Some:
    """A spec."""

    number: int
    path: PurePath
    names: tuple[str, ...] = ()


def test_any_field_that_differs_gives_another_hash() -> None:
    one = Some(1, PurePath("a"))
    others = [Some(2, PurePath("a")), Some(1, PurePath("b")), Some(1, PurePath("a"), ("x",))]
    assert len({hash_of(spec) for spec in (one, *others)}) == 4
    assert hash_of(one) == hash_of(Some(1, PurePath("a")))
    assert hash_of({"b": 1, "a": {3, 1}}) == hash_of({"a": {1, 3}, "b": 1})
    assert plain({"x": (one, frozenset({2, 1}))}) == {
        "x": [{"number": 1, "path": "a", "names": []}, [1, 2]]
    }


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_ids_become_file_names_and_come_back(identifier: str) -> None:
    name = file_name_of(identifier)
    assert identifier_of(name) == identifier
    assert "/" not in name
    assert "\\" not in name
    assert "\0" not in name
    assert name not in (".", "..")
    assert not Path(name).is_absolute()


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), unique=True))
def test_different_ids_have_different_file_names(identifiers: list[str]) -> None:
    assert len({file_name_of(one) for one in identifiers}) == len(identifiers)


def test_tcga_ids() -> None:
    sample = "TCGA-A2-A04P-01A-31R-A034-07"
    assert patient_of(sample) == "TCGA-A2-A04P"
    assert patient_of(" tcga-a2-a04p-01a ") == "TCGA-A2-A04P"
    assert (patient_of("007"), patient_of("P1-01A")) == ("007", "P1-01A")
    assert (sample_type_of(sample), sample_type_of("TCGA-A2-A04P")) == ("01", None)
    assert (site_of("TCGA-A2-A04P"), site_of("007")) == ("A2", None)


def test_one_id_in_two_forms_is_one_patient() -> None:
    forms = ("1000.0", "1000", "\ufeff1000 ", "10\u200b00", "1000.00")
    assert {patient_of(one) for one in forms} == {"1000"}
    assert {patient_of(one) for one in ("Mu\u0308ller", "M\u00fcller\u00a0")} == {"M\u00fcller"}
    assert [patient_of(one) for one in ("007.0", "12.1", "A.0")] == ["007.0", "12.1", "A.0"]
    sections = ("TCGA-A2-0001-01Z-00-DX1.X", "TCGA-A2-0001-01A-01-TSA", "TCGA-A2-0001-01A", "DX1")
    assert [section_of(one) for one in sections] == ["diagnostic", "frozen", "", ""]
