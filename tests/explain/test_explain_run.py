"""The explain stage in a run: its tables add up, and patients are explained out of fold only."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from crosstype.config.read import read_config
from crosstype.crossval.worker import WorkerData
from crosstype.errors import ConfigError, TrainingError
from crosstype.explain.explain import spread_over_ranks
from crosstype.explain.out_of_fold import fitted_models
from crosstype.explain.spec import models_to_explain
from crosstype.io.files import write_text
from crosstype.workflow.ledger import Ledger
from crosstype.workflow.train import make_plan
from tests.conftest import Once, Tiny, write_tiny

HOSTILE = "<script>alert(1)</script>"
SETS = "ODD\tx\tGENE1\tGENE3\tGENE5\tGENE7\tGENE9\n" + (
    f"EVEN\tx\t{HOSTILE}\tGENE2\tGENE4\tGENE6\tGENE8\n"
)


def table(out: Path, name: str) -> pl.DataFrame:
    return pl.read_csv(out / "explanation" / f"{name}.csv", infer_schema_length=None)


@pytest.fixture(scope="module")
def explained(once: Once) -> tuple[Any, Path]:
    """A run of four models, two repeats, with gene sets and a hostile gene, all explained."""
    folder = once("explained", _explain)
    return Tiny(folder / "input" / "tiny.toml"), folder / "out"


def _explain(folder: Path) -> None:
    models = ("image_only", "gene_only", "concat", "cross_attention")
    tiny = Tiny(write_tiny(folder / "input", models=models, repeats=2))
    for name, gene in (("expression.tsv", "GENE0"),):
        path = tiny.folder / name
        write_text(path, path.read_text().replace(f"{gene}\t", f"{HOSTILE}\t"))
    write_text(tiny.folder / "sets.gmt", SETS)
    text = tiny.config.read_text().replace("[models]", '[models]\ngene_sets = "sets.gmt"')
    names = ", ".join(f'"{name}"' for name in models)
    write_text(
        tiny.config, f'{text}\n[explanation]\nmodels = [{names}]\ntokens = ["ODD"]\nn_maps = 2\n'
    )
    tiny.run(folder / "out", "explain")


def test_attention_adds_up_to_one_patient_by_patient(explained: tuple[Any, Path]) -> None:
    _, out = explained
    rows = table(out, "attention")
    sums = rows.group_by("patient_id", "model").agg(
        pl.col("attention").sum(), pl.col("rank").sort(), pl.len(), pl.col("n_models").first()
    )
    np.testing.assert_allclose(sums["attention"], 1, atol=1e-5)
    assert all(ranks == list(range(1, n + 1)) for ranks, n in sums.select("rank", "len").rows())
    assert set(sums["n_models"]) == {4}  # two repeats of one fold each, two members
    assert set(rows["model"]) == {"image_only", "concat", "cross_attention"}
    assert len(sums) == 3 * 16
    assert rows["x_px"].null_count() == len(rows)


def test_logits_are_the_sum_of_their_parts(explained: tuple[Any, Path]) -> None:
    _, out = explained
    rows = table(out, "patients")
    total = rows["baseline"] + rows["genes"] + rows["image"] + rows["rest"]
    np.testing.assert_allclose(rows["logit"], total, atol=1e-3)
    assert set(rows["n_models"]) == {2}
    assert (rows.filter(model="image_only")["genes"] == 0).all()
    np.testing.assert_allclose(rows.filter(model="gene_only")["image"], 0, atol=1e-6)
    predicted = pl.read_csv(out / "predictions.csv").filter(
        pl.col("model").is_in(["gene_only", "concat"])
    )
    said = predicted.with_columns(
        logit=(pl.col("probability_Basal/Her2") / pl.col("probability_Luminal")).log()
    )
    means = said.group_by("patient_id", "model").agg(pl.col("logit").mean().alias("expected"))
    both = rows.join(means, on=["patient_id", "model"])
    assert len(both) == 32
    np.testing.assert_allclose(both["logit"], both["expected"], atol=1e-4)


def test_genes_and_gene_sets_are_named_as_they_are(explained: tuple[Any, Path]) -> None:
    _, out = explained
    rows = table(out, "attributions")
    assert set(rows["model"]) == {"gene_only", "concat", "cross_attention"}
    for (_,), own in rows.group_by("model"):
        assert own["rank"].to_list() == list(range(1, 21))
        assert own["mean_absolute"].is_sorted(descending=True)
        assert HOSTILE in set(own["gene"])
    assert rows.filter(gene=HOSTILE)["gene_sets"].unique().to_list() == ["EVEN"]
    assert rows.filter(gene="GENE12")["gene_sets"].unique().to_list() in ([None], [""])
    sets = table(out, "gene_sets")
    assert set(sets["gene_set"]) == {"ODD", "EVEN"}
    assert (sets["n_genes"] == 5).all()
    own = rows.filter(model="gene_only", gene_sets="ODD")["mean_absolute"].sum()
    share = sets.filter(model="gene_only", gene_set="ODD")["share"].item()
    whole = rows.filter(model="gene_only")["mean_absolute"].sum()
    np.testing.assert_allclose(share, own / whole, rtol=1e-6)


def test_gene_tokens_are_listed_by_name_and_drawings_too(explained: tuple[Any, Path]) -> None:
    _, out = explained
    rows = table(out, "gene_set_attention")
    assert set(rows["token"]) == {"ODD", "EVEN"}
    assert set(rows["model"]) == {"cross_attention"}
    drawn = table(out, "drawn")
    assert set(drawn["kind"]) == {"strip"}
    for name in drawn["file"]:
        assert (out / "explanation" / name).stat().st_size
    assert not list((out / "explanation").rglob("*.tmp"))


def test_a_finished_explanation_is_reused(explained: tuple[Any, Path], tmp_path: Path) -> None:
    tiny, out = explained[0], shutil.copytree(explained[1], tmp_path / "out")
    before = (out / "explanation" / "patients.csv").stat().st_mtime_ns
    tiny.run(out, "explain")
    assert (out / "explanation" / "patients.csv").stat().st_mtime_ns == before
    record = json.loads((out / ".stages" / "explain.json").read_text())
    assert any("rank correlation" in line for line in record["notes"]["notes"])


def test_patients_are_explained_out_of_fold_only(explained: tuple[Any, Path]) -> None:
    tiny, out = explained
    spec = read_config(tiny.config)
    from crosstype.protocol import protocol_named

    plan, _ = make_plan(spec, protocol_named("strict"), out, Ledger(out).hashes)
    worker_data = WorkerData(plan)
    folds = pl.read_csv(out / "folds.csv").filter(role="test")
    for held in fitted_models(worker_data, "gene_only"):
        own = folds.filter(repeat=held.job.repeat, fold=held.job.fold)["patient_id"]
        assert sorted(held.patients.ids) == sorted(own)
    # The model of a fold is never used for its training patients.
    key = (0, 0)
    fold = worker_data.folds[key]
    leaking = replace(fold, train=(*fold.train, fold.test[0]))
    worker_data.__dict__["folds"] = {**worker_data.folds, key: leaking}
    with pytest.raises(TrainingError, match=f"explanation: {fold.test[0]} is a training patient"):
        list(fitted_models(worker_data, "gene_only"))
    with pytest.raises(TrainingError, match="logistic_genes is no network"):
        worker_data.__dict__["folds"] = {key: fold}
        plan.checkpoint(next(fitted_models(worker_data, "gene_only")).job)
        list(fitted_models(worker_data, "logistic_genes"))


def test_slides_with_coordinates_get_maps_and_geojson(tiny: Any, tmp_path: Path) -> None:
    import h5py

    for path in (tiny.folder / "features").iterdir():
        with h5py.File(path, "r+") as file:
            n = len(file["features"])
            file["tile_xy_px"] = (np.arange(n)[:, None] * [256, 128]).astype(np.int32)
            file.attrs.update({"footprint_px": 256.0, "slide_id": path.stem})
    tiny.change(models=("cross_attention",))
    text = tiny.config.read_text()
    write_text(tiny.config, f'{text}\n[explanation]\nn_maps = 3\ntokens = ["program_01"]\n')
    tiny.run(tmp_path / "out", "explain")
    drawn = table(tmp_path / "out", "drawn")
    counts = dict(drawn.group_by("kind").len().iter_rows())
    assert counts == {"attention": 3, "contribution": 3, "token program_01": 3, "geojson": 3}
    rows = table(tmp_path / "out", "attention")
    assert (rows["x_px"] == 256 * rows["tile"]).all()
    name = drawn.filter(kind="geojson")["file"][0]
    found = json.loads((tmp_path / "out" / "explanation" / name).read_text())["features"]
    slide = drawn.filter(kind="geojson")["slide_id"][0]
    own = rows.filter(slide_id=slide).sort("tile")
    measured = [one["properties"]["measurements"]["attention"] for one in found]
    np.testing.assert_allclose(measured, own["attention"])


def test_explaining_can_be_left_out_of_a_run(tiny: Any, tmp_path: Path) -> None:
    tiny.change(models=("gene_only",))
    write_text(tiny.config, tiny.config.read_text() + "\n[explanation]\nenabled = false\n")
    tiny.run(tmp_path / "out", "report")
    assert not (tmp_path / "out" / "explanation").exists()
    assert "explain" not in json.loads((tmp_path / "out" / "run.json").read_text())["stages"]


def test_only_trained_networks_can_be_named(tiny: Any) -> None:
    text = tiny.config.read_text()
    write_text(tiny.config, f'{text}\n[explanation]\nmodels = ["late"]\n')
    with pytest.raises(ConfigError, match=r"explanation.models: found 'late', expected some of"):
        read_config(tiny.config)


def test_which_models_are_explained() -> None:
    assert models_to_explain((), ("image_only", "cross_attention")) == ("cross_attention",)
    assert models_to_explain((), ("late", "gene_only", "image_only")) == ("gene_only", "image_only")
    assert models_to_explain(("concat",), ("concat", "gene_only")) == ("concat",)


def test_permuted_genes_lie_evenly_over_the_ranks() -> None:
    order = np.random.default_rng(0).permutation(500)
    found = spread_over_ranks(order, 60)
    assert found[:20].tolist() == order[:20].tolist()
    assert len(set(found.tolist())) == 60
    assert found[-1] == order[-1]
    assert spread_over_ranks(order[:5], 60).tolist() == order[:5].tolist()
