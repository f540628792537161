"""Cross-validation through the pipeline: same numbers anywhere, nothing trained twice."""

from __future__ import annotations

import json
import os
import pickle
import signal
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from crosstype.errors import Fault, FeatureFileError, TrainingError
from crosstype.models.catalog import ALWAYS_RUN
from crosstype.robustness.modality_shuffle import derangement

TABLES = ("predictions.csv", "stressed_predictions.csv", "training.csv")


def made_at(out: Path) -> dict[str, int]:
    """Return when each model and record was written."""
    return {
        str(path.relative_to(out / "models")): path.stat().st_mtime_ns
        for path in sorted((out / "models").rglob("*_*.*"))
    }


def changed(before: dict[str, int], after: dict[str, int]) -> set[str]:
    """Return the jobs whose files were written anew."""
    return {name.rsplit(".", 1)[0] for name in after if before.get(name) != after[name]}


def age(out: Path) -> None:
    """Put the models' times back, so that writing again shows whatever the clock's steps."""
    for path in (out / "models").rglob("*_*.*"):
        os.utime(path, ns=(10**18, 10**18))


def test_two_workers_and_another_place_give_the_same_bytes(
    tiny: Any, finished: tuple[Any, Path], tmp_path: Path
) -> None:
    tiny.change(models=finished[0].models)
    tiny.run(tmp_path / "deep" / "two", "train", n_workers=2)
    for name in TABLES:
        one = (finished[1] / name).read_bytes()
        assert (tmp_path / "deep" / "two" / name).read_bytes() == one, name


@pytest.mark.long
def test_one_worker_gives_the_same_bytes(
    tiny: Any, finished: tuple[Any, Path], tmp_path: Path
) -> None:
    tiny.change(models=finished[0].models)
    tiny.run(tmp_path / "one", "train", n_workers=1)
    for name in TABLES:
        assert (tmp_path / "one" / name).read_bytes() == (finished[1] / name).read_bytes(), name


def test_every_patient_is_predicted_once_per_model_and_repeat(
    finished: tuple[Any, Path],
) -> None:
    _, out = finished
    table = pl.read_csv(out / "predictions.csv")
    models = {"image_only", "gene_only", "late", "cross_attention", *ALWAYS_RUN, "site_only"}
    assert set(table["model"]) == models
    counts = table.group_by("model", "repeat", "patient_id").len()
    assert counts["len"].unique().to_list() == [1]
    assert len(counts) == 16 * len(models)
    folds = pl.read_csv(out / "folds.csv").filter(pl.col("role") == "test")
    joined = table.join(folds, on=["patient_id", "repeat", "fold"])
    assert len(joined) == len(table)
    shares = table.select(pl.col("^probability_.*$"))
    np.testing.assert_allclose(shares.sum_horizontal().to_numpy(), 1, atol=1e-9)


def test_shuffling_a_modality_that_a_model_cannot_see_changes_nothing(
    tiny: Any, tmp_path: Path
) -> None:
    tiny.change(models=("image_only", "paper_concat", "paper_cross_attention"))
    tiny.run(tmp_path / "out", "train")
    plain = pl.read_csv(tmp_path / "out" / "predictions.csv").select(
        "patient_id", "model", pl.col("^probability_.*$")
    )
    stressed = pl.read_csv(tmp_path / "out" / "stressed_predictions.csv")
    blind = {
        "image_shuffled": ("paper_concat", "paper_cross_attention", "logistic_genes", "best_gene"),
        "genes_shuffled": ("image_only", "logistic_image"),
    }
    for condition, models in blind.items():
        for model in models:
            chosen = (pl.col("condition") == condition) & (pl.col("model") == model)
            rows = stressed.filter(chosen).select(plain.columns)
            assert rows.sort("patient_id").equals(
                plain.filter(pl.col("model") == model).sort("patient_id")
            )


def test_a_second_run_trains_nothing(copied: tuple[Any, Path]) -> None:
    tiny, out = copied
    age(out)
    before = made_at(out)
    bytes_before = {name: (out / name).read_bytes() for name in TABLES}
    tiny.run(out)
    assert made_at(out) == before
    # Even when the tables are gone, the finished folds are not trained again.
    for name in TABLES:
        (out / name).unlink()
    tiny.run(out)
    assert made_at(out) == before
    assert {name: (out / name).read_bytes() for name in TABLES} == bytes_before


@pytest.mark.parametrize("lost", ["gene_only/0_1.json", "cross_attention/0_0.safetensors"])
def test_what_is_lost_is_made_again_and_nothing_else(copied: tuple[Any, Path], lost: str) -> None:
    tiny, out = copied
    predictions = (out / "predictions.csv").read_bytes()
    age(out)
    before = made_at(out)
    (out / "models" / lost).unlink()
    (out / "training.csv").unlink()
    tiny.run(out, "train")
    assert changed(before, made_at(out)) == {lost.rsplit(".", 1)[0]}
    assert (out / "predictions.csv").read_bytes() == predictions


def test_a_half_written_record_is_not_there(copied: tuple[Any, Path]) -> None:
    tiny, out = copied
    record = out / "models" / "gene_only" / "0_0.json"
    whole = record.read_text()
    record.write_text(whole[: len(whole) // 2])
    (out / "predictions.csv").unlink()
    tiny.run(out, "train")
    assert json.loads(record.read_text()) == json.loads(whole)


def test_another_learning_rate_trains_every_network_again(copied: tuple[Any, Path]) -> None:
    tiny, out = copied
    age(out)
    before = made_at(out)
    tiny.change(learning_rate=0.01)
    tiny.run(out, "train")
    networks = {name.split("/")[0] for name in changed(before, made_at(out))}
    assert networks >= {"image_only", "gene_only", "late", "cross_attention"}


def test_another_model_in_the_list_leaves_the_finished_ones(tiny: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    tiny.change(models=("gene_only",))
    tiny.run(out, "train")
    age(out)
    before = made_at(out)
    tiny.change(models=("gene_only", "image_only", "late"))
    tiny.run(out, "train")
    after = made_at(out)
    assert {name.split("/")[0] for name in changed(before, after)} == {"image_only", "late"}


def test_late_alone_and_late_beside_its_parents_say_the_same(tiny: Any, tmp_path: Path) -> None:
    found = []
    for number, models in enumerate((("late",), ("image_only", "gene_only", "late"))):
        tiny.change(models=models)
        tiny.run(tmp_path / str(number), "train")
        table = pl.read_csv(tmp_path / str(number) / "predictions.csv")
        found.append(table.filter(pl.col("model") == "late"))
    assert found[0].equals(found[1])


def test_late_fits_parents_anew_if_a_saved_one_is_damaged(copied: tuple[Any, Path]) -> None:
    tiny, out = copied
    before = pl.read_csv(out / "predictions.csv")
    parent = out / "models" / "gene_only" / "0_0.safetensors"
    parent.write_bytes(parent.read_bytes()[:-9])
    (out / "models" / "late" / "0_0.json").unlink()
    (out / "predictions.csv").unlink()
    tiny.run(out, "train")
    assert pl.read_csv(out / "predictions.csv").equals(before)


def test_a_fault_in_a_worker_reaches_the_user_as_it_was() -> None:
    fault = Fault("a.h5", "NaN features", "Extract the slide again.")
    raised = FeatureFileError([fault, fault])
    back = pickle.loads(pickle.dumps(raised))
    assert type(back) is FeatureFileError
    assert str(back) == str(raised)
    assert back.faults == raised.faults


class InlineExecutor(ProcessPoolExecutor):
    """Stands in for the pool of processes, in this one."""

    def __init__(
        self,
        max_workers: int,
        mp_context: object,
        initializer: Callable[..., None],
        initargs: tuple[Any, ...],
    ) -> None:
        kept = signal.getsignal(signal.SIGINT)
        initializer(*initargs)
        signal.signal(signal.SIGINT, kept)

    def submit(self, work: Callable[..., Any], *args: Any) -> Future[Any]:
        """Do the work at once."""
        future: Future[Any] = Future()
        future.set_result(work(*args))
        return future

    def shutdown(self, **_: Any) -> None:
        """Nothing runs."""


def test_a_killed_worker_is_one_clear_error_and_finished_folds_stay(
    tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.change(models=("gene_only",))
    monkeypatch.setattr("crosstype.crossval.run.ProcessPoolExecutor", InlineExecutor)
    submit = dies_at_the_third(InlineExecutor.submit)
    monkeypatch.setattr(InlineExecutor, "submit", submit)
    with pytest.raises(TrainingError, match="fewer --workers") as raised:
        tiny.run(tmp_path / "out", "train", n_workers=2)
    assert "\n" not in str(raised.value)
    before = made_at(tmp_path / "out")
    assert len(before) == 2 * 2
    monkeypatch.undo()
    tiny.run(tmp_path / "out", "train")
    after = made_at(tmp_path / "out")
    assert not changed(before, after) & {name.rsplit(".", 1)[0] for name in before}


def dies_at_the_third(submit: Callable[..., Future[Any]]) -> Callable[..., Future[Any]]:
    """Return a `submit` that does two pieces of work and is killed at the third."""
    seen: list[object] = []

    def until_the_third(self: object, work: Callable[..., Any], *args: Any) -> Future[Any]:
        seen.append(work)
        if len(seen) < 3:
            return submit(self, work, *args)
        future: Future[Any] = Future()
        future.set_exception(BrokenProcessPool("killed"))
        return future

    return until_the_third


@pytest.mark.parametrize("n", [2, 3, 4, 5, 10, 29])
def test_no_patient_keeps_their_position(n: int) -> None:
    for seed in range(20):
        order = derangement(n, np.random.default_rng(seed))
        assert sorted(order.tolist()) == list(range(n))
        assert (order != np.arange(n)).all()


def test_repeats_have_new_folds_and_new_initialisation(tiny: Any, tmp_path: Path) -> None:
    tiny.change(models=("gene_only",), repeats=2)
    tiny.run(tmp_path / "out", "train")
    folds = pl.read_csv(tmp_path / "out" / "folds.csv").filter(pl.col("role") == "test")
    dealt = [
        folds.filter(pl.col("repeat") == repeat).sort("patient_id")["fold"].to_list()
        for repeat in (0, 1)
    ]
    assert dealt[0] != dealt[1]
    assert len(pl.read_csv(tmp_path / "out" / "predictions.csv")) == 2 * 16 * (2 + len(ALWAYS_RUN))
