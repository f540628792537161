"""Reading the table of out-of-fold predictions, and refusing one that contradicts itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from crosstype.errors import Fault, TableError
from crosstype.io.schema import PREDICTIONS, STRESSED_PREDICTIONS, TEXT, TableSchema
from crosstype.io.tables import read_stage_table
from crosstype.types import Modality

PREFIX = "probability_"
STRESS_COLUMNS = ("condition", "level", "draw")
SUM_TOLERANCE = 1e-4


@dataclass(frozen=True)
class ModelPredictions:
    """Predictions of one model for every patient, once per repeat.

    Attributes:
        fold: fold in which the patient was a test patient, (n_repeats, n_patients).
        predicted: index of the predicted class, (n_repeats, n_patients).
        probability: probability of each class, (n_repeats, n_patients, n_classes).
    """

    fold: Int[np.ndarray, "n_repeats n_patients"]
    predicted: Int[np.ndarray, "n_repeats n_patients"]
    probability: Float[np.ndarray, "n_repeats n_patients n_classes"]

    def equals(self, other: ModelPredictions) -> bool:
        """Return whether every probability and predicted class equals the other's exactly."""
        return np.array_equal(self.probability, other.probability) and np.array_equal(
            self.predicted, other.predicted
        )


@dataclass(frozen=True)
class Predictions:
    """All models' predictions of the same patients in the same repeats.

    Attributes:
        classes: class names in the config's order; of two, the second is the positive one.
        patient_ids: patients, sorted.
        repeats: repeats, sorted.
        labels: index of each patient's class, (n_patients,).
        of_model: predictions by model, in the order of the file.
    """

    classes: tuple[str, ...]
    patient_ids: tuple[str, ...]
    repeats: tuple[int, ...]
    labels: Int[np.ndarray, " n_patients"]
    of_model: dict[str, ModelPredictions]


@dataclass(frozen=True)
class ConditionKey:
    """One perturbation of the inputs before prediction.

    Attributes:
        condition: what was done, beginning with the modality (`image_shuffled`).
        level: disturbed share, 0 to 1.
        draw: which of several random disturbances.
    """

    condition: str
    level: float
    draw: int

    @property
    def modality(self) -> Modality:
        """The modality that was disturbed."""
        return Modality(self.condition.partition("_")[0])


def read_predictions(path: Path, classes: Sequence[str]) -> Predictions:
    """Read predictions.csv: each model's out-of-fold predictions.

    Args:
        path: the table.
        classes: class names in the config's order.

    Returns:
        Every model's predictions in one array per model, patients sorted by id.

    Raises:
        TableError: a probability is not a number from 0 to 1, a row's probabilities do not sum to
            1, a class is unknown or has no patient, a patient has two labels, or a model predicted
            a patient twice in a repeat or not at all.
    """
    return _assembled(_read(path, classes, PREDICTIONS), path.name, tuple(classes))


def read_stressed_predictions(
    path: Path, undisturbed: Predictions
) -> dict[ConditionKey, dict[str, ModelPredictions]]:
    """Read stressed_predictions.csv: the same patients predicted from disturbed inputs.

    Args:
        path: the table.
        undisturbed: predictions of the same models from undisturbed inputs.

    Returns:
        Predictions by model for each disturbance.

    Raises:
        TableError: as for `read_predictions`; or a condition does not begin with a modality; or
            models, patients, repeats or labels are not those of the undisturbed predictions.
    """
    frame = _read(path, undisturbed.classes, STRESSED_PREDICTIONS)
    found: dict[ConditionKey, dict[str, ModelPredictions]] = {}
    for key, part in frame.partition_by(STRESS_COLUMNS, as_dict=True, maintain_order=True).items():
        stress = _stress_of(key, path.name)
        where = f"{path.name}, {stress.condition} at level {stress.level:g}, draw {stress.draw}"
        stressed = _assembled(part, where, undisturbed.classes)
        _check_same_patients(stressed, undisturbed, where)
        found[stress] = stressed.of_model
    return found


def _read(path: Path, classes: Sequence[str], table: TableSchema) -> pl.DataFrame:
    """Read the table with typed columns; the line number is in the column `line`."""
    kinds = table.polars(classes)
    frame = read_stage_table(path, list(kinds))
    if frame.is_empty():
        raise TableError(Fault(path.name, "no predictions stand in it", "Train at least a model."))
    numbers = {name: kind for name, kind in kinds.items() if kind is not TEXT}
    typed = frame.with_columns(
        pl.col(name).cast(kind, strict=False) for name, kind in numbers.items()
    ).with_row_index("line", offset=2)
    faults = [
        *_number_faults(typed, list(numbers), path.name),
        *_probability_faults(typed, [PREFIX + name for name in classes], path.name),
        *_class_faults(typed, classes, path.name),
    ]
    if faults:
        raise TableError(faults)
    return typed


def _number_faults(frame: pl.DataFrame, columns: Sequence[str], name: str) -> list[Fault]:
    return [
        Fault(f"{name} line {line}", f"{column} is not a number", "Write a number.")
        for column in columns
        for line in frame.filter(pl.col(column).is_null())["line"]
    ]


def _probability_faults(frame: pl.DataFrame, columns: Sequence[str], name: str) -> list[Fault]:
    faults = []
    for column in columns:
        wrong = frame.filter(~pl.col(column).is_between(0.0, 1.0) | pl.col(column).is_nan())
        for line, value in wrong.select("line", column).iter_rows():
            remedy = "Probabilities lie between 0 and 1."
            faults.append(Fault(f"{name} line {line}", f"{column} is {value}", remedy))
    total = pl.sum_horizontal(columns)
    wrong = frame.filter((total - 1.0).abs() > SUM_TOLERANCE).select("line", total.alias("total"))
    for line, value in wrong.iter_rows():
        found = f"the probabilities of its classes sum to {value:g}"
        faults.append(Fault(f"{name} line {line}", found, "They must sum to 1."))
    return faults


def _class_faults(frame: pl.DataFrame, classes: Sequence[str], name: str) -> list[Fault]:
    known = ", ".join(classes)
    faults = []
    for column in ("label", "predicted"):
        wrong = frame.filter(~pl.col(column).is_in(list(classes)))
        for line, value in wrong.select("line", column).iter_rows():
            found = f"{column} is {value!r}"
            faults.append(Fault(f"{name} line {line}", found, f"The classes are {known}."))
    return faults


def _assembled(frame: pl.DataFrame, where: str, classes: tuple[str, ...]) -> Predictions:
    """Arrange checked rows as arrays; every model must have every patient once per repeat."""
    labels = frame.group_by("patient_id").agg(pl.col("label").unique().sort()).sort("patient_id")
    patient_ids = tuple(labels["patient_id"])
    repeats = tuple(frame["repeat"].unique().sort())
    models = tuple(frame["model"].unique(maintain_order=True))
    faults = [
        *_label_faults(labels, where, classes),
        *_twice_faults(frame, where),
        *_missing_faults(frame, where, len(patient_ids), repeats),
    ]
    if faults:
        raise TableError(faults)
    order = {name: index for index, name in enumerate(classes)}
    shape = (len(repeats), len(patient_ids))
    of_model = {}
    for model in models:
        rows = frame.filter(pl.col("model") == model).sort("repeat", "patient_id")
        probability = rows.select(PREFIX + name for name in classes).to_numpy()
        of_model[model] = ModelPredictions(
            fold=rows["fold"].to_numpy().reshape(shape),
            predicted=np.array([order[name] for name in rows["predicted"]]).reshape(shape),
            probability=np.ascontiguousarray(probability).reshape(*shape, len(classes)),
        )
    truth = np.array([order[names[0]] for names in labels["label"]])
    return Predictions(classes, patient_ids, repeats, truth, of_model)


def _label_faults(labels: pl.DataFrame, where: str, classes: Sequence[str]) -> list[Fault]:
    faults = [
        Fault(f"{where}, patient {patient}", f"labels {', '.join(names)}", "Give one label.")
        for patient, names in labels.filter(pl.col("label").list.len() > 1).iter_rows()
    ]
    present = set(labels["label"].explode(empty_as_null=True))
    for name in classes:
        if name not in present:
            found = f"no patient of class {name!r}"
            faults.append(Fault(where, found, "Metrics need patients of every class."))
    return faults


def _twice_faults(frame: pl.DataFrame, where: str) -> list[Fault]:
    counts = frame.group_by("model", "repeat", "patient_id", maintain_order=True).len()
    return [
        Fault(
            f"{where}, patient {patient}",
            f"predicted {count} times by {model} in repeat {repeat}",
            "Each patient is predicted once per repeat, out of fold.",
        )
        for model, repeat, patient, count in counts.filter(pl.col("len") > 1).iter_rows()
    ]


def _missing_faults(
    frame: pl.DataFrame, where: str, n_patients: int, repeats: Sequence[int]
) -> list[Fault]:
    faults = []
    seen = frame.group_by("model", "repeat").agg(pl.col("patient_id").n_unique())
    counts = {(model, repeat): count for model, repeat, count in seen.iter_rows()}
    for model in frame["model"].unique(maintain_order=True):
        for repeat in repeats:
            count = counts.get((model, repeat), 0)
            if count < n_patients:
                found = f"{model} predicted {count} of {n_patients} patients in repeat {repeat}"
                faults.append(Fault(where, found, "Every model predicts every patient."))
    return faults


def _stress_of(key: tuple[object, ...], name: str) -> ConditionKey:
    condition, level, draw = str(key[0]), float(str(key[1])), int(str(key[2]))
    if condition.partition("_")[0] not in set(Modality):
        expected = " or ".join(f"{modality}_..." for modality in Modality)
        raise TableError(Fault(name, f"condition {condition!r}", f"Expected {expected}."))
    return ConditionKey(condition, level, draw)


def _check_same_patients(stressed: Predictions, undisturbed: Predictions, where: str) -> None:
    remedy = "Train again: both tables come from the same models and patients."
    unknown = [model for model in stressed.of_model if model not in undisturbed.of_model]
    if unknown:
        found = f"models without undisturbed predictions: {', '.join(unknown)}"
        raise TableError(Fault(where, found, remedy))
    same = (
        stressed.patient_ids == undisturbed.patient_ids
        and stressed.repeats == undisturbed.repeats
        and np.array_equal(stressed.labels, undisturbed.labels)
    )
    if not same:
        found = "patients, labels or repeats differ from predictions.csv"
        raise TableError(Fault(where, found, remedy))
