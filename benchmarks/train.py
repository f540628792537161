"""Training on synthetic cohorts of the paper's shape: against Keras, all models, and in memory.

    python benchmarks/train.py keras --tensorflow PYTHON [--epochs 5] [--rounds 3]
    python benchmarks/train.py models [--workers 2]
    python benchmarks/train.py memory [--patients 1000] [--tiles 4000] [--distinct 50]

keras: seconds per epoch of the published cross-attention, the same layers on the same patients,
in Keras (PYTHON is the interpreter of an environment that has TensorFlow) and here; rounds
alternate. models: seconds of `crosstype run` up to training, five models x 5 folds x 50 epochs.
memory: peak memory of training and predicting on large bags.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from crosstype.config.read import read_config
from crosstype.crossval.worker import keep_freed_memory
from crosstype.expression.spec import ExpressionSpec
from crosstype.features.formats.open import write_features
from crosstype.models.catalog import make_network
from crosstype.models.network import Sizes
from crosstype.models.spec import ModelSpec
from crosstype.protocol import protocol_named
from crosstype.training.classifier import Split, TrainingRecipe
from crosstype.training.fit import Member, Prepared, fit_members
from crosstype.training.network_classifier import NetworkClassifier
from crosstype.training.patients import Bags, Patients
from crosstype.training.preprocessing import Preparing
from crosstype.training.spec import TrainingSpec, published
from crosstype.workflow.pipeline import run as run_pipeline
from crosstype.workflow.stage import Run

KERAS = Path(__file__).with_name("keras_paper.py")
CLASSES = ("Luminal", "Basal/Her2")
N_TRAIN = 72  # of 93; a whole number of batches of 8, so that both take the same steps
GIB = 1 << 30
CONFIG = """\
[cohort]
labels = "labels.csv"
label_column = "SUBTYPE"
slides = "slides.csv"
expression = "expression.tsv"
synthetic = true

[[cohort.classes]]
name = "Luminal"
labels = ["LumA"]

[[cohort.classes]]
name = "Basal/Her2"
labels = ["Basal"]

[features]
folder = "features"
encoder = "synthetic"

[training]
models = ["image_only", "gene_only", "concat", "late", "cross_attention"]
max_epochs = {epochs}
patience = {epochs}
"""


def make_patients(folder: Path, given: argparse.Namespace, n_distinct: int) -> Patients:
    """Write feature files and return the patients; those beyond `n_distinct` link to others'."""
    patients = known_patients(folder, given)
    rng, ids, targets = np.random.default_rng(1), patients.ids, patients.targets
    folder.mkdir(parents=True, exist_ok=True)
    for number, patient in enumerate(ids):
        path = folder / f"{patient}.h5"
        if number < n_distinct:
            shape = (given.tiles, given.features)
            tiles = rng.standard_normal(shape, dtype=np.float32)
            tiles[:, :8] += targets[number] * 0.3
            write_features(path, tiles, attributes={"encoder": "synthetic"})
        else:
            os.link(folder / f"{ids[number % n_distinct]}.h5", path)
    return patients


def known_patients(folder: Path, given: argparse.Namespace) -> Patients:
    """Return the patients whose feature files lie in the folder; the same whenever called."""
    rng = np.random.default_rng(0)
    ids = tuple(f"SYN-{number:04d}" for number in range(given.patients))
    targets = (np.arange(given.patients) % 3 == 0).astype(np.int64)
    log2 = rng.uniform(3, 10, given.genes) + rng.normal(0, 1, (given.patients, given.genes))
    log2[:, :60] += targets[:, None] * 1.5
    bags = Bags({patient: (folder / f"{patient}.h5",) for patient in ids})
    return Patients(ids, targets, CLASSES, np.exp2(log2).astype(np.float32), bags, ids)


def preparing(protocol: str) -> Preparing:
    """Return the default preparation under a protocol."""
    return Preparing(ExpressionSpec(), protocol_named(protocol), "linear")


def say_machine() -> None:
    """Print on what is measured."""
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, torch {torch.__version__}")


def against_keras(folder: Path, given: argparse.Namespace) -> None:
    """Print seconds per epoch of both, and their ratio."""
    patients = make_patients(folder / "features", given, given.patients)
    preparation = preparing("paper").fit(patients)
    everyone = Prepared(patients, preparation, imputed=True)
    n_train = min(N_TRAIN, given.patients * 3 // 4)
    parts = [everyone.take(rows) for rows in np.split(np.arange(given.patients), [n_train])]
    data = folder / "data.npz"
    np.savez(data, **_arrays(parts))
    spec = replace(published(TrainingSpec()), max_epochs=given.epochs, patience=given.epochs + 1)
    torch.set_num_threads(given.threads)
    say_machine()
    print("| round | Keras, s per epoch | ours, s per epoch |\n|---|---|---|")
    theirs, ours = [], []
    for number in range(given.rounds):
        said = _train_keras(data, given, spec.batch_size)
        seconds, n_weights = _train_ours(parts, spec)
        theirs.append(statistics.median(said["seconds"]))
        ours.append(seconds)
        print(f"| {number + 1} | {theirs[-1]:.3f} | {ours[-1]:.3f} |", flush=True)
    print(f"{said['version']}: {said['n_weights']:,} weights; ours: {n_weights:,}")
    keras, own = statistics.median(theirs), statistics.median(ours)
    print(f"medians {keras:.3f} and {own:.3f} s per epoch: {keras / own:.2f}x (wanted: 5x)")


def _arrays(parts: list[Prepared]) -> dict[str, np.ndarray]:
    """Return what Keras trains on: the very tiles, genes and targets that the network here sees."""
    found = {}
    for name, part in zip(("train", "validation"), parts, strict=True):
        batch = part.batch(np.arange(len(part)))
        found[f"{name}_tiles"], found[f"{name}_genes"] = batch.tiles.numpy(), batch.genes.numpy()
        found[f"{name}_targets"] = part.targets.numpy().astype(np.float32)
    return found


def _train_keras(data: Path, given: argparse.Namespace, batch_size: int) -> dict:
    words = [KERAS, data, given.epochs, batch_size, given.threads]
    command = [given.tensorflow, *map(str, words)]
    own = {"PYTHONPATH": "", "OMP_NUM_THREADS": str(given.threads)}
    done = subprocess.run(command, env=os.environ | own, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


class _Times(list):
    """In place of a training curve: when each epoch ended, its validation included."""

    def append(self, one: object) -> None:
        """Note the time beside the epoch."""
        super().append(one)
        self.ends = [*getattr(self, "ends", []), time.perf_counter()]


def _train_ours(parts: list[Prepared], spec: TrainingSpec) -> tuple[float, int]:
    """Return the median seconds per epoch, the first left out as with Keras, and the weights."""
    n_features = parts[0].patients.bags.n_features
    sizes = Sizes(n_features, parts[0].genes.shape[1], len(CLASSES))
    torch.manual_seed(0)
    network = make_network("paper_cross_attention", sizes, ModelSpec())
    times = _Times()
    member = Member(network, parts[:1], parts[1:], np.random.default_rng(0), times)
    fit_members([member], replace(spec, max_epochs=spec.max_epochs + 1))
    n_weights = sum(one.numel() for one in network.parameters())
    return statistics.median(np.diff(times.ends).tolist()), n_weights


def all_models(folder: Path, given: argparse.Namespace) -> None:
    """Print the seconds that the five models x 5 folds take through the real run."""
    patients = make_patients(folder / "features", given, given.patients)
    labels = [
        f"{p},{('LumA', 'Basal')[t]}" for p, t in zip(patients.ids, patients.targets, strict=True)
    ]
    slides = [f"{patient},{patient}.svs" for patient in patients.ids]
    (folder / "labels.csv").write_text("\n".join(["PATIENT,SUBTYPE", *labels]) + "\n")
    (folder / "slides.csv").write_text("\n".join(["PATIENT,FILENAME", *slides]) + "\n")
    with (folder / "expression.tsv").open("w") as file:
        print("gene", *patients.ids, sep="\t", file=file)
        for number, row in enumerate(patients.genes.T):
            print(f"GENE{number:05d}", *(f"{one:.3f}" for one in row.tolist()), sep="\t", file=file)
    config = folder / "models.toml"
    config.write_text(CONFIG.format(epochs=given.epochs))
    say_machine()
    began = time.perf_counter()
    run_pipeline(Run(read_config(config), folder / "out", given.workers), last="train")
    seconds = time.perf_counter() - began
    print(
        f"five models x 5 folds x {given.epochs} epochs, baselines and all stages before: "
        f"{seconds:.0f} s with {given.workers} workers (wanted: less than 600 s)"
    )


def in_memory(folder: Path, given: argparse.Namespace) -> None:
    """Write large bags, then fit and predict in a process of its own and print its peak."""
    n_distinct = min(given.distinct or given.patients, given.patients)
    needed = n_distinct * given.tiles * given.features * 4
    free = shutil.disk_usage(folder).free
    if needed > 0.9 * free:
        sys.exit(
            f"{n_distinct} files need {needed / GIB:.0f} GiB, {folder} has {free / GIB:.0f} GiB "
            "free. Give --distinct 50: so many files, the other patients link to them."
        )
    features = folder / "features"
    command = [sys.executable, __file__, "memory", "--inside", str(features)]
    for name in ("patients", "tiles", "features", "genes", "epochs", "model", "threads"):
        command += [f"--{name}", str(getattr(given, name))]
    make_patients(features, given, n_distinct)
    say_machine()
    print(
        f"{given.patients} patients x {given.tiles} tiles x {given.features} features", flush=True
    )
    subprocess.run(command, check=True)


def fit_inside(given: argparse.Namespace) -> None:
    """Fit and predict on files that are there, and print the peak after each step."""
    torch.set_num_threads(given.threads)
    patients = known_patients(given.inside, given)
    parts = [np.arange(given.patients)[half::2] for half in (0, 1)]
    splits = [
        Split(patients.take(train), patients.take(held)) for train, held in (parts, parts[::-1])
    ]
    training = TrainingSpec(max_epochs=given.epochs, patience=given.epochs)
    recipe = TrainingRecipe(training, ModelSpec(), preparing("strict"), (0, 0, 0))
    _say_peak("read nothing yet", lambda: None)
    classifier = NetworkClassifier(given.model)
    _say_peak(f"fit {given.model}, {given.epochs} epochs", lambda: classifier.fit(splits, recipe))
    _say_peak("predict", lambda: classifier.predict(patients))
    peak = _peak()
    print(f"peak {peak:.2f} GiB: {'under' if peak < 4 else 'OVER'} 4 GiB")


def _say_peak(what: str, work: Callable[[], object]) -> None:
    began = time.perf_counter()
    work()
    print(f"{what}: {time.perf_counter() - began:.0f} s, peak {_peak():.2f} GiB", flush=True)


def _peak() -> float:
    """Return the most memory that this process has held, in GiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GIB


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parts = parser.add_subparsers(required=True)
    for name, measure, (patients, tiles, genes, epochs) in (
        ("keras", against_keras, (93, 35, 20_318, 5)),
        ("models", all_models, (93, 35, 20_318, 50)),
        ("memory", in_memory, (1000, 4000, 2000, 1)),
    ):
        part = parts.add_parser(name)
        part.set_defaults(measure=measure)
        part.add_argument("--patients", type=int, default=patients)
        part.add_argument("--tiles", type=int, default=tiles)
        part.add_argument("--features", type=int, default=2048)
        part.add_argument("--genes", type=int, default=genes)
        part.add_argument("--epochs", type=int, default=epochs)
        part.add_argument("--threads", type=int, default=2)
        part.add_argument("--folder", type=Path, help="where to write; unset: the usual temporary")
        if name == "keras":
            part.add_argument("--tensorflow", required=True, help="interpreter with TensorFlow")
            part.add_argument("--rounds", type=int, default=3)
        if name == "models":
            part.add_argument("--workers", type=int, default=2)
        if name == "memory":
            part.add_argument("--distinct", type=int, default=0, help="so many files; 0: all")
            part.add_argument("--model", default="cross_attention")
            part.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    keep_freed_memory()  # this and the next, as the workers of a run do
    torch.use_deterministic_algorithms(mode=True)
    if getattr(given, "inside", None):
        fit_inside(given)
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        given.measure(Path(folder), given)


if __name__ == "__main__":
    main()
