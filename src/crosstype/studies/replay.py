"""Replay of a published protocol: the effect of each of its faults on the result.

Protocol paper with the published models first; then each fault mended by itself; then all of them,
trained as published; then strict. Source of the faults: the public code of arXiv 2503.02849.
"""

from dataclasses import replace
from pathlib import Path

from crosstype.config.run_spec import RunSpec
from crosstype.expression.matrix import load_expression
from crosstype.models.catalog import (
    LOGISTIC_GENES,
    MENDED_CONCAT,
    MENDED_CROSS_ATTENTION,
    PAPER_CONCAT,
    PAPER_CROSS_ATTENTION,
)
from crosstype.progress import Progress
from crosstype.protocol import protocol_named
from crosstype.studies.variants import FOLDER, Contrast, Study, Variant, with_features
from crosstype.workflow.pipeline import run as run_pipeline
from crosstype.workflow.stage import Run

PAPER, STRICT = protocol_named("paper"), protocol_named("strict")
MODELS = (PAPER_CONCAT, PAPER_CROSS_ATTENTION)
MENDED = {PAPER_CONCAT: MENDED_CONCAT, PAPER_CROSS_ATTENTION: MENDED_CROSS_ATTENTION}

FAULTS = {
    "stratified": ("folds hold the classes in the cohort's shares", {"stratified": True}),
    "scaler": (
        "preprocessing is fitted on training patients",
        {"preprocessing_on_everyone": False},
    ),
    "validation": ("training stops on inner patients", {"validation_is_test": False}),
    "outliers": ("values outside the quartile fences are kept", {"remove_outliers": False}),
    "log": ("no second logarithm", {"log_again": False}),
}
"""By variant: the correction, and the settings of the protocol."""

ALL_MENDED = replace(STRICT, name="strict, trained as published", published_training=True)


def replay(spec: RunSpec, out: Path, progress: Progress) -> Study:
    """Return the runs and rows of the replay.

    Args:
        spec: cohort, features, folds' seed and repeats; its protocol and models do not matter.
        out: folder of the study; slides are extracted into it.
        progress: of the extraction.
    """
    pixels = spec.slides.folder is not None
    published = _encoded(spec, "none" if pixels else spec.features.normalisation)
    plain = with_features(published, out / "colours_as_they_come" if pixels else out, progress)
    proper = with_features(_encoded(spec, "encoder"), out, progress) if pixels else plain
    first = Variant("paper", _under(plain, "paper"))
    variants = [first]
    rows = [_row("paper", "as published", "paper", model) for model in (*MODELS, LOGISTIC_GENES)]
    absent = _without_effect(first, out, progress)
    for name, (about, change) in FAULTS.items():
        why = absent.get(name, "")
        protocol = replace(PAPER, name=f"paper, {name} mended", **change)
        variants.append(Variant(name, first.spec, protocol))
        found = [_row(name, about, name, model, "paper") for model in MODELS]
        rows += [replace(one, absent=why) for one in found]
    rows += [_connected(model) for model in MODELS]
    rows += [_normalised(model, pixels=pixels) for model in MODELS]
    if pixels:
        variants.append(Variant("normalisation", _under(proper, "paper")))
    variants += [
        Variant("all", _under(proper, "strict"), ALL_MENDED),
        Variant("strict", _under(proper, "strict")),
    ]
    return Study(out, variants, [*rows, *_last_rows()])


def _without_effect(first: Variant, out: Path, progress: Progress) -> dict[str, str]:
    """Return the faults that these data cannot have, each with the reason."""
    place = out / FOLDER / first.name
    run_pipeline(Run(first.spec, place, 1, progress), last="cohort")
    if load_expression(place / "expression.npz").unit == "linear":
        return {"log": "the table's values are linear, so that the logarithm is the first"}
    return {}


def _last_rows() -> list[Contrast]:
    """Return the rows without leaks."""
    rows = []
    for model, mended in MENDED.items():
        rows += [
            _row("all", "every fault above mended, trained as published", "all", model, "paper"),
            _row("all + image", "the same, image connected", "all", mended, "paper", model),
            _row("strict", "protocol strict, trained as we train", "strict", model, "paper"),
            _row("strict + image", "the same, image connected", "strict", mended, "paper", model),
        ]
    return [*rows, _row("strict", "protocol strict", "strict", LOGISTIC_GENES, "paper")]


def _encoded(spec: RunSpec, normalisation: str) -> RunSpec:
    features = replace(spec.features, normalisation=normalisation)  # type: ignore[arg-type]
    return replace(spec, features=features)


def _under(spec: RunSpec, protocol: str) -> RunSpec:
    return replace(spec, folds=replace(spec.folds, protocol=protocol))  # type: ignore[arg-type]


def _row(
    step: str, about: str, variant: str, model: str, against: str = "", as_model: str = ""
) -> Contrast:
    """Return the row of one model at one step, compared with the same model at another."""
    reference = as_model or model
    name = f"{step}: {reference}"
    return Contrast(name, about, variant, model, f"{against}: {reference}" if against else "")


def _connected(model: str) -> Contrast:
    """Return the row where only the image is connected."""
    about = {
        PAPER_CONCAT: "the head sees the image's vector too",
        PAPER_CROSS_ATTENTION: "eight gene tokens in place of one",
    }[model]
    return _row("image", about, "paper", MENDED[model], "paper", model)


def _normalised(model: str, *, pixels: bool) -> Contrast:
    """Return the row where only the colours are normalised."""
    about = "colours are normalised as the encoder was trained"
    row = _row("normalisation", about, "normalisation", model, "paper")
    absent = "" if pixels else "the features were given, so that there are no pixels to normalise"
    return replace(row, absent=absent)
