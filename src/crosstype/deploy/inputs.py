"""Prediction inputs: expression and slides of new patients."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from crosstype.expression.spec import ExpressionSpec
from crosstype.types import PATIENT_COLUMNS


@dataclass(frozen=True)
class PredictionInputs:
    """Tables and files of new patients.

    Attributes:
        expression: expression table, in any supported format.
        reading: unit, gene names and format options of the table.
        features: folder of feature files, or one file.
        slides: folder of slides, for extraction with the settings of the training slides.
        slides_table: patient and file of each slide; None: patient from the file's name.
        patient_column: column of the patient in it.
        encoder: encoder of feature files without metadata.
        weights: file of the encoder's weights, for extraction offline.
        least_genes: lowest share of the model's genes, 0 to 1; None: default of the model.
        extracted: folder for extracted features.
        only: patients to predict; None: all patients of the tables.
    """

    expression: Path | None = None
    reading: ExpressionSpec = field(default_factory=ExpressionSpec)
    features: Path | None = None
    slides: Path | None = None
    slides_table: Path | None = None
    patient_column: str = PATIENT_COLUMNS[0]
    encoder: str | None = None
    weights: Path | None = None
    least_genes: float | None = None
    extracted: Path = Path("features")
    only: frozenset[str] | None = None

    def concerns(self, patient_id: str) -> bool:
        """Return whether to predict a patient."""
        return self.only is None or patient_id in self.only


@dataclass(frozen=True)
class SlideInputs:
    """Feature files of new patients.

    Attributes:
        files: usable feature files of each patient.
        reasons: for other patients, why they have none.
        faults: files or slides that could not be used.
    """

    files: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
