"""Checkpoints: a fitted classifier as one safetensors file with JSON header and checksum."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from crosstype.errors import CheckpointError
from crosstype.io.files import replacing
from crosstype.models.catalog import BASELINES, LATE, NETWORKS
from crosstype.models.spec import ModelSpec
from crosstype.training.classifier import Arrays, BaselineClassifier, Classifier
from crosstype.training.late_fusion import LateClassifier
from crosstype.training.network_classifier import NetworkClassifier

FORMAT, FORMAT_VERSION = "crosstype", "2"
HEADER_KEY = "crosstype"


def make_classifier(name: str) -> Classifier:
    """Return an unfitted classifier by name; raises KeyError for an unknown name."""
    if name in NETWORKS:
        return NetworkClassifier(name)
    if name in BASELINES:
        return BaselineClassifier(name)
    if name == LATE:
        return LateClassifier()
    raise KeyError(name)


def save_classifier(classifier: Classifier, path: Path, model: ModelSpec) -> None:
    """Save a fitted classifier; the bytes are reproducible."""
    arrays, about = described(classifier, model)
    write_sealed(path, arrays, {"format": FORMAT, "version": FORMAT_VERSION, "about": about})


def load_classifier(path: Path) -> Classifier:
    """Load a classifier; raises CheckpointError if it is damaged or of another version."""
    arrays, header = read_sealed(path, (FORMAT, FORMAT_VERSION), "Train the model again")
    return restored(arrays, header["about"])


def described(classifier: Classifier, model: ModelSpec) -> tuple[Arrays, dict[str, Any]]:
    """Return a classifier as arrays and JSON-able metadata, for `restored`."""
    arrays, settings = classifier.state()
    return arrays, {"name": classifier.name, "settings": settings, "model": vars(model)}


def restored(arrays: Arrays, about: Mapping[str, Any]) -> Classifier:
    """Return the classifier from the arrays and metadata of `described`."""
    classifier = make_classifier(about["name"])
    classifier.restore(arrays, about["settings"], ModelSpec(**about["model"]))
    return classifier


def write_sealed(path: Path, arrays: Arrays, header: dict[str, Any]) -> None:
    """Write arrays and a JSON header, with a checksum over both; the bytes are reproducible."""
    arrays = {key: np.ascontiguousarray(arrays[key]) for key in sorted(arrays)}
    sealed = header | {"sha256": _digest(arrays, header)}
    # One key only: safetensors writes several keys in random order.
    metadata = {HEADER_KEY: json.dumps(sealed, sort_keys=True)}
    with replacing(path) as temporary:
        temporary.write_bytes(save(arrays, metadata))


def read_sealed(path: Path, wanted: tuple[str, str], remedy: str) -> tuple[Arrays, dict[str, Any]]:
    """Read arrays and header of a file of `write_sealed`.

    Args:
        path: the file.
        wanted: expected format and version.
        remedy: what to do if the file is damaged, without a full stop.

    Raises:
        CheckpointError: the file is damaged, changed, or of another format or version.
    """
    arrays, header = _read(path, remedy)
    found = (header.get("format"), header.get("version"))
    if found != wanted:
        raise CheckpointError(
            f"{path.name}: found format {found[0]!r} version {found[1]!r}, expected {wanted[0]!r} "
            f"version {wanted[1]!r}. {remedy} with this version."
        )
    if header.pop("sha256", None) != _digest(arrays, header):
        raise CheckpointError(
            f"{path.name}: the checksum does not match its contents, so the file was damaged or "
            f"changed. {remedy}."
        )
    return arrays, header


def read_header(path: Path) -> dict[str, Any]:
    """Return a checkpoint's header, checksum included, without verifying it.

    Raises:
        CheckpointError: the file is no safetensors file with such a header.
    """
    return _read(path, "Train the model again")[1]


def _read(path: Path, remedy: str) -> tuple[Arrays, dict[str, Any]]:
    try:
        raw = path.read_bytes()
        arrays = load(raw)
        size = int.from_bytes(raw[:8], "little")
        metadata = json.loads(raw[8 : 8 + size]).get("__metadata__", {})
        header = json.loads(metadata.get(HEADER_KEY, "{}"))
    except (OSError, SafetensorError, ValueError) as fault:
        raise CheckpointError(
            f"{path.name}: cannot be read as a safetensors file ({fault}). {remedy}."
        ) from fault
    return arrays, header if isinstance(header, dict) else {}


def _digest(arrays: Arrays, header: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for key in sorted(arrays):
        array = np.ascontiguousarray(arrays[key])
        digest.update(f"{key} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
