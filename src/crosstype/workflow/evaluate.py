"""The evaluate stage: metrics, comparisons and tests of the predictions."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from crosstype.cohort.subgroups import SUBGROUPS
from crosstype.evaluation.evaluate import evaluate
from crosstype.workflow.stage import Stage, mark
from crosstype.workflow.train import MARKED, PERTURBED

ROBUSTNESS = ("rna_loss.csv", "rna_loss_comparisons.csv")
EVALUATED = (
    *("metrics.csv", "comparisons.csv", "tests.csv", "modality_use.csv", "coverage.csv"),
    *("calibration_curve.csv", "decision_curve.csv", "subgroups.csv"),
)


class Evaluate(Stage):
    """Evaluate the predictions: the tables of `EVALUATED`, and of `ROBUSTNESS` if studied."""

    name = "evaluate"
    modules = ("crosstype.evaluation.evaluate",)

    def settings(self) -> Any:
        """Return the settings, the classes, the seed and the protocol."""
        spec = self.of.spec
        # rna_loss.npz holds what the other table says.
        evaluation = replace(spec.evaluation, other_expression=None)
        return [evaluation, self.of.classes, spec.folds.seed, self.of.protocol]

    def inputs(self) -> dict[str, Path]:
        """Return the tables of predictions that are there."""
        names = (*MARKED[:2], PERTURBED, SUBGROUPS)
        return {name: self.of.out / name for name in names if (self.of.out / name).exists()}

    def outputs(self) -> list[str]:
        """Return the tables of metrics."""
        return [*EVALUATED, *(ROBUSTNESS if self.of.spec.evaluation.rna_loss else ())]

    def run(self) -> Mapping[str, Any]:
        """Write the tables."""
        spec, out = self.of.spec, self.of.out
        for name in ROBUSTNESS:  # of an earlier run that made the study
            (out / name).unlink(missing_ok=True)
        evaluate(out, spec.evaluation, self.of.classes, spec.folds.seed)
        mark(self.of, (*EVALUATED, *ROBUSTNESS))
        return {}
