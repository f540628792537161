"""On whose slides an encoder was trained, and whether the cohort's patients are among them.

No label was seen there, but a network that has seen a hospital's or a project's slides may know
their stain and scanner, so that results on the same patients may flatter it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from crosstype.features.encoder_cards import ENCODERS

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
"""Encoders of other tools' feature files, as their authors describe them, beside `ENCODERS`."""

POOLED = re.compile(r"(_(region|slide|tile))?_(mean|max)$")
"""What files add to an encoder's name when they hold means of its features."""

PROJECTS = {
    "TCGA": re.compile(r"^TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}", re.IGNORECASE),
    "CPTAC": re.compile(r"^(C3[LN]-\d{5}|\d{2}BR\d{3}|CPT\d{6,})", re.IGNORECASE),
    "GTEx": re.compile(r"^GTEX-", re.IGNORECASE),
}
"""How the patients of public projects are named."""
WARNING = "Warning: "


def pretraining_cohorts(encoder: str) -> tuple[str, ...] | None:
    """Return the data that an encoder was trained on; None where that is not known."""
    plain = POOLED.sub("", _plain(encoder))
    for name, card in ENCODERS.items():
        if _plain(name) == plain:
            return card.pretraining_cohorts
    return ELSEWHERE.get(plain)


def projects_of(patient_ids: Sequence[str]) -> Counter[str]:
    """Return how many patients are of each public project, by their names."""
    return Counter(
        project for one in patient_ids for project, ids in PROJECTS.items() if ids.match(one)
    )


def pretraining_note(encoder: str, patient_ids: Sequence[str]) -> str:
    """Return in one sentence whether the encoder has seen the cohort; a warning if it has."""
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
        f"{', '.join(overlap)}, and {shared}. Image results may flatter it; this cohort is not "
        "external to it."
    )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
