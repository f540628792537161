"""A model fitted on all patients as one file, with all that predicting a new patient needs.

One safetensors file: the weights of every member and the fitted preparation as arrays, the rest as
JSON in its header, and a checksum over both. It holds no time, no path and no patient's id or data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crosstype import __version__
from crosstype.cohort.gene_input import GeneInput
from crosstype.errors import CheckpointError
from crosstype.features.feature_input import FeatureInput
from crosstype.files import plain
from crosstype.models.baselines import BASELINES
from crosstype.models.catalog import NETWORKS
from crosstype.models.spec import ModelSpec
from crosstype.terms import Modality
from crosstype.training.bags import Patients
from crosstype.training.checkpoint import described, read_sealed, restored, write_sealed
from crosstype.training.classifiers import Arrays, BaselineClassifier, Classifier
from crosstype.training.network_classifier import NetworkClassifier
from crosstype.training.preparation import Preparation
from crosstype.training.stacking import LateClassifier

FORMAT, VERSION = "crosstype artefact", "1"
REMEDY = "Copy the file again, or fit the model anew"
OF_PATIENTS = "inner_logits."
"""Arrays of which each row is about a training patient; prediction needs none of them."""


@dataclass(frozen=True)
class Taught:
    """The training cohort in short.

    Attributes:
        n_patients: patients with slides and expression.
        classes: patients of each class, those with one modality included.
        sites: patients of each tissue source site, the same; empty for an unknown one.
        one_modality: patients who have only that modality.
        provenance: where the labels come from.
        synthetic: whether the patients are made up.
        protocol: under which inner folds were dealt.
        seed: from which all chance derived.
        inputs: SHA-256 of the files of the cohort.
        patients: SHA-256 of each patient's id, sorted.
    """

    n_patients: int
    classes: Mapping[str, int]
    sites: Mapping[str, int]
    one_modality: Mapping[str, int]
    provenance: str
    synthetic: bool
    protocol: str
    seed: int
    inputs: Mapping[str, str]
    patients: tuple[str, ...]

    def among(self, patient_ids: Collection[str]) -> list[str]:
        """Return who of these patients taught the model, sorted."""
        taught = set(self.patients)
        return sorted(one for one in patient_ids if fingerprint(one) in taught)


@dataclass(frozen=True)
class Artefact:
    """A fitted model, ready to serve.

    Attributes:
        classifier: the model.
        model: sizes of its networks.
        classes: names of the classes, in order; of two, the second is the positive one.
        genes: what it was given of expression; None if it does not look at it.
        features: what it was given of slides; None if it does not look at them.
        extraction: settings by section with which its features were extracted from slides; None
            if they were extracted elsewhere.
        taught: the training cohort in short.
        crosstype: version of the package that fitted it.
    """

    classifier: Classifier
    model: ModelSpec
    classes: tuple[str, ...]
    genes: GeneInput | None
    features: FeatureInput | None
    extraction: Mapping[str, Mapping[str, Any]] | None
    taught: Taught
    crosstype: str = __version__

    @property
    def preparation(self) -> Preparation:
        """What stands between stored data and the model."""
        return preparation_of(self.classifier)

    @property
    def masks(self) -> bool:
        """Whether the model knows which genes are missing; otherwise they are imputed."""
        return not isinstance(self.classifier, BaselineClassifier)


def uses_of(name: str) -> frozenset[Modality]:
    """Return what a model of that name looks at."""
    if name in NETWORKS:
        return NETWORKS[name].uses
    if name in BASELINES:
        one = BASELINES[name]
        seen = {Modality.IMAGE: one.image, Modality.GENES: one.genes}
        return frozenset(modality for modality, sees in seen.items() if sees)
    return frozenset({Modality.IMAGE, Modality.GENES})


def preparation_of(classifier: Classifier) -> Preparation:
    """Return a fitted classifier's preparation; of late, that of its parent over genes."""
    if isinstance(classifier, LateClassifier):
        return classifier.parents["gene_only"].preparation
    assert isinstance(classifier, (NetworkClassifier, BaselineClassifier))
    return classifier.preparation


def fingerprint(patient_id: str) -> str:
    """Return the SHA-256 of a patient's id."""
    return hashlib.sha256(patient_id.encode()).hexdigest()


def save_artefact(artefact: Artefact, path: Path) -> None:
    """Write an artefact, whole or not at all; the same one gives the same bytes."""
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
        "taught": plain(artefact.taught),
    }
    write_sealed(path, _without_patients(arrays), header)


def load_artefact(path: Path) -> Artefact:
    """Read an artefact; nothing in the file is ever run.

    Raises:
        CheckpointError: it is not there, damaged, changed, of another version, or no artefact.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file. `crosstype fit` writes one.")
    arrays, header = read_sealed(path, (FORMAT, VERSION), REMEDY)
    try:
        return _restored(arrays, header)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path.name}: was written by crosstype {header.get('crosstype')}, and this version "
            f"({__version__}) does not understand it ({error}). Fit the model anew."
        ) from error


def in_memory(artefact: Artefact) -> Artefact:
    """Return the artefact as loading its file would, without a file."""
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
        taught=Taught(**(taught | {"patients": tuple(taught["patients"])})),
        crosstype=str(header["crosstype"]),
    )


def _without_patients(arrays: Arrays) -> Arrays:
    return {key: value for key, value in arrays.items() if OF_PATIENTS not in key}


def taught_by(
    patients: Collection[Patients], sites: Mapping[str, str], about: Mapping[str, Any]
) -> Taught:
    """Return a training cohort in short.

    Args:
        patients: those with both modalities, and others beside them.
        sites: tissue source site of each.
        about: provenance, synthetic, protocol, seed and inputs, as `Taught` has them.
    """
    whole, *beside = patients
    everyone = [(p, int(t)) for one in patients for p, t in zip(one.ids, one.targets, strict=True)]
    classes = dict.fromkeys(whole.classes, 0)
    counted: dict[str, int] = {}
    for patient, target in everyone:
        classes[whole.classes[target]] += 1
        counted[sites[patient]] = counted.get(sites[patient], 0) + 1
    shown = [one is not None for some in beside for one in some.bag_of]
    return Taught(
        n_patients=len(whole),
        classes=classes,
        sites=dict(sorted(counted.items())),
        one_modality={"image": sum(shown), "genes": len(shown) - sum(shown)},
        patients=tuple(sorted(fingerprint(patient) for patient, _ in everyone)),
        **about,
    )
