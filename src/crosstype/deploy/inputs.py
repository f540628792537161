"""What a user gives of new patients, and what was found of their slides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from crosstype.expression.spec import ExpressionSpec
from crosstype.types import PATIENT_COLUMNS


@dataclass(frozen=True)
class PredictionInputs:
    """What is given of new patients.

    Attributes:
        expression: any expression table that a cohort may have.
        reading: unit, gene names and what the format leaves open.
        features: folder of feature files, or one.
        slides: folder of slides, to be extracted as the training slides were.
        slides_table: patient and file of each slide; None: by the barcode, else the file's name.
        patient_column: column of the patient in it.
        encoder: what made feature files that name no encoder.
        weights: file of the encoder's weights, for extraction without a connection.
        least_genes: least share of the model's genes; None: the model's own.
        extracted: where extraction puts features.
        only: nobody else is looked at; None: everyone of the tables.
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
        """Return whether a patient is to be looked at."""
        return self.only is None or patient_id in self.only


@dataclass(frozen=True)
class SlideInputs:
    """Slides of new patients.

    Attributes:
        files: usable feature files of each patient.
        reasons: why others have none.
        faults: files or slides that could not be used.
    """

    files: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
