"""The evaluate stage: metrics, comparisons and tests of the predictions."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from crosstype.cohort.subgroups import SUBGROUPS
from crosstype.evaluation.evaluate import evaluate
from crosstype.io import schema
from crosstype.workflow.stage import Stage
from crosstype.workflow.train import PERTURBED

ROBUSTNESS = (schema.RNA_LOSS, schema.RNA_LOSS_COMPARISONS)
EVALUATED = (
    *(schema.METRICS, schema.COMPARISONS, schema.TESTS, schema.MODALITY_USE, schema.COVERAGE),
    *(schema.CALIBRATION_CURVE, schema.DECISION_CURVE, schema.SUBGROUPS),
)


class Evaluate(Stage):
    """Evaluate the predictions: the tables of `EVALUATED`, and of `ROBUSTNESS` if studied."""

    name = "evaluate"
    modules = ("crosstype.evaluation.evaluate",)

    def settings(self) -> Any:
        """Return the settings, the classes, the seed and the protocol."""
        spec = self.of.spec
        # rna_loss.npz holds the values of the other table.
        evaluation = replace(spec.evaluation, other_expression=None)
        return [evaluation, self.of.classes, spec.folds.seed, self.of.protocol]

    def inputs(self) -> dict[str, Path]:
        """Return the tables of predictions that are there."""
        predictions = (schema.PREDICTIONS.name, schema.STRESSED_PREDICTIONS.name)
        names = (*predictions, PERTURBED, SUBGROUPS)
        return {name: self.of.out / name for name in names if (self.of.out / name).exists()}

    def outputs(self) -> list[str]:
        """Return the tables of metrics."""
        study = ROBUSTNESS if self.of.spec.evaluation.rna_loss else ()
        return [table.name for table in (*EVALUATED, *study)]

    def run(self) -> Mapping[str, Any]:
        """Write the tables."""
        spec, out = self.of.spec, self.of.out
        for table in ROBUSTNESS:  # of an earlier run that made the study
            (out / table.name).unlink(missing_ok=True)
        evaluate(out, spec.evaluation, self.of.classes, spec.folds.seed)
        return {"summary": "metrics, comparisons, modality use"}
