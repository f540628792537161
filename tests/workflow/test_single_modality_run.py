"""Single-modality patients, from the tables to the models trained on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from crosstype.crossval.worker import WorkerData


def take_away(tiny: Any) -> tuple[str, str]:
    """Take one patient's slide and another's expression; return both, of one site."""
    blind, bare = "TCGA-A1-0001", "TCGA-A2-0002"
    (tiny.folder / "features" / f"{blind} slide.h5").unlink()
    table = pl.read_csv(tiny.folder / "expression.tsv", separator="\t")
    table.drop(bare).write_csv(tiny.folder / "expression.tsv", separator="\t")
    return blind, bare


def with_setting(config: Path, value: str) -> None:
    text = config.read_text()
    config.write_text(text.replace("[cohort]\n", f'[cohort]\nsingle_modality = "{value}"\n', 1))


@pytest.mark.parametrize("protocol", ["strict", "site"])
def test_they_are_trained_on_and_never_tested(
    tiny: Any, tmp_path: Path, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    blind, bare = take_away(tiny)
    tiny.change(protocol=protocol)
    with_setting(tiny.config, "train")
    taught: list[tuple[frozenset[str], frozenset[str], frozenset[str]]] = []
    plain = WorkerData.splits

    def splits(worker_data: WorkerData, fold: Any) -> Any:
        found = plain(worker_data, fold)
        for one in found:
            beside = frozenset(one.single_modality.ids) if one.single_modality else frozenset()
            taught.append((frozenset(one.train.ids), beside, frozenset(fold.test)))
        return found

    monkeypatch.setattr(WorkerData, "splits", splits)
    tiny.run(tmp_path / "out")
    beside = pl.read_csv(tmp_path / "out" / "single_modality.csv", infer_schema=False)
    found = dict(beside.select("patient_id", "modality").iter_rows())
    assert found == {blind: "genes", bare: "image"}
    for name in ("cohort.csv", "folds.csv", "predictions.csv", "left_out.csv"):
        assert not {blind, bare} & set(
            pl.read_csv(tmp_path / "out" / name, infer_schema=False)["patient_id"]
        )
    tested_sites = [{patient[5:7] for patient in test} for _, _, test in taught]
    for (train, held, _), sites in zip(taught, tested_sites, strict=True):
        for patient in (blind, bare):
            may = protocol == "strict" or patient[5:7] not in sites
            assert (patient in train | held) == may
            assert not (patient in train and patient in held)


def test_left_out_is_the_default(tiny: Any, tmp_path: Path) -> None:
    blind, bare = take_away(tiny)
    tiny.run(tmp_path / "out", last="cohort")
    left_out = pl.read_csv(tmp_path / "out" / "left_out.csv", infer_schema=False)
    assert set(left_out["patient_id"]) == {blind, bare}
    assert pl.read_csv(tmp_path / "out" / "single_modality.csv", infer_schema=False).is_empty()
