"""A made-up run: 60 patients, five models and baselines, two repeats."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from crosstype.models.catalog import MODELS

CLASSES = ("Luminal", "Basal/Her2")
STRENGTHS = {
    "image_only": 0.8,
    "gene_only": 1.2,
    "concat": 1.6,
    "late": 1.5,
    "cross_attention": 2.0,
    "paper_concat": 1.1,
    "logistic_genes": 1.2,
    "logistic_image": 0.7,
    "best_gene": 0.9,
    "majority": 0.0,
}
METRICS = ("f1", "mcc", "pr_auc", "auroc", "accuracy", "balanced_accuracy", "brier", "ece")
COMPARED = ("auroc", "pr_auc", "f1", "mcc")


def write_run(
    out: Path,
    *,
    first_patient: str = "TCGA-A2-A000",
    site: str = "A2",
    classes: tuple[str, ...] = CLASSES,
    n_repeats: int = 2,
    leaks: tuple[str, ...] = (),
    synthetic: bool = True,
) -> Path:
    """Write every table that the report reads."""
    out.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    ids = [first_patient, *(f"TCGA-A2-A{index:03d}" for index in range(1, 60))]
    labels = [classes[index % len(classes)] for index in range(60)]
    rows = []
    for model, strength in STRENGTHS.items():
        for repeat in range(n_repeats):
            for place, (patient, label) in enumerate(zip(ids, labels, strict=True)):
                raw = generator.normal(size=len(classes)) if strength else np.zeros(len(classes))
                raw = np.exp(raw + strength * (np.array(classes) == label))
                probability = raw / raw.sum()
                called = classes[int(probability.argmax())]
                rows.append((patient, model, repeat, place % 5, label, called, *probability))
    columns = ["patient_id", "model", "repeat", "fold", "label", "predicted"]
    columns += [f"probability_{name}" for name in classes]
    pl.DataFrame(rows, schema=columns, orient="row").write_csv(out / "predictions.csv")
    _write_numbers(out, classes, generator)
    _write_training(out, n_repeats)
    _write_confidence(out, classes)
    pl.DataFrame(
        {"patient_id": ids, "label": labels, "site": site, "n_slides": 1, "n_tiles": 100}
    ).write_csv(out / "cohort.csv")
    pl.DataFrame(
        {
            "patient_id": [f"TCGA-B6-A{index:03d}" for index in range(12)],
            "step": ["labels"] * 8 + ["slides"] * 4,
            "reason": ["label BRCA.Normal is in no class"] * 8 + ["no slide"] * 4,
        }
    ).write_csv(out / "left_out.csv")
    pl.DataFrame(
        {
            "slide_id": [f"{name}-01Z" for name in ids],
            "patient_id": ids,
            "n_tiles": 100,
            "n_features": 32,
            "encoder": "demo",
            "sha256": "0" * 64,
            "fault": ["" for _ in ids[1:]] + ["features: 3 values are NaN"],
        }
    ).write_csv(out / "features.csv")
    pl.DataFrame(
        {
            "gene": ["ERBB2", "FOXA1"],
            "class": ["Her2", "Basal"],
            "n": [30, 30],
            "n_removed": [20, 29],
            "share": [0.67, 0.97],
        }
    ).write_csv(out / "outliers.csv")
    (out / "config.toml").write_text("[evaluation]\nconfidence = 0.95\n", encoding="utf-8")
    run = {
        "protocol": {"name": "paper" if leaks else "strict", "leaks": list(leaks)},
        "classes": list(classes),
        "seed": 0,
        "labels_provenance": "PAM50 calls computed from the same RNA.",
        "notes": ["Expression was recognised as log2."],
        "versions": {"crosstype": "0.1.0", "numpy": "2.4.6"},
        "inputs": {"labels.csv": "a" * 64, "expression.tsv.gz": "b" * 64},
        "stages": {"cohort": {"seconds": 1.2, "peak_memory_mb": 210.0}},
        "synthetic": synthetic,
        "command": "crosstype demo",
    }
    (out / "run.json").write_text(json.dumps(run), encoding="utf-8")
    return out


def _write_numbers(out: Path, classes: tuple[str, ...], generator: np.random.Generator) -> None:
    metrics, comparisons, use = [], [], []
    for model, strength in STRENGTHS.items():
        value = 0.5 + 0.22 * strength
        for name in (*classes, "macro", "all"):
            for metric in METRICS:
                row = (model, metric, name, value, value - 0.07, min(value + 0.06, 1.0), 60)
                metrics.append((*row, value + 0.005, 0.05, 10, 0))
        for metric in COMPARED:
            for reference in dict.fromkeys(
                ("gene_only", "logistic_genes", MODELS[model].same_inputs)
            ):
                if reference in STRENGTHS and model != reference:
                    difference = 0.22 * (strength - STRENGTHS[reference])
                    row = (
                        model,
                        reference,
                        metric,
                        difference,
                        difference - 0.08,
                        difference + 0.08,
                    )
                    comparisons.append((*row, 0.02, 0.12, 60, "delong"))
            for modality in ("image", "genes"):
                blind = modality == "image" and model in {"gene_only", "paper_concat"}
                drop = 0.0 if blind else float(generator.uniform(0.05, 0.3))
                half = 0.0 if blind else 0.05
                row = (model, modality, f"{modality}_shuffled", 1.0, metric)
                use.append((*row, drop, drop - half, drop + half))
    heads = {
        "metrics": "model metric class value low high n fold_mean fold_sd n_folds n_folds_skipped",
        "comparisons": "model_a model_b metric difference low high p p_adjusted n test",
        "modality_use": "model modality condition level metric drop low high",
    }
    for (name, head), table in zip(heads.items(), (metrics, comparisons, use), strict=True):
        pl.DataFrame(table, schema=head.split(), orient="row").write_csv(out / f"{name}.csv")


def _write_training(out: Path, n_repeats: int) -> None:
    rows = [
        (
            model,
            repeat,
            fold,
            member,
            epoch,
            np.exp(-epoch / 12),
            0.3 + np.exp(-epoch / 8),
            1e-3,
            0.5,
        )
        for model in ("image_only", "gene_only", "concat", "late", "cross_attention")
        for repeat in range(n_repeats)
        for fold in range(5)
        for member in range(2)
        for epoch in range(1, 20 + 3 * fold)
    ]
    head = "model repeat fold member epoch train_loss validation_loss learning_rate residual_weight"
    pl.DataFrame(rows, schema=head.split(), orient="row").write_csv(out / "training.csv")


def _write_confidence(out: Path, classes: tuple[str, ...]) -> None:
    """Write curves of accuracy over coverage, and thresholds of two folds."""
    curves = [
        (model, "share", share / 100, 0.5, *ends, n, 60 - n, *ends, 0.1, 0.05, 0.2)
        for model, strength in STRENGTHS.items()
        for share in range(100, 45, -5)
        for n in [60 * share // 100]
        for value in [0.5 + 0.2 * strength + (100 - share) / 1000]
        for ends in [(value, value - 0.05, value + 0.01)]
    ]
    head = "model rule coverage threshold accuracy low high n n_abstained macro_f1 macro_f1_low"
    head += " macro_f1_high aurc aurc_low aurc_high"
    pl.DataFrame(curves, schema=head.split(), orient="row").write_csv(out / "coverage.csv")
    shown = [(model, of) for model in STRENGTHS for of in classes]
    bins = [(*one, n, 6, n / 10 + 0.05, n / 10, n / 12, n / 9) for one in shown for n in range(10)]
    head = "model class bin n mean_probability observed low high"
    frame = pl.DataFrame(bins, schema=head.split(), orient="row")
    frame.write_csv(out / "calibration_curve.csv")
    worths = [
        (*one, n / 100, 0.3 - n / 400, 0.2 - n / 400, 0.4 - n / 400, 0.5 - n / 50, 0.0)
        for one in shown
        for n in range(1, 100)
    ]
    head = "model class threshold net_benefit low high treat_all treat_none"
    frame = pl.DataFrame(worths, schema=head.split(), orient="row")
    frame.write_csv(out / "decision_curve.csv")
    learned = [
        ("late", 0, fold, 40, 1.5 + fold, name, 0.5, 0.3 + 0.1 * fold)
        for fold in range(2)
        for name in (classes[1:] if len(classes) == 2 else classes)
    ]
    head = "model repeat fold n temperature class offset threshold"
    pl.DataFrame(learned, schema=head.split(), orient="row").write_csv(out / "calibration.csv")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run")
