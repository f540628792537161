"""`predict`: new patients served by a fitted model, from either modality or both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from crosstype.cohort.cohort import LeftOut
from crosstype.errors import CohortError, ConfigError, UsageError
from crosstype.new_slides_stage import find_shown
from crosstype.offer import Offer, Shown
from crosstype.progress import Watcher
from crosstype.tables import write_table
from crosstype.terms import Modality

if TYPE_CHECKING:
    from crosstype.cohort.new_patients import NewExpression
    from crosstype.training.artefact import Artefact
    from crosstype.training.bags import Patients

LEAST_MASKED, LEAST_IMPUTED = 0.05, 0.5
"""Least share of a model's genes that a patient must have. Networks and late mask what is missing:
with a twentieth of the genes their AUROC was .975 (docs/decisions/0005-lost-genes.md). Baselines
impute it, which pretends to be data."""
MOST_SHIFT = 1.0
"""Standard deviations by which the median gene of all new patients may lie off training's."""
AT_ONCE = 64
"""Patients that are predicted before it is said how far it is."""
LEAST_GENES_TO_COMPARE = 50
"""Fewer genes say nothing of the level of a table."""


@dataclass(frozen=True)
class Served:
    """What a model says of new patients.

    Attributes:
        patients: who was served, sorted, as the model saw them.
        probabilities: patients x classes.
        called: number of the class that each is called.
        modalities: `image`, `genes` or `image+genes`: what each was judged by.
        left_out: everyone else who was offered, and why.
        faults: feature files or slides that could not be used.
    """

    patients: Patients
    probabilities: np.ndarray
    called: np.ndarray
    modalities: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    faults: tuple[str, ...]


def predict(artefact: Artefact, offer: Offer, watcher: Watcher) -> Served:
    """Predict every new patient whom the model can serve.

    A patient with too few of the model's genes is served by the image alone if the model sees
    images; otherwise he is left out.

    Raises:
        UsageError: nothing that the model looks at is offered.
        CrosstypeError: a table or features are of another kind than the model's; nobody is served.
    """
    shown = find_shown(artefact, offer, watcher)
    measured = _measured(artefact, offer, watcher)
    return serve(artefact, offer, (measured, shown), watcher)


def serve(
    artefact: Artefact,
    offer: Offer,
    found: tuple[NewExpression | None, Shown],
    watcher: Watcher,
) -> Served:
    """Predict the patients of tables that were read; as `predict`."""
    measured, shown = found
    rows, thin = _enough_genes(artefact, offer, measured, watcher)
    if measured is not None and rows:
        _check_level(artefact, measured, rows, watcher)
    left_out = _left_out(artefact, (measured, shown), rows, thin)
    out = {one.patient_id for one in left_out}
    served = sorted(({*rows} | {*shown.files}) - out)
    patients = _patients(artefact, served, measured, (rows, shown.files))
    probabilities = _probabilities(artefact, patients, watcher)
    parts = [
        "+".join(
            str(one)
            for one, there in ((Modality.IMAGE, p in shown.files), (Modality.GENES, p in rows))
            if there
        )
        for p in served
    ]
    _warn_of_teachers(artefact, served, watcher)
    called = artefact.classifier.calibration.choose(probabilities)
    return Served(patients, probabilities, called, tuple(parts), left_out, shown.faults)


def write_served(served: Served, artefact: Artefact, out: Path) -> None:
    """Write predictions, and who could not be served beside them; raise if that is everyone.

    Raises:
        CohortError: nobody was served; the list of who was not is written all the same.
    """
    from crosstype.cohort.cohort import write_left_out

    beside = out.with_name(f"{out.name}.left_out.csv")
    write_left_out(beside, served.left_out)
    if not served.patients.ids:
        first = served.left_out[0] if served.left_out else None
        why = f"; {first.patient_id}: {first.reason}" if first else ""
        raise CohortError(
            f"{out.name}: nobody can be served{why}. {beside.name} lists everyone with a reason."
        )
    columns = {
        "patient_id": list(served.patients.ids),
        "model": [artefact.classifier.name] * len(served.patients),
        "predicted": [artefact.classes[one] for one in served.called],
    }
    each = {
        f"probability_{name}": served.probabilities[:, number].tolist()
        for number, name in enumerate(artefact.classes)
    }
    write_table(out, pl.DataFrame(columns | each | {"modalities": list(served.modalities)}))


def _measured(artefact: Artefact, offer: Offer, watcher: Watcher) -> NewExpression | None:
    """Return the expression that is offered."""
    if offer.expression is None and offer.features is None and offer.slides is None:
        raise UsageError("nothing to predict from. Give --expression, --features or --slides.")
    seen = _wanted(artefact)
    if offer.expression is None or artefact.genes is None:
        if artefact.genes is None and offer.expression is not None:
            watcher.say(f"{artefact.classifier.name} does not look at genes; they are not read")
        if not ((offer.features or offer.slides) and artefact.features is not None) and not (
            offer.expression and artefact.genes is not None
        ):
            raise UsageError(
                f"{artefact.classifier.name} looks at {' and '.join(seen)}, and none of that is "
                f"given. Give {' or '.join(OPTIONS[one] for one in seen)}."
            )
        return None
    from crosstype.cohort.new_patients import read_new_expression

    if not offer.expression.exists():
        raise ConfigError(f"--expression: found {str(offer.expression)!r}, which is not there.")
    watcher.start("genes", 1)
    found = read_new_expression(offer.expression, offer.reading, artefact.genes)
    watcher.step(f"{len(found.patient_ids)} patients")
    for note in found.notes:
        watcher.say(note if note.startswith(offer.expression.name) else f"genes: {note}")
    kept = {p: why for p, why in found.reasons.items() if offer.concerns(p)}
    return replace(found, reasons=kept)


OPTIONS = {Modality.GENES: "--expression", Modality.IMAGE: "--features or --slides"}


def _wanted(artefact: Artefact) -> list[Modality]:
    held = ((Modality.IMAGE, artefact.features), (Modality.GENES, artefact.genes))
    return [one for one, has in held if has is not None]


def _shares(artefact: Artefact, measured: NewExpression) -> np.ndarray:
    """Return which share of the model's genes each patient has, 0 to 1."""
    assert artefact.genes is not None
    used = slice(None) if artefact.genes.set_names else artefact.preparation.kept
    shares: np.ndarray = measured.measured[:, used].mean(axis=1)
    return shares


def _enough_genes(
    artefact: Artefact, offer: Offer, measured: NewExpression | None, watcher: Watcher
) -> tuple[dict[str, int], dict[str, str]]:
    """Return the rows of patients with enough genes, and why others are not judged by theirs."""
    if measured is None:
        return {}, {}
    least = offer.least_genes
    if least is None:
        least = LEAST_MASKED if artefact.masks else LEAST_IMPUTED
    shares = _shares(artefact, measured)
    rows, thin = {}, {}
    for row, (patient, share) in enumerate(zip(measured.patient_ids, shares, strict=True)):
        if not offer.concerns(patient):
            continue
        if share >= least and share > 0:
            rows[patient] = row
        else:
            thin[patient] = (
                f"has {share:.1%} of the model's genes, fewer than {least:.0%} (--least-genes)"
            )
    if thin:
        said = "they are masked" if artefact.masks else "they would be imputed"
        watcher.say(f"{len(thin)} patients have too few genes, and {said}: not judged by genes")
    return rows, thin


def _check_level(
    artefact: Artefact, measured: NewExpression, rows: Mapping[str, int], watcher: Watcher
) -> None:
    """Raise CohortError if the median gene of the new patients lies far off the training level."""
    shift = level_shift(artefact, measured.values[list(rows.values())])
    if shift is None:
        return
    watcher.say(f"level: the median gene lies {shift:+.2f} training SD off the training mean")
    assert artefact.genes is not None
    if abs(shift) <= MOST_SHIFT:
        return
    raise CohortError(
        f"expression: the median gene of {len(rows)} patients lies {shift:+.2f} training standard "
        f"deviations off the training mean, expected at most {MOST_SHIFT:g}: another unit or assay "
        f"than the model's {artefact.genes.kind}. Give a table made as the training table was, or "
        'fit the model with [expression] representation = "scaled" (docs/assays.md).'
    )


def level_shift(artefact: Artefact, values: np.ndarray) -> float | None:
    """Return the median over patients and genes of expression as the model sees it, in training SD.

    None where there are too few genes to say anything of a level.
    """
    prepared = artefact.preparation.measured_genes(values)
    there = (~np.isnan(prepared)).sum(axis=1) >= LEAST_GENES_TO_COMPARE
    if not there.any():
        return None
    return float(np.median(np.nanmedian(prepared[there], axis=1)))


def _left_out(
    artefact: Artefact,
    found: tuple[NewExpression | None, Shown],
    rows: Mapping[str, int],
    thin: Mapping[str, str],
) -> tuple[LeftOut, ...]:
    """Return whom the model cannot serve. A baseline over both must be given both."""
    measured, shown = found
    needs_all = not artefact.masks
    reasons = {} if measured is None else {**measured.reasons, **thin}
    everyone = {*rows, *reasons, *shown.files, *shown.reasons}
    left_out = []
    for patient in sorted(everyone):
        lacks_image = artefact.features is not None and patient not in shown.files
        lacks_genes = artefact.genes is not None and patient not in rows
        seen = (patient in rows) + (patient in shown.files)
        if seen and not (needs_all and (lacks_image or lacks_genes)):
            continue
        if lacks_genes and (patient in reasons or not lacks_image):
            why = reasons.get(patient, "no expression is given")
            left_out.append(LeftOut(patient, "expression", why))
        else:
            left_out.append(LeftOut(patient, "slides", shown.reasons.get(patient, "no slide")))
    return tuple(left_out)


def _patients(
    artefact: Artefact,
    served: list[str],
    measured: NewExpression | None,
    places: tuple[Mapping[str, int], Mapping[str, tuple[Path, ...]]],
) -> Patients:
    """Return these patients as the model is to see them; their targets mean nothing."""
    from crosstype.training.bags import Bags, Patients

    rows, files = places
    preparation = artefact.preparation
    genes = np.full((len(served), len(preparation.kept)), np.nan, dtype=np.float32)
    if measured is not None:
        known = [place for place, patient in enumerate(served) if patient in rows]
        genes[known] = measured.values[[rows[served[place]] for place in known]]
    return Patients(
        tuple(served),
        np.zeros(len(served), dtype=np.int64),
        artefact.classes,
        genes,
        Bags(files, len(preparation.feature_mean)),
        tuple(patient if patient in files else None for patient in served),
    )


def _probabilities(artefact: Artefact, patients: Patients, watcher: Watcher) -> np.ndarray:
    """Return what the model says, some patients at a time; patients x classes."""
    n_parts = -(-len(patients) // AT_ONCE)
    watcher.start("predict", max(1, n_parts))
    found = [np.zeros((0, len(artefact.classes)))]
    for rows in np.array_split(np.arange(len(patients)), range(AT_ONCE, len(patients), AT_ONCE)):
        if len(rows):
            found.append(np.asarray(artefact.classifier.predict(patients.take(rows))))
            watcher.step(f"{rows[-1] + 1} of {len(patients)} patients")
    return np.concatenate(found)


def _warn_of_teachers(artefact: Artefact, served: list[str], watcher: Watcher) -> None:
    """Say if patients taught the model: what it says of them is no prediction."""
    among = artefact.taught.among(served)
    if among:
        watcher.say(
            f"warning: {len(among)} of {len(served)} patients taught this model, such as "
            f"{among[0]}; what it says of them is recall and flatters it"
        )
