"""README and docs agree with the program."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from crosstype.cli.app import app, main
from crosstype.config.read import read_config
from crosstype.demo.cohort import write_demo
from crosstype.workflow.pipeline import run
from crosstype.workflow.stage import Run

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


QUICK = """
[explanation]
n_maps = 0

[evaluation]
n_bootstrap = 100
n_shuffles = 1

[report]
figure_page = false
patient_pages = false
"""


def _script(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("script", ["make_config_reference.py", "make_table_reference.py"])
def test_the_references_are_made_from_the_code_as_it_is(script):
    done = _script(f"docs/{script}", "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_readmes_config_is_one(tmp_path):
    block = re.search(r"```toml\n(.*?)```", README, re.DOTALL)
    assert block is not None
    path = tmp_path / "brca.toml"
    path.write_text(block.group(1), encoding="utf-8")
    spec = read_config(path)
    assert [one.name for one in spec.cohort.classes] == ["Luminal", "Basal/Her2"]


def test_every_command_that_the_readme_names_exists():
    known = {one.name or one.callback.__name__.replace("_", "-") for one in app.registered_commands}
    known |= {one.name for one in app.registered_groups}
    named = set(re.findall(r"`crosstype ([\w-]+)", README)) | set(
        re.findall(r"^    crosstype ([\w-]+)", README, re.MULTILINE)
    )
    assert named
    assert named <= known


def test_every_file_that_the_docs_link_to_exists():
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_pages_and_the_reference_build_strictly(tmp_path):
    done = _script("-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")}
    built = {page.parent.name for page in tmp_path.rglob("index.html")}
    assert pages - {"index"} <= built
    assert "crosstype.workflow.pipeline.run" in (tmp_path / "reference" / "index.html").read_text(
        "utf-8"
    )


def test_the_tutorials_commands_run_one_after_another(
    tmp_path, few_slides, one_worker, monkeypatch
):
    """In this process, few slides, short training; as it stands it runs with `make long`."""
    tutorial = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    shutil.copytree(few_slides, tmp_path / "tutorial" / "input")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.excepthook", sys.excepthook)
    for language, block in re.findall(r"```(\w+)\n(.*?)```", tutorial, re.DOTALL):
        if language == "toml":
            quick = block.replace("n_tiles = 8", "n_tiles = 4") + QUICK
            quick = quick.replace("[training]\n", "[training]\nmax_epochs = 2\npatience = 2\n")
            quick = quick.replace("[folds]\n", "[folds]\nn_inner_folds = 2\n")
            (tmp_path / "tutorial" / "tutorial.toml").write_text(quick, encoding="utf-8")
        elif language == "python":
            exec(block, {})
        else:
            for line in block.splitlines():
                if line.split()[1] != "demo":
                    monkeypatch.setattr("sys.argv", line.split())
                    with pytest.raises(SystemExit) as left:
                        main()
                    assert left.value.code in (0, None), line
    assert "Basal/Her2" in (tmp_path / "tutorial" / "results" / "report.html").read_text("utf-8")
    assert (tmp_path / "tutorial" / "new.csv").is_file()


@pytest.mark.long
def test_the_tutorial_runs_as_it_stands(tmp_path):
    tutorial = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    settings = {"cwd": tmp_path, "capture_output": True, "text": True}
    for language, block in re.findall(r"```(\w+)\n(.*?)```", tutorial, re.DOTALL):
        if language == "toml":
            (tmp_path / "tutorial" / "tutorial.toml").write_text(block, encoding="utf-8")
        elif language == "python":
            done = subprocess.run([sys.executable, "-c", block], check=False, **settings)
            assert done.returncode == 0, done.stderr
        else:
            for line in block.splitlines():
                program = [sys.executable, "-m", "crosstype", *line.split()[1:]]
                done = subprocess.run(program, check=False, **settings)
                assert done.returncode == 0, line + done.stdout + done.stderr
    assert "Basal/Her2" in (tmp_path / "tutorial" / "results" / "report.html").read_text("utf-8")
    assert (tmp_path / "tutorial" / "new.csv").is_file()


@pytest.mark.long
def test_the_readmes_output_is_true(tmp_path):
    run(Run(read_config(write_demo(tmp_path / "demo" / "input")), tmp_path / "demo"))
    done = _script("docs/make_readme_output.py", str(tmp_path), "--check")
    assert done.returncode == 0, done.stdout + done.stderr
