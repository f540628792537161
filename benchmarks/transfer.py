"""Measure how predictions carry over to another assay, for each representation of expression.

    CROSSTYPE_DATA=DATA python benchmarks/transfer.py artificial|counts|lost [--line]

Training patients are those of `expression_rsem_909.tsv.gz` with a label and a slide whom
`counts_20124.tsv.gz` does not measure. `artificial` deals them into folds and measures each test
fold also by an assay that is made up: a factor per gene and patient's depth. `counts` tests on the
other 80 patients, measured by either assay. `lost` takes genes away from test folds. `--line`
fits the line alone, which takes seconds.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from crosstype.cohort.labels import read_labels
from crosstype.cohort.spec import ClassSpec, CohortSpec
from crosstype.expression.pipeline_state import align_genes
from crosstype.expression.read import read_expression
from crosstype.expression.sample_selection import select_samples
from crosstype.expression.spec import ExpressionSpec
from crosstype.features.slides_table import read_slides_table
from crosstype.features.store import feature_files_in
from crosstype.models.catalog import NETWORKS
from crosstype.models.spec import ModelSpec
from crosstype.protocol import protocol_named
from crosstype.training.classifier import Split, TrainingRecipe
from crosstype.training.fit import probabilities_of
from crosstype.training.linear.base_model import fit_base_model
from crosstype.training.network_classifier import NetworkClassifier
from crosstype.training.patients import Bags, Patients
from crosstype.training.preprocessing import Preparing
from crosstype.training.spec import TrainingSpec

CLASSES = (
    ClassSpec("Luminal", ("BRCA.LumA", "BRCA.LumB")),
    ClassSpec("Basal/Her2", ("BRCA.Basal", "BRCA.Her2")),
)
REPRESENTATIONS = ("genes", "scaled", "ranks")
Ways = Sequence[Callable[[Patients], Patients]]
MODELS = ("gene_only", "cross_attention")
GENE_FACTOR_SD, DEPTH_SD, UNIT_FACTOR = 0.3, 0.25, 0.05
"""The made-up assay: log-normal factors of each gene and patient, and counts per million, which
are about a twentieth of TCGA's RSEM."""
LOST = (0.0, 0.5, 0.95)


@dataclass(frozen=True)
class Found:
    """How well probabilities of the second class fit the truth, and how far they lie."""

    n: int
    auroc: float
    mean: float
    prevalence: float
    brier: float
    accuracy: float

    @property
    def line(self) -> str:
        """Return the figures in words."""
        return (
            f"n {self.n}, AUROC {self.auroc:.3f}, mean probability {self.mean:.3f} (prevalence "
            f"{self.prevalence:.3f}), Brier {self.brier:.4f}, accuracy at 0.5 {self.accuracy:.3f}"
        )


def found_of(targets: np.ndarray, positive: np.ndarray) -> Found:
    """Return the figures of some patients."""
    return Found(
        len(targets),
        float(roc_auc_score(targets, positive)),
        float(positive.mean()),
        float(targets.mean()),
        float(((positive - targets) ** 2).mean()),
        float(((positive > 0.5) == targets).mean()),
    )


def read_patients(data: Path) -> tuple[Patients, Patients, Patients]:
    """Return the training patients, the others by the same assay, and by genome-wide counts.

    Counts become counts per million by the table's own reader; both tables are amounts, and genes
    that the counts lack are NaN there.
    """
    folder = data / "tcga_brca"
    labels = read_labels(CohortSpec(labels=folder / "labels.csv", classes=CLASSES)).class_of
    files = feature_files_in(folder / "features_hipt_vit256")
    paths: dict[str, list[Path]] = {}
    for slide_id, patient in read_slides_table(folder / "slides.csv", "PATIENT").patient_of.items():
        paths.setdefault(patient, []).append(files[slide_id])
    bags = Bags(paths)
    usable = sorted(set(labels) & set(paths))
    own = read_expression(folder / "expression_rsem_909.tsv.gz", ExpressionSpec(), usable)
    other = read_expression(folder / "counts_20124.tsv.gz", ExpressionSpec(), usable)
    own_rows, other_rows = select_samples(own)[0], select_samples(other)[0]
    aligned, _ = align_genes(other.values, other.genes, own.genes)

    def made(ids: list[str], values: np.ndarray, rows: dict[str, int]) -> Patients:
        names = tuple(one.name for one in CLASSES)
        targets = np.array([names.index(labels[one]) for one in ids], dtype=np.int64)
        genes = values[[rows[one] for one in ids]].astype(np.float32)
        return Patients(tuple(ids), targets, names, genes, bags, tuple(ids))

    train = [one for one in usable if one in own_rows and one not in other_rows]
    test = [one for one in usable if one in own_rows and one in other_rows]
    return (
        made(train, own.values, own_rows),
        made(test, own.values, own_rows),
        made(test, aligned, other_rows),
    )


def by_made_up_assay(patients: Patients, seed: int, power: float = 1.0) -> Patients:
    """Return the patients as an assay with gene factors and another depth would measure them.

    Args:
        patients: measured by the training patients' assay.
        seed: of the factors and depths.
        power: to which amounts are raised; not 1: the assay is not even proportional.
    """
    rng = np.random.default_rng(seed)
    factor = np.exp(rng.normal(0, GENE_FACTOR_SD, patients.genes.shape[1]))
    depth = np.exp(rng.normal(0, DEPTH_SD, (len(patients), 1))) * UNIT_FACTOR
    return patients.with_genes((patients.genes**power * factor * depth).astype(np.float32))


def without_genes(patients: Patients, share: float, seed: int) -> Patients:
    """Return the patients with each a share of genes less, drawn for him alone."""
    genes = patients.genes.copy()
    order = np.argsort(np.random.default_rng(seed).random(genes.shape), axis=1)
    np.put_along_axis(genes, order[:, : round(share * genes.shape[1])], np.nan, axis=1)
    return patients.with_genes(genes)


def dealt(patients: Patients, n: int) -> Iterator[Split]:
    """Deal patients into folds, classes alike in each; seed 0."""
    folds = StratifiedKFold(n, shuffle=True, random_state=0)
    for rest, part in folds.split(patients.genes, patients.targets):
        yield Split(patients.take(rest), patients.take(part))


def fitted(
    train: Patients, name: str, representation: str, *, line: bool
) -> Callable[[Patients], np.ndarray]:
    """Fit a model and return what gives probabilities of the second class."""
    spec = ExpressionSpec(representation=representation)  # type: ignore[arg-type]
    preparing = Preparing(spec, protocol_named("strict"), "linear")
    if line:
        preparation = preparing.fit(train)
        start = fit_base_model(train, preparation, NETWORKS[name].uses, TrainingSpec())
        return lambda some: probabilities_of(torch.from_numpy(start.logits(some, preparation)))[
            :, 1
        ]
    model = NetworkClassifier(name)
    model.fit(
        list(dealt(train, 4)), TrainingRecipe(TrainingSpec(), ModelSpec(), preparing, (0, 0, 0))
    )
    return lambda some: model.predict(some)[:, 1]


def across_folds(train: Patients, name: str, kind: str, ways: Ways, *, line: bool) -> list[Found]:
    """Return the figures of five test folds together, for each way to change test patients."""
    targets: list[np.ndarray] = []
    said: list[list[np.ndarray]] = [[] for _ in ways]
    for fold in dealt(train, 5):
        predict = fitted(fold.train, name, kind, line=line)
        targets.append(fold.validation.targets)
        for kept, way in zip(said, ways, strict=True):
            kept.append(predict(way(fold.validation)))
    together = np.concatenate(targets)
    return [found_of(together, np.concatenate(kept)) for kept in said]


def main() -> None:
    """Print the figures of one comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("comparison", choices=("artificial", "counts", "lost"))
    parser.add_argument("--line", action="store_true")
    given = parser.parse_args()
    train, same, other = read_patients(Path(os.environ["CROSSTYPE_DATA"]))
    named: dict[str, dict[str, Callable[[Patients], Patients]]] = {
        "artificial": {
            "within": lambda some: some,
            "made-up 1": lambda some: by_made_up_assay(some, 1),
            "made-up 2": lambda some: by_made_up_assay(some, 2),
            "made-up 3, amounts ** 0.8": partial(by_made_up_assay, seed=3, power=0.8),
        },
        "lost": {f"lost {share}": partial(without_genes, share=share, seed=1) for share in LOST},
    }
    for name in MODELS:
        for kind in REPRESENTATIONS:
            if given.comparison == "counts":
                predict = fitted(train, name, kind, line=given.line)
                ways = ["within", "counts"]
                found = [found_of(one.targets, predict(one)) for one in (same, other)]
            else:
                ways = list(named[given.comparison])
                functions = list(named[given.comparison].values())
                found = across_folds(train, name, kind, functions, line=given.line)
            for way, one in zip(ways, found, strict=True):
                print(f"{name}, {kind}, {way}: {one.line}", flush=True)


if __name__ == "__main__":
    main()
