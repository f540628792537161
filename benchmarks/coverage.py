"""Measures how often intervals hold the truth and tests see what is not there.

    python benchmarks/coverage.py [--cohorts 2000]

Prints the tables of docs/statistics.md, from the cohorts of tests/evaluation/simulated.py.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "evaluation"))

from simulated import auroc_coverage, bootstrap_coverage, type_one_errors

METRICS = ("auroc", "f1", "mcc", "pr_auc", "accuracy", "precision", "recall", "brier", "ece")
SIZES = ((28, 63), (52, 148), (100, 100), (206, 585))
AUROCS = (0.75, 0.8, 0.85, 0.9, 0.95, 0.97, 0.99)
NULLS = ((0.85, (28, 63), 1), (0.97, (28, 63), 1), (0.85, (28, 63), 3), (0.85, (52, 148), 1))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cohorts", type=int, default=2000)
    n_cohorts = parser.parse_args().cohorts
    began = time.perf_counter()
    heads = [f"{cases} + {others}" for cases, others in SIZES]
    print_row("AUROC", heads)
    print_row("---", ["---"] * len(heads))
    for auroc in AUROCS:
        shares = [auroc_coverage(auroc, sizes, n_cohorts) for sizes in SIZES]
        print_row(str(auroc), [f"{share:.1%}" for share in shares])
    print()
    settings = [(auroc, sizes) for auroc in (0.9, 0.97, 0.99) for sizes in SIZES[:2]]
    columns = [bootstrap_coverage(auroc, sizes, METRICS, n_cohorts) for auroc, sizes in settings]
    print_row("metric", [f"{auroc}, {cases} + {others}" for auroc, (cases, others) in settings])
    print_row("---", ["---"] * len(settings))
    for metric in METRICS:
        print_row(metric, [f"{column[metric]:.1%}" for column in columns])
    print()
    found = [type_one_errors(auroc, sizes, n_cohorts, repeats) for auroc, sizes, repeats in NULLS]
    titles = [f"{auroc}, {sizes[0]} + {sizes[1]}, x{repeats}" for auroc, sizes, repeats in NULLS]
    print_row("metric, test", titles)
    print_row("---", ["---"] * len(titles))
    for key in found[0]:
        print_row(", ".join(key), [f"{column[key]:.1%}" for column in found])
    print(f"\n{n_cohorts} cohorts each, {time.perf_counter() - began:.0f} s")


def print_row(name: str, cells: list[str]) -> None:
    """Print a row of a Markdown table."""
    print("| " + " | ".join([name, *cells]) + " |", flush=True)


if __name__ == "__main__":
    main()
