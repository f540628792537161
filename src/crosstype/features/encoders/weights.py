"""Weights of encoders: reading, download, conversion to timm's names, loading into a network.

Downloaded files and files of the user are read in the same way, so that the same weights have the
same SHA-256. timm is imported with a workaround: a torchvision built for CUDA fails on import with
a CPU-only torch, since its two compiled operators for box suppression are not registered. Encoders
do not need them; declaring their schemas lets torchvision and timm be imported.
"""

import importlib
import logging
import pickle
import re
import struct
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from crosstype.errors import EncoderError
from crosstype.features.encoders.catalog import EncoderCard

Weights = dict[str, torch.Tensor]

PICKLED = (".pth", ".pt", ".bin")
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
"""Names of files of weights on the hub, the preferred format first."""

WRAPPERS = ("state_dict", "model", "teacher")
"""Keys of the weights in checkpoints of training frameworks."""

UNUSED = re.compile(
    r"^(fc|head|classifier)\.|(^|\.)mask_token$|attn_mask$|relative_position_index$"
)
"""Classifier heads, which are not used for features, and buffers that the network computes."""

HF_DINOV2 = (
    (r"^(dinov2|model)\.", ""),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.register_tokens$", "reg_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^encoder\.layer\.", "blocks."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
    (r"\.mlp\.weights_in\.", ".mlp.fc1."),
    (r"\.mlp\.weights_out\.", ".mlp.fc2."),
    (r"^layernorm\.", "norm."),
)
"""Names of DINOv2 in the transformers library, and the names in timm."""


def read_weights(path: Path) -> Weights:
    """Read weights as float32; no code in the file is executed.

    Args:
        path: `.safetensors`, or `.pth`, `.pt`, `.bin` as torch saves them, in any float precision.

    Raises:
        EncoderError: no such file, another format, damaged, code inside, or NaN among the weights.
    """
    if not path.is_file():
        raise EncoderError(f"{path}: there is no such file. Name the file of the weights.")
    if path.suffix == ".safetensors":
        content: object = _read_safetensors(path)
    elif path.suffix in PICKLED:
        content = _read_pickled(path)
    else:
        raise EncoderError(f"{path.name}: expected a .safetensors or .pth file of weights.")
    weights = _unwrapped(content)
    if not weights:
        raise EncoderError(f"{path.name}: holds no weights. Give a file of named tensors.")
    for name, value in weights.items():
        if not bool(torch.isfinite(value).all()):
            raise EncoderError(f"{path.name}: NaN or infinite numbers in {name}. Get it again.")
    return weights


def _read_safetensors(path: Path) -> object:
    import safetensors
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise EncoderError(f"{path.name}: is damaged or no safetensors file. Get it again.") from (
            error
        )


def _read_pickled(path: Path) -> object:
    # Exceptions of torch's unpickler for files that are not tensors.
    corruption = (pickle.UnpicklingError, struct.error, LookupError, TypeError, ValueError)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of unusual pickles, which it refuses
            return torch.load(path, map_location="cpu", weights_only=True)
    except (*corruption, AttributeError, AssertionError, OSError, RuntimeError, EOFError) as error:
        raise EncoderError(
            f"{path.name}: holds more than weights, or is damaged; code in it was not run. "
            "Save the bare state dict, best as safetensors."
        ) from error


def _unwrapped(content: object) -> Weights:
    """Return the named tensors of a checkpoint, floating-point ones as float32."""
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping):
        return {}
    return {
        str(name).removeprefix("module."): value.float() if value.is_floating_point() else value
        for name, value in content.items()
        if isinstance(value, torch.Tensor)
    }


def as_timm(weights: Weights) -> Weights:
    """Return weights under timm's names, without classifier heads.

    Accepts names of timm and torchvision, of the original Swin (with a stage's downsampling in the
    stage before) and of DINOv2 in the transformers library.
    """
    if any(name.endswith("embeddings.cls_token") for name in weights):
        weights = _from_transformers(weights)
    if "layers.0.downsample.reduction.weight" in weights:
        weights = {
            re.sub(r"^layers\.(\d)\.downsample", _next_stage, name): value
            for name, value in weights.items()
        }
    return {name: value for name, value in weights.items() if not UNUSED.search(name)}


def _next_stage(match: re.Match[str]) -> str:
    return f"layers.{int(match.group(1)) + 1}.downsample"


def _from_transformers(weights: Weights) -> Weights:
    """Return DINOv2's weights under timm's names: query, key and value in one matrix."""
    renamed: Weights = {}
    for name, value in weights.items():
        for pattern, replacement in HF_DINOV2:
            name = re.sub(pattern, replacement, name)  # noqa: PLW2901
        renamed[name] = value
    for name in [name for name in renamed if ".attention.attention.query." in name]:
        parts = [
            renamed.pop(name.replace("query", part), None) for part in ("query", "key", "value")
        ]
        found = [part for part in parts if part is not None]
        renamed[name.replace("attention.attention.query", "attn.qkv")] = torch.cat(found)
    if {"reg_token", "pos_embed", "cls_token"} <= set(renamed):
        # Registers have no position; in timm the class token includes its position.
        renamed["cls_token"] = renamed["cls_token"] + renamed["pos_embed"][:, :1]
        renamed["pos_embed"] = renamed["pos_embed"][:, 1:]
    return renamed


def fill(network: torch.nn.Module, weights: Weights, where: str) -> None:
    """Load weights into a network; names and shapes must match exactly.

    Raises:
        EncoderError: a name is missing or unknown, or an array has another shape.
    """
    expected = network.state_dict()
    counters = {name for name in expected if name.endswith("num_batches_tracked")}
    missing = sorted(set(expected) - set(weights) - counters)
    unknown = sorted(set(weights) - set(expected))
    if missing or unknown:
        found = [f"lacks {_some(missing)}"] * bool(missing)
        found += [f"has the unknown {_some(unknown)}"] * bool(unknown)
        raise EncoderError(f"{where}: {' and '.join(found)}. These are another network's weights.")
    for name, value in weights.items():
        if value.shape != expected[name].shape:
            raise EncoderError(
                f"{where}: {name} has shape {tuple(value.shape)}, expected "
                f"{tuple(expected[name].shape)}. These are another network's weights."
            )
    # Assigned, not copied, so that a large network is not in memory twice.
    network.load_state_dict(weights, strict=False, assign=True)


def _some(names: list[str], most: int = 3) -> str:
    """Return the first names and the number of others, as text."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def download_weights(card: EncoderCard) -> Path:
    """Return the file of an encoder's weights from the Hugging Face hub, or its local cache.

    Raises:
        EncoderError: no connection and nothing cached, or the hub asks for consent and a token,
            or it has no such file.
    """
    from huggingface_hub import errors, hf_hub_download

    instead = 'or set [features] weights = "FILE" to a safetensors or .pth file of them'
    for file_name in HUB_FILES:
        try:
            with _quiet("huggingface_hub"):
                return Path(hf_hub_download(card.source, file_name))
        except errors.RemoteEntryNotFoundError:
            continue
        except (errors.GatedRepoError, errors.RepositoryNotFoundError) as error:
            raise EncoderError(
                f"{card.name}: access to {card.source} on the hub is denied. Accept its licence "
                f"({card.licence}) at https://huggingface.co/{card.source} and set HF_TOKEN to "
                f"your token, {instead}."
            ) from error
        except errors.LocalEntryNotFoundError as error:
            raise EncoderError(
                f"{card.name}: no weights were given, and {card.source} cannot be downloaded: no "
                f"connection to the Hugging Face hub. Connect once, {instead}."
            ) from error
        except OSError as error:
            reason = str(error).strip().splitlines()[:1]
            raise EncoderError(
                f"{card.name}: {card.source} cannot be downloaded ({''.join(reason)[:160]}). Try "
                f"again, {instead}."
            ) from error
    raise EncoderError(
        f"{card.name}: {card.source} holds none of {', '.join(HUB_FILES)}. Download the weights "
        f"yourself, and set [features] weights to their file."
    )


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Suppress a library's warnings; its failure is reported as one error."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


MISSING_OPERATOR = "operator torchvision::nms does not exist"
"""The error that the workaround handles; others are raised."""

SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
OPERATORS = ("nms", "qnms")

_kept_libraries: list[Any] = []
"""Registered schemas exist as long as their library object."""


def import_torchvision() -> ModuleType:
    """Import torchvision; if its compiled operators are missing, declare them first.

    `torchvision.ops.nms` and `torchvision.io` remain unusable then.

    Raises:
        ImportError: torchvision is not installed.
        RuntimeError: torchvision fails for another reason than the missing operators.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if MISSING_OPERATOR not in str(error):
            raise
    _declare_operators()
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
    return importlib.import_module("torchvision")


def import_timm() -> ModuleType:
    """Import timm, after `import_torchvision`.

    Raises:
        ImportError: timm or torchvision is not installed.
        RuntimeError: torchvision fails for another reason than the missing operators.
    """
    import_torchvision()
    return importlib.import_module("timm")


def _declare_operators() -> None:
    """Declare the schemas of torchvision's compiled operators, without an implementation."""
    import torch

    library: Any = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in OPERATORS:
        library.define(name + SCHEMA)
    _kept_libraries.append(library)
