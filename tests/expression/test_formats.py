"""Expression in every layout of the field: what is written is what is read."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crosstype.errors import CrosstypeError, TableError
from crosstype.expression.cache import ExpressionCache
from crosstype.expression.read import read_expression
from crosstype.expression.spec import ExpressionSpec
from crosstype.io import number_table
from crosstype.io.files import sha256_of
from crosstype.io.number_table import read_number_table

from .written_expression import LAYOUTS, Matrix, write_gdc

AUTO = ExpressionSpec()
SAMPLES = [f"TCGA-A1-A0{number:02d}-01A" for number in range(6)]
LETTERS = st.text("ABCDEFGHKLMNPRSTXYZ0123456789-.@ ", min_size=1, max_size=9)
NAMES = LETTERS.map(lambda text: "G" + text.strip()).filter(lambda name: name != "G")


@st.composite
def matrices(draw: st.DrawFn) -> Matrix:
    """At least one value per gene, so that no gene is left out."""
    genes = draw(st.lists(NAMES, min_size=1, max_size=8, unique=True))
    number = st.floats(0, 1e6, width=32, allow_subnormal=False)
    row = st.lists(
        st.one_of(number, number, st.just(float("nan"))), min_size=len(genes), max_size=len(genes)
    )
    values = np.array([draw(row) for _ in SAMPLES], dtype=np.float32)
    values[0] = draw(st.lists(number, min_size=len(genes), max_size=len(genes)))
    return Matrix(values, SAMPLES, genes)


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(matrix=matrices())
def test_what_is_written_is_read(layout: str, matrix: Matrix, tmp_path: Path) -> None:
    folder = tmp_path / "one"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path = LAYOUTS[layout](matrix, folder)
    found = read_expression(path, ExpressionSpec(counts="raw"), [SAMPLES[0]])
    assert list(found.sample_ids) == matrix.samples
    assert list(found.genes) == matrix.genes
    # Spreadsheet cells are read to nine decimals.
    rounding = 5.1e-10 if layout == "xlsx" else 0
    np.testing.assert_allclose(found.values, matrix.values, rtol=0, atol=rounding)


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Return bytes with one of the harms that files come to."""
    place = int(rng.integers(len(data)))
    length = int(rng.integers(1, 40))
    kind = rng.integers(6)
    if kind == 0:
        return data[:place]
    if kind == 1:
        return data[:place] + data[place + length :]
    if kind == 2:
        return data[:place] + data[place : place + length] * 2 + data[place + length :]
    if kind == 3:
        return data[:place] + rng.bytes(length) + data[place + length :]
    if kind == 4:
        return data[:place] + bytes([data[place] ^ 1 << int(rng.integers(8))]) + data[place + 1 :]
    return data[:place] + rng.choice([b",", b"\t", b"\n", b'"', b"inf", b"NA", b"-"]) + data[place:]


@pytest.mark.parametrize("n_files", [44, pytest.param(1100, marks=pytest.mark.long)])
def test_a_mutated_file_is_one_error_or_read(n_files: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(n_files)
    matrix = Matrix(np.round(rng.gamma(1, 99, (6, 9)), 3).astype(np.float32), SAMPLES,
                    [f"GENE{number}" for number in range(9)])  # fmt: skip
    n_refused = 0
    for number in range(n_files):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = LAYOUTS[list(LAYOUTS)[number % len(LAYOUTS)]](matrix, folder)
        victim = sorted(path.iterdir())[0] if path.is_dir() else path
        victim.write_bytes(mutated(victim.read_bytes(), rng))
        try:
            found = read_expression(path, AUTO, SAMPLES)
        except CrosstypeError as error:
            n_refused += 1
            assert str(error).splitlines()[0].startswith((victim.name, path.name, "gdc", "0"))
            assert all(len(line) < 500 for line in str(error).splitlines())
            continue
        assert found.values.shape == (len(found.sample_ids), len(found.genes))
        assert not np.isinf(found.values).any()
        assert len(set(found.genes)) == len(found.genes)
        shutil.rmtree(folder)
    assert n_refused > n_files / 5


def test_both_ways_of_reading_text_agree(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    matrix = Matrix(rng.gamma(1, 99, (6, 500)).astype(np.float32), SAMPLES,
                    [f"GENE{number}" for number in range(500)])  # fmt: skip
    matrix.values[rng.random(matrix.values.shape) < 0.1] = np.nan
    path = LAYOUTS["tsv.gz, genes in rows"](matrix, tmp_path)
    quick = number_table._read_quickly(path, lambda _: [0])
    slow = number_table._read_slowly(path, lambda _: [0])
    assert quick is not None
    assert (quick.texts, quick.names) == (slow.texts, slow.names)
    np.testing.assert_array_equal(quick.values, slow.values)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("g\tP1\tP2\nA\t1\t2\nB\t3\n", "line 3: too few fields"),
        ("g\tP1\tP2\nA\t1\t2\nB\t3\t4\t5\n", "line 3: too many fields"),
        ("g\tP1\tP2\nA\t1\tx\n", "column 'P2': 'x' is not a number"),
        ("g\tP1\tP2\nA\t1\tinf\n", "'inf' is infinite"),
        ("g\tP1\tP2\nA\t1\t1e60\n", "'1e60' is infinite"),
        ("g\tP1\tP2\nA\t1,5\t2\n", "'1,5' is not a number"),
    ],
)
def test_faults_are_named_as_before(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "expression.tsv"
    path.write_text(text)
    with pytest.raises(TableError, match=words):
        read_number_table(path, lambda _: [0])


# ---- names of genes


def expression_of(
    tmp_path: Path, genes: list[str], spec: ExpressionSpec = AUTO
) -> tuple[list[str], str]:
    path = tmp_path / "expression.tsv"
    rows = [f"{gene}\t{number + 0.5}\t40.25" for number, gene in enumerate(genes)]
    path.write_text("\n".join(["gene\tP1\tP2", *rows]) + "\n")
    found = read_expression(path, spec, ["P1"])
    return list(found.genes), "\n".join(found.notes)


def test_names_are_changed_only_where_there_is_no_doubt(tmp_path: Path) -> None:
    written = [
        "ENSG00000091831.24",
        "ENSG00000002586.20_PAR_Y",
        "CDCA1",
        "A1BG|1",
        "?|26823",
        "ORC6L",
        "ORC6",
    ]
    genes, notes = expression_of(tmp_path, written)
    assert genes == ["ENSG00000091831", "NUF2", "A1BG", "?|26823", "ORC6L", "ORC6"]
    assert "1 genes: copies on the Y chromosome (_PAR_Y, ENSGR) left out" in notes
    assert "1 genes: Ensembl versions removed" in notes
    assert "CDCA1 -> NUF2" in notes


def test_entrez_ids_name_the_pam50_genes(tmp_path: Path) -> None:
    genes, notes = expression_of(tmp_path, ["2099", "2064", "77777"])
    assert genes == ["ESR1", "ERBB2", "77777"]
    assert "gene_names" in notes


def test_a_table_of_names_is_used(tmp_path: Path) -> None:
    (tmp_path / "names.tsv").write_text("id\tsymbol\nENSG00000091831\tESR1\n77777\tMYGENE\n")
    spec = ExpressionSpec(gene_names=tmp_path / "names.tsv")
    genes, _ = expression_of(tmp_path, ["ENSG00000091831.24", "77777", "OTHER"], spec)
    assert genes == ["ESR1", "MYGENE", "OTHER"]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [("mean", [2.0, 5.5]), ("sum", [4.0, 11.0]), ("highest", [3.0, 10.0]), ("first", [1.0, 1.0])],
)
def test_rules_for_genes_that_stand_there_twice(
    tmp_path: Path, rule: str, expected: list[float]
) -> None:
    path = tmp_path / "e.tsv"
    path.write_text("g\tP1\tP2\nA\t1\t1\nB\t7\t8.5\nA\t3\t10\n")
    found = read_expression(path, ExpressionSpec(duplicate_genes=rule), ["P1"])  # type: ignore[arg-type]
    assert found.values[:, 0].tolist() == expected


# ---- the GDC, AnnData, MuData


def small(n_genes: int = 3) -> Matrix:
    values = np.arange(6 * n_genes, dtype=np.float32).reshape(6, n_genes) + 0.5
    return Matrix(values, SAMPLES, [f"GENE{number}" for number in range(n_genes)])


def test_gdc_columns_and_gene_types(tmp_path: Path) -> None:
    folder = write_gdc(small(), tmp_path)
    found = read_expression(folder, AUTO, SAMPLES)
    assert (found.measure, found.genes) == ("tpm", ("GENE0", "GENE1", "GENE2"))
    every = read_expression(folder, ExpressionSpec(gdc_gene_types=()), SAMPLES)
    assert every.genes[-1] == "NOTCODING"
    counts = read_expression(folder, ExpressionSpec(gdc_column="unstranded"), SAMPLES)
    assert (counts.measure, set(counts.values.ravel().tolist())) == ("counts", {5.0})


def test_gdc_faults_are_one_line(tmp_path: Path) -> None:
    folder = write_gdc(small(), tmp_path)
    sheet = next(tmp_path.glob("*sheet*"))
    first = sorted(folder.iterdir())[0]
    text = first.read_text()
    first.write_text(text.replace("GENE1", "OTHER"))
    with pytest.raises(TableError, match="other ones than the first file"):
        read_expression(folder, AUTO, SAMPLES)
    first.write_text(text[:40])
    with pytest.raises(TableError, match="not a whole file of STAR counts"):
        read_expression(folder, AUTO, SAMPLES)
    first.write_text(text)
    sheet.rename(tmp_path / "elsewhere.tsv")
    with pytest.raises(TableError, match="sample_sheet under"):
        read_expression(folder, AUTO, SAMPLES)
    named = ExpressionSpec(sample_sheet=tmp_path / "elsewhere.tsv")
    assert len(read_expression(folder, named, SAMPLES).sample_ids) == 6
    with pytest.raises(TableError, match="Name the folder of the GDC"):
        read_expression(tmp_path / "nothing", AUTO, SAMPLES) if (
            tmp_path / "nothing"
        ).mkdir() is None else None


def test_layers_modalities_and_symbols_of_scverse(tmp_path: Path) -> None:
    import anndata

    matrix = small()
    data = anndata.AnnData(matrix.values)
    data.obs_names = matrix.samples
    data.var_names = ["ENSG00000091831.1", "ENSG00000141736.2", "ENSG00000000003.3"]
    data.var["gene_name"] = ["ESR1", "ERBB2", ""]
    data.layers["logged"] = matrix.values + 1
    data.write_h5ad(tmp_path / "a.h5ad")
    found = read_expression(tmp_path / "a.h5ad", ExpressionSpec(layer="logged"), SAMPLES)
    assert found.genes == ("ESR1", "ERBB2", "ENSG00000000003")
    np.testing.assert_array_equal(found.values, matrix.values + 1)
    with pytest.raises(TableError, match="no layer 'raw'; there are 'logged'"):
        read_expression(tmp_path / "a.h5ad", ExpressionSpec(layer="raw"), SAMPLES)
    path = LAYOUTS["h5mu"](matrix, tmp_path)
    with pytest.raises(TableError, match="no modality 'gex'; there are 'prot', 'rna'"):
        read_expression(path, ExpressionSpec(modality="gex"), SAMPLES)


# ---- the cache


def test_the_cache_depends_on_content_and_settings(tmp_path: Path) -> None:
    path = LAYOUTS["csv, genes in rows"](small(), tmp_path)
    cache = ExpressionCache(tmp_path / "kept", sha256_of)
    first = cache.read(path, AUTO, SAMPLES)
    again = cache.read(path, AUTO, SAMPLES)
    np.testing.assert_array_equal(first.values, again.values)
    assert (first.genes, first.sample_ids, first.notes) == (
        again.genes,
        again.sample_ids,
        again.notes,
    )
    assert len(list((tmp_path / "kept").glob("*.npy"))) == 1
    cache.read(path, ExpressionSpec(duplicate_genes="sum"), SAMPLES)
    assert len(list((tmp_path / "kept").glob("*.npy"))) == 2
    path.write_text(path.read_text().replace("GENE1", "CHANGED"))
    assert "CHANGED" in cache.read(path, AUTO, SAMPLES).genes
    with pytest.raises(CrosstypeError, match="nobody in common"):
        cache.read(path, AUTO, ["SOMEBODY"])


def test_a_damaged_cache_is_read_anew(tmp_path: Path) -> None:
    path = LAYOUTS["csv, genes in rows"](small(), tmp_path)
    cache = ExpressionCache(tmp_path / "kept", sha256_of)
    whole = cache.read(path, AUTO, SAMPLES).values.copy()
    kept = next((tmp_path / "kept").glob("*.npy"))
    data = bytearray(kept.read_bytes())
    data[-3] ^= 4
    kept.write_bytes(data)
    np.testing.assert_array_equal(cache.read(path, AUTO, SAMPLES).values, whole)
