"""Honest probabilities and chosen thresholds, from what was said of inner validation patients.

Nothing here sees a test patient: logits and targets are those of the inner validation patients, and
no logit comes from a line or a network that was taught by the patient it is about.
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
"""With fewer validation patients, or a class without any, nothing is learned from them."""
MOST_POWER = 3.0
"""The temperature lies between exp(-3) and exp(3), about 1/20 and 20."""
GRID = np.linspace(-3.0, 3.0, 121)
"""Offsets that are tried, on the scale of log-probabilities."""
SMOOTHING = 0.5
"""Standard deviation of the Gaussian that smooths what is best over offsets: single patients make
steps, and the highest step is chance."""
MOST_ROUNDS = 10
LEAST_PROBABILITY = 1e-12

Targets = Int[np.ndarray, " patients"]
Probabilities = Float[np.ndarray, "patients classes"]
Gains = Float[np.ndarray, " candidates"]


@dataclass(frozen=True)
class Calibration:
    """What a classifier's logits are divided by, and how a class is called.

    Attributes:
        temperatures: logits of a patient in that regime are divided by it; above 1 makes the
            classifier less sure. A regime that is not there stays as it is.
        offsets: added to the log-probabilities of the classes before the highest is called; empty:
            the highest probability is called.
        n: validation patients behind both; 0: nothing was learned.
    """

    temperatures: Mapping[MissingnessPattern, float] = field(default_factory=dict)
    offsets: tuple[float, ...] = ()
    n: int = 0

    @property
    def temperature(self) -> float:
        """Temperature where data are whole."""
        return self.temperatures.get(MissingnessPattern.WHOLE, 1.0)

    def apply(
        self, logits: Float[Tensor, "patients logits"], patterns: Sequence[str]
    ) -> Float[Tensor, "patients logits"]:
        """Return each patient's logits divided by the temperature of his regime.

        Who ranks above whom among patients of one regime does not change.
        """
        if not self.temperatures:
            return logits
        each = [[self.temperatures.get(MissingnessPattern(one), 1.0)] for one in patterns]
        return logits.double() / torch.tensor(each, dtype=torch.float64).reshape(-1, 1)

    def choose(self, probabilities: Probabilities) -> Targets:
        """Return the class that each patient is called; a tie goes to the earlier class."""
        if not self.offsets:
            return np.asarray(probabilities.argmax(axis=1))
        return np.asarray((_log(probabilities) + np.array(self.offsets)).argmax(axis=1))

    @property
    def threshold(self) -> float | None:
        """Probability above which the second of two classes is called; None for more classes."""
        if len(self.offsets) > 2:
            return None
        unlabelled = self.offsets[1] - self.offsets[0] if self.offsets else 0.0
        return 1 / (1 + math.exp(unlabelled))

    def state(self) -> dict[str, Any]:
        """Return what JSON can hold and `from_state` understands."""
        return {
            "temperatures": dict(self.temperatures),
            "offsets": list(self.offsets),
            "n": self.n,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Calibration:
        """Return what `state` gave; an empty state, of an older checkpoint, changes nothing."""
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
    """Learn temperatures and threshold, as far as the settings ask for them.

    A temperature for each regime: where expression is poor a classifier is less sure of itself for
    another reason, and the temperature of whole data would make it too sure. The threshold is
    chosen where data are whole.

    Args:
        logits: of inner validation patients in each regime that was practised, one for two classes,
            else one per class.
        targets: their classes.
        spec: `calibration` and `threshold`.

    Returns:
        What leaves everything as it is with fewer than `LEAST_PATIENTS` patients or a class without
        any.
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
    said = probabilities_of(found.apply(whole, [MissingnessPattern.WHOLE] * len(targets)))
    return replace(found, offsets=choose_offsets(said, targets, GAINS[spec.threshold]))


def fit_temperature(logits: Float[Tensor, "patients logits"], targets: Targets) -> float:
    """Return the temperature of least log loss, every patient counting the same.

    Temperature scaling (Guo et al. 2017, arXiv 1706.04599). The log loss is convex in the inverse
    temperature, so the least is the only one; it is sought between 1/20 and 20.
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
    """Return one offset per class, with which calls gain most on these patients.

    One class after the other is given the offset of the highest smoothed gain, until none changes
    (coordinate ascent). With two classes only the second one's is free: a threshold. Where several
    are best, the middle one is taken. With more classes the offsets have a mean of 0.

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
        for place in range(1 if n_classes == 2 else 0, n_classes):
            tried = np.repeat(offsets[None], len(GRID), axis=0)
            tried[:, place] = GRID
            offsets[place] = GRID[_best(gain(_confusions(log, targets, tried)))]
        if n_classes > 2:
            offsets -= offsets.mean()
        if np.allclose(offsets, before):
            break
    return tuple(float(one) for one in offsets)


def _confusions(
    log: Probabilities, targets: Targets, tried: Float[np.ndarray, "candidates classes"]
) -> Float[np.ndarray, "candidates classes classes"]:
    """Return the confusion matrix under each set of offsets."""
    n_classes = log.shape[1]
    cells = np.eye(n_classes**2)
    found = [
        cells[targets * n_classes + (log + offsets).argmax(axis=1)].sum(axis=0) for offsets in tried
    ]
    return np.stack(found).reshape(-1, n_classes, n_classes)


def _best(gains: Gains) -> int:
    """Return the place of the highest smoothed gain, the middle of the longest run of them."""
    from scipy.ndimage import gaussian_filter1d

    smooth = gaussian_filter1d(gains, SMOOTHING / float(GRID[1] - GRID[0]), mode="nearest")
    places = np.flatnonzero(smooth >= smooth.max() - 1e-9)
    runs = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
    longest = max(runs, key=len)
    return int(longest[len(longest) // 2])


def _mean_recall(matrix: Float[np.ndarray, "candidates c c"]) -> Gains:
    """Return the mean over classes of the share found; for two classes (J + 1) / 2."""
    hits = np.diagonal(matrix, axis1=1, axis2=2)
    found: Gains = (hits / np.maximum(matrix.sum(axis=2), 1)).mean(axis=1)
    return found


def _macro_f1(matrix: Float[np.ndarray, "candidates c c"]) -> Gains:
    """Return the mean over classes of F1."""
    hits = np.diagonal(matrix, axis1=1, axis2=2)
    found: Gains = (2 * hits / np.maximum(matrix.sum(axis=1) + matrix.sum(axis=2), 1)).mean(axis=1)
    return found


def _log(probabilities: Probabilities) -> Probabilities:
    return np.asarray(np.log(np.maximum(probabilities, LEAST_PROBABILITY)))


GAINS = {"youden": _mean_recall, "f1": _macro_f1}
"""Youden's J (Youden 1950) is sensitivity + specificity - 1; with more classes, mean recall."""
