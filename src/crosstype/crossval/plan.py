"""The jobs of a cross-validation and their settings; small enough to send to a worker."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from crosstype.expression.genes.sets import GeneSets
from crosstype.expression.spec import ExpressionSpec
from crosstype.folds.folds import Fold
from crosstype.io.files import hash_of
from crosstype.models.catalog import NETWORKS
from crosstype.models.spec import ModelSpec
from crosstype.protocol import Protocol
from crosstype.robustness.study import RobustnessStudy
from crosstype.training.spec import TrainingSpec


@dataclass(frozen=True, order=True)
class Job:
    """One model on one fold of one repeat."""

    repeat: int
    fold: int
    model: str


@dataclass(frozen=True)
class Plan:
    """Settings of the jobs; small, so that they can be sent to a worker.

    Attributes:
        out: folder of the run; cohort.csv, expression.npz and folds.csv stand there.
        classes: names of the classes, in order.
        slides: feature files of each patient of the cohort.
        protocol: of the cross-validation.
        expression: expression settings.
        model: sizes of the networks.
        training: training settings, those of the protocol already put in.
        seed: from which all chance derives.
        n_shuffles: how often each modality is shuffled between test patients.
        study: the losses of expression at test time; None: the study is not made.
        inputs: one hash over cohort, expression and features.
        gene_sets: what cross-attention's gene tokens are made of; None: learned programs.
        has_covariates: whether covariates.csv stands there too.
        code: hash of the code that jobs run.
    """

    out: Path
    classes: tuple[str, ...]
    slides: Mapping[str, tuple[Path, ...]]
    protocol: Protocol
    expression: ExpressionSpec
    model: ModelSpec
    training: TrainingSpec
    seed: int
    n_shuffles: int
    study: RobustnessStudy | None
    inputs: str
    gene_sets: GeneSets | None = None
    has_covariates: bool = False
    code: str = ""

    def checkpoint(self, job: Job) -> Path:
        """Return where the job's model is kept."""
        return self.out / "models" / job.model / f"{job.repeat}_{job.fold}.safetensors"

    def record(self, job: Job) -> Path:
        """Return where the job's predictions and curves are kept."""
        return self.checkpoint(job).with_suffix(".json")

    def losses(self, job: Job) -> Path:
        """Return where the job's predictions under loss of genes are kept."""
        return self.checkpoint(job).with_suffix(".loss.npy")

    def journal(self, job: Job, fold: Fold) -> Path:
        """Return where the trials of the job's search are kept.

        Another plan has another file; a larger budget goes on with the same one.
        """
        unlimited = replace(self.training, search_minutes=0.0, search_trials=0)
        place = replace(self, training=unlimited).hash_of(job, fold)[:12]
        return self.checkpoint(job).with_suffix(f".{place}.search")

    def hash_of(self, job: Job, fold: Fold) -> str:
        """Return a hash over all that the job's result depends on."""
        training = {k: v for k, v in asdict(self.training).items() if k != "models"}
        specs: list[Any] = [self.classes, self.protocol, self.expression, self.model, training]
        network = NETWORKS.get(job.model)
        specs.append(self.gene_sets if network and network.sees_gene_sets else None)
        draws = [self.n_shuffles, self.study.fingerprint if self.study else None]
        return hash_of([self.code, specs, self.seed, draws, self.inputs, job, fold])
