"""fit, predict and validate from the command line, on the tiny cohort."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.conftest import Once, write_tiny

from crosstype.cli.app import main
from crosstype.config.read import read_config
from crosstype.deploy.fit import fit_artefact
from crosstype.deploy.fitted_model import load_artefact
from crosstype.features.formats.open import write_features
from crosstype.workflow.stage import Run

Call = Callable[..., tuple[int, str, str]]
PROBABILITY = "probability_Basal/Her2"
VALIDATED = {
    "predictions.csv", "left_out.csv", "metrics.csv", "shift.csv", "validation.json",
    "validation.html",
}  # fmt: skip


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Call the command line in this process; return exit code, output and errors."""
    monkeypatch.setattr("sys.excepthook", sys.excepthook)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["crosstype", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        return int(str(left.value.code or 0)), said.out, said.err

    return run


def one_error(err: str) -> str:
    """Return the one line that is an error."""
    errors = [line for line in err.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1, err
    assert err.strip().splitlines()[-1] == errors[0]
    assert "Traceback" not in err
    return errors[0]


def add(config: Path, text: str, after: str = "") -> None:
    """Add lines to a config, at the end or after a line of it."""
    held = config.read_text()
    config.write_text(held.replace(after, after + text, 1) if after else held + text)


def fitted(tiny: Any, call: Call, model: str, name: str = "m.safetensors") -> Path:
    if "[fit]" not in tiny.config.read_text():
        add(tiny.config, f'\n[fit]\nmodel = "{model}"\n')
    path: Path = tiny.folder.parent / name
    code, out, err = call("fit", tiny.config, "--out", path)
    assert code == 0, err
    assert f"{model} fitted on" in out
    return path


@pytest.fixture(scope="module")
def fitted_before(once: Once) -> Callable[[str], Path]:
    """Fit a model on the tiny cohort as it is, once for all tests that only use the artefact."""

    def fit(model: str) -> Path:
        def make(folder: Path) -> None:
            config = write_tiny(folder / "input")
            add(config, f'\n[fit]\nmodel = "{model}"\n')
            fit_artefact(Run(read_config(config), folder / "work"), folder / "m.safetensors")

        return once(f"artefact_{model}", make) / "m.safetensors"

    return fit


def rows(path: Path) -> dict[str, dict[str, Any]]:
    table = pl.read_csv(path, schema_overrides={"patient_id": pl.String})
    return {row["patient_id"]: row for row in table.iter_rows(named=True)}


def test_fit_twice_gives_the_same_bytes_and_the_models_numbers(tiny: Any, call: Call) -> None:
    path = fitted(tiny, call, "cross_attention")
    again = fitted(tiny, call, "cross_attention", "elsewhere/n.safetensors")
    assert path.read_bytes() == again.read_bytes()
    card = path.with_name("m.safetensors.md").read_text()
    assert "cross_attention" in card
    assert str(tiny.folder) not in card + path.read_bytes().decode("latin-1")
    work = tiny.folder.parent / "memory"
    one = Run(read_config(tiny.config), work)
    made = fit_artefact(one, work / "x.safetensors")
    from crosstype.crossval.worker import WorkerData

    out = tiny.folder.parent / "p.csv"
    code, _, err = call(
        "predict", path, "--expression", tiny.folder / "expression.tsv",
        "--features", tiny.folder / "features", "--out", out,
    )  # fmt: skip
    assert code == 0
    assert "16 of 16 patients are training patients of this model" in err
    said = rows(out)
    from crosstype.workflow.ledger import Ledger
    from crosstype.workflow.train import make_plan

    plan, _ = make_plan(one.spec, one.protocol, work, Ledger(work).hashes)
    patients = WorkerData(plan).patients
    wanted = made.classifier.predict(patients)[:, 1]
    assert [said[p][PROBABILITY] for p in patients.ids] == pytest.approx(wanted, abs=1e-6)
    columns = "patient_id,model,predicted,probability_Luminal,probability_Basal/Her2,modalities"
    assert out.read_text().splitlines()[0] == columns
    assert {row["modalities"] for row in said.values()} == {"image+genes"}


def test_either_modality_serves(
    tiny: Any, fitted_before: Callable[[str], Path], call: Call
) -> None:
    path, out = fitted_before("cross_attention"), tiny.folder.parent / "p.csv"
    both = (
        ("--expression", tiny.folder / "expression.tsv"),
        ("--features", tiny.folder / "features"),
    )
    for given, word in zip(both, ("genes", "image"), strict=True):
        assert call("predict", path, *given, "--out", out)[0] == 0
        assert {row["modalities"] for row in rows(out).values()} == {word}
    # One patient without slide, one with hardly a gene, one with nothing of use.
    lost, thin = "TCGA-A0-0000", "TCGA-A1-0001"
    (tiny.folder / "features" / f"{lost} slide.h5").unlink()
    table = pl.read_csv(tiny.folder / "expression.tsv", separator="\t")
    blank = pl.when(pl.col("gene") == "none").then(pl.col(thin)).otherwise(None).alias(thin)
    table.with_columns(blank).write_csv(tiny.folder / "expression.tsv", separator="\t")
    assert call("predict", path, *both[0], *both[1], "--out", out)[0] == 0
    said = rows(out)
    assert said[lost]["modalities"] == "genes"
    assert said[thin]["modalities"] == "image"
    assert call("predict", path, *both[0], "--out", out)[0] == 0
    left_out = rows(out.with_name("p.csv.left_out.csv"))
    assert set(left_out) == {thin}
    assert left_out[thin]["step"] == "expression"


def test_few_genes_are_counted_and_noted(
    tiny: Any, fitted_before: Callable[[str], Path], call: Call
) -> None:
    path, out = fitted_before("logistic_genes"), tiny.folder.parent / "p.csv"
    table = pl.read_csv(tiny.folder / "expression.tsv", separator="\t")
    table.head(8).write_csv(tiny.folder / "few.tsv", separator="\t")
    given = ("predict", path, "--expression", tiny.folder / "few.tsv", "--out", out)
    code, _, err = call(*given)
    assert code == 1
    assert "8 of the model's 20 are there (40.0%)" in err
    assert "has 40.0% of the model's genes, fewer than 50% (--least-genes)" in one_error(err)
    assert len(rows(out.with_name("p.csv.left_out.csv"))) == 16
    assert not out.exists()
    assert call(*given, "--least-genes", 0.3)[0] == 0
    assert len(rows(out)) == 16
    table.with_columns(("other_" + pl.col("gene")).alias("gene")).write_csv(
        tiny.folder / "few.tsv", separator="\t"
    )
    code, _, err = call(*given)
    assert code == 1
    assert "has 0 of the 20 genes" in one_error(err)


def test_units_are_converted_exactly_or_refused(
    tiny: Any, fitted_before: Callable[[str], Path], call: Call
) -> None:
    path, out = fitted_before("gene_only"), tiny.folder.parent / "p.csv"
    plain = tiny.folder / "expression.tsv"
    table = pl.read_csv(plain, separator="\t")
    values = table.drop("gene").to_numpy()

    def offered(changed: np.ndarray) -> tuple[int, str]:
        new = pl.DataFrame(changed, schema=table.columns[1:])
        new = new.insert_column(0, table["gene"])
        new.write_csv(tiny.folder / "new.tsv", separator="\t")
        code, _, err = call("predict", path, "--expression", tiny.folder / "new.tsv", "--out", out)
        return code, err

    code, err = offered(np.log2(values + 1))
    assert code == 0
    assert "conversion: 2^x - 1" in err
    converted = [row[PROBABILITY] for row in rows(out).values()]
    assert call("predict", path, "--expression", plain, "--out", out)[0] == 0
    assert converted == pytest.approx([row[PROBABILITY] for row in rows(out).values()], abs=1e-4)
    code, err = offered(np.round(values))
    assert code == 1
    assert 'representation = "scaled"' in one_error(err)
    spread = values.std(axis=1, keepdims=True)
    code, err = offered((values - values.mean(axis=1, keepdims=True)) / spread)
    assert code == 1
    assert "z-scores" in one_error(err)


def test_a_scaled_model_takes_counts_with_a_note(tiny: Any, call: Call) -> None:
    add(tiny.config, '\n[expression]\nrepresentation = "scaled"\n')
    path, out = fitted(tiny, call, "gene_only"), tiny.folder.parent / "p.csv"
    plain = tiny.folder / "expression.tsv"
    assert call("predict", path, "--expression", plain, "--out", out)[0] == 0
    before = [row[PROBABILITY] for row in rows(out).values()]
    table = pl.read_csv(plain, separator="\t")
    counts = table.select(pl.col("gene"), (pl.exclude("gene") * 50).round(0).cast(pl.Int64))
    counts.write_csv(tiny.folder / "counts.tsv", separator="\t")
    given = ("--expression", tiny.folder / "counts.tsv")
    code, _, err = call("predict", path, *given, "--out", out)
    assert code == 0
    assert "multiplied by one number" in " ".join(err.split())
    assert [row[PROBABILITY] for row in rows(out).values()] == pytest.approx(before, abs=0.01)


def test_a_spectrum_is_made_of_the_same_sets(tiny: Any, call: Call) -> None:
    sets = [f"S{i}\tx\t" + "\t".join(f"GENE{j}" for j in range(i, i + 6)) for i in range(0, 15, 3)]
    (tiny.folder / "sets.gmt").write_text("\n".join(sets) + "\n")
    add(tiny.config, '\n[expression]\nrepresentation = "spectrum"\ngene_sets = "sets.gmt"\n')
    path, out = fitted(tiny, call, "logistic_genes"), tiny.folder.parent / "p.csv"
    (tiny.folder / "sets.gmt").unlink()
    assert (
        call("predict", path, "--expression", tiny.folder / "expression.tsv", "--out", out)[0] == 0
    )
    spectra = np.load(path.with_name("m_fit") / "expression.npz")
    genes = load_artefact(path).genes
    assert genes is not None
    assert genes.set_names == tuple(spectra["genes"].tolist())
    from crosstype.expression.harmonize import read_new_expression
    from crosstype.expression.spec import ExpressionSpec

    new = read_new_expression(tiny.folder / "expression.tsv", ExpressionSpec(), genes)
    assert new.patient_ids == tuple(spectra["patient_ids"].tolist())
    assert np.allclose(new.values, spectra["values"])


def test_features_of_another_encoder_are_refused(tiny: Any, call: Call) -> None:
    add(tiny.config, '\nencoder = "uni"', after='folder = "features"')
    path, out = fitted(tiny, call, "image_only"), tiny.folder.parent / "p.csv"
    folder = tiny.folder / "features"
    code, _, err = call("predict", path, "--features", folder, "--out", out)
    assert code == 2
    assert "give --encoder uni" in one_error(err)
    assert call("predict", path, "--features", folder, "--encoder", "uni", "--out", out)[0] == 0
    code, _, err = call("predict", path, "--features", folder, "--encoder", "phikon", "--out", out)
    assert code == 2
    other = tiny.folder / "other"
    write_features(other / "A.h5", np.ones((2, 6), dtype=np.float32), attributes={"encoder": "x"})
    code, _, err = call("predict", path, "--features", other, "--out", out)
    assert code == 1
    assert "found encoder 'x', expected 'uni'" in one_error(err)
    code, _, err = call("predict", path, "--slides", other, "--out", out)
    assert code == 2
    assert "extracted elsewhere" in one_error(err)
    (other / "B.h5").write_bytes((folder / "TCGA-A0-0000 slide.h5").read_bytes()[:300])
    write_features(other / "A.h5", np.ones((2, 6), dtype=np.float32), attributes={"encoder": "uni"})
    code, _, err = call("predict", path, "--features", other, "--out", out)
    assert code == 1
    assert "Skipped: B" in err
    assert set(rows(out)) == {"A"}


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((), "none of them is given"),
        (("--features", "absent"), "expected a folder of feature files"),
        (("--expression", "absent.tsv"), "does not exist"),
        (("--features", "x", "--slides", "y"), "both given"),
    ],
)
def test_what_is_given_must_be_there(
    tiny: Any,
    fitted_before: Callable[[str], Path],
    call: Call,
    arguments: tuple[str, ...],
    word: str,
) -> None:
    path = fitted_before("cross_attention")
    code, _, err = call("predict", path, *arguments, "--out", tiny.folder / "p.csv")
    assert code == 2
    assert word in one_error(err)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({}, "names 2"),
        ({"protocol": "paper", "models": ("gene_only",)}, "'paper'"),
    ],
)
def test_fit_refuses_what_it_cannot_mean(
    tiny: Any, call: Call, change: dict[str, Any], word: str
) -> None:
    tiny.change(**change)
    code, _, err = call("fit", tiny.config, "--out", tiny.folder / "m.safetensors")
    assert code == 2
    assert word in one_error(err)
    add(tiny.config, '\n[fit]\nmodel = "gene_onyl"\n')
    code, _, err = call("fit", tiny.config, "--out", tiny.folder / "m.safetensors")
    assert code == 2
    assert "Did you mean 'gene_only'?" in one_error(err)


def test_the_only_model_needs_no_fit_section_and_covariates_are_refused(
    tiny: Any, call: Call
) -> None:
    tiny.change(models=("gene_only",), protocol="site")
    code, out, err = call("fit", tiny.config, "--out", tiny.folder / "m.safetensors")
    assert code == 0, err
    assert "gene_only fitted on 16" in out
    add(tiny.config, '\ncovariates = ["Subtype"]', after='label_column = "Subtype"')
    code, _, err = call("fit", tiny.config, "--out", tiny.folder / "m.safetensors")
    assert code == 2
    assert "covariates" in one_error(err)


def test_single_modality_patients_are_training_patients(tiny: Any, call: Call) -> None:
    add(tiny.config, '\nsingle_modality = "train"', after="[cohort]")
    (tiny.folder / "features" / "TCGA-A1-0001 slide.h5").unlink()
    path = fitted(tiny, call, "logistic_genes")
    taught = load_artefact(path).training
    assert (taught.n_patients, dict(taught.single_modality)) == (15, {"image": 0, "genes": 1})
    assert taught.among(["TCGA-A1-0001"])
    assert sum(taught.classes.values()) == sum(taught.sites.values()) == 16


def test_validation_of_an_external_cohort(
    tiny: Any, fitted_before: Callable[[str], Path], call: Call
) -> None:
    path, out = fitted_before("cross_attention"), tiny.folder.parent / "v"
    labels = (tiny.folder / "labels.csv").read_text().splitlines()
    (tiny.folder / "labels.csv").write_text("\n".join(labels[:-2]) + "\n")
    (tiny.folder / "features" / "TCGA-A0-0000 slide.h5").unlink()
    code, said, err = call("validate", path, tiny.config, "--out", out)
    assert code == 0, err
    assert "13 patients evaluated: 13 by image+genes" in said
    assert "Warning: 13 of 13 patients are training patients of this model" in said
    assert {one.name for one in out.iterdir()} >= VALIDATED
    predictions = pl.read_csv(out / "predictions.csv", infer_schema=False)
    assert set(predictions["repeat"]) == set(predictions["fold"]) == {"0"}
    left_out = rows(out / "left_out.csv")
    assert left_out["TCGA-A0-0000"]["step"] == "slides"
    assert len(left_out) == 1
    from sklearn.metrics import roc_auc_score

    truth = predictions["label"] == "Basal/Her2"
    wanted = roc_auc_score(truth.to_numpy(), predictions[PROBABILITY].cast(pl.Float64).to_numpy())
    metrics = pl.read_csv(out / "metrics.csv").filter(
        (pl.col("metric") == "auroc") & (pl.col("class") == "Basal/Her2")
    )
    assert metrics["value"][0] == pytest.approx(wanted)
    shift = pl.read_csv(out / "shift.csv")
    assert shift.height == 26
    unlabelled = shift["standardised_difference"].abs().to_list()
    assert unlabelled == sorted(unlabelled, reverse=True)
    page = (out / "validation.html").read_text()
    assert "training patients of this model" in page
    assert "Research use only" in page
    assert "http" not in page.replace("http-equiv", "")


def test_validation_refuses_other_classes_and_an_empty_class(
    tiny: Any, fitted_before: Callable[[str], Path], call: Call
) -> None:
    path, out = fitted_before("gene_only"), tiny.folder.parent / "v"
    text = tiny.config.read_text()
    tiny.config.write_text(text.replace('name = "Luminal"', 'name = "LumA"'))
    code, _, err = call("validate", path, tiny.config, "--out", out)
    assert code == 2
    assert "expected those of the model: Luminal, Basal/Her2" in one_error(err)
    tiny.config.write_text(text)
    labels = (tiny.folder / "labels.csv").read_text().splitlines()
    kept = [line for line in labels if "Basal" not in line or "0001" in line]
    (tiny.folder / "labels.csv").write_text("\n".join(kept) + "\n")
    (tiny.folder / "features" / "TCGA-A1-0001 slide.h5").unlink()
    code, _, err = call("validate", path, tiny.config, "--out", out)
    assert code == 1
    assert "no patient of class 'Basal/Her2'" in one_error(err)
    assert "TCGA-A1-0001" in rows(out / "left_out.csv")


def test_slides_are_extracted_as_the_training_slides_were(
    few_slides: Path, call: Call, tmp_path: Path
) -> None:
    config = shutil.copytree(few_slides, tmp_path / "input") / "demo.toml"
    config.write_text(config.read_text().replace("n_tiles = 16", "n_tiles = 2"))
    add(config, '\n[fit]\nmodel = "logistic_image"\n')
    path = tmp_path / "m.safetensors"
    code, _, err = call("fit", config, "--out", path, "--work", tmp_path / "work")
    assert code == 0, err
    folder, out = tmp_path / "input" / "slides", tmp_path / "p.csv"
    code, _, err = call("predict", path, "--slides", folder, "--out", out)
    assert code == 0, err
    found = rows(out)
    (features,) = (tmp_path / "work" / "features").iterdir()
    again = tmp_path / "q.csv"
    assert call("predict", path, "--features", features, "--out", again)[0] == 0
    assert rows(again) == found
    assert len(found) == 20
    # A second time nothing is extracted again.
    made = {one: one.stat().st_mtime_ns for one in (tmp_path / "p_features").rglob("*.h5")}
    assert call("predict", path, "--slides", folder, "--out", out)[0] == 0
    assert made == {one: one.stat().st_mtime_ns for one in (tmp_path / "p_features").rglob("*.h5")}
