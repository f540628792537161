"""Measure what a temperature is worth, on patients of other sites than A2.

    CROSSTYPE_DATA=DATA python benchmarks/calibration.py bh|six two|four

Five test folds, four inner folds, seed 0. Every model is fitted once; its probabilities are judged
as they come and with its temperature: macro Brier score, log loss, calibration error of the highest
probability over ten groups of equal size, macro F1.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import transfer
from sklearn.metrics import f1_score, log_loss

from crosstype.cohort.spec import ClassSpec
from crosstype.expression.spec import ExpressionSpec
from crosstype.models.spec import ModelSpec
from crosstype.protocol import protocol_named
from crosstype.training.calibration import Calibration
from crosstype.training.checkpoint import make_classifier
from crosstype.training.classifier import TrainingRecipe, concatenate
from crosstype.training.patients import Patients
from crosstype.training.preprocessing import Preparing
from crosstype.training.spec import TrainingSpec

SITES = {"bh": ("BH",), "six": ("BH", "A8", "E9", "D8", "B6", "C8")}
CLASSES = {
    "two": transfer.CLASSES,
    "four": tuple(ClassSpec(name, (f"BRCA.{name}",)) for name in ("LumA", "LumB", "Basal", "Her2")),
}
MODELS = ("image_only", "gene_only", "late", "cross_attention")


def read_patients(data: Path, sites: tuple[str, ...]) -> Patients:
    """Return the patients of these sites who have a label, a slide and expression."""
    table = pl.read_csv(data / "tcga_brca" / "labels.csv", infer_schema=False)
    site_of = dict(table.select("PATIENT", "SITE").iter_rows())
    everyone = concatenate(*transfer.read_patients(data)[:2])
    return everyone.take(np.flatnonzero([site_of[one] in sites for one in everyone.ids]))


def line_of(targets: np.ndarray, said: np.ndarray) -> str:
    """Return the figures in words."""
    called, sure = said.argmax(axis=1), said.max(axis=1)
    groups = np.array_split(np.argsort(sure, kind="stable"), 10)
    apart = [abs((sure[one] - (called == targets)[one]).sum()) for one in groups]
    brier = ((said - np.eye(said.shape[1])[targets]) ** 2).mean()
    return (
        f"Brier {brier:.4f}, log loss {log_loss(targets, said):.4f}, calibration error "
        f"{sum(apart) / len(targets):.4f}, F1 {f1_score(targets, called, average='macro'):.4f}"
    )


def main() -> None:
    """Print the figures of one cohort."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sites", choices=SITES)
    parser.add_argument("classes", choices=CLASSES)
    given = parser.parse_args()
    transfer.CLASSES = CLASSES[given.classes]
    patients = read_patients(Path(os.environ["CROSSTYPE_DATA"]), SITES[given.sites])
    preparing = Preparing(ExpressionSpec(), protocol_named("strict"), "linear")
    spec = replace(TrainingSpec(), calibration="temperature")
    for name in MODELS:
        targets, plain, warm, temperatures = [], [], [], []
        for number, fold in enumerate(transfer.dealt(patients, 5)):
            model = make_classifier(name)
            recipe = TrainingRecipe(spec, ModelSpec(), preparing, (0, 0, number))
            model.fit(list(transfer.dealt(fold.train, 4)), recipe)
            targets.append(fold.validation.targets)
            temperatures.append(round(model.calibration.temperature, 2))
            warm.append(model.predict(fold.validation))
            model.calibration = Calibration()
            plain.append(model.predict(fold.validation))
        truth = np.concatenate(targets)
        print(f"{name}, as they come: {line_of(truth, np.concatenate(plain))}")
        print(f"{name}, temperatures {temperatures}: {line_of(truth, np.concatenate(warm))}")


if __name__ == "__main__":
    main()
