"""A finished stage is recognised; anything else is done again."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from crosstype.config.run_spec import RunSpec
from crosstype.io import files
from crosstype.io.files import HashMemory, code_version, statements_version
from crosstype.models.catalog import NETWORKS
from crosstype.workflow.ledger import Ledger
from crosstype.workflow.stage import Run, Stage
from crosstype.workflow.train import Train


class Count(Stage):
    """Writes one output and counts how often it was run."""

    name = "count"
    modules = ("crosstype.evaluation.curves",)
    setting = 1
    times = 0
    fails = False

    def settings(self) -> int:
        return self.setting

    def inputs(self) -> dict[str, Path]:
        return {"in": self.of.out / "in.csv"}

    def outputs(self) -> list[str]:
        return ["result.csv"]

    def run(self) -> dict[str, Any]:
        self.times += 1
        (self.of.out / "result.csv").write_text("half" if self.fails else "result")
        if self.fails:
            raise RuntimeError
        return {"rows": self.times}


def count(out: Path) -> Count:
    return Count(Run(RunSpec(), out), HashMemory(out / "sha256.json"))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "in.csv").write_text("input")
    return tmp_path


def test_done_once_and_recognised_by_a_later_process(out: Path) -> None:
    stage = count(out)
    first = Ledger(out).do(stage)
    assert first["notes"] == {"rows": 1}
    assert first["seconds"] >= 0
    assert 1 < first["peak_memory_mb"] < 100_000
    assert Ledger(out).do(stage) == first
    assert stage.times == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda out: (out / "in.csv").write_text("other"),
        lambda out: (out / "result.csv").write_text("tampered"),
        lambda out: (out / "result.csv").unlink(),
        lambda out: (out / ".stages" / "count.json").write_text("{"),
        lambda out: (out / ".stages" / "count.json").unlink(),
    ],
    ids=["input", "output", "no output", "damaged record", "no record"],
)
def test_a_change_has_it_run_again(out: Path, change: Any) -> None:
    stage = count(out)
    Ledger(out).do(stage)
    change(out)
    Ledger(out).do(stage)
    assert stage.times == 2
    assert (out / "result.csv").read_text() == "result"


def test_other_settings_have_it_run_again_and_a_touched_input_does_not(out: Path) -> None:
    stage = count(out)
    Ledger(out).do(stage)
    stage.setting = 2
    Ledger(out).do(stage)
    assert stage.times == 2
    os.utime(out / "in.csv", ns=(10**18, 10**18))
    Ledger(out).do(stage)
    assert stage.times == 2


def test_force_has_it_run_again(out: Path) -> None:
    stage = count(out)
    Ledger(out).do(stage)
    Ledger(out).do(stage, force=True)
    assert stage.times == 2


def test_an_edited_formula_has_it_run_again(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy" / "crosstype"
    shutil.copytree(files.PACKAGE, copy)
    monkeypatch.setattr(files, "PACKAGE", copy)
    stage, formula = count(out), copy / "evaluation" / "metrics" / "ranking.py"
    versions = []
    for source in (formula.read_text(), formula.read_text() + "\n# A comment.\n", "EDITED = 1\n"):
        formula.write_text(source)
        code_version.cache_clear()
        statements_version.cache_clear()
        Ledger(out).do(stage)
        versions.append(statements_version("crosstype.evaluation.metrics.ranking"))
    code_version.cache_clear()
    statements_version.cache_clear()
    assert stage.times == 3
    assert versions[0] == versions[1] != versions[2]


def test_a_module_imported_from_its_package_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PACKAGE", tmp_path / "crosstype")
    inner = tmp_path / "crosstype" / "parts" / "inner.py"
    inner.parent.mkdir(parents=True)
    lines = (
        "from crosstype.parts import inner\n",
        "from crosstype.parts import (\n    inner,\n)\n",
    )
    for source in lines:
        (tmp_path / "crosstype" / "outer.py").write_text(source)
        versions = set()
        for edited in ("ONE = 1\n", "ONE = 2\n"):
            inner.write_text(edited)
            code_version.cache_clear()
            versions.add(code_version("crosstype.outer"))
        assert len(versions) == 2
    code_version.cache_clear()


def test_training_knows_the_module_of_every_network() -> None:
    known = set(Train.modules)
    assert {f"crosstype.models.{card.network.split(':')[0]}" for card in NETWORKS.values()} <= known


def test_a_stage_that_fails_leaves_no_record(out: Path) -> None:
    stage = count(out)
    Ledger(out).do(stage)
    stage.setting, stage.fails = 2, True
    with pytest.raises(RuntimeError):
        Ledger(out).do(stage)
    assert not (out / ".stages" / "count.json").exists()
    stage.setting, stage.fails = 1, False
    Ledger(out).do(stage)
    assert stage.times == 3


def test_the_record_is_plain_json(out: Path) -> None:
    Ledger(out).do(count(out))
    record = json.loads((out / ".stages" / "count.json").read_text())
    assert set(record) == {"hash", "seconds", "peak_memory_mb", "inputs", "notes", "outputs"}
