"""Measure the README's results table on the real cohorts, under both protocols.

    CROSSTYPE_DATA=DATA python benchmarks/results.py OUT [--write-readme]

DATA is the folder with `tcga_brca/`. Each run goes into its own folder of OUT and is reused when
finished, so the table can be written again at no cost. Split seeds are fixed: seed 0, repeats 0 to
n - 1. The A2 cohort comes last.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import polars as pl

from crosstype import __version__
from crosstype.config.read import read_config
from crosstype.progress import Progress
from crosstype.workflow.pipeline import run as run_pipeline
from crosstype.workflow.stage import Run

OURS = ("image_only", "gene_only", "concat", "late", "cross_attention")
PAPERS = ("paper_concat", "paper_cross_attention")
METRICS = {"f1": "F1", "mcc": "MCC", "pr_auc": "PR-AUC", "auroc": "AUROC"}
SHOWN = (*OURS, *PAPERS, "logistic_genes", "logistic_image", "logistic_both", "best_gene")
STATED = {
    "paper_concat": "0.896 / 0.968",
    "paper_cross_attention": "0.938 / 0.995",
    "logistic_genes": "",
    "best_gene": "",
}
README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"


@dataclass(frozen=True)
class Measured:
    """One run behind the table."""

    folder: str
    cohort: str
    protocol: str
    repeats: int
    sites: tuple[str, ...] = ()
    models: tuple[str, ...] = OURS


RUNS = (
    Measured("all_strict", "all sites", "strict", 3),
    Measured("a2_strict", "site A2", "strict", 10, ("A2",)),
    Measured("a2_paper", "site A2", "paper", 5, ("A2",), PAPERS),
    Measured("a2_papers_strict", "site A2", "strict", 5, ("A2",), PAPERS),
)


def config_text(data: Path, measured: Measured) -> str:
    """Return the config of one run."""
    quoted = ", ".join(f'"{name}"' for name in measured.models)
    sites = "".join(f'sites = ["{site}"]\n' for site in measured.sites)
    return f"""\
[cohort]
labels = "{data}/tcga_brca/labels.csv"
label_column = "TCGA Subtype"
slides = "{data}/tcga_brca/slides.csv"
expression = "{data}/tcga_brca/expression_rsem_909.tsv.gz"
{sites}
[[cohort.classes]]
name = "Luminal"
labels = ["BRCA.LumA", "BRCA.LumB"]

[[cohort.classes]]
name = "Basal/Her2"
labels = ["BRCA.Basal", "BRCA.Her2"]

[features]
folder = "{data}/tcga_brca/features_hipt_vit256"
encoder = "hipt_vit256"

[folds]
protocol = "{measured.protocol}"
repeats = {measured.repeats}

[training]
models = [{quoted}]
"""


def table_of(out: Path) -> list[str]:
    """Return the README's lines, from the tables of finished runs alone."""
    lines = _protocol_table(out)
    for measured in RUNS:
        folder = out / measured.folder
        if measured.models == PAPERS or not (folder / "metrics.csv").exists():
            continue
        cohort = pl.read_csv(folder / "cohort.csv")
        sizes = cohort["label"].value_counts().sort("count", descending=True)["count"].to_list()
        lines += [
            f"**{measured.cohort}, {cohort.height} patients ({sizes[0]}/{sizes[1]}), protocol "
            f"{measured.protocol}, {measured.repeats} repeats of 5 folds**",
            "",
            f"| model | {' | '.join(METRICS.values())} | AUROC lost, images shuffled | "
            "AUROC lost, genes shuffled |",
            "|---|---|---|---|---|---|---|",
            *_rows(folder),
            "",
        ]
    today = datetime.now(tz=UTC).date().isoformat()
    named = ", ".join(f"{name} {version(name)}" for name in ("torch", "scikit-learn", "numpy"))
    lines.append(f"Measured {today} with crosstype {__version__}, {named}; `make results`.")
    return lines


def _protocol_table(out: Path) -> list[str]:
    """Return the published models under both protocols, beside what the paper states."""
    lines = [
        "**The published models on site A2, 91 patients (63/28), 5 repeats: F1 / PR-AUC**",
        "",
        "| model | published, 93 patients | protocol paper | protocol strict | images shuffled |",
        "|---|---|---|---|---|",
    ]
    paper, strict = out / "a2_paper", out / "a2_papers_strict"
    for model, stated in STATED.items():
        cells = [_pair(folder, model) for folder in (paper, strict)]
        lost = pl.read_csv(strict / "modality_use.csv").filter(
            metric="auroc", model=model, condition="image_shuffled"
        )["drop"]
        lost_text = "0 in every digit" if lost.item() == 0 else f"-{lost.item():.3f} AUROC"
        lines.append(f"| `{model}` | {stated} | {cells[0]} | {cells[1]} | {lost_text} |")
    return [*lines, ""]


def _pair(folder: Path, model: str) -> str:
    metrics = pl.read_csv(folder / "metrics.csv").filter(pl.col("model") == model)
    named = metrics.filter(pl.col("class") == "Basal/Her2")
    values = [named.filter(metric=metric)["value"].item() for metric in ("f1", "pr_auc")]
    return " / ".join(f"{value:.3f}" for value in values)


def _rows(folder: Path) -> list[str]:
    metrics = pl.read_csv(folder / "metrics.csv").filter(
        pl.col("class").is_in(["Basal/Her2", "all"])
    )
    use = pl.read_csv(folder / "modality_use.csv").filter(pl.col("metric") == "auroc")
    rows = []
    for model in SHOWN:
        own = {row["metric"]: row for row in metrics.filter(model=model).iter_rows(named=True)}
        if not own:
            continue
        cells = [
            f"{own[m]['value']:.3f} ({own[m]['low']:.3f} to {own[m]['high']:.3f})" for m in METRICS
        ]
        drops = [
            use.filter(model=model, condition=f"{one}_shuffled")["drop"].item()
            for one in ("image", "genes")
        ]
        cells += ["0" if drop == 0 else f"{drop:.3f}" for drop in drops]
        rows.append(f"| `{model}` | {' | '.join(cells)} |")
    return rows


class Lines(Progress):
    """Progress as lines on standard error."""

    def start(self, stage: str, total: int, done: int = 0) -> None:
        """Say what begins."""
        print(f"{stage}: {done} of {total} were done", file=sys.stderr)

    def step(self, piece: str) -> None:
        """Say what was finished."""
        print(f"  {piece}", file=sys.stderr)

    def say(self, line: str) -> None:
        """Pass the line on."""
        print(line, file=sys.stderr)


def main() -> None:
    """Run what is not finished, then print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--write-readme", action="store_true")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    data = Path(os.environ["CROSSTYPE_DATA"]).resolve()
    for measured in RUNS:
        given.out.mkdir(parents=True, exist_ok=True)
        config = given.out / f"{measured.folder}.toml"
        config.write_text(config_text(data, measured), encoding="utf-8")
        folder = given.out / measured.folder
        run_pipeline(Run(read_config(config), folder, given.workers, Lines()))
    table = "\n".join(table_of(given.out))
    print(table)
    if given.write_readme:
        text = README.read_text(encoding="utf-8")
        before, rest = text.split(BEGIN)
        after = rest.split(END)[1]
        README.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
