"""Synthetic demo cohort in which each modality is informative for a part of the patients.

Half the patients are Basal/Her2. Of these, 40% have the signal only in the image, 40% only in
genes, 20% in both; Luminal patients have none. The AUROC of a unimodal model is at most
0.5 + 0.6 / 2 = 0.8; that of a multimodal model can be 1.
"""

from pathlib import Path

import numpy as np

from crosstype.demo.slides import draw_slide, write_slide
from crosstype.io.files import write_text

N_PATIENTS = 60
N_GENES = 2000
N_PROGRAM_GENES = 60
SITES = ("SA", "SB", "SC", "SD", "SE", "SF")

CONFIG = """\
# The synthetic demo cohort: there are no real patients in it.
[cohort]
labels = "labels.csv"
patient_column = "PATIENT"
label_column = "SUBTYPE"
slides = "slides.csv"
expression = "expression.tsv"
site_column = "SITE"
synthetic = true

[[cohort.classes]]
name = "Luminal"
labels = ["LumA", "LumB"]

[[cohort.classes]]
name = "Basal/Her2"
labels = ["Basal", "Her2"]

[slides]
folder = "slides"

[tiles]
n_tiles = 16

[features]
encoder = "colour_texture"      # needs no weights; resnet50 is the default

[report]
title = "crosstype demo: a synthetic cohort"
"""


def write_demo(folder: Path, seed: int = 2025) -> Path:
    """Write the cohort's tables, slides and config; return the config's path.

    The same seed gives the same files.
    """
    rng = np.random.default_rng(seed)
    patients = [f"SYN-{number:03d}" for number in range(1, N_PATIENTS + 1)]
    in_image, in_genes = _carriers()
    positive = in_image | in_genes
    kinds = np.where(positive, rng.choice(["Basal", "Her2"], N_PATIENTS), "")
    kinds = np.where(positive, kinds, rng.choice(["LumA", "LumB"], N_PATIENTS))
    sites = rng.choice(SITES, N_PATIENTS)
    _write_expression(folder / "expression.tsv", patients, in_genes, rng)
    labels, slides = ["PATIENT,SITE,SUBTYPE"], ["PATIENT,FILENAME"]
    for row, patient in enumerate(patients):
        labels.append(f"{patient},{sites[row]},{kinds[row]}")
        slides.append(f"{patient},{patient}-slide.tif")
        pixels = draw_slide(rng, carrier=bool(in_image[row]))
        write_slide(folder / "slides" / f"{patient}-slide.tif", pixels)
    write_text(folder / "labels.csv", "\n".join(labels) + "\n")
    write_text(folder / "slides.csv", "\n".join(slides) + "\n")
    write_text(folder / "demo.toml", CONFIG)
    return folder / "demo.toml"


def _carriers() -> tuple[np.ndarray, np.ndarray]:
    """Return which patients have the signal in the image, and which in genes."""
    half = N_PATIENTS // 2
    share = np.arange(half) / half
    in_image = np.concatenate([share < 0.6, np.zeros(half, dtype=bool)])
    in_genes = np.concatenate([share >= 0.4, np.zeros(half, dtype=bool)])
    return in_image, in_genes


def _write_expression(
    path: Path, patients: list[str], carriers: np.ndarray, rng: np.random.Generator
) -> None:
    """Write linear expression, genes x samples; carriers have raised values of a set of genes."""
    mean = rng.uniform(3, 10, N_GENES)
    log2 = mean + rng.normal(0, 1, (N_PATIENTS, N_GENES))
    log2[:, :N_PROGRAM_GENES] += 1.6 * carriers[:, None]
    values = np.exp2(log2)
    lines = ["\t".join(["gene", *patients])]
    for gene in range(N_GENES):
        cells = (f"{value:.2f}" for value in values[:, gene])
        lines.append("\t".join([f"GENE{gene + 1:04d}", *cells]))
    write_text(path, "\n".join(lines) + "\n")
