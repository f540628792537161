"""The fitted models of a run, each with its out-of-fold patients."""

from collections.abc import Iterator
from dataclasses import dataclass

from crosstype.crossval.plan import Job
from crosstype.crossval.worker import WorkerData
from crosstype.errors import TrainingError
from crosstype.training.checkpoint import load_classifier
from crosstype.training.network_classifier import NetworkClassifier
from crosstype.training.patients import Patients


@dataclass(frozen=True)
class HeldOut:
    """A fitted model and the patients who were out of its fold.

    Attributes:
        job: which model of which fold.
        classifier: the model.
        patients: its test patients, with everything a model may see of them.
    """

    job: Job
    classifier: NetworkClassifier
    patients: Patients


def fitted_models(worker_data: WorkerData, model: str) -> Iterator[HeldOut]:
    """Give every fold's model with its test patients, in order; one is in memory at a time.

    Raises:
        TrainingError: a test patient is also a training patient; or the model is none of
            networks.
        CheckpointError: a model file is damaged.
    """
    for (repeat, number), fold in sorted(worker_data.folds.items()):
        job = Job(repeat, number, model)
        trained_on = {*fold.train, *(patient for part in fold.inner for patient in part)}
        seen = sorted(trained_on & set(fold.test))
        if seen:
            raise TrainingError(
                f"explanation: {seen[0]} is a training patient of repeat {repeat + 1}, fold "
                f"{number + 1}, whose model would explain them. Assign the folds again."
            )
        classifier = load_classifier(worker_data.plan.checkpoint(job))
        if not isinstance(classifier, NetworkClassifier):
            raise TrainingError(
                f"explanation: {model} is no network, so it has no attention and no attributions. "
                "Name others in [explanation] models."
            )
        yield HeldOut(job, classifier, worker_data.patients.select(fold.test))
