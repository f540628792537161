"""Site-preserved folds by integer programming: no site in two folds, balanced class shares.

Source: Howard et al. 2021, "The impact of site-specific digital histology signatures on deep
learning model accuracy and bias", Nature Communications 12:4423 (preserved-site cross-validation).
They minimise squared deviations with a commercial solver; here the largest deviation is minimised,
which is linear, with HiGHS (`scipy.optimize.milp`).

With x[s, k] = 1 if site s is in fold k, n[s, c] patients of class c in site s, K folds, p[c] the
cohort's share of class c, M[k, c] = sum_s x[s, k] n[s, c] and N[k] = sum_c M[k, c]:

    every site in one fold, no fold empty:   sum_k x[s, k] = 1,  sum_s x[s, k] >= 1
    1. shortfall:        minimise t,  p[c] N / K - M[k, c] <= t
    2. balance:          minimise d,  |M[k, c] - p[c] N[k]| <= d N[k],
                         N[k] within 20% of N / K, or in the range of 1. if that is wider;
                         where d stays above GOOD, within 35% and then 50%, if it helps
    3. random draw:      minimise sum w[s, k] x[s, k] with weights w drawn from the seed, shares
                         and sizes as in 2., d at most SLACK above the smallest

Step 2 is a fractional program, solved by Dinkelbach's method: with d fixed, minimise the largest
|M - p N[k]| - d N[k]; as long as the minimum is negative, the folds found have a smaller d, which
is fixed next. A minimum of 0 proves d optimal, and the solver's bound of it gives a bound of d.
Symmetry is broken: the r-th largest site is in one of the first r folds; fold numbers are permuted
in the end. The same patients and seed give the same folds: the solver ends by its gap (MIP_GAP) or
NODE_LIMIT; TIME_LIMIT_S is far above what either takes.
"""

import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from crosstype.errors import CohortError


def solve(cost: np.ndarray, program: Mapping[str, Any], limits: Mapping[str, float]) -> Any:
    """Solve a mixed-integer linear program with HiGHS; return scipy's result.

    Args:
        cost: coefficients of the objective, to be minimised.
        program: `integrality`, `bounds` and `constraints` of `scipy.optimize.milp`.
        limits: its `options`.

    Raises:
        CohortError: no solution was found within the limits.
    """
    message = ""
    # HiGHS sometimes fails with one setting of presolve and not the other, so both are tried.
    for presolve in (False, True):
        try:
            with _silent():
                answer = milp(cost, **program, options={**limits, "presolve": presolve})
        except (ValueError, RuntimeError) as error:
            message = str(error)
            continue
        if answer.x is not None:
            return answer
        message = answer.message
    raise CohortError(
        f"folds: the solver found no assignment of the sites within its limits ({message}). Lower "
        "[folds] n_folds, or choose protocol strict."
    )


@contextmanager
def _silent() -> Iterator[None]:
    """Redirect standard output to null, since HiGHS prints from C regardless of its options."""
    sys.stdout.flush()
    try:
        kept = os.dup(1)
    except OSError:  # there is no standard output
        yield
        return
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


SIZE_SLACKS = (0.2, 0.35, 0.5)
"""Allowed relative difference of fold sizes from N / K; the next where shares are not GOOD."""

GOOD = 0.05
"""With class shares this near to the cohort's, fold sizes are not relaxed further."""

FINE = 0.005
"""With class shares this near to the cohort's, optimisation ends."""

SLACK = 0.0025
"""Random folds may have class shares this much less balanced than the best."""

MIP_GAP = 1e-3
NODE_LIMIT = 3000
TIME_LIMIT_S = 60.0

Counts = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class SiteFolds:
    """Assignment of sites to folds, and its balance; all shares from 0 to 1.

    Attributes:
        fold_of: fold of each patient, in input order.
        deviation: largest difference between a class's share of a fold and of the cohort.
        best: the smallest such difference that was found.
        bound: lower bound of it for folds of the allowed sizes.
        sizes: smallest and largest allowed number of patients in a fold.
    """

    fold_of: np.ndarray
    deviation: float
    best: float
    bound: float
    sizes: tuple[float, float]

    @property
    def note(self) -> str:
        """Return a sentence on the balance of the folds and the solver's bound."""
        found = (
            f"class shares differ from the cohort's by {100 * self.deviation:.2f} points at most"
        )
        if self.best <= FINE:
            return f"{found} (half a point counts as even)"
        low, high = math.ceil(self.sizes[0]), math.floor(self.sizes[1])
        within = f"sites assigned to folds of {low} to {high} patients"
        if self.best - self.bound < 1e-6:
            proof = f"the solver's proof that {within} cannot do better"
        else:
            proof = f"the solver's bound for {within} is {100 * self.bound:.2f}"
        return f"{found}; the smallest found is {100 * self.best:.2f}, with {proof}"


@dataclass(frozen=True)
class _Best:
    """Result of steps 1 and 2: assignment, deviation, its bound, and the allowed sizes."""

    x: np.ndarray
    deviation: float
    bound: float
    sizes: tuple[float, float]


def assign_sites(
    labels: Sequence[str], sites: Sequence[str], n_folds: int, seed: Sequence[int]
) -> SiteFolds:
    """Assign sites to folds with class shares as near to the cohort's as possible.

    Args:
        labels: class of each patient.
        sites: site of each patient.
        n_folds: number of folds, at most the number of sites.
        seed: for the random draw among assignments within SLACK of the best.

    Returns:
        The fold of each patient, the balance of the folds, and the solver's bound.

    Raises:
        CohortError: there are fewer sites than folds.
    """
    names, site = np.unique(np.array(sites, dtype=np.str_), return_inverse=True)
    classes, number = np.unique(np.array(labels, dtype=np.str_), return_inverse=True)
    if len(names) < n_folds:
        raise CohortError(
            f"folds: found {len(names)} sites, fewer than the {n_folds} folds. "
            "Lower [folds] n_folds."
        )
    counts = np.zeros((len(names), len(classes)), dtype=np.int64)
    np.add.at(counts, (site, number), 1)
    order = np.argsort(-counts.sum(axis=1), kind="stable")  # the largest site first
    key: Counts = tuple(tuple(row) for row in counts[order].tolist())
    best = _evenest(key, n_folds)
    rng = np.random.default_rng(np.random.SeedSequence(list(seed)))
    x = _drawn(_Model(key, n_folds), best, rng)
    fold_of_site = np.empty(len(names), dtype=np.int64)
    fold_of_site[order] = rng.permutation(n_folds)[x.argmax(axis=1)]
    return SiteFolds(
        fold_of_site[site],
        _Model(key, n_folds).largest_difference(x),
        best.deviation,
        best.bound,
        best.sizes,
    )


class _Model:
    """Mixed-integer linear program of the sites; columns are x[s, k], then t."""

    def __init__(self, counts: Counts, n_folds: int) -> None:
        self.counts = np.array(counts, dtype=np.float64)
        self.n_folds = n_folds
        self.n_sites, self.n_classes = self.counts.shape
        self.size = self.counts.sum(axis=1)
        self.share = self.counts.sum(axis=0) / self.size.sum()
        self.even = self.size.sum() / n_folds
        self.excess = self.counts - self.size[:, None] * self.share  # M[k, c] - p[c] N[k] by site

    def largest_difference(self, x: np.ndarray) -> float:
        """Return the largest difference between a class's share of a fold and of the cohort."""
        return float((np.abs(x.T @ self.excess) / (x.T @ self.size)[:, None]).max())

    def size_range(self, x: np.ndarray, slack: float) -> tuple[float, float]:
        """Return the allowed sizes: within the slack of N / K, extended to these folds' sizes."""
        size = x.T @ self.size
        low, high = (1 - slack) * self.even, (1 + slack) * self.even
        return min(low, float(size.min())), max(high, float(size.max()))

    def by_fold(self, weight: np.ndarray, t: float = 0.0) -> np.ndarray:
        """Return one row per fold: the sum of the weights of its sites, plus t."""
        rows = np.zeros((self.n_folds, self.n_sites * self.n_folds + 1))
        for fold in range(self.n_folds):
            rows[fold, fold : -1 : self.n_folds] = weight
        rows[:, -1] = t
        return rows

    def solve(
        self, cost: np.ndarray, rows: Sequence[tuple[np.ndarray, float, float]], gap: float
    ) -> Any:
        """Return scipy's result: the assignment of lowest cost under the constraints in `rows`."""
        n = self.n_sites * self.n_folds
        one = np.zeros((self.n_sites, n + 1))
        for site in range(self.n_sites):
            one[site, site * self.n_folds : (site + 1) * self.n_folds] = 1
        whole = [(one, 1.0, 1.0), (self.by_fold(np.ones(self.n_sites)), 1.0, np.inf), *rows]
        matrix = np.concatenate([row for row, _, _ in whole])
        low = np.concatenate([np.full(len(row), least) for row, least, _ in whole])
        high = np.concatenate([np.full(len(row), most) for row, _, most in whole])
        upper = np.ones(n + 1)
        for rank in range(min(self.n_folds, self.n_sites)):
            upper[rank * self.n_folds + rank + 1 : (rank + 1) * self.n_folds] = 0
        program = {
            "integrality": np.append(np.ones(n), 0),
            "bounds": Bounds(np.append(np.zeros(n), -np.inf), np.append(upper[:n], np.inf)),
            "constraints": LinearConstraint(csr_array(matrix), low, high),
        }
        limits = {"time_limit": TIME_LIMIT_S, "node_limit": NODE_LIMIT, "mip_rel_gap": gap}
        return solve(cost, program, limits)

    def assignment(self, answer: Any) -> np.ndarray:
        """Return x, n_sites x n_folds, of a result."""
        x: np.ndarray = np.round(answer.x[:-1]).reshape(self.n_sites, self.n_folds)
        return x

    @property
    def t(self) -> np.ndarray:
        """The objective t."""
        return np.append(np.zeros(self.n_sites * self.n_folds), 1.0)


@lru_cache(maxsize=64)
def _evenest(counts: Counts, n_folds: int) -> _Best:
    """Return the result of steps 1 and 2, which does not depend on the seed."""
    model = _Model(counts, n_folds)
    rows = []
    for number in range(model.n_classes):
        target = model.share[number] * model.even
        rows.append((model.by_fold(model.counts[:, number], 1.0), target, np.inf))
    x = model.assignment(model.solve(model.t, rows, MIP_GAP))
    best = _evenest_within(model, x, model.size_range(x, SIZE_SLACKS[0]))
    for slack in SIZE_SLACKS[1:]:
        if best.deviation > GOOD:
            wider = _evenest_within(model, best.x, model.size_range(best.x, slack))
            best = wider if wider.deviation < best.deviation - FINE else best
    return best


def _evenest_within(model: _Model, x: np.ndarray, sizes: tuple[float, float]) -> _Best:
    """Return the result of step 2 for folds of these sizes, starting from assignment x."""
    found, bound = model.largest_difference(x), 0.0
    while found > FINE:
        try:
            answer = model.solve(model.t, _differences(model, found, sizes, -1.0), MIP_GAP)
        except CohortError:  # keep the best assignment and bound so far
            break
        proved = answer.mip_dual_bound
        if proved is not None and np.isfinite(proved):
            # Every assignment has a fold at least this far off, of at least sizes[0] patients.
            bound = max(bound, found + min(proved, 0.0) / sizes[0])
        better = model.assignment(answer)
        if model.largest_difference(better) > found - 1e-9:
            break
        x, found = better, model.largest_difference(better)
    return _Best(x, found, min(bound, found), sizes)


def _differences(
    model: _Model, allowed: float, sizes: tuple[float, float], t: float
) -> list[tuple[np.ndarray, float, float]]:
    """Return constraints: sizes in range, no share further off than allowed (plus t patients)."""
    rows = [(model.by_fold(model.size), *sizes)]
    for number in range(model.n_classes):
        for sign in (1.0, -1.0):
            weight = sign * model.excess[:, number] - allowed * model.size
            rows.append((model.by_fold(weight, t), -np.inf, 0.0))
    return rows


def _drawn(model: _Model, best: _Best, rng: np.random.Generator) -> np.ndarray:
    """Return a random assignment within SLACK of the best."""
    weights = rng.integers(0, 1000, model.n_sites * model.n_folds)
    allowed = max(best.deviation, FINE) + SLACK
    rows = _differences(model, allowed, best.sizes, 0.0)
    try:
        return model.assignment(model.solve(np.append(weights, 0.0), rows, gap=0.1))
    except CohortError:  # the best is always feasible
        return best.x
