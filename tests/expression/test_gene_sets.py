"""GMT files as people have them, and what a table keeps of their sets."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from crosstype.errors import CohortError, TableError
from crosstype.expression.genes.sets import GeneSets, read_gene_sets, read_token_sets

GMT = "GROWTH\thttp://x\tA\tB\tC\nREPAIR\t\tB\tD\tE\tF\n"


def written(folder: Path, text: str | bytes, name: str = "sets.gmt") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        GMT,
        GMT.replace("\n", "\r\n"),
        "\ufeff" + GMT,
        "\n" + GMT.replace("\n", "\n\n \t\n"),
        GMT.replace("\tC\n", "\tC\tA\t\t\n"),  # a gene twice, and empty cells behind
        GMT.replace("\tB\tC", "\t B \tC "),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_harmless_quirks_are_read(tmp_path: Path, text: str, zipped: bool) -> None:
    data = gzip.compress(text.encode()) if zipped else text.encode()
    found = read_gene_sets(written(tmp_path, data, "sets.gmt.gz" if zipped else "sets.gmt"))
    assert found.names == ("GROWTH", "REPAIR")
    assert found.genes == (("A", "B", "C"), ("B", "D", "E", "F"))


@pytest.mark.parametrize(
    ("text", "where", "found"),
    [
        (GMT + "GROWTH\tx\tD\n", "sets.gmt line 3", "'GROWTH' is in line 1 already"),
        (GMT + "EMPTY\tx\n", "sets.gmt line 3", "'EMPTY' has no gene"),
        (GMT + "EMPTY\tx\t\t \n", "sets.gmt line 3", "'EMPTY' has no gene"),
        (GMT + "\tx\tA\n", "sets.gmt line 3", "without a name"),
        (GMT.replace("\t", ","), "sets.gmt line 1", "no tab"),
        (GMT.replace("\t", " "), "sets.gmt line 2", "no tab"),
        (GMT + "S\tx\tA,B,C\n", "sets.gmt line 3", "'A,B,C' holds a comma"),
        ("", "sets.gmt", "no gene set"),
        ("\n\n", "sets.gmt", "no gene set"),
        (b"\xff\xfe\x00A", "sets.gmt", "not UTF-8"),
        (gzip.compress(GMT.encode(), mtime=0)[:-9], "sets.gmt", "cut off or damaged"),
    ],
)
def test_faults_say_where_and_what(
    tmp_path: Path, text: str | bytes, where: str, found: str
) -> None:
    with pytest.raises(TableError) as raised:
        read_gene_sets(written(tmp_path, text))
    assert f"{where}: " in str(raised.value)
    assert found in str(raised.value)


def test_all_faults_of_a_file_come_at_once_and_an_absent_file_is_one(tmp_path: Path) -> None:
    with pytest.raises(TableError) as raised:
        read_gene_sets(written(tmp_path, "A\tx\nB\tx\nC no tab\n"))
    assert len(raised.value.faults) == 3
    with pytest.raises(TableError, match=r"gone\.gmt"):
        read_gene_sets(tmp_path / "gone.gmt")


def sets() -> GeneSets:
    names = ("GROWTH", "REPAIR", "TINY")
    return GeneSets("sets.gmt", names, (("A", "B", "C"), ("B", "D", "E", "F"), ("A", "X")))


def test_membership_follows_the_tables_genes() -> None:
    found = sets().matched(["F", "b", "B", "A|17", "Z", "C"], 2)
    assert found.names == ("GROWTH", "REPAIR")
    wanted = [[0, 0, 1, 1, 0, 1], [1, 0, 1, 0, 0, 0]]
    np.testing.assert_array_equal(found.membership, np.array(wanted, dtype=bool))
    assert found.shares == {"GROWTH": 1.0, "REPAIR": 0.5, "TINY": 0.5}
    assert "2 of 3 gene sets keep at least 2 genes" in found.notes[0]
    assert "4 of 6 genes of the table are in a set" in found.notes[0]
    assert "dropped for too few genes: 1 sets (TINY)" in found.notes[1]


def test_a_choice_of_genes_takes_membership_along() -> None:
    kept = np.array([True, False, True, True, False, False])
    names, membership = sets().matched(["F", "D", "B", "A", "Z", "C"], 2).restricted(kept, 2)
    assert names == ("GROWTH", "REPAIR")
    np.testing.assert_array_equal(membership, np.array([[0, 1, 1], [1, 1, 0]], dtype=bool))
    names, membership = sets().matched(["F", "D", "B", "A", "Z", "C"], 2).restricted(kept, 3)
    assert names == ()
    assert membership.shape == (0, 3)


def test_sets_that_name_none_of_the_tables_genes_make_no_tokens(tmp_path: Path) -> None:
    path = written(tmp_path, GMT)
    gene_sets, notes = read_token_sets(path, list("ABCDEF"), 3)
    assert gene_sets.names == ("GROWTH", "REPAIR")
    assert notes
    with pytest.raises(CohortError, match="0 of 2 sets") as raised:
        read_token_sets(path, ["ENSG00000000003", "ENSG00000000005"], 1)
    assert "'A'" in str(raised.value)
    assert "ENSG00000000003" in str(raised.value)
