"""What all tests share: shape checks, one thread, a tiny cohort and a finished run of it."""

from __future__ import annotations

import gc
import itertools
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from filelock import FileLock

# Shapes and types on signatures are checked in tests only. Not the packages that annotate with
# polars types: beartype refuses those whose repr differs from the name.
CHECKED = ["crosstype.models", "crosstype.training", "crosstype.evaluation", "crosstype.types"]
jaxtyping.install_import_hook(CHECKED, "beartype.beartype")

from crosstype.config.read import read_config  # noqa: E402
from crosstype.demo import cohort as synthetic  # noqa: E402
from crosstype.expression.spec import ExpressionSpec  # noqa: E402
from crosstype.features.formats.open import write_features  # noqa: E402
from crosstype.io.files import write_text  # noqa: E402
from crosstype.models.spec import ModelSpec  # noqa: E402
from crosstype.protocol import protocol_named  # noqa: E402  after the hook
from crosstype.training.classifier import Split, TrainingRecipe  # noqa: E402
from crosstype.training.patients import Bags, Patients  # noqa: E402
from crosstype.training.preprocessing import Preparing  # noqa: E402
from crosstype.training.spec import TrainingSpec  # noqa: E402
from crosstype.workflow.pipeline import run  # noqa: E402
from crosstype.workflow.stage import Run  # noqa: E402

torch.set_num_threads(1)
torch.use_deterministic_algorithms(mode=True)

CLASSES = ("Luminal", "Basal/Her2", "Normal", "Other")
LABELS = ("BRCA.LumA", "BRCA.Basal")
CONFIG = """\
[cohort]
labels = "labels.csv"
label_column = "Subtype"
slides = "slides.csv"
expression = "expression.tsv"

[[cohort.classes]]
name = "Luminal"
labels = ["BRCA.LumA"]

[[cohort.classes]]
name = "Basal/Her2"
labels = ["BRCA.Basal"]

[features]
folder = "features"

[folds]
protocol = "{protocol}"
n_folds = 2
n_inner_folds = 2
repeats = {repeats}

[models]
width = 8
n_heads = 2
n_gene_tokens = 2

[training]
models = [{models}]
learning_rate = {learning_rate}
max_epochs = {max_epochs}
patience = 3
batch_size = 8

[evaluation]
n_bootstrap = 100
n_shuffles = {n_shuffles}

[report]
figure_page = {figure_page}

{more}
"""
SETTINGS: dict[str, Any] = {
    "protocol": "strict",
    "repeats": 1,
    "learning_rate": 0.003,
    "n_shuffles": 1,
    "figure_page": "false",  # its drawings take longer than the rest of such a run
    "models": ("gene_only", "cross_attention"),
    "max_epochs": 3,
    "more": "",  # other sections
}
EVERY_KIND = ("image_only", "gene_only", "late", "cross_attention")
"""Models of the finished run: one of each kind."""
NO_MAPS = "[explanation]\nn_maps = 0\n"
"""A section for runs that draw no map of any patient: drawing takes longer than all else."""


def write_tiny(folder: Path, n_patients: int = 16, **settings: Any) -> Path:
    """Write a cohort with 20 genes, 6 features and a signal in both; return the config's path."""
    rng = np.random.default_rng(11)
    patients = [f"TCGA-A{i % 3}-{i:04d}" for i in range(n_patients)]
    classes = np.arange(n_patients) % 2
    values = rng.gamma(3.0, 100.0, (20, n_patients))
    values[0] *= 1 + classes
    lines = ["\t".join(["gene", *patients])]
    lines += ["\t".join([f"GENE{i}", *map(str, row)]) for i, row in enumerate(values.tolist())]
    write_text(folder / "expression.tsv", "\n".join(lines) + "\n")
    labels = [f"{p},{LABELS[c]}" for p, c in zip(patients, classes, strict=True)]
    write_text(folder / "labels.csv", "\n".join(["PATIENT,Subtype", *labels]) + "\n")
    slides = [f"{patient},{patient} slide.svs" for patient in patients]
    write_text(folder / "slides.csv", "\n".join(["PATIENT,FILENAME", *slides]) + "\n")
    for patient, one in zip(patients, classes, strict=True):
        tiles = rng.normal(size=(int(rng.integers(2, 7)), 6)).astype(np.float32)
        tiles[:, 0] += one
        write_features(folder / "features" / f"{patient} slide.h5", tiles)
    return rewrite_config(folder / "tiny.toml", **settings)


def rewrite_config(path: Path, **settings: Any) -> Path:
    """Write the tiny cohort's config with some settings changed."""
    chosen = SETTINGS | settings
    chosen["models"] = ", ".join(f'"{name}"' for name in chosen["models"])
    write_text(path, CONFIG.format(**chosen))
    return path


def pytest_collection_finish() -> None:
    """Keep what was imported out of the garbage collector's sight: it looks through it often."""
    gc.collect()
    gc.freeze()


@dataclass(frozen=True)
class Tiny:
    """A tiny cohort, its config, and ways to run it in this process."""

    config: Path
    models: tuple[str, ...] = SETTINGS["models"]

    @property
    def folder(self) -> Path:
        return self.config.parent

    def change(self, **settings: Any) -> None:
        rewrite_config(self.config, **{"models": self.models, **settings})

    def grow(self, n_patients: int, **settings: Any) -> None:
        """Write a larger cohort in place of this one."""
        write_tiny(self.folder, n_patients, **settings)

    def run(
        self, out: Path, last: str = "evaluate", n_workers: int = 1, *, shapes: bool = False
    ) -> Run:
        """Run into `out`; training is in this process unless there are several workers.

        Shapes are checked in unit tests and in the finished run that tests share; in every run they
        would take a third of the time.
        """
        one = Run(read_config(self.config), out, n_workers)
        jaxtyping.config.update("jaxtyping_disable", not shapes)
        try:
            run(one, last)
        finally:
            jaxtyping.config.update("jaxtyping_disable", False)
        return one


def write_demo_of_few(folder: Path) -> Path:
    """Write the demo with a slide for every third patient only: drawing all takes half a minute."""
    count, draw, write = itertools.count(), synthetic.draw_slide, synthetic.write_slide
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            synthetic,
            "draw_slide",
            lambda rng, **how: draw(rng, **how) if next(count) % 3 == 0 else None,
        )
        patch.setattr(
            synthetic, "write_slide", lambda path, drawn: drawn is None or write(path, drawn)
        )
        return synthetic.write_demo(folder)


Once = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Make a folder that all tests share, whichever worker needs it first; the others wait."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent  # each worker has a folder of its own below it

    def made(name: str, make: Callable[[Path], object]) -> Path:
        folder = shared / f"shared_{name}"
        with FileLock(shared / f"{name}.lock"):
            if not (folder / "made").exists():
                shutil.rmtree(folder, ignore_errors=True)
                (folder / "it").mkdir(parents=True)
                make(folder / "it")
                (folder / "made").touch()
        return folder / "it"

    return made


@pytest.fixture
def one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands train in this process, as on a machine with one core."""
    monkeypatch.setattr("os.cpu_count", lambda: 1)


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    """A tiny cohort of one's own."""
    return Tiny(write_tiny(tmp_path / "input"))


@pytest.fixture(scope="session")
def finished(once: Once) -> tuple[Tiny, Path]:
    """A finished run to look at, not to change: the cohort and OUT."""

    def make(folder: Path) -> None:
        made = Tiny(write_tiny(folder / "input", figure_page="true", models=EVERY_KIND))
        made.run(folder / "out", last="report", shapes=True)

    folder = once("finished", make)
    return Tiny(folder / "input" / "tiny.toml", EVERY_KIND), folder / "out"


@pytest.fixture
def copied(finished: tuple[Tiny, Path], tmp_path: Path) -> tuple[Tiny, Path]:
    """A copy of the finished run to change: the cohort and OUT."""
    tiny, out = finished
    shutil.copytree(tiny.folder, tmp_path / "input")
    shutil.copytree(out, tmp_path / "out")
    return Tiny(tmp_path / "input" / "tiny.toml", EVERY_KIND), tmp_path / "out"


@pytest.fixture(scope="session")
def few_slides(once: Once) -> Path:
    """The demo with a slide for every third patient, to copy: its folder, with demo.toml."""
    return once("few_slides", write_demo_of_few)


@pytest.fixture(scope="session")
def make_patients(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Patients]:
    """Make patients with a signal in gene 0 and tile feature 0; bags on disk, as in a run."""

    def make(
        n: int = 16, n_classes: int = 2, n_genes: int = 20, signal: float = 1.5, seed: int = 0
    ) -> Patients:
        rng = np.random.default_rng([seed, n, n_classes])
        folder = tmp_path_factory.mktemp("bags")
        ids = tuple(f"P{i:03d}" for i in range(n))
        targets = np.arange(n, dtype=np.int64) % n_classes
        genes = np.exp2(rng.normal(5.0, 1.0, (n, n_genes))).astype(np.float32)
        genes[:, 0] *= np.exp2(signal * targets)
        paths = {}
        for patient, target in zip(ids, targets.tolist(), strict=True):
            tiles = rng.normal(size=(int(rng.integers(2, 7)), 6)).astype(np.float32)
            tiles[:, 0] += signal * target
            paths[patient] = (folder / f"{patient}.h5",)
            write_features(paths[patient][0], tiles)
        return Patients(ids, targets, CLASSES[:n_classes], genes, Bags(paths), ids)

    return make


@pytest.fixture(scope="session")
def make_recipe() -> Callable[..., TrainingRecipe]:
    """Make the settings of a tiny fit."""

    def make(protocol: str = "strict", seed: int = 0, **training: Any) -> TrainingRecipe:
        quick: dict[str, Any] = {"max_epochs": 3, "patience": 3, "batch_size": 8}
        return TrainingRecipe(
            TrainingSpec(**(quick | training)),
            ModelSpec(width=8, n_gene_tokens=2, n_heads=2),
            Preparing(ExpressionSpec(), protocol_named(protocol), "linear"),
            (seed, 0, 0),
        )

    return make


@pytest.fixture(scope="session")
def make_splits() -> Callable[..., list[Split]]:
    """Deal patients into inner folds; each validates once."""

    def make(patients: Patients, rows: Sequence[int] | None = None, n: int = 2) -> list[Split]:
        known = np.arange(len(patients)) if rows is None else np.array(rows)
        order = known[np.argsort(patients.targets[known], kind="stable")]
        parts = [np.sort(order[number::n]) for number in range(n)]
        return [
            Split(patients.take(np.setdiff1d(known, part)), patients.take(part)) for part in parts
        ]

    return make


@pytest.fixture(scope="session")
def real_data() -> Iterator[Path]:
    """Folder of the real data; skips where there is none."""
    folder = Path(os.environ.get("CROSSTYPE_DATA", ""))
    if not os.environ.get("CROSSTYPE_DATA") or not (folder / "tcga_brca").is_dir():
        pytest.skip("CROSSTYPE_DATA does not name the folder of real data")
    yield folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium; skips without one."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no chromium on this machine")
    with sync_playwright() as started:
        one = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield one
        one.close()
