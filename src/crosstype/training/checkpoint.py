"""A fitted classifier as one safetensors file: arrays, JSON header, and a checksum over both."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from crosstype.errors import CheckpointError
from crosstype.files import replacing
from crosstype.models.baselines import BASELINES
from crosstype.models.catalog import NETWORKS
from crosstype.models.spec import ModelSpec
from crosstype.training.classifiers import BaselineClassifier, Classifier
from crosstype.training.network_classifier import NetworkClassifier
from crosstype.training.stacking import LateClassifier

FORMAT_VERSION = "1"
HEADER_KEY = "crosstype"


def make_classifier(name: str) -> Classifier:
    """Return an unfitted classifier of that name; raises KeyError for an unknown one."""
    if name in NETWORKS:
        return NetworkClassifier(name)
    if name in BASELINES:
        return BaselineClassifier(name)
    if name == "late":
        return LateClassifier()
    raise KeyError(name)


def save_classifier(classifier: Classifier, path: Path, model: ModelSpec) -> None:
    """Write a fitted classifier; the same classifier gives the same bytes."""
    arrays, settings = classifier.state()
    arrays = {key: np.ascontiguousarray(arrays[key]) for key in sorted(arrays)}
    about = {"name": classifier.name, "settings": settings, "model": vars(model)}
    header: dict[str, Any] = {"format": "crosstype", "version": FORMAT_VERSION, "about": about}
    header["sha256"] = _digest(arrays, header)
    # One key only: safetensors writes several in an order drawn by chance.
    metadata = {HEADER_KEY: json.dumps(header, sort_keys=True)}
    with replacing(path) as temporary:
        temporary.write_bytes(save(arrays, metadata))


def load_classifier(path: Path) -> Classifier:
    """Read a classifier; raises CheckpointError if it is damaged or of another version."""
    arrays, header = _read(path)
    if header.get("format") != "crosstype" or header.get("version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{path.name}: found format {header.get('format')!r} version "
            f"{header.get('version')!r}, expected 'crosstype' version {FORMAT_VERSION!r}. "
            "Train the model again with this version."
        )
    if header.pop("sha256", None) != _digest(arrays, header):
        raise CheckpointError(
            f"{path.name}: the checksum does not match its contents, so the file was damaged or "
            "changed. Train the model again."
        )
    about = header["about"]
    classifier = make_classifier(about["name"])
    classifier.restore(arrays, about["settings"], ModelSpec(**about["model"]))
    return classifier


def read_header(path: Path) -> dict[str, Any]:
    """Return a checkpoint's header, its checksum included, without checking it.

    Raises:
        CheckpointError: it is no safetensors file of ours.
    """
    return _read(path)[1]


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    try:
        raw = path.read_bytes()
        arrays = load(raw)
        size = int.from_bytes(raw[:8], "little")
        metadata = json.loads(raw[8 : 8 + size]).get("__metadata__", {})
        header = json.loads(metadata.get(HEADER_KEY, "{}"))
    except (OSError, SafetensorError, ValueError) as fault:
        raise CheckpointError(
            f"{path.name}: cannot be read as a safetensors file ({fault}). Train the model again."
        ) from fault
    return arrays, header if isinstance(header, dict) else {}


def _digest(arrays: dict[str, np.ndarray], header: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for key in sorted(arrays):
        array = np.ascontiguousarray(arrays[key])
        digest.update(f"{key} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
