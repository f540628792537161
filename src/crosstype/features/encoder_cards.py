"""The encoders that turn tiles into features, each with what a user must know before using it.

No network is imported here: cards can be read, checked and printed without torch.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
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
    """One encoder: the network, what it expects of a tile, and whose data and terms stand behind.

    Attributes:
        name: as in `[features] encoder`.
        source: repository on the Hugging Face hub that holds the weights.
        architecture: timm's name of the network; `ctranspath` is built on timm's Swin.
        arguments: what the network is built with beyond timm's defaults; `mlp_layer` and
            `act_layer` by name.
        n_features: numbers per tile.
        input_px: width and height that the network sees; None: the tile as it comes.
        resize_px: width and height to which a tile is resized before its centre of `input_px` is
            cut out; None where `input_px` is None.
        interpolation: of that resizing.
        mean: per channel (red, green, blue), of values between 0 and 1.
        std: the same.
        mpp: recommended micrometres per pixel of the tile.
        pooling: `pool` the mean over positions; `cls` the class token; `cls+mean` the class token
            and the mean of the patch tokens, one after the other.
        licence: of the weights.
        gated: whether the hub asks for an account, consent and a token.
        pretraining_cohorts: data that the network has seen. Results on patients of the same
            cohort may flatter it, although no label was seen.
        note: what else to know.
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
        "the mean over layer4. Any tile size; knows photographs, no tissue.",
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
        note=f"The tile encoder only; sees the middle 224 of 256 px. {UNVERIFIED}",
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
"""Every encoder offered, by name. CONCH is not among them: timm has no network for its pooling."""


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
