"""Proves that no number changes from one tree of the sources to another.

    python benchmarks/golden.py make TREE FILE.json [--only NAME] [--data DIR] [--work DIR]
    python benchmarks/golden.py compare A.json B.json [--only NAME]

`make` runs the configurations below by the command line of TREE, on the real data in DIR (default:
CROSSTYPE_DATA), and writes hashes of all numbers that come out. `compare` says which differ; A is
of the older tree. Times, versions, paths, pages and pictures are not looked at.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import polars as pl
from safetensors.numpy import load_file

TABLES_RENAMED: dict[str, str] = {
    "apart.csv": "unlabelled.csv",
    "apart.npz": "unlabelled.npz",
    "apart_predictions.csv": "unlabelled_predictions.csv",
    "one_modality.csv": "single_modality.csv",
    "one_modality.npz": "single_modality.npz",
}
"""Names of files and folders in OUT: old -> new."""
COLUMNS_RENAMED: dict[str, str] = {"trust": "residual_weight"}
"""Columns and arrays: old -> new, or "table.csv:old" -> new for one table."""
VALUES_RENAMED: dict[str, str] = {}
"""Whole cells of tables, old -> new: hashed as the new one, so make both files after a change."""
KEYS_RENAMED: dict[str, str] = {
    "one_modality": "single_modality",
    "damage": "corruption",
    "n_losses": "n_perturbations",
}
"""Texts of configs: old -> new, for a tree that has the file in NEW_TREE_HAS."""
NEW_TREE_HAS = "src/crosstype/tcga.py"
PROSE = {"reason", "fault", "note", "about", "absent", "protocol", "module", "settings", "sha256"}
"""Columns of words that may change; sha256 is of feature files, whose attributes name versions."""

BASE = """
cohort.labels = "$TCGA/labels.csv"
cohort.label_column = "TCGA Subtype"
cohort.slides = "$TCGA/slides.csv"
cohort.expression = "$TCGA/expression_rsem_909.tsv.gz"
classes.Luminal = ["BRCA.LumA", "BRCA.LumB"]
classes."Basal/Her2" = ["BRCA.Basal", "BRCA.Her2"]
features.folder = "$TCGA/features_hipt_vit256"
folds = {n_folds = 2, n_inner_folds = 2}
models = {width = 16, n_heads = 2, n_gene_tokens = 4}
training = {models = ["gene_only", "cross_attention"], max_epochs = 2, batch_size = 16}
evaluation = {n_bootstrap = 200, n_shuffles = 1}
explanation = {n_maps = 2, n_permutations = 1, n_permuted_genes = 5}
report = {patient_pages = false, figure_page = false}
"""
RUNS = """
[a2]
cohort.sites = ["A2"]
folds.write = ["stamp", "clam", "patho_bench"]
training = {models = [$ALL, $PAPER, $MENDED], calibration = "temperature", threshold = "f1"}
evaluation.abstain_below = 0.7
report.figure_page = true
[zero]
cohort.sites = ["A2"]
training = {models = [$ALL], start = "zero", n_seeds = 2, threshold = "youden"}
explanation.models = ["image_only", "cross_attention"]
[rna_loss]
cohort.sites = ["A2"]
training.models = ["image_only", "gene_only", "late", "cross_attention"]
evaluation = {rna_loss = true, n_losses = 1, other_expression = "$COUNTS"}
explanation.enabled = false
[ranks]
cohort.expression = "$TCGA/counts_20124.tsv.gz"
cohort.labels_from_pam50 = "er-balanced"
cohort.labels = ""
cohort.label_column = ""
expression = {representation = "ranks", n_genes = 300, exclude_pam50 = true}
models.direction = "tiles_from_genes"
[scaled]
cohort.expression = "$COUNTS"
expression = {representation = "scaled", drop_zero_genes = true, outliers = "remove"}
models = {block = "transformer", n_blocks = 2}
training = {class_weights = "balanced", image_labels = "given"}
[spectrum]
cohort.expression = "$COUNTS"
expression = {representation = "spectrum", gene_sets = "$HALLMARK"}
models.fusion = "gated"
training = {search_minutes = 60.0, search_trials = 2}
[tokens]
cohort.expression = "$COUNTS"
expression = {n_genes = 2000, imputation = "mean"}
models = {gene_sets = "$HALLMARK", n_outside_tokens = 2}
training = {schedule = "published", start = "zero"}
explanation.tokens = ["HALLMARK_G2M_CHECKPOINT"]
[four]
cohort.sites = ["A2"]
classes = {"Luminal" = [], "Basal/Her2" = [], $FOUR}
training = {models = [$ALL], calibration = "temperature", threshold = "f1"}
evaluation.abstain_below = 0.5
[one_modality]
cohort = {sites = ["A2", "BH"], one_modality = "train"}
training.models = ["image_only", "cross_attention", "late"]
[covariates]
cohort.sites = ["A2"]
cohort.clinical = "clinical.csv"
cohort.covariates = ["age", "histology"]
cohort.subgroups = ["age", "histology"]
training.models = ["image_only", "gene_only", "late", "cross_attention"]
[site]
cohort.sites = ["A1", "A7", "AC", "AN", "AO", "C8", "OL"]
folds = {protocol = "site", n_folds = 3, repeats = 2, n_train = 80}
evaluation.auroc_interval = "bootstrap"
[paper]
cohort.sites = ["A2"]
folds.protocol = "paper"
training = {models = ["image_only", $PAPER], learning_rate = 1e-5}
explanation.models = ["image_only"]
[demo]
cohort.synthetic = true
cohort.labels = "demo/input/labels.csv"
cohort.label_column = "SUBTYPE"
cohort.slides = "few.csv"
cohort.expression = "demo/input/expression.tsv"
classes = {Luminal = ["LumA", "LumB"], "Basal/Her2" = ["Basal", "Her2"]}
slides.folder = "demo/input/slides"
tiles.n_tiles = 6
stain.method = "reinhard"
augmentation.n_views = 1
features = {folder = "", encoder = "colour_texture"}
training = {models = [$ALL], start = "zero"}
[slides]
cohort = {labels = "labels.csv", slides = "few.csv", expression = "expression.tsv"}
slides.folder = "slides"
tiles = {n_tiles = 4, size_px = 128, overlap_px = 16}
stain.method = "macenko"
features = {folder = "", encoder = "colour_texture"}
explanation.n_tiles_shown = 2
[studies]
cohort = {labels = "labels.csv", slides = "slides.csv", expression = "expression.tsv"}
features.folder = "features"
folds.write = ["stamp"]
models = {width = 8, n_gene_tokens = 2}
evaluation = {n_bootstrap = 100, n_shuffles = 0}
explanation.enabled = false
[replay]
cohort = {labels = "labels.csv", slides = "slides.csv", expression = "expression.tsv"}
features.folder = "features"
models = {width = 8, n_gene_tokens = 2}
evaluation = {n_bootstrap = 100, n_shuffles = 0}
explanation.enabled = false
[artefact]
cohort.sites = ["A2"]
expression.representation = "scaled"
[pam50]
"""
"""One table for each configuration: what it changes of BASE. An empty value unsets a setting."""


def filled(text: str, data: Path) -> dict[str, Any]:
    """Read settings; every $NAME stands for something."""
    four = (f'{name} = ["BRCA.{name}"]' for name in ("LumA", "LumB", "Basal", "Her2"))
    names = {
        "$ALL": '"image_only", "gene_only", "concat", "late", "cross_attention"',
        "$PAPER": '"paper_concat", "paper_cross_attention"',
        "$MENDED": '"mended_concat", "mended_cross_attention"',
        "$FOUR": ", ".join(four),
        "$COUNTS": "counts.tsv.gz",
        "$HALLMARK": str(data / "reference/hallmark_v7.0.gmt"),
        "$TCGA": str(data / "tcga_brca"),
    }
    for name, value in names.items():
        text = text.replace(name, value)
    return tomllib.loads(text)


@dataclass(frozen=True)
class Bench:
    """A tree of the sources, the data, and the folder of one configuration."""

    tree: Path
    data: Path
    folder: Path

    def __call__(self, *args: str) -> None:
        """Run crosstype of the tree in the folder; what it says goes to log.txt."""
        env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(self.tree / "src")}
        command = [sys.executable, "-m", "crosstype", *args]
        log = self.folder / "log.txt"
        with log.open("a") as out:
            code = subprocess.call(command, cwd=self.folder, env=env, stdout=out, stderr=out)
        if code:
            raise SystemExit(f"{' '.join(command)}: exit code {code}\n{log.read_text()[-3000:]}")

    def config(self, to: str = "run.toml", **more: dict[str, Any]) -> str:
        """Write the configuration, changed once more."""
        base, run = filled(BASE, self.data), filled(RUNS, self.data)[self.folder.name]
        lines, classes = [], []
        for section in base | run | more:
            held = base.get(section, {}) | run.get(section, {}) | more.get(section, {})
            held = {key: json.dumps(value) for key, value in held.items() if value not in ("", [])}
            if section == "classes":
                for name, labels in held.items():
                    classes += ["[[cohort.classes]]", f'name = "{name}"', f"labels = {labels}"]
            else:
                lines += [f"[{section}]", *(f"{key} = {value}" for key, value in held.items())]
        text = "\n".join(lines + classes) + "\n"
        if (self.tree / NEW_TREE_HAS).exists():
            for old, new in KEYS_RENAMED.items():
                text = text.replace(old, new)
        (self.folder / to).write_text(text)
        return to

    def inputs(self) -> None:
        """Write what configurations ask for: thinned counts, a clinical table, a tiny cohort."""
        with gzip.open(self.data / "tcga_brca/counts_20124.tsv.gz", "rt") as file:
            head, *rows = file.readlines()
        with gzip.open(self.folder / "counts.tsv.gz", "wt", compresslevel=1) as file:
            file.writelines([head, *rows[::3]])
        patients = pl.read_csv(self.data / "tcga_brca/labels.csv", infer_schema=False)["PATIENT"]
        kinds = ("ductal", "lobular", "", "Mixed")
        rows = [
            f"{patient},{'' if i % 11 == 5 else 40 + i * 17 % 45},{kinds[i % 4]}\n"
            for i, patient in enumerate(patients)
        ]
        (self.folder / "clinical.csv").write_text("".join(["PATIENT,age,histology\n", *rows]))
        rng, n = np.random.default_rng(11), 44
        made = [f"TCGA-A{i % 3}-{i:04d}" for i in range(n)]
        values = rng.gamma(3.0, 100.0, (40, n)).round(3)
        values[:3] *= 1 + np.arange(n) % 2
        lines = ["\t".join([f"GENE{i}", *map(str, row)]) for i, row in enumerate(values.tolist())]
        (self.folder / "expression.tsv").write_text("\n".join(["\t".join(["gene", *made]), *lines]))
        lines = [f"{one},BRCA.{('LumA', 'Basal')[i % 2]}" for i, one in enumerate(made)]
        (self.folder / "labels.csv").write_text("\n".join(["PATIENT,TCGA Subtype", *lines]))
        lines = [f"{one},{one}.tif,{0.22 + 0.005 * i:.3f}" for i, one in enumerate(made)]
        for to, some in (("slides.csv", lines), ("few.csv", lines[:16])):
            (self.folder / to).write_text("\n".join(["PATIENT,FILENAME,MPP", *some]))
        regions = sorted((self.data / "tcga_he_regions").glob("*.tif"))
        for name in ("slides", "features", "few", "out"):
            (self.folder / name).mkdir()
        for i, one in enumerate(made):
            (self.folder / f"slides/{one}.tif").symlink_to(regions[i // 2 % 4])
            with h5py.File(self.folder / f"features/{one}.h5", "w") as file:
                file["features"] = rng.normal(i % 2, 1, (2 + i % 5, 6)).astype(np.float32)
        hipt = sorted((self.data / "tcga_brca/features_hipt_vit256").glob("*.h5"))
        for path in hipt[::12]:
            (self.folder / "few" / path.name).symlink_to(path)

    def run(self) -> None:
        """Run the configuration into the folder's out."""
        self.inputs()
        name, one = self.folder.name, ("--workers", "1")
        if name in ("artefact", "pam50", "studies"):
            getattr(self, name)()
            return
        if name == "demo":
            self("demo", "--inputs-only", "--out", "demo")
            table = pl.read_csv(self.folder / "demo/input/slides.csv")
            table.gather_every(3).write_csv(self.folder / "few.csv")
        command = "replay" if name == "replay" else "run"
        self(command, self.config(), "--out", f"out/{command}", *one)
        for to in ("trident", "clam", "stamp") if name == "slides" else ():
            self("convert", "out/run/features/colour_texture", f"out/{to}", "--to", to)
            back = ("--to", "crosstype", "--slides-table", "slides.csv")
            self("convert", f"out/{to}", f"out/{to}_back", *back)

    def artefact(self) -> None:
        """Fit on RSEM; predict from counts, features and both; validate on other sites' counts."""
        counts = {"expression": "counts.tsv.gz", "sites": ["A7", "AC", "AO", "BH", "E9", "A1"]}
        other = self.config("other.toml", cohort=counts)
        genes, image = ("--expression", "counts.tsv.gz"), ("--features", "few")
        offers = [("genes", *genes), ("image", *image), ("both", *genes, *image)]
        for model, offered in (("cross_attention", offers), ("late", offers[2:])):
            file = f"out/{model}.safetensors"
            config = self.config(f"{model}.toml", fit={"model": model})
            self("fit", config, "--out", file, "--work", "out/fit")
            for name, *given in offered:
                self("predict", file, *given, "--out", f"out/{model}.{name}.csv")
        self("validate", "out/cross_attention.safetensors", other, "--out", "out/validation")

    def pam50(self) -> None:
        """Call by every centring, and by stored medians."""
        pam50 = ("pam50", str(self.data / "tcga_brca/pam50_genes_log2.tsv.gz"))
        for name in ("none", "median", "robust", "er-balanced"):
            self(*pam50, "--centring", name, "--out", f"out/{name}.csv")
        seeded = ("--centring", "er-balanced", "--seed", "1", "--out", "out/seeded.csv")
        self(*pam50, *seeded, "--write-reference", "out/medians.csv", "--assay", "log2 RSEM")
        self(*pam50, "--reference", "out/medians.csv", "--out", "out/single.csv")

    def studies(self) -> None:
        """Run a tiny cohort, again on the folds that it wrote, and through three studies."""
        config, one = self.config(), ("--workers", "1")
        self("run", config, "--out", "out/dealt", *one)
        again = {"file": "out/dealt/splits/stamp/repeat_0/splits.json"}
        self("run", self.config("again.toml", folds=again), "--out", "out/again", *one)
        self("ablate", config, "--out", "out/ablation", *one)
        self("learning-curve", config, "--out", "out/curve", "--sizes", "20,21", *one)
        self("shuffle-labels", config, "--out", "out/shuffles", "--shuffles", "2", *one)


Parts = dict[str, str | int]
"""Hash of each column or array of a file by name; of a table also its n_rows."""
Made = dict[str, dict[str, Parts]]
"""Configuration -> file -> its parts."""


def hash_of(data: bytes) -> str:
    """Return a short SHA-256."""
    return hashlib.sha256(data).hexdigest()[:16]


def hash_of_array(array: Any) -> str:
    """Return the hash of an array's type, shape and values."""
    values = np.asarray(array)
    values = values.astype(str) if values.dtype.kind == "O" else values
    return hash_of(f"{values.dtype.str} {values.shape} ".encode() + values.tobytes())


def plain(cell: str) -> str:
    """Return a number as Python writes it, a text as it is now called."""
    try:
        return repr(float(cell))
    except ValueError:
        return VALUES_RENAMED.get(cell, cell)


def parts_of(path: Path) -> Parts | None:
    """Return the hashes of what a file holds; None for a kind that is not looked at."""
    found: Parts = {}
    if path.suffix in (".csv", ".tsv"):
        with path.open(newline="") as file:
            head, *rows = csv.reader(file, delimiter="," if path.suffix == ".csv" else "\t")
        for i, name in enumerate(head):
            found[name] = hash_of("\n".join(plain(row[i]) for row in rows).encode())
        return found | {"n_rows": len(rows)}
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            found = {name: hash_of_array(arrays[name]) for name in arrays.files}
    elif path.suffix == ".safetensors":
        found = {name: hash_of_array(array) for name, array in load_file(path).items()}
    elif path.suffix == ".h5":
        with h5py.File(path) as file:
            names: list[str] = []
            file.visit(names.append)
            sets = [name for name in names if isinstance(file[name], h5py.Dataset)]
            found = {name: hash_of_array(file[name][()]) for name in sets}
    elif path.suffix == ".pt":  # raw tensors in a zip
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if "/data/" in name]
            found = {name.split("/", 1)[1]: hash_of(archive.read(name)) for name in names}
    elif path.suffix == ".geojson" or path.name == "splits.json":
        found = {"content": hash_of(json.dumps(json.loads(path.read_text())).encode())}
    return found or None


def hashes_in(out: Path) -> dict[str, Parts]:
    """Return the hashes of every file in a folder that holds numbers."""
    files = (path for path in sorted(out.rglob("*")) if path.is_file())
    found = {path.relative_to(out).as_posix(): parts_of(path) for path in files}
    return {name: parts for name, parts in found.items() if parts and ".stages" not in name}


def make(tree: Path, data: Path, work: Path, names: list[str], file: Path) -> None:
    """Run configurations and write their hashes; others that the file holds stay."""
    made: Made = json.loads(file.read_text()) if file.exists() else {}
    for name in names:
        began, folder = sum(os.times()[2:4]), work / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        Bench(tree, data, folder).run()
        made[name] = hashes_in(folder / "out")
        file.write_text(json.dumps(made, indent=0) + "\n")
        n_parts, seconds = sum(map(len, made[name].values())), sum(os.times()[2:4]) - began
        line = f"{name:14} {len(made[name]):4} files {n_parts:5} hashes {seconds:4.0f} s of CPU"
        print(line, flush=True)


def renamed(files: dict[str, Parts]) -> dict[str, Parts]:
    """Return the older tree's hashes under the names of today."""
    found, names = {}, COLUMNS_RENAMED
    for path, parts in files.items():
        new = "/".join(TABLES_RENAMED.get(one, one) for one in path.split("/"))
        key = Path(path).name
        found[new] = {names.get(f"{key}:{n}", names.get(n, n)): h for n, h in parts.items()}
    return found


def differences(path: str, old: Parts | None, new: Parts | None) -> tuple[list[str], bool]:
    """Return which parts of a file differ, and whether that is a failure."""
    if old is None or new is None:
        return [f"only in {'A' if new is None else 'B'}"], True
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    if path.endswith(".safetensors") and names:
        same = sorted(map(str, old.values())) == sorted(map(str, new.values()))
        return (["names of arrays"], False) if same else (names, True)
    return names, any(name not in PROSE or name not in old or name not in new for name in names)


def compare(old: Made, new: Made, names: list[str] | None) -> bool:
    """Print a line for each configuration and file that differs; return whether all is equal."""
    faults = 0
    for name in names or {**old, **new}:
        if name not in old or name not in new:
            print(f"{name:14} missing in {'B' if name in old else 'A'}")
            faults += 1
            continue
        before, after = renamed(old[name]), new[name]
        lines, wrong = [], 0
        for path in sorted({**before, **after}):
            names, failed = differences(path, before.get(path), after.get(path))
            wrong += failed
            if names:
                lines.append(f"    {'' if failed else 'text differs: '}{path}: {', '.join(names)}")
        print(f"{name:14} {len(before):5} files  {f'{wrong} DIFFER' if wrong else 'equal'}")
        print("".join(f"{line}\n" for line in lines), end="")
        faults += wrong
    return not faults


def main() -> None:
    """Make hashes or compare them."""
    names = list(filled(RUNS, Path()))
    parser = argparse.ArgumentParser(description="Prove that no number changes.")
    parser.add_argument("what", choices=["make", "compare"])
    parser.add_argument("first", type=Path, help="make: the tree; compare: the older hashes")
    parser.add_argument("second", type=Path, help="make: file to write; compare: the newer hashes")
    parser.add_argument("--only", action="append", choices=names)
    parser.add_argument("--data", type=Path, default=os.environ.get("CROSSTYPE_DATA"))
    parser.add_argument("--work", type=Path, help="folder that is kept; default: a temporary one")
    given = parser.parse_args()
    if given.what == "compare":
        old, new = (json.loads(path.read_text()) for path in (given.first, given.second))
        sys.exit(0 if compare(old, new, given.only) else 1)
    if given.data is None:
        parser.error("name the folder of the data by --data or CROSSTYPE_DATA")
    if not (given.first / "src/crosstype/__init__.py").exists():
        parser.error(f"{given.first} is no tree of the sources")
    if not given.only:
        given.second.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        work = (given.work or Path(temporary)).resolve()
        tree, data = given.first.resolve(), Path(given.data).resolve()
        make(tree, data, work, given.only or names, given.second)


if __name__ == "__main__":
    main()
