"""Preprocessing of model inputs: expression, tile features and clinical covariates.

All parameters are fitted on training patients.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Shaped

from crosstype.cohort.covariates import UNKNOWN, Kind, number_of, same_words
from crosstype.errors import TrainingError
from crosstype.expression.pipeline_state import pipeline_from_state, pipeline_state
from crosstype.expression.spec import ExpressionSpec
from crosstype.expression.transformers import make_preprocessing
from crosstype.expression.units import Unit
from crosstype.protocol import Protocol
from crosstype.training.patients import Patients

Words = Shaped[np.ndarray, "patients covariates"]
Columns = Float32[np.ndarray, "patients columns"]


@dataclass(frozen=True)
class Covariate:
    """Fitted encoding of one clinical covariate.

    Attributes:
        name: its column in the table.
        kind: number, rank or category.
        mean: of a number or rank over the training patients with a value.
        factor: 1 / standard deviation of the same; 0 for a constant covariate.
        levels: levels of a category among training patients, sorted.
        shares: relative frequency of each level among training patients with a value.
        lacking: whether the value is missing for some training patient; only then there is a
            missing indicator.
    """

    name: str
    kind: Kind
    mean: float
    factor: float
    levels: tuple[str, ...]
    shares: tuple[float, ...]
    lacking: bool

    def values(self, words: Sequence[str]) -> Float[np.ndarray, "patients own"]:
        """Return standardised columns, NaN where missing.

        A number or rank is one column of mean 0 and variance 1. A category has one column per
        level: twice the centred indicator, not of unit variance, since that would inflate rare
        levels. An unknown level, or text in a numeric covariate, counts as missing.
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
    """Encodings of all clinical covariates, fitted on training patients.

    Attributes:
        covariates: in the order of the table.
        spread: square root of the total variance of all columns over training patients, to scale
            the block in linear models; 1 if all are constant.
    """

    covariates: tuple[Covariate, ...]
    spread: float

    def columns(self, words: Words) -> Columns:
        """Return values, 0 (the training mean) where missing, then missing indicators.

        Covariates that are missing for some training patient have an indicator: 1 where missing.
        """
        values, indicators = self._parts(words)
        return np.concatenate([np.nan_to_num(values), indicators], axis=1).astype(np.float32)

    def masked(self, words: Words) -> Columns:
        """Return the same with NaN where missing; all NaN for patients without any covariate."""
        values, indicators = self._parts(words)
        columns = np.concatenate([values, indicators], axis=1).astype(np.float32)
        columns[np.isnan(values).all(axis=1)] = np.nan
        return columns

    def state(self) -> dict[str, Any]:
        """Return a JSON-able state for `from_state`."""
        return {"spread": self.spread, "covariates": [asdict(one) for one in self.covariates]}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> FittedCovariates:
        """Return the covariates of `state`."""
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
    """Fit means, scales, levels and missing indicators on training patients.

    Args:
        words: cells of the table as strings, empty where missing.
        names: of the columns.
        kinds: of the columns.
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


SCALED_TILES_PER_PATIENT = 256
"""Tiles sampled per patient to estimate mean and standard deviation of features."""

SCALING = ("feature_mean", "feature_scale", "summary_mean", "summary_scale")


@dataclass(frozen=True)
class Preparation:
    """Preprocessing fitted on training patients.

    Attributes:
        expression: fitted scikit-learn pipeline over genes.
        feature_mean: mean of each tile feature over the training patients' tiles.
        feature_scale: standard deviation of the same; 1 for a constant feature.
        summary_mean: mean over training patients of each patient's tile mean and standard
            deviation.
        summary_scale: standard deviation of the same; 1 for a constant column.
        covariates: fitted clinical covariates; None: not used.
    """

    expression: Any
    feature_mean: Float32[np.ndarray, " features"]
    feature_scale: Float32[np.ndarray, " features"]
    summary_mean: Float32[np.ndarray, " twice_features"]
    summary_scale: Float32[np.ndarray, " twice_features"]
    covariates: FittedCovariates | None = None

    def genes(
        self, raw: Float32[np.ndarray, "patients genes"]
    ) -> Float32[np.ndarray, "patients kept_genes"]:
        """Return preprocessed expression."""
        return np.asarray(self.expression.transform(raw), dtype=np.float32)

    def measured_genes(
        self, raw: Float32[np.ndarray, "patients genes"]
    ) -> Float32[np.ndarray, "patients kept_genes"]:
        """Return preprocessed expression without imputation: NaN where not measured."""
        steps = self.expression[:-1] if "impute" in self.expression.named_steps else self.expression
        return np.asarray(steps.transform(raw), dtype=np.float32)

    def tiles(
        self, bag: Float32[np.ndarray, "tiles features"]
    ) -> Float32[np.ndarray, "tiles features"]:
        """Return standardised tile features."""
        scaled: np.ndarray = bag - self.feature_mean
        scaled /= self.feature_scale
        return scaled.astype(np.float32, copy=False)

    def bag_summary(self, patients: Patients) -> Float32[np.ndarray, "patients twice_features"]:
        """Return mean and standard deviation of each patient's tiles, standardised over patients.

        NaN for a patient without an image.
        """
        scaled: np.ndarray = (patients.summaries() - self.summary_mean) / self.summary_scale
        return scaled.astype(np.float32)

    def clinical(self, patients: Patients) -> Float32[np.ndarray, "patients columns"]:
        """Return clinical columns with missing indicators (`FittedCovariates.columns`), if any."""
        if self.covariates is None or patients.covariates is None:
            return np.zeros((len(patients), 0), dtype=np.float32)
        return self.covariates.columns(patients.covariates)

    def recorded(self, patients: Patients) -> Float32[np.ndarray, "patients columns"] | None:
        """Return the same with NaN where missing (`FittedCovariates.masked`), for networks."""
        if self.covariates is None or patients.covariates is None:
            return None
        return self.covariates.masked(patients.covariates)

    @property
    def kept(self) -> Bool[np.ndarray, " genes"]:
        """Return the mask of the table's genes that the fitted pipeline selects."""
        steps = [step for _, step in self.expression.steps]
        kept = np.zeros(steps[0].n_features_in_, dtype=bool)
        positions = np.arange(len(kept))
        for step in steps:
            if hasattr(step, "get_support"):
                positions = positions[step.get_support()]
        kept[positions] = True
        return kept

    @property
    def gene_spread(self) -> Float32[np.ndarray, " kept_genes"]:
        """Return the standard deviation of each gene over training patients, before z-scoring.

        0 for a constant gene.
        """
        factor = np.asarray(self.expression.named_steps["standardise"].factor_)
        spread: np.ndarray = np.divide(1, factor, out=np.zeros_like(factor), where=factor > 0)
        return spread.astype(np.float32)

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Return arrays and JSON-able settings for a checkpoint."""
        arrays, settings = pipeline_state(self.expression)
        arrays = {f"expression.{key}": value for key, value in arrays.items()}
        arrays |= {name: getattr(self, name) for name in SCALING}
        if self.covariates is not None:
            settings["covariates"] = self.covariates.state()
        return arrays, settings

    @classmethod
    def from_state(cls, arrays: dict[str, np.ndarray], settings: dict[str, Any]) -> Preparation:
        """Return the preparation of `state`."""
        prefix = "expression."
        own = {key.removeprefix(prefix): v for key, v in arrays.items() if key.startswith(prefix)}
        pipeline = pipeline_from_state(own, settings)
        clinical = settings.get("covariates")
        fitted = FittedCovariates.from_state(clinical) if clinical else None
        return cls(pipeline, covariates=fitted, **{name: arrays[name] for name in SCALING})


@dataclass(frozen=True)
class Preparing:
    """Settings of a Preparation, and its fit.

    Attributes:
        expression: preprocessing of expression.
        protocol: evaluation protocol.
        unit: of the expression.
        covariates: name and kind of each clinical covariate; empty: not used.
    """

    expression: ExpressionSpec
    protocol: Protocol
    unit: Unit
    covariates: tuple[tuple[str, Kind], ...] = ()

    def fit(self, patients: Patients) -> Preparation:
        """Fit on these patients.

        Raises:
            TrainingError: genes with zeros are dropped, and every gene has a zero.
        """
        if self.expression.drop_zero_genes and (patients.genes == 0).any(axis=0).all():
            raise TrainingError(
                f"[expression] drop_zero_genes: each of the {patients.genes.shape[1]} genes is 0 "
                f"in one of {len(patients)} training patients at least, so none is left. Set it "
                "to false."
            )
        pipeline = make_preprocessing(self.expression, self.protocol, self.unit)
        pipeline.fit(patients.genes)
        mean, scale = _feature_moments(patients)
        if self.protocol.published_training:  # the published notebook does not scale features
            mean, scale = np.zeros_like(mean), np.ones_like(scale)
        summaries = patients.summaries()
        summaries = summaries[~np.isnan(summaries[:, 0])]
        prepared = Preparation(
            pipeline, mean, scale, summaries.mean(axis=0), _positive(summaries.std(axis=0))
        )
        if not self.covariates or patients.covariates is None:
            return prepared
        names, kinds = zip(*self.covariates, strict=True)
        return replace(prepared, covariates=fit_covariates(patients.covariates, names, kinds))


def _feature_moments(
    patients: Patients,
) -> tuple[Float[np.ndarray, " features"], Float[np.ndarray, " features"]]:
    """Return mean and standard deviation over tiles, with equal weight for each patient."""
    rng = np.random.default_rng(0)
    total, squares = 0.0, 0.0
    with_image = [one for one in patients.bag_of if one is not None]
    for patient in with_image:
        bag = patients.bags.sample(patient, SCALED_TILES_PER_PATIENT, rng).astype(np.float64)
        total = total + bag.mean(axis=0)
        squares = squares + (bag**2).mean(axis=0)
    mean = np.asarray(total / len(with_image))
    scale = np.sqrt(np.maximum(np.asarray(squares / len(with_image)) - mean**2, 0))
    return mean.astype(np.float32), _positive(scale.astype(np.float32))


def _positive(scale: Float32[np.ndarray, " columns"]) -> Float32[np.ndarray, " columns"]:
    """Return scales with 1 for constant columns."""
    return np.where(scale < 1e-6, np.float32(1), scale)
