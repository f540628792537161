"""Centring of genes for PAM50: by statistics of a cohort, or stored ones.

The subtypes' centroids are relative to a cohort with about as many ER-positive as ER-negative
tumours. What a gene's zero is decides the calls, so that it is chosen openly.

Medians of a cohort of a named assay, stored so that single samples can be called.
"""

import json
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from crosstype.errors import CohortError, Fault, TableError, UsageError
from crosstype.expression.units import Measure
from crosstype.io.files import write_text
from crosstype.pam50.centroids import Profiles
from crosstype.pam50.er_status import ErStatus

Centring = Literal["none", "median", "robust", "er-balanced"]
CENTRINGS: tuple[Centring, ...] = get_args(Centring)
LOW_SHARE, HIGH_SHARE = 0.39, 0.69
"""ER-positive shares within which the medians of a cohort are safe (BreastSubtypeR's gate)."""
FEWEST_POSITIVE, FEWEST_NEGATIVE = 15, 18
"""Samples of each ER status from which balanced medians are safe (BreastSubtypeR's sizes)."""
LEAST_OF_EACH = 5
"""Samples of each ER status below which nothing is balanced."""
LEAST_SAMPLES = 10
"""Samples below which a cohort's medians are refused."""
N_DRAWS = 100
"""Balanced subsets whose medians are averaged; one alone moves the calls by 2 points."""
TAIL = 0.025
"""genefu's `rescale(q = 0.05)`: quantiles q/2 and 1 - q/2."""


@dataclass(frozen=True)
class Zero:
    """Centre and spread of each gene: a profile becomes (value - centre) / spread.

    Attributes:
        centring: how it was learned.
        genes: symbols.
        centre: float64 (n_genes,), in log2; NaN where nothing could be learned.
        spread: float64 (n_genes,), 1 where the unit is left alone; NaN or 0: the gene is not used.
        measure: unit of the table it was learned from.
        n_samples: how many samples it was learned from.
        assay: name of the assay of those samples; empty for the cohort at hand.
    """

    centring: Centring
    genes: tuple[str, ...]
    centre: np.ndarray
    spread: np.ndarray
    measure: Measure
    n_samples: int
    assay: str = ""


def learn_zero(
    centring: Centring, profiles: Profiles, er: ErStatus, seed: int, notes: list[str]
) -> Zero:
    """Compute each gene's centre from a cohort.

    none: values stay. median: the gene's median (`centers = "self"` of the pam50 package). robust:
    genefu's, quantiles 2.5% and 97.5% become -1 and 1. er-balanced: medians of equally many
    ER-positive and ER-negative samples, mean of 100 random subsets (PCAPAM50 takes one).

    Args:
        centring: which of them.
        profiles: log2 expression of the cohort.
        er: status of the cohort's samples, in the same order.
        seed: the subsets derive from it.
        notes: receives warnings.

    Raises:
        CohortError: the cohort is too small, or there are too few of one ER status.
    """
    values = profiles.values
    if centring != "none" and len(values) < LEAST_SAMPLES:
        raise CohortError(
            f"PAM50: {len(values)} {'sample' if len(values) == 1 else 'samples'} cannot be centred "
            f"on themselves ({centring}); expected at least {LEAST_SAMPLES}. Give --reference, "
            "medians stored from a cohort of the same assay, or --centring none."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # genes without any value
        if centring == "none":
            centre, spread = np.zeros(values.shape[1]), np.ones(values.shape[1])
        elif centring == "robust":
            low, high = np.nanquantile(values, [TAIL, 1 - TAIL], axis=0)
            centre, spread = (low + high) / 2, (high - low) / 2
        else:
            balanced = centring == "er-balanced"
            centre = _balanced(values, er, seed) if balanced else np.nanmedian(values, axis=0)
            spread = np.ones(values.shape[1])
    notes += _er_notes(centring, er)
    return Zero(centring, profiles.genes, centre, spread, profiles.measure, len(values))


def _balanced(values: np.ndarray, er: ErStatus, seed: int) -> np.ndarray:
    """Return the mean over draws of the medians of equally many of each ER status."""
    positive, negative = np.flatnonzero(er.positive), np.flatnonzero(er.negative)
    n_each = min(len(positive), len(negative))
    if n_each < LEAST_OF_EACH:
        raise CohortError(
            f"PAM50: er-balanced found {len(positive)} ER-positive and {len(negative)} ER-negative "
            f"samples ({er.source}); expected at least {LEAST_OF_EACH} of each. Give --er-table, "
            "or --reference, medians stored from a mixed cohort of the same assay."
        )
    rng = np.random.default_rng(seed)
    few, many = sorted((positive, negative), key=len)
    draws = [
        np.nanmedian(values[np.concatenate([few, rng.choice(many, n_each, replace=False)])], 0)
        for _ in range(N_DRAWS if len(many) > n_each else 1)
    ]
    centre: np.ndarray = np.nanmean(draws, axis=0)
    return centre


def _er_notes(centring: Centring, er: ErStatus) -> list[str]:
    """Return notes on the cohort's ER mix for this centring."""
    n_positive, n_negative = int(er.positive.sum()), int(er.negative.sum())
    if centring == "none":
        return ["no centring: a gene that an assay measures high throughout counts as high"]
    if not n_positive + n_negative:
        return [
            f"warning: the cohort's ER mix is unknown ({er.source}); {centring} calls are right "
            f"only if {LOW_SHARE:.0%} to {HIGH_SHARE:.0%} of it are ER-positive. Give --er-table"
        ]
    share = er.share_positive
    notes = [
        f"ER status by {er.source}: {n_positive} positive, {n_negative} negative ({share:.0%})"
    ]
    if centring == "er-balanced":
        if n_positive < FEWEST_POSITIVE or n_negative < FEWEST_NEGATIVE:
            notes.append(
                f"warning: fewer than {FEWEST_POSITIVE} ER-positive or {FEWEST_NEGATIVE} "
                "ER-negative samples; the balanced medians are unsure"
            )
    elif not LOW_SHARE <= share <= HIGH_SHARE:
        notes.append(
            f"warning: {share:.0%} of the cohort is ER-positive, outside {LOW_SHARE:.0%} to "
            f"{HIGH_SHARE:.0%}: {centring} centring is unsafe here and shifts calls towards the "
            "rarer side. Use --centring er-balanced"
        )
    return notes


def centred(profiles: Profiles, zero: Zero) -> np.ndarray:
    """Return profiles relative to each gene's zero: float64 (n_samples, n_genes).

    A gene without a zero, or without spread, becomes missing. Each sample is then standardised as
    the pam50 package does; that changes no rank, except of values that differ by rounding alone.

    Args:
        profiles: log2 expression, genes as those of `zero`.
        zero: each gene's zero.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        values = (profiles.values - zero.centre) / np.where(zero.spread > 0, zero.spread, np.nan)
        present = ~np.isnan(values)
        wide = np.where(present, values, 0).astype(np.longdouble)  # R sums in extended precision
        mean = (wide.sum(axis=1) / present.sum(axis=1)).astype(np.float64)
        shifted = values - mean[:, None]
        squares = np.nansum(shifted.astype(np.longdouble) ** 2, axis=1)
        deviation = np.sqrt(squares / (present.sum(axis=1) - 1)).astype(np.float64)
        standardised: np.ndarray = shifted / deviation[:, None]
    return standardised


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
        TableError: the file is not there, is no such file, or lacks a key.
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
