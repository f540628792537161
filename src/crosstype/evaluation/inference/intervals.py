"""Which interval a row of metrics.csv has."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from crosstype.evaluation.inference import bootstrap, delong
from crosstype.evaluation.metrics.metrics import MACRO, MICRO, MetricKey
from crosstype.evaluation.metrics.probability import BIASED_UPWARDS, calibrated_error
from crosstype.evaluation.predictions import ModelPredictions, Predictions
from crosstype.evaluation.spec import EvaluationSpec


@dataclass(frozen=True)
class IntervalInputs:
    """Inputs of a model's intervals, besides the resamples.

    Attributes:
        aurocs: each AUROC with each patient's influence.
        calibrated: upper limit of the calibration error of calibrated probabilities, by row.
        spec: level and kind of the intervals.
    """

    aurocs: Mapping[MetricKey, delong.Auroc]
    calibrated: Mapping[MetricKey, float]
    spec: EvaluationSpec

    def interval(
        self, key: MetricKey, values: Float[np.ndarray, " n_resamples"]
    ) -> bootstrap.Interval:
        """Return the interval of a row.

        AUROC: DeLong's (see `delong.auroc_interval`), unless the bootstrap was set. The
        calibration error, reliability and resolution, which are biased upwards: the mirrored
        bootstrap; that of the calibration error begins at 0 if calibrated probabilities often show
        as much. All others: percentiles.

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
        return bootstrap.Interval(0.0 if values[0] <= self.calibrated.get(key, -1.0) else low, high)


def interval_inputs(
    predictions: Predictions, model: ModelPredictions, spec: EvaluationSpec
) -> IntervalInputs:
    """Return the inputs of a model's intervals."""
    of_class = {
        of: np.ascontiguousarray(model.probability[:, :, index])
        for index, of in enumerate(predictions.classes)
    }
    calibrated = {
        MetricKey("ece", of): calibrated_error(p, spec.confidence) for of, p in of_class.items()
    }
    calibrated[MetricKey("ece", MACRO)] = float(np.mean(list(calibrated.values())))
    return IntervalInputs(aurocs_of(predictions, model), calibrated, spec)


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
