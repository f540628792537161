"""Estrogen receptor (ER) status: from a table, or from the expression of its gene, ESR1."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crosstype.errors import CohortError, Fault, TableError
from crosstype.io.tables import MISSING, open_table
from crosstype.tcga import patient_of

POSITIVE = frozenset({"positive", "pos", "+", "er+", "1", "1.0", "yes", "true"})
NEGATIVE = frozenset({"negative", "neg", "er-", "0", "0.0", "no", "false"})
UNDECIDED = MISSING | {"indeterminate", "equivocal", "borderline", "unknown", "not done", "?"}
"""Words of an unknown status."""
MOST_NOT_UNDERSTOOD = 0.05
"""Share of rows whose word may be none of these."""
LEAST_GAIN = 10.0
"""A second group of ESR1 values is believed if it lowers the BIC by more than this (Kass and
Raftery 1995: very strong)."""
LEAST_DISTANCE = 2.0
"""And if the groups' means differ by more than two standard deviations (Ashman et al. 1994)."""
FEWEST = 10
"""Samples from which two groups are looked for."""


@dataclass(frozen=True)
class ErStatus:
    """ER status of samples; neither positive nor negative means unknown.

    Attributes:
        positive: bool (n_samples,).
        negative: bool (n_samples,).
        source: of the status; if all are unknown, why.
    """

    positive: np.ndarray
    negative: np.ndarray
    source: str

    @property
    def share_positive(self) -> float:
        """Share of ER-positive samples among those whose status is known; NaN if none is."""
        known = int(self.positive.sum() + self.negative.sum())
        return float(self.positive.sum() / known) if known else float("nan")


def er_from_table(path: Path, column: str, sample_ids: Sequence[str]) -> ErStatus:
    """Read ER status from a table whose first column names samples or patients.

    Words such as `Positive`, `+`, `1` and `Negative`, `0` are understood; an empty cell and
    `Indeterminate` make the status unknown, any other word too, and it is named. A sample's own row
    goes before its patient's.

    Raises:
        TableError: the column is absent; a sample has two statuses; many words are not understood.
        CohortError: no sample is in the table, or none has a status.
    """
    table = open_table(path)
    cells = table.column(column)
    names = table.column(table.names[0])
    odd = _not_understood(table.path.name, column, cells)
    rows: dict[str, bool] = {}
    for row, name in enumerate(names):
        text = cells[row].lower()
        if text not in POSITIVE | NEGATIVE:
            continue
        if rows.setdefault(name, text in POSITIVE) != (text in POSITIVE):
            found = f"{name} is both ER-positive and ER-negative"
            raise TableError(Fault(table.where(row), found, "Keep one row."))
    by_patient = {patient_of(name): status for name, status in rows.items()}
    found_status = [rows.get(one, by_patient.get(patient_of(one))) for one in sample_ids]
    if all(status is None for status in found_status):
        shown = Counter(cell for cell in cells if cell.lower() not in MISSING).most_common(3)
        raise CohortError(
            f"{path.name}: no sample has an ER status there. Found {len(cells)} rows such as "
            f"{table.cells['0'][0]!r} with {column} {', '.join(repr(c) for c, _ in shown)}; "
            f"expected samples or patients such as {sample_ids[0]!r} with positive or negative."
        )
    positive = np.array([status is True for status in found_status])
    negative = np.array([status is False for status in found_status])
    return ErStatus(positive, negative, f"{path.name}, column {column}{odd}")


def _not_understood(file_name: str, column: str, cells: Sequence[str]) -> str:
    """Return the words that are no status, with their numbers; raise if many."""
    words = Counter(one for one in cells if one.casefold() not in POSITIVE | NEGATIVE | UNDECIDED)
    if not words:
        return ""
    shown = ", ".join(f"{word!r} {n} times" for word, n in words.most_common(3))
    if words.total() > MOST_NOT_UNDERSTOOD * len(cells):
        where, found = f"{file_name}, column {column!r}", f"words that are no ER status: {shown}"
        raise TableError(Fault(where, found, "Expected positive or negative; correct them."))
    return f"; not understood, and taken as unknown: {shown}"


def er_from_esr1(values: np.ndarray | None, seed: int) -> ErStatus:
    """Infer ER status by a mixture of two normal distributions of log2 ESR1, if there are two.

    The boundary is where both are equally likely. All are unknown if the values do not
    fall into two groups, as in a cohort of one ER status.

    Args:
        values: log2 expression of ESR1 (n_samples,), NaN where missing; None without that gene.
        seed: the mixture's starting points derive from it.
    """
    if values is None:
        return _unknown(0, "ESR1 is not in the table")
    known = ~np.isnan(values)
    if known.sum() < FEWEST:
        return _unknown(len(values), f"fewer than {FEWEST} samples have ESR1")
    from sklearn.mixture import GaussianMixture

    data = values[known, None]
    if np.ptp(data) == 0:
        return _unknown(len(values), "ESR1 has one value in all samples")
    two = GaussianMixture(2, n_init=5, random_state=seed).fit(data)
    gain = float(GaussianMixture(1).fit(data).bic(data) - two.bic(data))
    high = int(np.argmax(two.means_[:, 0]))
    means, variances = two.means_[:, 0], two.covariances_[:, 0, 0]
    distance = float(np.ptp(means) / np.sqrt(variances.mean()))
    if gain <= LEAST_GAIN or distance <= LEAST_DISTANCE:
        why = f"ESR1 does not fall into two groups (BIC gain {gain:.1f}, distance {distance:.1f})"
        return _unknown(len(values), why)
    # The wider distribution is the likelier one at both ends: beyond a mean, that mean decides.
    likely = two.predict(data) == high
    likely = (likely & (data[:, 0] >= means[1 - high])) | (data[:, 0] > means[high])
    positive, negative = np.zeros_like(known), np.zeros_like(known)
    positive[known], negative[known] = likely, ~likely
    return ErStatus(positive, negative, "ESR1, two-component Gaussian mixture")


def _unknown(n_samples: int, why: str) -> ErStatus:
    nobody = np.zeros(n_samples, dtype=bool)
    return ErStatus(nobody, nobody, why)
