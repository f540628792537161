"""Clinical covariates as models see them: numbers fitted on training patients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Shaped

from crosstype.cohort.covariate_kinds import UNKNOWN, Kind, number_of, same_words

Words = Shaped[np.ndarray, "patients covariates"]
Columns = Float32[np.ndarray, "patients columns"]


@dataclass(frozen=True)
class Covariate:
    """One fitted covariate.

    Attributes:
        name: its column in the table.
        kind: number, rank or category.
        mean: of a number or rank over the training patients who have one.
        factor: one by the standard deviation of the same; 0 where it was constant.
        levels: words of a category that training patients have, sorted.
        shares: share of the training patients with each of them, of those with any.
        lacking: whether some training patient had none; only then its absence can say something.
    """

    name: str
    kind: Kind
    mean: float
    factor: float
    levels: tuple[str, ...]
    shares: tuple[float, ...]
    lacking: bool

    def values(self, words: Sequence[str]) -> Float[np.ndarray, "patients own"]:
        """Return standardised columns, NaN where nothing usable was recorded.

        A number or rank is one column of mean 0 and variance 1. A category has a column per level,
        twice the indicator less its share: rare levels are not blown up. A level that no training
        patient has, or a word where numbers stand, counts as missing.
        """
        if self.kind == "category":
            known = [same_words(word) for word in words]
            each = np.array([[word == level for level in self.levels] for word in known], float)
            each = each.reshape(len(words), len(self.levels))
            columns: np.ndarray = 2 * (each - np.array(self.shares))
            columns[each.sum(axis=1) == 0] = np.nan
            return columns
        return (_numbers(words, self.kind)[:, None] - self.mean) * self.factor


@dataclass(frozen=True)
class FittedCovariates:
    """Covariates fitted on training patients.

    Attributes:
        covariates: each of them, in the order of the table.
        spread: standard deviation of all columns together over the training patients, by which a
            line scales the block; 1 if nothing varied.
    """

    covariates: tuple[Covariate, ...]
    spread: float

    def columns(self, words: Words) -> Columns:
        """Return every column: values with 0, the training mean, where missing, then indicators.

        There is an indicator per covariate that some training patients lack: 1 where missing.
        """
        values, indicators = self._parts(words)
        return np.concatenate([np.nan_to_num(values), indicators], axis=1).astype(np.float32)

    def masked(self, words: Words) -> Columns:
        """Return the same with NaN where missing, and throughout where nothing was recorded."""
        values, indicators = self._parts(words)
        columns = np.concatenate([values, indicators], axis=1).astype(np.float32)
        columns[np.isnan(values).all(axis=1)] = np.nan
        return columns

    def state(self) -> dict[str, Any]:
        """Return what `from_state` understands, as JSON holds it."""
        return {"spread": self.spread, "covariates": [asdict(one) for one in self.covariates]}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> FittedCovariates:
        """Return what `state` gave."""
        lists = ("levels", "shares")
        each = [one | {key: tuple(one[key]) for key in lists} for one in state["covariates"]]
        return cls(tuple(Covariate(**one) for one in each), float(state["spread"]))

    def _parts(
        self, words: Words
    ) -> tuple[Float[np.ndarray, "patients values"], Float[np.ndarray, "patients indicators"]]:
        """Return the values of all covariates, NaN where missing, and the indicators."""
        each = [one.values(words[:, place].tolist()) for place, one in enumerate(self.covariates)]
        missing = [
            np.isnan(values).any(axis=1)
            for one, values in zip(self.covariates, each, strict=True)
            if one.lacking
        ]
        indicators = np.array(missing, dtype=np.float64).reshape(len(missing), len(words)).T
        return np.concatenate(each, axis=1), indicators


def fit_covariates(words: Words, names: Sequence[str], kinds: Sequence[Kind]) -> FittedCovariates:
    """Fit on training patients: means, scales, levels and which covariates may be missing.

    Args:
        words: cells as written, empty where nothing was recorded.
        names: of the columns.
        kinds: of the columns, as the cohort's table shows them.
    """
    fitted = tuple(
        _fit(name, kind, words[:, place].tolist())
        for place, (name, kind) in enumerate(zip(names, kinds, strict=True))
    )
    plain = FittedCovariates(fitted, 1.0)
    spread = float(np.sqrt(plain.columns(words).astype(np.float64).var(axis=0).sum()))
    return replace(plain, spread=spread or 1.0)


def _fit(name: str, kind: Kind, words: Sequence[str]) -> Covariate:
    if kind == "category":
        counts = Counter(same_words(word) for word in words)
        levels = tuple(sorted(set(counts) - UNKNOWN))
        n = sum(counts[level] for level in levels)
        shares = tuple(counts[level] / n for level in levels)
        return Covariate(name, kind, 0.0, 0.0, levels, shares, n < len(words))
    numbers = _numbers(words, kind)
    known = numbers[~np.isnan(numbers)]
    mean = float(known.mean()) if len(known) else 0.0
    spread = float(known.std()) if len(known) else 0.0
    factor = 1 / spread if spread > 1e-9 * max(1.0, abs(mean)) else 0.0
    return Covariate(name, kind, mean, factor, (), (), len(known) < len(words))


def _numbers(words: Sequence[str], kind: Kind) -> Float[np.ndarray, " patients"]:
    found = [number_of(word, kind) for word in words]
    return np.array([np.nan if one is None else one for one in found], dtype=np.float64)
