"""A damaged checkpoint is one clear error, never another model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from crosstype.errors import CheckpointError
from crosstype.training.checkpoint import (
    HEADER_KEY,
    load_classifier,
    make_classifier,
    read_header,
    save_classifier,
)
from crosstype.training.classifier import Split, TrainingRecipe
from crosstype.training.patients import Patients


@pytest.fixture(scope="module")
def checkpoint(
    tmp_path_factory: pytest.TempPathFactory,
    make_patients: Callable[..., Patients],
    make_splits: Callable[..., list[Split]],
    make_recipe: Callable[..., TrainingRecipe],
) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "model.safetensors"
    classifier, recipe = make_classifier("gene_only"), make_recipe()
    classifier.fit(make_splits(make_patients(12)), recipe)
    save_classifier(classifier, path, recipe.model)
    return path


def refused(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(CheckpointError) as raised:
        load_classifier(path)
    message = str(raised.value)
    assert message.startswith(path.name)
    assert message.count("\n") == 0
    return message


def test_truncated_files_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    whole = checkpoint.read_bytes()
    for kept in (0, 1, 7, 8, 100, len(whole) // 2, len(whole) - 1):
        refused(tmp_path / "x.safetensors", whole[:kept])
    refused(tmp_path / "x.safetensors", whole + b"\0")


@pytest.mark.parametrize("part", ["length", "header", "weights"])
def test_a_flipped_bit_is_noticed(checkpoint: Path, tmp_path: Path, part: str) -> None:
    whole = checkpoint.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    low, high = {"length": (0, 8), "header": (8, header), "weights": (header, len(whole))}[part]
    rng = np.random.default_rng(4)
    for _ in range(20):
        place, bit = int(rng.integers(low, high)), int(rng.integers(8))
        damaged = bytearray(whole)
        damaged[place] ^= 1 << bit
        refused(tmp_path / "x.safetensors", bytes(damaged))


@pytest.mark.long
def test_any_flipped_bit_of_the_header_is_noticed(checkpoint: Path, tmp_path: Path) -> None:
    whole = checkpoint.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    for place in range(header):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            refused(tmp_path / "x.safetensors", bytes(damaged))


def test_other_files_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    for data in (b"PK\x03\x04" + bytes(100), b"{}", bytes(8), save({"a": np.zeros(2)})):
        refused(path, data)
    with pytest.raises(CheckpointError, match=r"absent\.safetensors"):
        load_classifier(tmp_path / "absent.safetensors")


def test_another_version_is_refused_by_name(checkpoint: Path, tmp_path: Path) -> None:
    header = json.dumps(read_header(checkpoint) | {"version": "999"})
    other = save(load_file(checkpoint), {HEADER_KEY: header})
    message = refused(tmp_path / "x.safetensors", other)
    assert "999" in message
    assert "Train the model again" in message


def test_other_weights_under_the_same_header_are_noticed(checkpoint: Path, tmp_path: Path) -> None:
    about = {HEADER_KEY: json.dumps(read_header(checkpoint))}
    arrays = load_file(checkpoint)
    key = next(key for key, value in arrays.items() if value.ndim == 2 and value.size)
    changed = arrays | {key: arrays[key] + 1}
    assert "checksum" in refused(tmp_path / "x.safetensors", save(changed, about))
