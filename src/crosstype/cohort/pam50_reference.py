"""Medians of a cohort of a named assay, stored so that single samples can be called."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, get_args

import numpy as np

from crosstype.cohort.pam50_centring import Zero
from crosstype.cohort.unit import Measure
from crosstype.errors import Fault, TableError, UsageError
from crosstype.files import write_text

FORMAT, VERSION = "crosstype PAM50 reference", 1
MEDIANS = ("median", "er-balanced")
"""Centrings that are medians, and so make sense for a single sample."""


def write_reference(path: Path, zero: Zero, assay: str) -> None:
    """Write the medians as JSON: assay, unit, centring, n_samples, medians by gene (log2).

    Raises:
        UsageError: the centring has no medians, or the assay has no name.
    """
    if zero.centring not in MEDIANS:
        raise UsageError(
            f"--write-reference: {zero.centring} centring has no medians to store. Use --centring "
            "er-balanced or median."
        )
    if not assay.strip():
        raise UsageError(
            "--write-reference: the assay has no name. Give --assay, such as "
            '"NanoString nCounter, log2" or "TCGA RNA-seq V2 RSEM".'
        )
    medians = {
        gene: float(value)
        for gene, value in zip(zero.genes, zero.centre, strict=True)
        if not math.isnan(value)
    }
    content = {
        "format": FORMAT,
        "version": VERSION,
        "assay": assay.strip(),
        "unit": zero.measure,
        "centring": zero.centring,
        "n_samples": zero.n_samples,
        "medians": medians,
    }
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read_reference(path: Path) -> Zero:
    """Read medians that `write_reference` wrote.

    Raises:
        TableError: the file is not there, is no such file, or lacks what it must say.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        fault = Fault(path.name, f"there is no such file ({path})", "Check the path.")
        raise TableError(fault) from None
    except (UnicodeDecodeError, ValueError) as error:
        raise TableError(_fault(path, f"it is no JSON file ({error})")) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise TableError(_fault(path, "it is no PAM50 reference"))
    if content.get("version") != VERSION:
        raise TableError(_fault(path, f"it is of version {content.get('version')!r}"))
    wrong = [name for name, fits in _fitting(content).items() if not fits]
    if wrong:
        raise TableError(_fault(path, f"{', '.join(wrong)} missing or of the wrong kind"))
    medians = content["medians"]
    return Zero(
        content["centring"], tuple(medians), np.array(list(medians.values()), dtype=np.float64),
        np.ones(len(medians)), content["unit"], content["n_samples"], content["assay"].strip(),
    )  # fmt: skip


def _fitting(content: dict[str, Any]) -> dict[str, bool]:
    """Return of each key whether it holds what it must."""
    assay, medians = content.get("assay"), content.get("medians")
    return {
        "assay": isinstance(assay, str) and bool(assay.strip()),
        "unit": content.get("unit") in get_args(Measure),
        "centring": content.get("centring") in MEDIANS,
        "n_samples": isinstance(content.get("n_samples"), int),
        "medians": isinstance(medians, dict)
        and len(medians) > 2
        and all(type(one) in (int, float) and math.isfinite(one) for one in medians.values()),
    }


def _fault(path: Path, found: str) -> Fault:
    return Fault(path.name, found, "Write one with crosstype pam50 --write-reference.")
