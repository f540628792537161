"""The command line: exit codes, one-line errors, quick help."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import NO_MAPS

from crosstype.cli.app import app, main
from crosstype.cli.progress_bars import Bars

COMMANDS = sorted(
    one.name or one.callback.__name__.replace("_", "-")
    for one in app.registered_commands
    if one.callback
)
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], one_worker: None
) -> Call:
    """Call the command line in this process; return exit code, output and errors."""
    monkeypatch.setattr("sys.excepthook", sys.excepthook)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["crosstype", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        return int(str(left.value.code or 0)), said.out, said.err

    return run


def in_a_process(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def one_line(errors: str) -> str:
    lines = errors.strip().splitlines()
    assert len(lines) == 1, errors
    assert lines[0].startswith("Error: ")
    return lines[0]


def test_the_commands_of_the_design() -> None:
    wanted = {"demo", "init", "run", "features", "cohort", "train", "evaluate", "report"}
    assert wanted <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_has_a_sentence_and_an_example(call: Call, command: str) -> None:
    for flag in ("--help", "-h"):
        code, out, err = call(command, flag)
        assert (code, err) == (0, "")
        assert f"crosstype {command}" in out
        assert "Example:" in out


def test_help_and_version(call: Call) -> None:
    code, out, _ = call("--help")
    assert code == 0
    assert all(command in out for command in COMMANDS)
    assert "research use only" in out
    cut = [line for line in out.splitlines()[1:] if line.endswith("...")]
    assert not cut, "a command's first sentence is too long for a terminal of 80 columns"
    code, out, _ = call("--version")
    assert code == 0
    assert re.fullmatch(r"crosstype \d+\.\d+\.\d+\n", out)


@pytest.mark.parametrize(
    "arguments",
    [("fly",), ("run",), ("run", "x.toml", "--workers", "many"), ("run", "x.toml", "--what")],
)
def test_usage_errors_exit_2(call: Call, arguments: tuple[str, ...]) -> None:
    code, _, err = call(*arguments)
    assert code == 2
    assert "Traceback" not in err
    assert err.strip()


def test_a_config_that_is_not_there(call: Call, tmp_path: Path) -> None:
    code, out, err = call("run", tmp_path / "absent.toml", "--out", tmp_path / "out")
    assert (code, out) == (2, "")
    assert "crosstype init absent.toml" in one_line(err)
    assert not (tmp_path / "out").exists()


def test_a_config_with_an_unknown_key(call: Call, tiny: Any, tmp_path: Path) -> None:
    tiny.config.write_text(tiny.config.read_text().replace("n_folds", "n_fold"))
    code, _, err = call("run", tiny.config, "--out", tmp_path / "out")
    assert code == 2
    assert "'n_folds'" in one_line(err)


def test_init_writes_a_config_and_never_over_one(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    code, out, err = call("init", path)
    assert (code, err) == (0, "")
    assert "crosstype run" in out
    text = path.read_text()
    code, _, err = call("init", path)
    assert code == 2
    assert "exists already" in one_line(err)
    assert path.read_text() == text
    # As written it lacks the tables, and says which: all of them at once.
    code, _, err = call("run", path, "--out", tmp_path / "out")
    assert code == 2
    lines = err.splitlines()
    assert len(lines) == 4
    for name, line in zip(("features", "labels", "expression", "slides"), lines, strict=True):
        assert f"] {name}" in line or "[features] folder" in line


def test_init_fills_in_what_it_is_given(call: Call, tiny: Any, tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    code, out, err = call("init", path, "--labels", tiny.folder / "labels.csv")
    assert (code, err) == (0, "")
    assert 'column "Subtype"' in out
    assert 'label_column = "Subtype"' in path.read_text()
    code, _, err = call("init", tmp_path / "other.toml", "--labels", tmp_path / "absent.csv")
    assert code == 2
    assert "--labels: found" in one_line(err)
    assert not (tmp_path / "other.toml").exists()


def test_a_run_in_stages_and_then_whole(call: Call, tiny: Any, tmp_path: Path) -> None:
    tiny.change(models=("gene_only",), more=NO_MAPS)
    out = tmp_path / "out"
    left = {
        "features": "features.csv",
        "cohort": "folds.csv",
        "train": "predictions.csv",
        "evaluate": "metrics.csv",
        "report": "report.html",
    }
    for command, file in left.items():
        assert not (out / file).exists()
        code, _, err = call(command, tiny.config, "--out", out)
        assert code == 0, err
        assert (out / file).exists()
    before = {path: path.stat().st_mtime_ns for path in (out / "models").rglob("*.*")}
    code, _, err = call("run", tiny.config, "--out", out)
    assert code == 0
    assert "report" in err
    assert {path: path.stat().st_mtime_ns for path in (out / "models").rglob("*.*")} == before


def test_out_is_named_after_the_config(
    call: Call, tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("features", tiny.config)[0] == 0
    assert (tmp_path / "tiny_out" / "features.csv").exists()


def test_damaged_input_is_listed_and_exits_1(call: Call, tiny: Any, tmp_path: Path) -> None:
    files = sorted((tiny.folder / "features").iterdir())
    files[0].write_bytes(b"junk")
    for command in ("features", "cohort"):
        code, _, err = call(command, tiny.config, "--out", tmp_path / "out")
        assert code == 1
        assert f"Skipped: {files[0].name}" in err
        assert "1 of the slides" in err
        assert "Traceback" not in err


def test_a_damaged_table_exits_1_with_its_line(call: Call, tiny: Any, tmp_path: Path) -> None:
    path = tiny.folder / "labels.csv"
    path.write_text(path.read_text() + "TCGA-A0-0099,BRCA.LumA,surplus\n")
    code, _, err = call("cohort", tiny.config, "--out", tmp_path / "out")
    assert code == 1
    assert "labels.csv line 18" in err
    assert "Traceback" not in err


def test_a_place_that_cannot_be_written_is_one_line(call: Call, tiny: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = call("features", tiny.config, "--out", tmp_path / "file" / "out")
    assert code == 1
    assert str(tmp_path / "file") in one_line(err)


def test_ctrl_c_is_one_line(
    call: Call, tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("crosstype.workflow.pipeline.run", interrupted)
    code, _, err = call("run", tiny.config, "--out", tmp_path / "out")
    assert code == 130
    assert "the same command resumes" in err
    assert "Traceback" not in err


def test_doctor_names_what_is_installed(call: Call) -> None:
    code, out, _ = call("doctor")
    assert code == 0
    for name in ("crosstype", "torch", "polars", "cores", "GPU"):
        assert name in out


def test_lines_instead_of_bars_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Bars() as bars:
        bars.step("nothing began")
        bars.start("train", 200)
        for number in range(200):
            bars.step(f"job {number}")
        bars.message("a [word]")
    lines = capsys.readouterr().err.splitlines()
    assert 15 < len(lines) < 30
    assert lines[-2:] == ["train 200/200: job 199", "a [word]"]


def test_an_internal_error_is_one_line_without_debug() -> None:
    code = (
        "import sys, crosstype.cli.app as a; sys.argv = ['crosstype', 'doctor']\n"
        "import crosstype.cli.setup as d; d.platform = None\n"
        "a.main()"
    )
    quiet = in_a_process(code, CROSSTYPE_DEBUG="")
    assert quiet.returncode == 1
    assert "crosstype itself failed (AttributeError" in one_line(quiet.stderr)
    assert "Traceback" in in_a_process(code, CROSSTYPE_DEBUG="1").stderr


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['crosstype', '--help']\n"
        "from crosstype.cli.app import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'polars', 'numpy', 'sklearn', 'matplotlib', 'h5py', 'scipy'}\n"
        "print('loaded', sorted(heavy & set(sys.modules)))"
    )
    done = in_a_process(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded []"


def test_evaluation_and_report_run_without_torch(copied: tuple[Any, Path]) -> None:
    _, out = copied
    code = (
        "import sys; from pathlib import Path\n"
        "from crosstype.evaluation.evaluate import evaluate\n"
        "from crosstype.evaluation.spec import EvaluationSpec\n"
        "from crosstype.report.report import write_report\n"
        "from crosstype.report.spec import ReportSpec\n"
        "out, classes = Path(sys.argv[1]), ['Luminal', 'Basal/Her2']\n"
        "evaluate(out, EvaluationSpec(n_bootstrap=100, n_shuffles=1), classes, 0)\n"
        "write_report(out, ReportSpec())\n"
        "print('torch' in sys.modules)"
    )
    before = {name: (out / name).read_bytes() for name in ("metrics.csv", "comparisons.csv")}
    done = subprocess.run(
        [sys.executable, "-c", code, str(out)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "False"
    assert {name: (out / name).read_bytes() for name in before} == before


def test_a_finished_run_is_found_finished_without_torch(copied: tuple[Any, Path]) -> None:
    tiny, out = copied
    code = (
        "import sys; from pathlib import Path\n"
        "from crosstype import Run, read_config, run\n"
        "run(Run(read_config(Path(sys.argv[1])), Path(sys.argv[2])))\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny.config), str(out)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "False"


def test_the_public_names_come_lazily() -> None:
    code = (
        "import sys, crosstype\n"
        "assert not {'torch', 'polars'} & set(sys.modules)\n"
        "for name in crosstype.__all__: getattr(crosstype, name)\n"
        "assert set(dir(crosstype)) == set(crosstype.__all__)\n"
        "try: crosstype.absent\n"
        "except AttributeError as fault: print(fault)"
    )
    done = in_a_process(code)
    assert done.stdout == "No crosstype attribute absent\n", done.stderr


@pytest.mark.long
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_run_keeps_what_was_finished_and_leaves_nobody_running(
    tiny: Any, tmp_path: Path, sent: signal.Signals
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", "from crosstype.cli.app import main; main()", "run"]
    command += [str(tiny.config), "--out", str(out), "--workers", "2"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 120
        while not list(out.glob("models/*/*.json")) and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(sent)
        # The pipe ends only when every worker has ended too.
        _, err = process.communicate(timeout=60)
    if sent == signal.SIGINT:
        assert process.returncode == 130
        assert "the same command resumes" in err
    assert "Traceback" not in err
    kept = {path: path.stat().st_mtime_ns for path in out.glob("models/*/*.json")}
    assert kept
    assert not (out / "predictions.csv").exists()
    tiny.run(out, "train")
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
