"""Settings of a run: one spec per section of the config."""

from dataclasses import dataclass, field

from crosstype.cohort.spec import CohortSpec
from crosstype.evaluation.spec import EvaluationSpec
from crosstype.explain.spec import ExplanationSpec
from crosstype.expression.spec import ExpressionSpec
from crosstype.features.spec import FeaturesSpec
from crosstype.folds.spec import FoldsSpec
from crosstype.models.spec import ModelSpec
from crosstype.report.spec import ReportSpec
from crosstype.slides.spec import AugmentationSpec, SlidesSpec, StainSpec, TilesSpec, TissueSpec
from crosstype.training.spec import FitSpec, TrainingSpec


@dataclass(frozen=True)
class RunSpec:
    """All sections of a config file; missing sections have their defaults."""

    cohort: CohortSpec = field(default_factory=CohortSpec)
    expression: ExpressionSpec = field(default_factory=ExpressionSpec)
    slides: SlidesSpec = field(default_factory=SlidesSpec)
    tissue: TissueSpec = field(default_factory=TissueSpec)
    tiles: TilesSpec = field(default_factory=TilesSpec)
    stain: StainSpec = field(default_factory=StainSpec)
    augmentation: AugmentationSpec = field(default_factory=AugmentationSpec)
    features: FeaturesSpec = field(default_factory=FeaturesSpec)
    folds: FoldsSpec = field(default_factory=FoldsSpec)
    models: ModelSpec = field(default_factory=ModelSpec)
    training: TrainingSpec = field(default_factory=TrainingSpec)
    fit: FitSpec = field(default_factory=FitSpec)
    evaluation: EvaluationSpec = field(default_factory=EvaluationSpec)
    explanation: ExplanationSpec = field(default_factory=ExplanationSpec)
    report: ReportSpec = field(default_factory=ReportSpec)
