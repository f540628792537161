"""A finished stage is recognised; anything else is done again."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from crosstype.workflow.ledger import Ledger, Stage


class Work:
    """Writes one output and counts how often it was asked to."""

    def __init__(self, out: Path, text: str = "result") -> None:
        self.out, self.text, self.times = out, text, 0

    def __call__(self) -> dict[str, Any]:
        self.times += 1
        (self.out / "result.csv").write_text(self.text)
        return {"rows": self.times}


def stage(out: Path, settings: object = 1) -> Stage:
    return Stage("count", settings, {"in": out / "in.csv"}, ["result.csv"])


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "in.csv").write_text("input")
    return tmp_path


def test_done_once_and_recognised_by_a_later_process(out: Path) -> None:
    work = Work(out)
    first = Ledger(out).do(stage(out), work)
    assert first["notes"] == {"rows": 1}
    assert first["seconds"] >= 0
    assert 1 < first["peak_memory_mb"] < 100_000
    assert Ledger(out).do(stage(out), work) == first
    assert work.times == 1


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
def test_a_change_has_it_done_again(out: Path, change: Any) -> None:
    work = Work(out)
    Ledger(out).do(stage(out), work)
    change(out)
    Ledger(out).do(stage(out), work)
    assert work.times == 2
    assert (out / "result.csv").read_text() == "result"


def test_other_settings_have_it_done_again_and_a_touched_input_does_not(out: Path) -> None:
    work = Work(out)
    Ledger(out).do(stage(out), work)
    Ledger(out).do(stage(out, 2), work)
    assert work.times == 2
    os.utime(out / "in.csv", ns=(10**18, 10**18))
    Ledger(out).do(stage(out, 2), work)
    assert work.times == 2


def test_a_stage_that_fails_leaves_no_record(out: Path) -> None:
    work = Work(out)
    Ledger(out).do(stage(out), work)

    def fail() -> dict[str, Any]:
        (out / "result.csv").write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        Ledger(out).do(stage(out, 2), fail)
    assert not (out / ".stages" / "count.json").exists()
    Ledger(out).do(stage(out), work)
    assert work.times == 2


def test_the_record_is_plain_json(out: Path) -> None:
    Ledger(out).do(stage(out), Work(out))
    record = json.loads((out / ".stages" / "count.json").read_text())
    assert set(record) == {"hash", "seconds", "peak_memory_mb", "inputs", "notes", "outputs"}
