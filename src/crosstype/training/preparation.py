"""What stands between stored data and a model: fitted expression steps and feature scaling."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32

from crosstype.cohort.covariate_kinds import Kind
from crosstype.cohort.genes import pipeline_from_state, pipeline_state
from crosstype.cohort.preprocess import make_preprocessing
from crosstype.cohort.protocol import Protocol
from crosstype.cohort.spec import ExpressionSpec
from crosstype.cohort.unit import Unit
from crosstype.errors import TrainingError
from crosstype.training.bags import Patients
from crosstype.training.covariates import FittedCovariates, fit_covariates

SCALED_TILES_PER_PATIENT = 256
"""Tiles of one patient that count when features are standardised; enough for mean and spread."""

SCALING = ("feature_mean", "feature_scale", "summary_mean", "summary_scale")


@dataclass(frozen=True)
class Preparation:
    """Everything learned from the training inputs before any model.

    Attributes:
        expression: fitted scikit-learn pipeline over genes.
        feature_mean: mean of each tile feature over the training patients' tiles.
        feature_scale: standard deviation of the same; 1 for a constant feature.
        summary_mean: mean over training patients of each patient's tile mean and spread.
        summary_scale: standard deviation of the same; 1 for a constant one.
        covariates: fitted clinical covariates; None: the model sees none.
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
        """Return prepared expression."""
        return np.asarray(self.expression.transform(raw), dtype=np.float32)

    def measured_genes(
        self, raw: Float32[np.ndarray, "patients genes"]
    ) -> Float32[np.ndarray, "patients kept_genes"]:
        """Return prepared expression with NaN where a gene was not measured, nothing imputed."""
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
        """Return each patient's tile mean and tile spread, standardised over training patients.

        NaN for a patient without an image.
        """
        scaled: np.ndarray = (patients.summaries() - self.summary_mean) / self.summary_scale
        return scaled.astype(np.float32)

    def clinical(self, patients: Patients) -> Float32[np.ndarray, "patients columns"]:
        """Return clinical columns, missing ones at 0 and indicated; no columns if there are none.

        See `FittedCovariates.columns`.
        """
        if self.covariates is None or patients.covariates is None:
            return np.zeros((len(patients), 0), dtype=np.float32)
        return self.covariates.columns(patients.covariates)

    def recorded(self, patients: Patients) -> Float32[np.ndarray, "patients columns"] | None:
        """Return the same with NaN where nothing was recorded, for networks; None: none."""
        if self.covariates is None or patients.covariates is None:
            return None
        return self.covariates.masked(patients.covariates)

    @property
    def kept(self) -> Bool[np.ndarray, " genes"]:
        """Return which genes of the table the fitted steps keep."""
        steps = [step for _, step in self.expression.steps]
        kept = np.zeros(steps[0].n_features_in_, dtype=bool)
        places = np.arange(len(kept))
        for step in steps:
            if hasattr(step, "get_support"):
                places = places[step.get_support()]
        kept[places] = True
        return kept

    @property
    def gene_spread(self) -> Float32[np.ndarray, " kept_genes"]:
        """Return the standard deviation that each prepared gene had in training, before z-scoring.

        A gene that was constant there has none and counts as 0.
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
        """Return what `state` gave."""
        prefix = "expression."
        own = {key.removeprefix(prefix): v for key, v in arrays.items() if key.startswith(prefix)}
        pipeline = pipeline_from_state(own, settings)
        clinical = settings.get("covariates")
        fitted = FittedCovariates.from_state(clinical) if clinical else None
        return cls(pipeline, covariates=fitted, **{name: arrays[name] for name in SCALING})


@dataclass(frozen=True)
class Preparing:
    """How to fit a Preparation: the settings, before any patient is seen.

    Attributes:
        expression: how expression is prepared.
        protocol: which patients may teach what.
        unit: of the expression.
        covariates: name and kind of each clinical covariate; empty: the model sees none.
    """

    expression: ExpressionSpec
    protocol: Protocol
    unit: Unit
    covariates: tuple[tuple[str, Kind], ...] = ()

    def fit(self, patients: Patients) -> Preparation:
        """Fit on these patients and no others.

        Raises:
            TrainingError: genes with zeros are dropped, and every gene has one.
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
        if self.protocol.published_training:  # the published notebook fed features as they are
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
    """Return mean and standard deviation over tiles, each patient weighing the same."""
    rng = np.random.default_rng(0)
    total, squares = 0.0, 0.0
    shown = [one for one in patients.bag_of if one is not None]
    for patient in shown:
        bag = patients.bags.sample(patient, SCALED_TILES_PER_PATIENT, rng).astype(np.float64)
        total = total + bag.mean(axis=0)
        squares = squares + (bag**2).mean(axis=0)
    mean = np.asarray(total / len(shown))
    scale = np.sqrt(np.maximum(np.asarray(squares / len(shown)) - mean**2, 0))
    return mean.astype(np.float32), _positive(scale.astype(np.float32))


def _positive(scale: Float32[np.ndarray, " columns"]) -> Float32[np.ndarray, " columns"]:
    """Return scales by which one may divide: 1 where a column is constant."""
    return np.where(scale < 1e-6, np.float32(1), scale)
