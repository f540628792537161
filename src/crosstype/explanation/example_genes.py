"""Expression before and after each step of one fold's fitted preprocessing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from crosstype.cohort.preprocess import OutlierRemover
from crosstype.explanation.out_of_fold import HeldOut
from crosstype.training.bags import Patients

N_PATIENTS = 10
QUANTILES = {"low": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "high": 0.95}
Z = "standardise"
BEFORE = {"ranks": "normal scores of ranks", "shift_log": "log(1 + x)", "scaled": "scaled amounts"}

Values = Float[np.ndarray, "patients genes"]


@dataclass(frozen=True)
class Fitted:
    """One fold's fitted preprocessing, as its models have it.

    Attributes:
        held: a model of the fold, with its test patients.
        teachers: on whom the preprocessing was fitted.
        genes: names of the table's genes.
        factor: of the interquartile fences.
        on_everyone: whether test patients are among the teachers: a leak.
    """

    held: HeldOut
    teachers: Patients
    genes: Sequence[str]
    factor: float
    on_everyone: bool

    @property
    def pipeline(self) -> Any:
        """Return the fitted steps."""
        return self.held.classifier.preparation.expression

    @property
    def kept_genes(self) -> list[str]:
        """Return the names of the genes that the fitted steps keep."""
        places = np.flatnonzero(self.held.classifier.preparation.kept)
        return [self.genes[int(place)] for place in places]

    def before(self, patients: Patients) -> Values:
        """Return kept genes as they are before z-scoring."""
        place = list(self.pipeline.named_steps).index(Z)
        steps = self.pipeline[:place]
        return np.asarray(steps.transform(patients.genes) if place else patients.genes)

    def both(self, patients: Patients) -> tuple[Values, Values]:
        """Return kept genes before z-scoring, and their z-scores."""
        before = self.before(patients)
        return before, np.asarray(self.pipeline.named_steps[Z].transform(before))

    def standardised(self, patients: Patients) -> Values:
        """Return kept genes' z-scores."""
        return self.both(patients)[1]

    @cached_property
    def removes(self) -> bool:
        """Whether this run takes outliers away."""
        return "outliers" in self.pipeline.named_steps

    @cached_property
    def remover(self) -> OutlierRemover:
        """Return the run's outlier removal; where it has none, the one that it would have."""
        if self.removes:
            fitted: OutlierRemover = self.pipeline.named_steps["outliers"]
            return fitted
        return OutlierRemover(self.factor).fit(self.standardised(self.teachers))


@dataclass(frozen=True)
class GeneExamples:
    """Tables of some test patients' expression, step by step.

    Attributes:
        fitted: the fold's preprocessing.
        chosen: the genes that are shown, as places among the kept ones.
    """

    fitted: Fitted
    chosen: Sequence[int]

    @property
    def patients(self) -> Patients:
        """Return the fold's test patients."""
        return self.fitted.held.patients

    def profile(self, patient_id: str) -> pl.DataFrame:
        """Return a patient's whole profile, gene by gene in the table's order: gene, z, is_chosen.

        `rank` is the place among the genes that are shown by name, from 1; empty: not shown.
        """
        names = self.fitted.kept_genes
        rank: list[int | None] = [None] * len(names)
        for number, place in enumerate(self.chosen, start=1):
            rank[place] = number
        z = self.fitted.standardised(self.patients.select([patient_id]))[0]
        columns = {"gene": names, "z": z.astype(np.float64), "rank": rank}
        kinds = {"gene": pl.String, "z": pl.Float64, "rank": pl.Int64}
        return pl.DataFrame(columns, schema=kinds).with_columns(pl.col("z").fill_nan(None))

    def spread(self) -> pl.DataFrame:
        """Return quantiles of the shown genes before and after z-scoring, by who they are of."""
        rows = []
        for who, patients in (("training", self.fitted.teachers), ("test", self.patients)):
            for step, values in self._both(patients):
                for place in self.chosen:
                    known = values[:, place][~np.isnan(values[:, place])]
                    found = np.quantile(known, list(QUANTILES.values())) if len(known) else None
                    ends = [None] * len(QUANTILES) if found is None else found.tolist()
                    rows.append((self.fitted.kept_genes[place], step, who, len(known), *ends))
        text, numbers = ("gene", "step", "who"), dict.fromkeys(QUANTILES, pl.Float64)
        schema = {**dict.fromkeys(text, pl.String), "n": pl.Int64, **numbers}
        return pl.DataFrame(rows, schema=schema, orient="row")

    def steps(self) -> pl.DataFrame:
        """Return the shown genes of the first test patients, before and after each step."""
        patients = self.patients.take(np.arange(min(N_PATIENTS, len(self.patients))))
        steps = dict(self._both(patients))
        steps["outliers"] = self.fitted.remover.transform(steps["z"])
        rows = [
            (
                patient,
                patients.classes[patients.targets[row]],
                self.fitted.kept_genes[place],
                *(float(values[row, place]) for values in steps.values()),
            )
            for row, patient in enumerate(patients.ids)
            for place in self.chosen
        ]
        names = ("before", "z", "without_outliers")
        schema = dict.fromkeys(("patient_id", "label", "gene"), pl.String)
        whole = pl.DataFrame(rows, schema=schema | dict.fromkeys(names, pl.Float64), orient="row")
        return whole.with_columns(pl.col(names).fill_nan(None))

    def facts(self, sample: str) -> dict[str, str]:
        """Return what must be said of the sample patient and of the preprocessing."""
        steps = self.fitted.pipeline.named_steps
        words = [text for name, text in BEFORE.items() if name in steps]
        job = self.fitted.held.job
        target = self.patients.targets[self.patients.ids.index(sample)]
        return {
            "label": self.patients.classes[target],
            "repeat": str(job.repeat),
            "fold": str(job.fold),
            "n_training": str(len(self.fitted.teachers)),
            "fitted_on": "everyone" if self.fitted.on_everyone else "training",
            "before": words[0] if words else "as in the table",
            "removes_outliers": "yes" if self.fitted.removes else "no",
            "outlier_factor": f"{self.fitted.factor:g}",
        }

    def _both(self, patients: Patients) -> list[tuple[str, Values]]:
        return list(zip(("before", "z"), self.fitted.both(patients), strict=True))
