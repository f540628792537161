"""A linear model on all modalities, from which the networks start.

On cohorts of a hundred patients and thousands of genes a ridge-penalised line is hard to beat, and
a network that has to find it by gradient descent finds it badly. So the line is fitted first, and
the networks learn what it leaves unexplained. They see honest errors: the line's logits of a
training patient come from a line fitted on the other inner folds (cross-fitting). How far the
networks' correction is then trusted is decided on the same inner folds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from crosstype.terms import Modality
from crosstype.training.bags import Patients
from crosstype.training.classifiers import below
from crosstype.training.gene_programs import GenePrograms, learn_programs
from crosstype.training.preparation import Preparation

# Chosen on patients of other sites than A2; see docs/decisions/0003-linear-start.md.
STRENGTH = {Modality.GENES: 10.0, Modality.IMAGE: 5.0}
IMAGE_WEIGHT_BESIDE_GENES = 0.5
CLINICAL_WEIGHT = 0.5
"""As the image's beside genes; not tuned, for want of clinical covariates to tune it on."""
SPREAD_WEIGHT = 0.5
IMAGE_ALONE_WEIGHT = 0.5
"""Weight of what the image says by itself where no gene was measured; decision 0005."""
TRUSTS = (0.25, 0.5, 0.75, 1.0)
N_STANDARD_ERRORS = 2.0

Logits = Float[np.ndarray, "patients logits"]
Inputs = Float[np.ndarray, "patients columns"]


@dataclass(frozen=True)
class LinearStart:
    """A fitted line.

    Attributes:
        uses: modalities it sees; the same as its network's.
        weight: logits x columns, genes first, then image, then clinical covariates.
        bias: logits.
        programs: what it goes by where genes were not measured; None if it sees no genes.
        image_alone: a line over the image, heard as far as genes are missing; None if it does not
            see both.
    """

    uses: frozenset[Modality]
    weight: Float[np.ndarray, "logits columns"]
    bias: Float[np.ndarray, " logits"]
    programs: GenePrograms | None = None
    image_alone: LinearStart | None = None

    def logits(self, patients: Patients, preparation: Preparation) -> Logits:
        """Return the line's logits; one per patient for two classes, else one per class.

        For a patient with unmeasured genes: what the line is expected to say given the measured
        genes and the image, drawn towards 0 as far as that is uncertain (MacKay 1992, The evidence
        framework applied to classification networks: logit / sqrt(1 + pi variance / 8)). To that
        is added what the image says by itself, weighted by the share of the line that the
        measured genes leave open.
        """
        genes, images = line_inputs(patients, preparation, self.uses)
        others = _with_clinical(images, patients, preparation, self.uses)
        inputs = np.concatenate([np.nan_to_num(genes), others], axis=1)
        logits: Logits = inputs @ self.weight.T + self.bias
        lacking = np.isnan(genes).any(axis=1)
        if self.programs is None or not lacking.any():
            return logits
        n_genes = genes.shape[1]
        line = self.weight[:, :n_genes]
        expected, variance = self.programs.logits(line, genes[lacking], images[lacking])
        seen = expected + others[lacking] @ self.weight[:, n_genes:].T + self.bias
        logits[lacking] = seen / np.sqrt(1 + np.pi * variance / 8)
        if self.image_alone is not None:
            nothing = np.full((1, n_genes), np.nan)
            _, most = self.programs.logits(line, nothing, images[:1])
            alone = self.image_alone.logits(patients.take(np.flatnonzero(lacking)), preparation)
            left_open = variance / np.maximum(most, 1e-12)
            logits[lacking] += IMAGE_ALONE_WEIGHT * left_open * alone
        return logits

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what `from_arrays` understands."""
        parts = {"programs": self.programs, "image_alone": self.image_alone}
        named = {
            f"{name}.{key}": value
            for name, part in parts.items()
            if part is not None
            for key, value in part.arrays().items()
        }
        return {"weight": self.weight, "bias": self.bias, **named}

    @classmethod
    def from_arrays(cls, uses: frozenset[Modality], arrays: dict[str, np.ndarray]) -> LinearStart:
        """Return what `arrays` gave."""
        programs, alone = (below(arrays, name) for name in ("programs.", "image_alone."))
        image = frozenset({Modality.IMAGE})
        return cls(
            uses,
            arrays["weight"],
            arrays["bias"],
            GenePrograms.from_arrays(programs) if programs else None,
            cls.from_arrays(image, alone) if alone else None,
        )


def fit_line(
    patients: Patients, preparation: Preparation, uses: Collection[Modality]
) -> LinearStart:
    """Fit the line, and what it goes by where genes are missing, on training patients."""
    kept = frozenset(uses)
    genes, images = line_inputs(patients, preparation, kept)
    others = _with_clinical(images, patients, preparation, kept)
    inputs = np.concatenate([np.nan_to_num(genes), others], axis=1)
    weight, bias = _fit(inputs, patients.targets, kept)
    programs = learn_programs(genes, images) if Modality.GENES in kept else None
    both = {Modality.GENES, Modality.IMAGE} <= kept
    alone = fit_line(patients, preparation, {Modality.IMAGE}) if both else None
    return LinearStart(kept, weight, bias, programs, alone)


def choose_trust(
    start: Float[Tensor, "patients logits"],
    correction: Float[Tensor, "patients logits"],
    losses_of: Callable[[Tensor], Float[Tensor, " patients"]],
) -> float:
    """Return which share of the networks' correction to keep, 0 to 1.

    The share with the lowest loss on patients that neither line nor network was fitted on, if it
    lowers the loss by more than two standard errors of the paired differences, else 0 (after the
    standard error rule of Breiman et al. 1984): without evidence the simpler model stays. Both
    sides are judged at their best temperature, so that mere confidence earns no trust.
    """
    plain = losses_of(_at_best_temperature(start, losses_of))
    best, trust = 0.0, 0.0
    for share in TRUSTS:
        corrected = start + share * correction
        gain = plain - losses_of(_at_best_temperature(corrected, losses_of))
        error = N_STANDARD_ERRORS * float(gain.std(unbiased=True)) / len(gain) ** 0.5
        if float(gain.mean()) > max(best, error):
            best, trust = float(gain.mean()), share
    return trust


def _at_best_temperature(
    logits: Float[Tensor, "patients logits"], losses_of: Callable[[Tensor], Tensor]
) -> Float[Tensor, "patients logits"]:
    """Return the logits times the factor, 1/20 to 20, that makes them fit best.

    Temperature scaling (Guo et al. 2017, arXiv 1706.04599); a ridge penalty shrinks logits.
    """
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda power: float(losses_of(logits * math.exp(power)).mean()),
        bounds=(-3.0, 3.0),
        method="bounded",
    )
    return logits * math.exp(float(found.x))


def line_inputs(
    patients: Patients, preparation: Preparation, uses: frozenset[Modality]
) -> tuple[Float[np.ndarray, "patients genes"], Float[np.ndarray, "patients columns"]]:
    """Return centred log expression, and tile means and spreads; each block of unit variance.

    Unmeasured genes are NaN; a modality that is not used has no columns. Expression is not divided
    by each gene's spread here: genes that vary more say more.
    """
    genes = images = np.zeros((len(patients), 0))
    if Modality.GENES in uses:
        spread = preparation.gene_spread.astype(np.float64)
        size = np.sqrt((spread**2).sum()) or 1.0
        genes = preparation.measured_genes(patients.genes) * (spread / size)
    if Modality.IMAGE in uses:
        summary = preparation.bag_summary(patients).astype(np.float64)
        n_features = summary.shape[1] // 2
        summary[:, n_features:] *= SPREAD_WEIGHT
        weight = IMAGE_WEIGHT_BESIDE_GENES if Modality.GENES in uses else 1.0
        images = summary * (weight / np.sqrt(n_features))
    return genes, images


def _with_clinical(
    images: Inputs, patients: Patients, preparation: Preparation, uses: frozenset[Modality]
) -> Float[np.ndarray, "patients others"]:
    """Return the image block with the clinical one beside it, if it is used and there is any."""
    if Modality.CLINICAL not in uses or preparation.covariates is None:
        return images
    columns = preparation.clinical(patients).astype(np.float64)
    return np.concatenate(
        [images, columns * (CLINICAL_WEIGHT / preparation.covariates.spread)], axis=1
    )


def _fit(
    inputs: Inputs, targets: Int[np.ndarray, " patients"], uses: frozenset[Modality]
) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.linear_model import LogisticRegression

    strength = STRENGTH[Modality.GENES if Modality.GENES in uses else Modality.IMAGE]
    line = LogisticRegression(C=strength, class_weight="balanced", max_iter=5000)
    line.fit(inputs, targets)
    return line.coef_, line.intercept_
