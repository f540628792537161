"""Artefact: a model fitted on all patients as one file for prediction, and its model card.

The file is in safetensors format: the weights of every network and the fitted preparation as
arrays, all else as JSON in its header, and a checksum over both. It contains no time, no path and
no patient's id or data. The model card is Markdown.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crosstype import __version__
from crosstype.errors import CheckpointError
from crosstype.expression.harmonize import GeneInput
from crosstype.features.encoders.catalog import ENCODERS, pretraining_cohorts
from crosstype.features.tile_kind import FeatureInput
from crosstype.io.files import plain
from crosstype.models.catalog import GENE_ONLY, MODELS
from crosstype.models.spec import ModelSpec
from crosstype.training.checkpoint import described, read_sealed, restored, write_sealed
from crosstype.training.classifier import Arrays, BaselineClassifier, Classifier
from crosstype.training.late_fusion import LateClassifier
from crosstype.training.network_classifier import NetworkClassifier
from crosstype.training.patients import Patients
from crosstype.training.preprocessing import Preparation
from crosstype.types import Modality

FORMAT, VERSION = "crosstype artefact", "2"
REMEDY = "Copy the file again, or fit the model anew"
OF_PATIENTS = "inner_logits."
"""Arrays with one row per training patient, which prediction does not need."""


@dataclass(frozen=True)
class TrainingSummary:
    """Summary of the training cohort.

    Attributes:
        n_patients: patients with slides and expression.
        classes: patients of each class, single-modality patients included.
        sites: patients of each tissue source site, likewise; an unknown site is empty.
        single_modality: number of patients who have only that modality.
        provenance: source of the labels.
        synthetic: whether the patients are synthetic.
        protocol: evaluation protocol of the inner folds.
        seed: of all random generators.
        inputs: SHA-256 of the files of the cohort.
        patients: SHA-256 of each patient's id, sorted.
    """

    n_patients: int
    classes: Mapping[str, int]
    sites: Mapping[str, int]
    single_modality: Mapping[str, int]
    provenance: str
    synthetic: bool
    protocol: str
    seed: int
    inputs: Mapping[str, str]
    patients: tuple[str, ...]

    def among(self, patient_ids: Collection[str]) -> list[str]:
        """Return which of these patients the model was fitted on, sorted."""
        training = set(self.patients)
        return sorted(one for one in patient_ids if fingerprint(one) in training)


@dataclass(frozen=True)
class Artefact:
    """A fitted model with all that prediction needs.

    Attributes:
        classifier: the model.
        model: architecture of its networks.
        classes: names of the classes, in order; of two, the second is the positive one.
        genes: its expression input; None if it does not use expression.
        features: its feature input; None if it does not use slides.
        extraction: settings of feature extraction, by section; None if features were extracted
            elsewhere.
        training: summary of the training cohort.
        crosstype: version of the package that fitted it.
    """

    classifier: Classifier
    model: ModelSpec
    classes: tuple[str, ...]
    genes: GeneInput | None
    features: FeatureInput | None
    extraction: Mapping[str, Mapping[str, Any]] | None
    training: TrainingSummary
    crosstype: str = __version__

    @property
    def preparation(self) -> Preparation:
        """Fitted preprocessing of the model's inputs."""
        return preparation_of(self.classifier)

    @property
    def masks(self) -> bool:
        """Whether missing genes are masked; otherwise they are imputed."""
        return not isinstance(self.classifier, BaselineClassifier)


def uses_of(name: str) -> frozenset[Modality]:
    """Return the modalities of a model."""
    return MODELS[name].uses


def preparation_of(classifier: Classifier) -> Preparation:
    """Return a fitted classifier's preparation; for late, that of its gene_only parent."""
    if isinstance(classifier, LateClassifier):
        return classifier.parents[GENE_ONLY].preparation
    assert isinstance(classifier, (NetworkClassifier, BaselineClassifier))
    return classifier.preparation


def fingerprint(patient_id: str) -> str:
    """Return the SHA-256 of a patient's id."""
    return hashlib.sha256(patient_id.encode()).hexdigest()


def save_artefact(artefact: Artefact, path: Path) -> None:
    """Save an artefact atomically; the bytes are reproducible."""
    arrays, about = described(artefact.classifier, artefact.model)
    calibration = artefact.classifier.calibration
    header = {
        "format": FORMAT,
        "version": VERSION,
        "crosstype": artefact.crosstype,
        "about": about,
        "classes": list(artefact.classes),
        "temperature": calibration.temperature,
        "threshold": calibration.threshold,
        "genes": plain(artefact.genes),
        "features": plain(artefact.features),
        "extraction": plain(artefact.extraction),
        "taught": plain(artefact.training),
    }
    write_sealed(path, _without_patients(arrays), header)


def load_artefact(path: Path) -> Artefact:
    """Load an artefact; no code in the file is executed.

    Raises:
        CheckpointError: the file is missing, damaged, changed, of another version, or no artefact.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file. `crosstype fit` writes one.")
    arrays, header = read_sealed(path, (FORMAT, VERSION), REMEDY)
    try:
        return _restored(arrays, header)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path.name}: was written by crosstype {header.get('crosstype')}, and this version "
            f"({__version__}) cannot read it ({error}). Fit the model anew."
        ) from error


def in_memory(artefact: Artefact) -> Artefact:
    """Return the artefact as if saved and loaded, without a file."""
    arrays, about = described(artefact.classifier, artefact.model)
    return replace(artefact, classifier=restored(_without_patients(arrays), about))


def _restored(arrays: Arrays, header: Mapping[str, Any]) -> Artefact:
    genes, features, taught = (header[key] for key in ("genes", "features", "taught"))
    if genes is not None:
        sets = tuple(tuple(one) for one in genes["set_genes"])
        listed = {key: tuple(genes[key]) for key in ("genes", "set_names")}
        genes = GeneInput(**(genes | listed | {"set_genes": sets}))
    return Artefact(
        classifier=restored(arrays, header["about"]),
        model=ModelSpec(**header["about"]["model"]),
        classes=tuple(header["classes"]),
        genes=genes,
        features=None if features is None else FeatureInput(**features),
        extraction=header["extraction"],
        training=TrainingSummary(**(taught | {"patients": tuple(taught["patients"])})),
        crosstype=str(header["crosstype"]),
    )


def _without_patients(arrays: Arrays) -> Arrays:
    return {key: value for key, value in arrays.items() if OF_PATIENTS not in key}


def training_summary(
    patients: Collection[Patients], sites: Mapping[str, str], about: Mapping[str, Any]
) -> TrainingSummary:
    """Return the summary of a training cohort.

    Args:
        patients: patients with both modalities, then single-modality patients.
        sites: tissue source site of each.
        about: provenance, synthetic, protocol, seed and inputs of `TrainingSummary`.
    """
    paired, *single = patients
    everyone = [(p, int(t)) for one in patients for p, t in zip(one.ids, one.targets, strict=True)]
    classes = dict.fromkeys(paired.classes, 0)
    counted: dict[str, int] = {}
    for patient, target in everyone:
        classes[paired.classes[target]] += 1
        counted[sites[patient]] = counted.get(sites[patient], 0) + 1
    has_image = [one is not None for some in single for one in some.bag_of]
    return TrainingSummary(
        n_patients=len(paired),
        classes=classes,
        sites=dict(sorted(counted.items())),
        single_modality={"image": sum(has_image), "genes": len(has_image) - sum(has_image)},
        patients=tuple(sorted(fingerprint(patient) for patient, _ in everyone)),
        **about,
    )


UNKNOWN_ENCODER = "unknown to crosstype; see the source of the features"


def model_card(artefact: Artefact, path: Path) -> str:
    """Return the model card of an artefact at `path`, without times and folders."""
    name, training = artefact.classifier.name, artefact.training
    uses = uses_of(name)
    lines = [
        f"# {path.name}",
        "",
        "**For research use only.** Not for diagnosis or treatment. No patient's data or id is in "
        "the file, but the SHA-256 of each training patient's id is, so membership of a known id "
        "can be tested.",
        "",
        f"- Model: `{name}`, fitted by crosstype {artefact.crosstype}; modalities: "
        f"{' and '.join(sorted(uses)) or 'none'}.",
        f"- Classes: {', '.join(artefact.classes)}"
        + (f"; {artefact.classes[1]} is the positive one." if len(artefact.classes) == 2 else "."),
        f"- {_decision_rule(artefact)}",
        "",
        "## Training cohort",
        "",
        f"{training.n_patients} patients with slides and expression"
        f"{_single_modality(training.single_modality)}; {_counts(training.classes)}.",
        f"Sites: {_counts({one or 'unknown': n for one, n in training.sites.items()})}.",
        f"Labels: {training.provenance}.",
        f"Protocol {training.protocol}, seed {training.seed}.",
        *(["**The patients are synthetic.**"] if training.synthetic else []),
        "",
        "## Inputs",
        "",
        *_inputs(artefact),
        "",
        "## How to use",
        "",
        *(f"    {line}" for line in _commands(artefact, path)),
        "",
        "## Limits",
        "",
        *_limits(artefact),
        "",
        "## Training files, SHA-256",
        "",
        *(f"- {key}: `{value}`" for key, value in sorted(training.inputs.items())),
    ]
    return "\n".join(lines) + "\n"


def _decision_rule(artefact: Artefact) -> str:
    calibration = artefact.classifier.calibration
    temperature = f"Temperature {calibration.temperature:.4g} for complete data"
    if calibration.threshold is not None:
        positive = artefact.classes[1]
        return f"{temperature}; {positive} is predicted above {calibration.threshold:.4g}."
    return f"{temperature}; an offset per class is added to log-probabilities before argmax."


def _single_modality(single_modality: Mapping[str, int]) -> str:
    some = [f"{n} with {one} only" for one, n in single_modality.items() if n]
    return f", and {', '.join(some)}" if some else ""


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counts.items())


def _inputs(artefact: Artefact) -> list[str]:
    lines = []
    genes, features = artefact.genes, artefact.features
    if genes is not None:
        lines.append(
            f"- Expression: {int(artefact.preparation.kept.sum())} inputs from {len(genes.genes)} "
            f"genes such as {', '.join(genes.genes[:3])}; unit {genes.kind}; representation "
            f"{genes.representation}."
        )
    if features is not None:
        card = ENCODERS.get(features.encoder)
        seen = pretraining_cohorts(features.encoder)
        cohorts = UNKNOWN_ENCODER if seen is None else ", ".join(seen) or "none"
        stated = {
            "tile": features.tile_size_px and f"{features.tile_size_px:g} px",
            "mpp": features.mpp and f"{features.mpp:g}",
            "transform": features.transform and f"`{features.transform}`",
        }
        known = "".join(f"; {key} {value}" for key, value in stated.items() if value)
        lines.append(
            f"- Slides: {features.n_features} features per tile by "
            f"`{features.encoder or 'an unnamed encoder'}`{known}. Its pretraining cohorts: "
            f"{cohorts}."
        )
        if card:
            lines.append(f"- Licence of that encoder's weights: {card.licence}.")
    return lines


def _commands(artefact: Artefact, path: Path) -> list[str]:
    given = []
    if artefact.genes is not None:
        given.append("--expression expression.tsv.gz")
    if artefact.features is not None:
        given.append("--features features" if artefact.extraction is None else "--slides slides")
    each = [*given, " ".join(given)] if len(given) > 1 else given
    lines = [f"crosstype predict {path.name} {one} --out predictions.csv" for one in each]
    return [*lines, f"crosstype validate {path.name} other_cohort.toml --out validation"]


def _limits(artefact: Artefact) -> list[str]:
    lines = [
        "- This file contains no estimate of performance: cross-validate with `crosstype run` on "
        "the same patients, or validate with `crosstype validate` on others.",
        "- Probabilities are valid for cohorts with similar class frequencies and the same assay, "
        "staining and scanning; `validate` writes the shift of each input.",
    ]
    if (
        Modality.GENES in uses_of(artefact.classifier.name)
        and "RNA" in artefact.training.provenance
    ):
        lines.append(
            "- The labels were computed from expression, an input of the model: agreement with "
            "them is not agreement with an outcome or with immunohistochemistry."
        )
    if not artefact.masks:
        lines.append("- Missing genes are imputed from the training cohort, not masked.")
    return lines
