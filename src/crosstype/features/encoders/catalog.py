"""Catalogue of encoders: networks, preprocessing, licences and pretraining cohorts.

Cards can be read without torch. An encoder pretrained, without labels, on slides of a project or
hospital may have adapted to their stain and scanner, so that results on the same patients may be
optimistic; overlaps with the cohort are reported.
"""

import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from crosstype.errors import ConfigError

Pooling = Literal["pool", "cls", "cls+mean"]
Interpolation = Literal["bilinear", "bicubic"]
RGB = tuple[float, float, float]

IMAGENET_MEAN: RGB = (0.485, 0.456, 0.406)
IMAGENET_STD: RGB = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
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
        pooling: `pool` the mean over positions; `cls` the class token; `cls+mean` the class token
            and the mean of the patch tokens, one after the other.
        licence: of the weights.
        pretraining_cohorts: data of pretraining, without labels. Results on patients of the same
            cohort may be optimistic.
    """

    name: str
    source: str
    architecture: str
    n_features: int
    pretraining_cohorts: tuple[str, ...]
    licence: str
    arguments: Mapping[str, object] = field(default_factory=dict, hash=False)
    input_px: int | None = 224
    resize_px: int | None = 224
    interpolation: Interpolation = "bicubic"
    mean: RGB = IMAGENET_MEAN
    std: RGB = IMAGENET_STD
    pooling: Pooling = "cls"


SCALED: dict[str, object] = {"init_values": 1e-5}
SWIGLU: dict[str, object] = {"mlp_layer": "swiglu", "act_layer": "silu"}
VIT_LARGE = "vit_large_patch16_224"

_uni = partial(EncoderCard, licence="CC-BY-NC-ND-4.0", interpolation="bilinear")
_optimus = partial(
    EncoderCard,
    architecture="vit_giant_patch14_reg4_dinov2",
    n_features=1536,
    pretraining_cohorts=("proprietary (Bioptimus)",),
    arguments={**SCALED, "img_size": 224},
    interpolation="bilinear",
    mean=(0.707223, 0.578729, 0.703617),
    std=(0.211883, 0.230117, 0.177517),
)
_hibou = partial(
    EncoderCard,
    pretraining_cohorts=("proprietary (HistAI)",),
    licence="Apache-2.0",
    mean=(0.7068, 0.5755, 0.722),
    std=(0.195, 0.2316, 0.1816),
)

# But for resnet50, network and normalisation follow the authors' published description; the
# weights could not be downloaded where this was written, so features were not compared with the
# authors'.
# The hub asks for an account, consent and a token for all but resnet50, ctranspath and phikon-v2.
# Tiles of about 0.5 um per pixel are recommended for each.
_CARDS = (
    # torchvision's first ImageNet weights (timm's bare name `resnet50` is another set); the mean
    # over layer4. Any tile size; trained on photographs, not tissue.
    EncoderCard(
        name="resnet50",
        source="timm/resnet50.tv_in1k",
        architecture="resnet50",
        n_features=2048,
        pretraining_cohorts=("ImageNet-1k",),
        licence="BSD-3-Clause",
        input_px=None,
        resize_px=None,
        interpolation="bilinear",
        pooling="pool",
    ),
    # Has seen TCGA. Swin-T with a convolutional stem.
    EncoderCard(
        name="ctranspath",
        source="1aurent/swin_tiny_patch4_window7_224.CTransPath",
        architecture="ctranspath",
        n_features=768,
        pretraining_cohorts=("TCGA", "PAIP"),
        licence="GPL-3.0",
        pooling="pool",
    ),
    _uni(
        name="uni",
        source="MahmoodLab/UNI",
        architecture=VIT_LARGE,
        n_features=1024,
        pretraining_cohorts=("Mass General Brigham", "GTEx"),
        arguments=SCALED,
    ),
    _uni(
        name="uni2-h",
        source="MahmoodLab/UNI2-h",
        architecture="vit_giant_patch14_224",
        n_features=1536,
        pretraining_cohorts=("Mass General Brigham",),
        arguments={
            **SWIGLU,
            **SCALED,
            "depth": 24,
            "num_heads": 24,
            "embed_dim": 1536,
            "mlp_ratio": 2.66667 * 2,
            "no_embed_class": True,
            "reg_tokens": 8,
        },
    ),
    EncoderCard(
        name="virchow2",
        source="paige-ai/Virchow2",
        architecture="vit_huge_patch14_224",
        n_features=2560,
        pretraining_cohorts=("Memorial Sloan Kettering",),
        licence="CC-BY-NC-ND-4.0",
        arguments={**SWIGLU, **SCALED, "mlp_ratio": 5.3375, "reg_tokens": 4, "global_pool": ""},
        pooling="cls+mean",
    ),
    _optimus("h-optimus-0", "bioptimus/H-optimus-0", licence="Apache-2.0"),
    _optimus("h-optimus-1", "bioptimus/H-optimus-1", licence="CC-BY-NC-ND-4.0"),
    # The tile encoder only; its input is the middle 224 of 256 px.
    EncoderCard(
        name="prov-gigapath",
        source="prov-gigapath/prov-gigapath",
        architecture="vit_giant_patch14_dinov2",
        n_features=1536,
        pretraining_cohorts=("Providence",),
        licence="Apache-2.0",
        arguments={
            **SCALED,
            "img_size": 224,
            "patch_size": 16,
            "embed_dim": 1536,
            "depth": 40,
            "num_heads": 24,
            "mlp_ratio": 5.33334,
        },
        resize_px=256,
    ),
    # Has seen TCGA and CPTAC.
    EncoderCard(
        name="phikon-v2",
        source="owkin/phikon-v2",
        architecture=VIT_LARGE,
        n_features=1024,
        pretraining_cohorts=("TCGA", "CPTAC", "GTEx", "other public cohorts"),
        licence="Owkin non-commercial",
        arguments=SCALED,
    ),
    _hibou(
        name="hibou-b",
        source="histai/hibou-b",
        architecture="vit_base_patch14_reg4_dinov2",
        n_features=768,
        arguments={**SWIGLU, "img_size": 224, "mlp_ratio": 4096 / 768},
    ),
    _hibou(
        name="hibou-l",
        source="histai/hibou-L",
        architecture="vit_large_patch14_reg4_dinov2",
        n_features=1024,
        arguments={**SWIGLU, "img_size": 224, "mlp_ratio": 5472 / 1024},
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
