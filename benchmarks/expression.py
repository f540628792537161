"""Reading expression against pandas.read_csv, as ratios in one run.

    python benchmarks/expression.py [--genes 20000] [--samples 1100] [--rounds 3]

Each reading is a process of its own, so that memory is its own: the peak over what the process
held after its imports, as a multiple of the float32 matrix. pandas only parses; ours also finds
orientation and unit, checks every row and ends with samples x genes.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

READERS = {
    "pandas": """
import pandas
def read(path): return pandas.read_csv(path, sep="\\t")
""",
    "ours": """
from crosstype.expression.read import read_expression
from crosstype.cohort.spec import ExpressionSpec
def read(path): return read_expression(Path(path), ExpressionSpec(), [])
""",
    "ours, from the cache": """
from crosstype.expression.cache import ExpressionCache
from crosstype.cohort.spec import ExpressionSpec
from crosstype.io.files import HashCache
memory = HashCache(Path(sys.argv[1]).with_suffix(".hashes"))
cache = ExpressionCache(Path(sys.argv[1]).with_suffix(".cache"), memory.sha256_of)
def read(path): return cache.read(Path(path), ExpressionSpec(), [])
read(sys.argv[1])  # kept now, if it was not before
""",
}
TIMED = """
import json, sys, time
from pathlib import Path
{reader}
def peak():  # getrusage would also count the process that started this one
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])
before = peak()
began = time.perf_counter()
held = read(sys.argv[1])
print(json.dumps([time.perf_counter() - began, (peak() - before) / 1024]))
"""


def write_table(folder: Path, n_genes: int, n_samples: int, *, genes_in_rows: bool) -> Path:
    """Write a made-up RSEM table as tsv.gz."""
    rng = np.random.default_rng(0)
    values = np.exp(rng.normal(4, 2, (n_genes, n_samples))).astype(np.float32)
    samples = [f"TCGA-{n // 1000:02d}-{n % 1000:04d}-01" for n in range(n_samples)]
    genes = [f"GENE{n}" for n in range(n_genes)]
    if genes_in_rows:
        columns = {"gene": genes} | {name: values[:, i] for i, name in enumerate(samples)}
    else:
        columns = {"sample": samples} | {name: values[i] for i, name in enumerate(genes)}
    text = pl.DataFrame(columns).write_csv(separator="\t", float_precision=4)
    path = folder / ("genes_in_rows.tsv.gz" if genes_in_rows else "samples_in_rows.tsv.gz")
    path.write_bytes(gzip.compress(text.encode(), 6))
    return path


def measure(reader: str, path: Path, rounds: int) -> tuple[float, float]:
    """Return median seconds and median peak memory in MiB over fresh processes."""
    program = TIMED.format(reader=READERS[reader])
    found = []
    for _ in range(rounds):
        done = subprocess.run(
            [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
        )
        found.append(json.loads(done.stdout.splitlines()[-1]))
    seconds, memory = zip(*found, strict=True)
    return statistics.median(seconds), statistics.median(memory)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--genes", type=int, default=20_000)
    parser.add_argument("--samples", type=int, default=1_100)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    matrix_mib = given.genes * given.samples * 4 / 2**20
    print("| table | reader | seconds | against pandas | peak memory / matrix |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for genes_in_rows in (True, False):
            path = write_table(
                Path(folder), given.genes, given.samples, genes_in_rows=genes_in_rows
            )
            plain = parsed = 0.0
            for reader in READERS:
                seconds, mib = measure(reader, path, given.rounds)
                plain = seconds if reader == "pandas" else plain
                parsed = seconds if reader == "ours" else parsed
                again = f", {parsed / seconds:.0f}x our parsing" if "cache" in reader else ""
                print(
                    f"| {path.name} | {reader} | {seconds:.2f} | {plain / seconds:.1f}x{again} "
                    f"| {mib / matrix_mib:.1f} |"
                )


if __name__ == "__main__":
    main()
