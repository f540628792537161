"""Temperature scaling and decision thresholds, fitted on inner validation patients.

The logits are cross-fitted: none comes from a model that was trained on that patient. Test patients
are never used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from crosstype.training.fit import probabilities_of
from crosstype.training.missingness import MissingnessPattern
from crosstype.training.spec import TrainingSpec

LEAST_PATIENTS = 20
"""With fewer validation patients, or a class without any, there is no calibration."""
MOST_POWER = 3.0
"""The temperature lies between exp(-3) and exp(3), about 1/20 and 20."""
GRID = np.linspace(-3.0, 3.0, 121)
"""Candidate offsets of log-probabilities."""
SMOOTHING = 0.5
"""Standard deviation, in offsets, of the Gaussian that smooths the gain, a step function whose
maximum is noisy."""
MOST_ROUNDS = 10
LEAST_PROBABILITY = 1e-12

Targets = Int[np.ndarray, " patients"]
Probabilities = Float[np.ndarray, "patients classes"]
Gains = Float[np.ndarray, " candidates"]


@dataclass(frozen=True)
class Calibration:
    """Temperatures and decision thresholds of a classifier.

    Attributes:
        temperatures: divisor of the logits for each missingness pattern; above 1 means less
            confident. A pattern without one has 1.
        offsets: added to the log-probabilities of the classes before argmax; empty: none.
        n: validation patients that both were fitted on; 0: no calibration.
    """

    temperatures: Mapping[MissingnessPattern, float] = field(default_factory=dict)
    offsets: tuple[float, ...] = ()
    n: int = 0

    @property
    def temperature(self) -> float:
        """Temperature where nothing is missing."""
        return self.temperatures.get(MissingnessPattern.WHOLE, 1.0)

    def apply(
        self, logits: Float[Tensor, "patients logits"], patterns: Sequence[str]
    ) -> Float[Tensor, "patients logits"]:
        """Return each patient's logits divided by the temperature of their missingness pattern.

        Ranks among patients of one pattern do not change.
        """
        if not self.temperatures:
            return logits
        each = [[self.temperatures.get(MissingnessPattern(one), 1.0)] for one in patterns]
        return logits.double() / torch.tensor(each, dtype=torch.float64).reshape(-1, 1)

    def choose(self, probabilities: Probabilities) -> Targets:
        """Return each patient's predicted class; a tie goes to the earlier class."""
        if not self.offsets:
            return np.asarray(probabilities.argmax(axis=1))
        return np.asarray((_log(probabilities) + np.array(self.offsets)).argmax(axis=1))

    @property
    def threshold(self) -> float | None:
        """Probability above which the second of two classes is predicted; None for more classes."""
        if len(self.offsets) > 2:
            return None
        difference = self.offsets[1] - self.offsets[0] if self.offsets else 0.0
        return 1 / (1 + math.exp(difference))

    def state(self) -> dict[str, Any]:
        """Return a JSON-able state for `from_state`."""
        return {
            "temperatures": dict(self.temperatures),
            "offsets": list(self.offsets),
            "n": self.n,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Calibration:
        """Return the calibration of `state`; an empty state (older checkpoints) is the identity."""
        temperatures = {
            MissingnessPattern(k): float(v) for k, v in state.get("temperatures", {}).items()
        }
        offsets = tuple(float(one) for one in state.get("offsets", ()))
        return cls(temperatures, offsets, int(state.get("n", 0)))


def calibrate(
    logits: Mapping[MissingnessPattern, Float[Tensor, "patients logits"]],
    targets: Targets,
    spec: TrainingSpec,
) -> Calibration:
    """Fit temperatures and thresholds, as set.

    Each missingness pattern has its own temperature, since that of complete data would leave
    predictions from poor expression overconfident. Thresholds are fitted on complete data.

    Args:
        logits: of inner validation patients in each missingness pattern; one column for two
            classes, else one per class.
        targets: their classes.
        spec: `calibration` and `threshold`.

    Returns:
        The identity with fewer than `LEAST_PATIENTS` patients or a class without any.
    """
    whole = logits[MissingnessPattern.WHOLE]
    counts = np.bincount(targets, minlength=max(2, whole.shape[1]))
    wanted = spec.calibration != "none" or spec.threshold != "argmax"
    if not wanted or len(targets) < LEAST_PATIENTS or not counts.all():
        return Calibration()
    temperatures = {}
    if spec.calibration == "temperature":
        temperatures = {pattern: fit_temperature(one, targets) for pattern, one in logits.items()}
    found = Calibration(temperatures, n=len(targets))
    if spec.threshold == "argmax":
        return found
    calibrated = probabilities_of(found.apply(whole, [MissingnessPattern.WHOLE] * len(targets)))
    return replace(found, offsets=choose_offsets(calibrated, targets, GAINS[spec.threshold]))


def fit_temperature(logits: Float[Tensor, "patients logits"], targets: Targets) -> float:
    """Return the temperature, between 1/20 and 20, of lowest unweighted log loss.

    Temperature scaling (Guo et al. 2017, arXiv 1706.04599). The log loss is convex in the inverse
    temperature, so the minimum is global.
    """
    from scipy.optimize import minimize_scalar

    exact, truth = logits.double(), torch.from_numpy(targets)
    if exact.shape[1] == 1:
        exact = torch.cat([torch.zeros_like(exact), exact], dim=1)

    def loss(power: float) -> float:
        return float(torch.nn.functional.cross_entropy(exact * math.exp(power), truth))

    found = minimize_scalar(loss, bounds=(-MOST_POWER, MOST_POWER), method="bounded")
    return math.exp(-float(found.x))


def choose_offsets(
    probabilities: Probabilities,
    targets: Targets,
    gain: Callable[[Float[np.ndarray, "candidates classes classes"]], Gains],
) -> tuple[float, ...]:
    """Return one offset per class that maximises the gain of the predicted classes.

    Coordinate ascent on the smoothed gain over a grid; among equal maxima the middle one. With two
    classes only the second class's offset is free: a threshold. With more classes the offsets have
    a mean of 0.

    Args:
        probabilities: of the patients.
        targets: their classes.
        gain: of confusion matrices, rows being true classes; higher is better.
    """
    log = _log(probabilities)
    n_classes = log.shape[1]
    offsets = np.zeros(n_classes)
    for _ in range(MOST_ROUNDS):
        before = offsets.copy()
        for index in range(1 if n_classes == 2 else 0, n_classes):
            candidates = np.repeat(offsets[None], len(GRID), axis=0)
            candidates[:, index] = GRID
            offsets[index] = GRID[_best(gain(_confusions(log, targets, candidates)))]
        if n_classes > 2:
            offsets -= offsets.mean()
        if np.allclose(offsets, before):
            break
    return tuple(float(one) for one in offsets)


def _confusions(
    log: Probabilities, targets: Targets, candidates: Float[np.ndarray, "candidates classes"]
) -> Float[np.ndarray, "candidates classes classes"]:
    """Return the confusion matrix under each set of offsets."""
    n_classes = log.shape[1]
    cells = np.eye(n_classes**2)
    found = [
        cells[targets * n_classes + (log + offsets).argmax(axis=1)].sum(axis=0)
        for offsets in candidates
    ]
    return np.stack(found).reshape(-1, n_classes, n_classes)


def _best(gains: Gains) -> int:
    """Return the index of the highest smoothed gain, the middle of the longest run of them."""
    from scipy.ndimage import gaussian_filter1d

    smooth = gaussian_filter1d(gains, SMOOTHING / float(GRID[1] - GRID[0]), mode="nearest")
    indices = np.flatnonzero(smooth >= smooth.max() - 1e-9)
    runs = np.split(indices, np.flatnonzero(np.diff(indices) > 1) + 1)
    longest = max(runs, key=len)
    return int(longest[len(longest) // 2])


def _mean_recall(matrix: Float[np.ndarray, "candidates c c"]) -> Gains:
    """Return the mean recall over classes; for two classes (J + 1) / 2."""
    hits = np.diagonal(matrix, axis1=1, axis2=2)
    found: Gains = (hits / np.maximum(matrix.sum(axis=2), 1)).mean(axis=1)
    return found


def _macro_f1(matrix: Float[np.ndarray, "candidates c c"]) -> Gains:
    """Return the mean F1 over classes."""
    hits = np.diagonal(matrix, axis1=1, axis2=2)
    found: Gains = (2 * hits / np.maximum(matrix.sum(axis=1) + matrix.sum(axis=2), 1)).mean(axis=1)
    return found


def _log(probabilities: Probabilities) -> Probabilities:
    return np.asarray(np.log(np.maximum(probabilities, LEAST_PROBABILITY)))


GAINS = {"youden": _mean_recall, "f1": _macro_f1}
"""Youden's J (Youden 1950) is sensitivity + specificity - 1; with more classes, mean recall."""
