from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crosstype.errors import CohortError, TableError
from crosstype.expression.read import read_expression
from crosstype.expression.spec import ExpressionSpec
from crosstype.expression.units import recognise_measure

AUTO = ExpressionSpec()


def put(folder: Path, text: str) -> Path:
    path = folder / "expression.tsv"
    path.write_text(text, encoding="utf-8")
    return path


def test_both_orientations_give_the_same_expression(tmp_path: Path) -> None:
    rows = [["gene", "P1", "P2", "P3"], ["NA", "1", "50", "3"], ["TP53", "4", "", "6"]]
    upright = read_expression(put(tmp_path, "\n".join(map("\t".join, rows))), AUTO, ["P1", "P3"])
    turned_text = "\n".join(map("\t".join, zip(*rows, strict=True)))
    turned = read_expression(put(tmp_path, turned_text), AUTO, ["P1", "P3"])
    assert upright.genes == turned.genes == ("NA", "TP53")
    assert upright.sample_ids == turned.sample_ids == ("P1", "P2", "P3")
    np.testing.assert_array_equal(upright.values, turned.values)
    assert upright.values.dtype == np.float32


def test_symbols_name_genes_and_entrez_ids_are_not_values(tmp_path: Path) -> None:
    text = "Entrez_Gene_Id\tHugo_Symbol\tP1\tP2\n1\tA1BG\t5\t60\n2\t\t1\t1\n3\tA2M\t7\t8\n"
    found = read_expression(put(tmp_path, text), AUTO, ["P1"])
    assert found.genes == ("A1BG", "A2M")
    assert found.values.shape == (2, 2)
    assert any("Entrez_Gene_Id" in note for note in found.notes)
    assert any("1 genes without a name" in note for note in found.notes)


@pytest.mark.parametrize(("rule", "expected"), [("mean", [2.0, 100.0]), ("first", [1.0, 100.0])])
def test_duplicated_genes(tmp_path: Path, rule: str, expected: list[float]) -> None:
    path = put(tmp_path, "gene\tP1\tP2\nA\t1\t100\nB\t1\t1\nA\t3\tNA\n")
    found = read_expression(path, ExpressionSpec(duplicate_genes=rule), ["P1"])  # type: ignore[arg-type]
    assert found.genes == ("A", "B")
    assert found.values[:, 0].tolist() == expected
    with pytest.raises(TableError, match="gene 'A' is there 2 times"):
        read_expression(path, ExpressionSpec(duplicate_genes="error"), ["P1"])


def test_no_known_patient_is_an_error_with_examples(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=r"'X1'.*'A'.*'P1'"):
        read_expression(put(tmp_path, "gene\tX1\tX2\nA\t1\t2\n"), AUTO, ["P1"])


def test_units_are_recognised() -> None:
    rng = np.random.default_rng(0)
    linear = rng.gamma(1.0, 100.0, (50, 40)).astype(np.float32)
    log = np.log2(linear + 1)
    zscore = (log - log.mean(axis=0)) / log.std(axis=0)
    assert recognise_measure(linear)[0] == "linear"
    assert recognise_measure(log)[0] == "log"
    assert recognise_measure(zscore)[0] == "zscore"
    assert recognise_measure(np.log2(linear + 0.001))[0] == "log"
    assert recognise_measure(np.round(linear / 50))[0] == "counts"
