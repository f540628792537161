"""What a user may set about metrics and intervals."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from crosstype.types import Between


@dataclass(frozen=True)
class EvaluationSpec:
    """How predictions are evaluated."""

    n_bootstrap: Annotated[int, Between(100, 1_000_000)] = 2000
    """Number of bootstrap resamples of the patients behind each interval."""

    confidence: Annotated[float, Between(0.5, 0.999)] = 0.95
    """Level of every interval, between 0 and 1."""

    auroc_interval: Literal["delong", "bootstrap"] = "delong"
    """Where an AUROC's interval comes from: `delong` (each patient's share in it; holds its level
    up to an AUROC of 1) or `bootstrap` (percentiles, too narrow near 1)."""

    abstain_below: Annotated[float, Between(0, 1)] = 0.0
    """Confidence (the highest probability) below which a patient counts as abstained in
    OUT/coverage.csv and the report, 0 to 1; predictions.csv does not change. 0: never."""

    n_shuffles: Annotated[int, Between(0, 1000)] = 5
    """How often a modality is shuffled between test patients to measure its use."""

    rna_loss: bool = False
    """Study each model's predictions when expression is lost at test time, in several patterns:
    OUT/rna_loss.csv."""

    n_perturbations: Annotated[int, Between(1, 1000)] = 20
    """Random draws at each level of that study."""

    other_expression: Path | None = None
    """Another assay's expression of the same patients, for that study: models predict from it
    without having learned from it. Its unit is recognised by itself."""
