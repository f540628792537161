"""Measure the report of a large run: 1,000 made-up patients, five models, two repeats.

    python benchmarks/large_report.py [N_PATIENTS]

Prints the size of report.html and of all patients' pages, the seconds to write them, and those that
a headless Chromium takes until the page's `load` event and until it has drawn the page.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from crosstype.evaluation.evaluate import evaluate
from crosstype.evaluation.spec import EvaluationSpec
from crosstype.expression.matrix import AlignedExpression, save_expression
from crosstype.report.report import write_report
from crosstype.report.spec import ReportSpec

CLASSES = ("Luminal", "Basal/Her2")
NETWORKS = {"image_only": 0.8, "gene_only": 1.6, "concat": 1.8, "late": 1.7, "cross_attention": 1.9}
BASELINES = {"logistic_genes": 1.5, "logistic_image": 0.7, "logistic_both": 1.5, "best_gene": 1.0}
MODELS = {**NETWORKS, **BASELINES, "site_only": 0.1, "majority": 0.0}
STRESSED = ("image_shuffled", "genes_shuffled", "image_absent", "genes_absent")
N_REPEATS, N_FOLDS, N_GENES, N_SITES = 2, 5, 20_000, 30
N_EPOCHS, N_MEMBERS = 40, 5


def main() -> None:
    """Make the run, write its pages, open the report, print what that took."""
    n_patients = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        write_tables(out, n_patients)
        began = time.perf_counter()
        report = write_report(out, ReportSpec(title=f"{n_patients} made-up patients"))
        seconds = time.perf_counter() - began
        pages = [path.stat().st_size for path in (out / "patients").iterdir()]
        print(f"report.html: {report.stat().st_size / 1e6:.2f} MB")
        print(f"patients' pages: {len(pages)}, {sum(pages) / 1e6:.1f} MB in all")
        print(f"written in {seconds:.1f} s")
        loaded, drawn = seconds_to_open(report)
        print(f"opened in Chromium: load event after {loaded:.2f} s, drawn after {drawn:.2f} s")


def write_tables(out: Path, n_patients: int) -> None:
    """Write a run's tables; metrics and curves are judged from the made-up predictions."""
    rng = np.random.default_rng(0)
    ids = [f"TCGA-{n % N_SITES:02d}-{n:04d}" for n in range(n_patients)]
    labels = [CLASSES[n % 3 == 0] for n in range(n_patients)]
    predictions = pl.concat(
        said_by(rng, model, strength, ids, labels) for model, strength in MODELS.items()
    )
    predictions.write_csv(out / "predictions.csv")
    pl.concat(
        predictions.with_columns(condition=pl.lit(one), level=1.0, draw=0) for one in STRESSED
    ).write_csv(out / "stressed_predictions.csv")
    cohort = pl.DataFrame({"patient_id": ids, "label": labels})
    sites = [one.split("-")[1] for one in ids]
    cohort = cohort.with_columns(pl.Series("site", sites), n_slides=1, n_tiles=1000)
    cohort.write_csv(out / "cohort.csv")
    reason = pl.lit("label BRCA.Normal is in no class")
    cohort.select(pl.col("patient_id") + "-X", step=pl.lit("labels"), reason=reason).head(
        n_patients // 10
    ).write_csv(out / "left_out.csv")
    features = {"n_tiles": 1000, "n_features": 2048, "encoder": "resnet50", "sha256": "0" * 64}
    slides = cohort.select(pl.col("patient_id").alias("slide_id"), "patient_id")
    slides.with_columns(**{k: pl.lit(v) for k, v in features.items()}, fault=pl.lit("")).write_csv(
        out / "features.csv"
    )
    groups = cohort.select("patient_id", column=pl.lit("site"), group=pl.col("site"))
    groups.write_csv(out / "subgroups_of.csv")
    write_training(out)
    values = rng.normal(size=(n_patients, N_GENES)).astype(np.float32)
    genes = tuple(f"GENE{n:05d}" for n in range(N_GENES))
    save_expression(out / "expression.npz", AlignedExpression(values, tuple(ids), genes, "log"))
    (out / "config.toml").write_text("[evaluation]\nconfidence = 0.95\n", encoding="utf-8")
    about = {"protocol": {"name": "strict", "leaks": []}, "classes": CLASSES, "seed": 0}
    about |= {"synthetic": True, "notes": [], "versions": {}, "inputs": {}, "stages": {}}
    (out / "run.json").write_text(json.dumps(about), encoding="utf-8")
    evaluate(out, EvaluationSpec(n_bootstrap=50), CLASSES, 0)


def said_by(
    rng: np.random.Generator, model: str, strength: float, ids: list[str], labels: list[str]
) -> pl.DataFrame:
    """Return what a model says of everyone, in every repeat."""
    positive = np.array([one == CLASSES[1] for one in labels])
    parts = []
    for repeat in range(N_REPEATS):
        logit = strength * (2 * positive - 1) + (rng.normal(size=len(ids)) if strength else -0.7)
        share = 1 / (1 + np.exp(-logit))
        part = pl.DataFrame({"patient_id": ids, "model": model, "repeat": repeat})
        part = part.with_columns(
            pl.Series("fold", np.arange(len(ids)) % N_FOLDS),
            pl.Series("label", labels),
            pl.Series("predicted", [CLASSES[int(one > 0.5)] for one in share]),
            pl.Series(f"probability_{CLASSES[0]}", 1 - share),
            pl.Series(f"probability_{CLASSES[1]}", share),
        )
        parts.append(part)
    return pl.concat(parts)


def write_training(out: Path) -> None:
    """Write losses of every epoch of every network."""
    loss = {epoch: 0.3 + float(np.exp(-epoch / 8)) for epoch in range(1, N_EPOCHS + 1)}
    rows = [
        (model, repeat, fold, member, epoch, value - 0.1, value, 1e-3, 0.5)
        for model in NETWORKS
        for repeat in range(N_REPEATS)
        for fold in range(N_FOLDS)
        for member in range(N_MEMBERS)
        for epoch, value in loss.items()
    ]
    head = "model repeat fold member epoch train_loss validation_loss learning_rate trust"
    pl.DataFrame(rows, schema=head.split(), orient="row").write_csv(out / "training.csv")


def seconds_to_open(report: Path) -> tuple[float, float]:
    """Return seconds until the load event, and until the page stands on the screen."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        began = time.perf_counter()
        page.goto(report.as_uri(), wait_until="load")
        loaded = time.perf_counter() - began
        frame = "new Promise(done => requestAnimationFrame(() => setTimeout(done)))"
        page.evaluate(frame)
        drawn = time.perf_counter() - began
        browser.close()
    return loaded, drawn


if __name__ == "__main__":
    main()
