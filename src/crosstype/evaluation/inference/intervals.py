"""Which interval a row of metrics.csv has."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from crosstype.evaluation.inference import bootstrap, delong
from crosstype.evaluation.metrics.metrics import MACRO, MICRO, MetricKey
from crosstype.evaluation.metrics.probability import BIASED_UPWARDS, honest_error
from crosstype.evaluation.predictions import ModelPredictions, Predictions
from crosstype.evaluation.spec import EvaluationSpec


@dataclass(frozen=True)
class IntervalInputs:
    """What a model's intervals are made of, beside the resamples.

    Attributes:
        aurocs: each AUROC with each patient's influence.
        honest: the calibration error that honest probabilities would seldom pass, by row.
        spec: level and kind of the intervals.
    """

    aurocs: Mapping[MetricKey, delong.Auroc]
    honest: Mapping[MetricKey, float]
    spec: EvaluationSpec

    def interval(
        self, key: MetricKey, values: Float[np.ndarray, " n_resamples"]
    ) -> bootstrap.Interval:
        """Return the interval of a row.

        AUROC: DeLong's (see `delong.auroc_interval`), unless the bootstrap was asked for. The
        calibration error, reliability and resolution, which are biased upwards: the mirrored
        bootstrap; that of the calibration error begins at 0 where honest probabilities would not
        seldom show as much. All others: percentiles.

        Args:
            key: the row.
            values: its value, then its resamples.
        """
        level = self.spec.confidence
        if key in self.aurocs and self.spec.auroc_interval == "delong":
            return delong.auroc_interval(self.aurocs[key], level)
        if key.metric not in BIASED_UPWARDS:
            return bootstrap.percentile_interval(values[1:], level)
        low, high = bootstrap.reflected_interval(values, level)
        return bootstrap.Interval(0.0 if values[0] <= self.honest.get(key, -1.0) else low, high)


def interval_inputs(
    predictions: Predictions, model: ModelPredictions, spec: EvaluationSpec
) -> IntervalInputs:
    """Return what a model's intervals are made of."""
    of_class = {
        of: np.ascontiguousarray(model.probability[:, :, index])
        for index, of in enumerate(predictions.classes)
    }
    honest = {
        MetricKey("ece", of): honest_error(said, spec.confidence) for of, said in of_class.items()
    }
    honest[MetricKey("ece", MACRO)] = float(np.mean(list(honest.values())))
    return IntervalInputs(aurocs_of(predictions, model), honest, spec)


def aurocs_of(predictions: Predictions, model: ModelPredictions) -> dict[MetricKey, delong.Auroc]:
    """Return the AUROC of each class, macro and, of more than two classes, micro."""
    found = {
        MetricKey("auroc", of): delong.class_auroc(
            predictions.labels == index, np.ascontiguousarray(model.probability[:, :, index])
        )
        for index, of in enumerate(predictions.classes)
    }
    macro = delong.macro_auroc(list(found.values()))
    if len(predictions.classes) > 2:
        found[MetricKey("auroc", MICRO)] = delong.micro_auroc(predictions.labels, model.probability)
    return {**found, MetricKey("auroc", MACRO): macro}
