"""Catalogue of encoders: networks, preprocessing, licences and pretraining cohorts.

Cards can be read without torch. An encoder pretrained, without labels, on slides of a project or
hospital may have adapted to their stain and scanner, so that results on the same patients may be
optimistic; overlaps with the cohort are reported.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from crosstype.errors import ConfigError

Pooling = Literal["pool", "cls", "cls+mean"]
Interpolation = Literal["bilinear", "bicubic"]
RGB = tuple[float, float, float]

IMAGENET_MEAN: RGB = (0.485, 0.456, 0.406)
IMAGENET_STD: RGB = (0.229, 0.224, 0.225)
OPTIMUS_MEAN: RGB = (0.707223, 0.578729, 0.703617)
OPTIMUS_STD: RGB = (0.211883, 0.230117, 0.177517)
HIBOU_MEAN: RGB = (0.7068, 0.5755, 0.722)
HIBOU_STD: RGB = (0.195, 0.2316, 0.1816)

UNVERIFIED = (
    "Network and normalisation follow the authors' published description; the weights could not "
    "be downloaded where this was written, so features were not compared with the authors'."
)


@dataclass(frozen=True, kw_only=True)
class EncoderCard:
    """Description of an encoder: network, preprocessing, licence and pretraining data.

    Attributes:
        name: as in `[features] encoder`.
        source: repository on the Hugging Face hub that holds the weights.
        architecture: timm's name of the network; `ctranspath` is built on timm's Swin.
        arguments: of the network, other than timm's defaults; `mlp_layer` and `act_layer` by name.
        n_features: features per tile.
        input_px: width and height of the network's input; None: any tile size.
        resize_px: width and height to which a tile is resized before the centre crop of `input_px`;
            None if `input_px` is None.
        interpolation: of resizing.
        mean: per channel (red, green, blue), of values between 0 and 1.
        std: the same.
        mpp: recommended micrometres per pixel of the tile.
        pooling: `pool` the mean over positions; `cls` the class token; `cls+mean` the class token
            and the mean of the patch tokens, one after the other.
        licence: of the weights.
        gated: whether the hub requires an account, consent and a token.
        pretraining_cohorts: data of pretraining, without labels. Results on patients of the same
            cohort may be optimistic.
        note: further remarks.
    """

    name: str
    source: str
    architecture: str
    arguments: Mapping[str, object] = field(default_factory=dict, hash=False)
    n_features: int
    input_px: int | None = 224
    resize_px: int | None = 224
    interpolation: Interpolation = "bicubic"
    mean: RGB = IMAGENET_MEAN
    std: RGB = IMAGENET_STD
    mpp: float = 0.5
    pooling: Pooling = "cls"
    licence: str
    gated: bool
    pretraining_cohorts: tuple[str, ...]
    note: str = UNVERIFIED


SWIGLU: dict[str, object] = {"mlp_layer": "swiglu", "act_layer": "silu"}

_CARDS = (
    EncoderCard(
        name="resnet50",
        source="timm/resnet50.tv_in1k",
        architecture="resnet50",
        n_features=2048,
        input_px=None,
        resize_px=None,
        interpolation="bilinear",
        pooling="pool",
        licence="BSD-3-Clause",
        gated=False,
        pretraining_cohorts=("ImageNet-1k",),
        note="torchvision's first ImageNet weights (timm's bare name `resnet50` is another set); "
        "the mean over layer4. Any tile size; trained on photographs, not tissue.",
    ),
    EncoderCard(
        name="ctranspath",
        source="1aurent/swin_tiny_patch4_window7_224.CTransPath",
        architecture="ctranspath",
        n_features=768,
        pooling="pool",
        licence="GPL-3.0",
        gated=False,
        pretraining_cohorts=("TCGA", "PAIP"),
        note=f"Has seen TCGA. Swin-T with a convolutional stem. {UNVERIFIED}",
    ),
    EncoderCard(
        name="uni",
        source="MahmoodLab/UNI",
        architecture="vit_large_patch16_224",
        arguments={"init_values": 1e-5},
        n_features=1024,
        interpolation="bilinear",
        licence="CC-BY-NC-ND-4.0",
        gated=True,
        pretraining_cohorts=("Mass General Brigham", "GTEx"),
    ),
    EncoderCard(
        name="uni2-h",
        source="MahmoodLab/UNI2-h",
        architecture="vit_giant_patch14_224",
        arguments={
            **SWIGLU,
            "depth": 24,
            "num_heads": 24,
            "init_values": 1e-5,
            "embed_dim": 1536,
            "mlp_ratio": 2.66667 * 2,
            "no_embed_class": True,
            "reg_tokens": 8,
        },
        n_features=1536,
        interpolation="bilinear",
        licence="CC-BY-NC-ND-4.0",
        gated=True,
        pretraining_cohorts=("Mass General Brigham",),
    ),
    EncoderCard(
        name="virchow2",
        source="paige-ai/Virchow2",
        architecture="vit_huge_patch14_224",
        arguments={
            **SWIGLU,
            "init_values": 1e-5,
            "mlp_ratio": 5.3375,
            "reg_tokens": 4,
            "global_pool": "",
        },
        n_features=2560,
        pooling="cls+mean",
        licence="CC-BY-NC-ND-4.0",
        gated=True,
        pretraining_cohorts=("Memorial Sloan Kettering",),
    ),
    EncoderCard(
        name="h-optimus-0",
        source="bioptimus/H-optimus-0",
        architecture="vit_giant_patch14_reg4_dinov2",
        arguments={"img_size": 224, "init_values": 1e-5},
        n_features=1536,
        interpolation="bilinear",
        mean=OPTIMUS_MEAN,
        std=OPTIMUS_STD,
        licence="Apache-2.0",
        gated=True,
        pretraining_cohorts=("proprietary (Bioptimus)",),
    ),
    EncoderCard(
        name="h-optimus-1",
        source="bioptimus/H-optimus-1",
        architecture="vit_giant_patch14_reg4_dinov2",
        arguments={"img_size": 224, "init_values": 1e-5},
        n_features=1536,
        interpolation="bilinear",
        mean=OPTIMUS_MEAN,
        std=OPTIMUS_STD,
        licence="CC-BY-NC-ND-4.0",
        gated=True,
        pretraining_cohorts=("proprietary (Bioptimus)",),
    ),
    EncoderCard(
        name="prov-gigapath",
        source="prov-gigapath/prov-gigapath",
        architecture="vit_giant_patch14_dinov2",
        arguments={
            "img_size": 224,
            "patch_size": 16,
            "embed_dim": 1536,
            "depth": 40,
            "num_heads": 24,
            "mlp_ratio": 5.33334,
            "init_values": 1e-5,
        },
        n_features=1536,
        resize_px=256,
        licence="Apache-2.0",
        gated=True,
        pretraining_cohorts=("Providence",),
        note=f"The tile encoder only; its input is the middle 224 of 256 px. {UNVERIFIED}",
    ),
    EncoderCard(
        name="phikon-v2",
        source="owkin/phikon-v2",
        architecture="vit_large_patch16_224",
        arguments={"init_values": 1e-5},
        n_features=1024,
        licence="Owkin non-commercial",
        gated=False,
        pretraining_cohorts=("TCGA", "CPTAC", "GTEx", "other public cohorts"),
        note=f"Has seen TCGA and CPTAC. {UNVERIFIED}",
    ),
    EncoderCard(
        name="hibou-b",
        source="histai/hibou-b",
        architecture="vit_base_patch14_reg4_dinov2",
        arguments={**SWIGLU, "img_size": 224, "mlp_ratio": 4096 / 768},
        n_features=768,
        mean=HIBOU_MEAN,
        std=HIBOU_STD,
        licence="Apache-2.0",
        gated=True,
        pretraining_cohorts=("proprietary (HistAI)",),
    ),
    EncoderCard(
        name="hibou-l",
        source="histai/hibou-L",
        architecture="vit_large_patch14_reg4_dinov2",
        arguments={**SWIGLU, "img_size": 224, "mlp_ratio": 5472 / 1024},
        n_features=1024,
        mean=HIBOU_MEAN,
        std=HIBOU_STD,
        licence="Apache-2.0",
        gated=True,
        pretraining_cohorts=("proprietary (HistAI)",),
    ),
)

ENCODERS: Mapping[str, EncoderCard] = {card.name: card for card in _CARDS}
"""Supported encoders by name. CONCH is not supported: timm has no network with its pooling."""


def encoder_card(name: str) -> EncoderCard:
    """Return an encoder's card.

    Raises:
        ConfigError: there is no encoder of that name; the nearest is named.
    """
    if name in ENCODERS:
        return ENCODERS[name]
    near = difflib.get_close_matches(name.lower().replace("_", "-"), ENCODERS, n=1, cutoff=0.4)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    known = ", ".join(sorted(ENCODERS))
    raise ConfigError(f"[features] encoder: found {name!r}, expected one of {known}.{hint}")


ELSEWHERE: dict[str, tuple[str, ...]] = {
    "hipt_vit256": ("TCGA",),
    "hipt": ("TCGA",),
    "hipt_4k": ("TCGA",),
    "kimianet": ("TCGA",),
    "retccl": ("TCGA", "PAIP"),
    "ctranspath": ("TCGA", "PAIP"),
    "chief": ("TCGA", "PAIP"),
    "chief_ctranspath": ("TCGA", "PAIP"),
    "lunit_vits8": ("TCGA", "TULIP"),
    "phikon": ("TCGA",),
    "phikon_v2": ("TCGA", "CPTAC", "GTEx"),
    "virchow": ("Memorial Sloan Kettering",),
    "conch": ("Mass General Brigham", "PubMed Central"),
    "conch_v1": ("Mass General Brigham", "PubMed Central"),
    "conch_v15": ("Mass General Brigham", "PubMed Central"),
    "uni_v1": ("Mass General Brigham", "GTEx"),
    "uni_v2": ("Mass General Brigham",),
    "gigapath": ("Providence",),
    "kaiko_vitb8": ("TCGA",),
    "kaiko_vits8": ("TCGA",),
    "kaiko_vitb16": ("TCGA",),
    "kaiko_vits16": ("TCGA",),
    "kaiko_vitl14": ("TCGA",),
    "midnight12k": ("TCGA", "GTEx", "CPTAC"),
    "gpfm": ("TCGA", "CPTAC", "GTEx"),
    "musk": ("TCGA",),
    "resnet50_imagenet": ("ImageNet-1k",),
    "resnet18_imagenet": ("ImageNet-1k",),
    "colour_texture": (),
}
"""Pretraining cohorts of encoders in other tools' feature files, as published by their authors."""

POOLED = re.compile(r"(_(region|slide|tile))?_(mean|max)$")
"""Suffixes of an encoder's name in files of pooled features."""

PROJECTS = {
    "TCGA": re.compile(r"^TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}", re.IGNORECASE),
    "CPTAC": re.compile(r"^(C3[LN]-\d{5}|\d{2}BR\d{3}|CPT\d{6,})", re.IGNORECASE),
    "GTEx": re.compile(r"^GTEX-", re.IGNORECASE),
}
"""Patterns of patient ids of public projects."""
WARNING = "Warning: "


def pretraining_cohorts(encoder: str) -> tuple[str, ...] | None:
    """Return the pretraining cohorts of an encoder; None if unknown."""
    plain = POOLED.sub("", _plain(encoder))
    for name, card in ENCODERS.items():
        if _plain(name) == plain:
            return card.pretraining_cohorts
    return ELSEWHERE.get(plain)


def projects_of(patient_ids: Sequence[str]) -> Counter[str]:
    """Return the number of patients of each public project, by their ids."""
    return Counter(
        project for one in patient_ids for project, ids in PROJECTS.items() if ids.match(one)
    )


def pretraining_note(encoder: str, patient_ids: Sequence[str]) -> str:
    """Return a sentence on whether the encoder was pretrained on the cohort; a warning if so."""
    seen = pretraining_cohorts(encoder)
    if seen is None:
        named = f"encoder {encoder!r}" if encoder else "the encoder, which no file names,"
        return f"it is not known on which slides {named} was trained"
    overlap = {name: n for name, n in projects_of(patient_ids).items() if name in seen}
    if not overlap:
        where = ", ".join(seen) if seen else "no data"
        return f"encoder {encoder!r} was trained on {where}: none of the cohort, by its names"
    shared = ", ".join(f"{n} of {len(patient_ids)} patients are {p}'s" for p, n in overlap.items())
    return (
        f"{WARNING}encoder {encoder!r} was trained, without labels, on slides of "
        f"{', '.join(overlap)}, and {shared}. Its results may be too high; this cohort is not "
        "external to it."
    )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
