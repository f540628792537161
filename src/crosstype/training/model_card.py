"""The model card: what an artefact is, by whom it was taught and how it is used, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from crosstype.features.encoder_cards import ENCODERS
from crosstype.features.pretraining import pretraining_cohorts
from crosstype.terms import Modality
from crosstype.training.artefact import Artefact, uses_of

UNKNOWN_ENCODER = "not known to crosstype: ask whoever made the features"


def model_card(artefact: Artefact, path: Path) -> str:
    """Return the card of an artefact that lies at `path`; no time and no folder stands in it."""
    name, taught = artefact.classifier.name, artefact.taught
    uses = uses_of(name)
    lines = [
        f"# {path.name}",
        "",
        "**For research use only.** Not for diagnosis or treatment. No patient's data or id is in "
        "the file, but the SHA-256 of each training patient's id is; whoever knows an id can tell "
        "whether it is among them.",
        "",
        f"- Model: `{name}`, fitted by crosstype {artefact.crosstype}; it looks at "
        f"{' and '.join(sorted(uses)) or 'nothing'}.",
        f"- Classes: {', '.join(artefact.classes)}"
        + (f"; {artefact.classes[1]} is the positive one." if len(artefact.classes) == 2 else "."),
        f"- {_calling(artefact)}",
        "",
        "## Taught by",
        "",
        f"{taught.n_patients} patients with slides and expression"
        f"{_beside(taught.one_modality)}; {_counts(taught.classes)}.",
        f"Sites: {_counts({one or 'unknown': n for one, n in taught.sites.items()})}.",
        f"Labels: {taught.provenance}.",
        f"Protocol {taught.protocol}, seed {taught.seed}.",
        *(["**The patients are made up.**"] if taught.synthetic else []),
        "",
        "## What it needs",
        "",
        *_needs(artefact),
        "",
        "## How to use",
        "",
        *(f"    {line}" for line in _commands(artefact, path)),
        "",
        "## Limits",
        "",
        *_limits(artefact),
        "",
        "## Inputs, SHA-256",
        "",
        *(f"- {key}: `{value}`" for key, value in sorted(taught.inputs.items())),
    ]
    return "\n".join(lines) + "\n"


def _calling(artefact: Artefact) -> str:
    calibration = artefact.classifier.calibration
    said = f"Temperature {calibration.temperature:.4g} where data are whole"
    if calibration.threshold is not None:
        return f"{said}; {artefact.classes[1]} is called above {calibration.threshold:.4g}."
    return f"{said}; an offset per class is added before the highest is called."


def _beside(one_modality: Mapping[str, int]) -> str:
    some = [f"{n} with {one} only" for one, n in one_modality.items() if n]
    return f", and {', '.join(some)}" if some else ""


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counts.items())


def _needs(artefact: Artefact) -> list[str]:
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
        "- Validated on nobody yet by this file: its figures come from `crosstype run` on the same "
        "patients, or from `crosstype validate` on others.",
        "- Probabilities hold for a cohort with about the same shares of the classes, the same "
        "assay and the same staining and scanning; `validate` writes the shift of each input.",
    ]
    if Modality.GENES in uses_of(artefact.classifier.name) and "RNA" in artefact.taught.provenance:
        lines.append(
            "- The labels were computed from expression, which the model sees: its agreement with "
            "them is no agreement with an outcome or with immunohistochemistry."
        )
    if not artefact.masks:
        lines.append("- Missing genes are imputed with the training cohort's, not masked.")
    return lines
