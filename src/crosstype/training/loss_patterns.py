"""One function per way to lose expression: test patients in, the same patients with less out.

What is lost depends on the seed, the loss and what `Known` holds of training patients and tables;
never on the model, on labels of test patients, or on anyone else among them.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from crosstype.cohort.linear_scale import median_ratios
from crosstype.training.bags import Patients
from crosstype.training.loss_tables import Known, Loss

Seed = tuple[int, int, int]
"""The run's seed, repeat and fold."""
PANEL_SIZE = 21


def lose_each(patients: Patients, loss: Loss, known: Known, seed: Seed) -> Patients:  # noqa: ARG001
    """Each patient loses a share of the genes, drawn for him alone."""
    return without_share(patients, loss.level, np.random.default_rng([*seed, *loss.place]))


def without_share(patients: Patients, share: float, chance: np.random.Generator) -> Patients:
    """Return the patients without that share of the genes, each without genes of his own."""
    genes = patients.genes.copy()
    n_lost = round(share * genes.shape[1])
    order = np.argsort(chance.random(genes.shape), axis=1)[:, :n_lost]
    np.put_along_axis(genes, order, np.nan, axis=1)
    return patients.with_genes(genes)


def lose_same(patients: Patients, loss: Loss, known: Known, seed: Seed) -> Patients:  # noqa: ARG001
    """All patients, of every fold, lose the same share of the genes."""
    order = _drawn_genes(patients, loss, seed)
    return _without(patients, order[: round(loss.level * len(order))])


def add_noise(patients: Patients, loss: Loss, known: Known, seed: Seed) -> Patients:
    """Gaussian noise on amounts: standard deviation level x the gene's mean in training patients.

    Amounts below the lowest of the scale, 0, become the lowest.
    """
    if not loss.level:
        return patients
    chance = np.random.default_rng([*seed, *loss.place])
    noise = chance.standard_normal(patients.genes.shape) * loss.level * known.mean_amounts
    return patients.with_genes(known.scale.values(known.scale.amounts(patients.genes) + noise))


def mix_normal_like(
    patients: Patients,
    loss: Loss,
    known: Known,
    seed: Seed,  # noqa: ARG001
) -> Patients:
    """Amounts become (1 - level) x the patient's own + level x the normal-like profile's."""
    if not loss.level:
        return patients
    own = known.scale.amounts(patients.genes)
    mixed = (1 - loss.level) * own + loss.level * known.normal_like_amounts
    return patients.with_genes(known.scale.values(mixed))


def keep_panel(patients: Patients, loss: Loss, known: Known, seed: Seed) -> Patients:
    """Only the genes of the 21-gene panel are measured, or 21 genes drawn for all patients."""
    panel = known.tables.panel
    if panel is not None:
        return _without(patients, np.flatnonzero(~panel))
    return _without(patients, _drawn_genes(patients, loss, seed)[PANEL_SIZE:])


def withhold_pam50(
    patients: Patients,
    loss: Loss,
    known: Known,
    seed: Seed,  # noqa: ARG001
) -> Patients:
    """A share of the genes is lost, the most telling first: see `Known.telling_order`.

    Where the table has PAM50 genes they are lost all together, however small the share.
    """
    pam50 = known.tables.pam50
    n_lost = round(loss.level * patients.genes.shape[1])
    if pam50 is not None and loss.level:
        n_lost = max(n_lost, int(pam50.sum()))
    return _without(patients, known.telling_order[:n_lost])


def take_other_assay(
    patients: Patients,
    loss: Loss,  # noqa: ARG001
    known: Known,
    seed: Seed,  # noqa: ARG001
) -> Patients:
    """Expression is another assay's, as it comes; patients that it did not measure are not given.

    Genes that it did not measure are lost.
    """
    patients, amounts = _by_other_assay(patients, known)
    if known.tables.unit == "zscore":
        return patients.with_genes(amounts.astype(np.float32))
    return patients.with_genes(known.scale.values(amounts))


def take_other_assay_scaled(
    patients: Patients,
    loss: Loss,  # noqa: ARG001
    known: Known,
    seed: Seed,  # noqa: ARG001
) -> Patients:
    """The same, each patient multiplied by one number so that it lies where training patients do.

    The number is the median, over genes, of the training patients' median amount by the patient's
    own (after the median of ratios, Anders & Huber 2010). Nothing else of the assay is corrected.
    """
    patients, amounts = _by_other_assay(patients, known)
    factors = median_ratios(amounts, known.median_amounts)
    return patients.with_genes(known.scale.values(amounts * factors[:, None]))


def _by_other_assay(
    patients: Patients, known: Known
) -> tuple[Patients, Float64[np.ndarray, "found genes"]]:
    """Return those patients whom the other assay measured, and its amounts or z-scores."""
    other = known.tables.other
    assert other is not None
    row_of = {patient: row for row, patient in enumerate(other.patient_ids)}
    there = [patient for patient in patients.ids if patient in row_of]
    values = other.values[[row_of[patient] for patient in there]]
    return patients.select(there), values.astype(np.float64)


def _drawn_genes(patients: Patients, loss: Loss, seed: Seed) -> np.ndarray:
    """Return genes in an order that is drawn for all patients of all folds of a repeat."""
    chance = np.random.default_rng([*seed[:2], *loss.place])
    return chance.permutation(patients.genes.shape[1])


def _without(patients: Patients, columns: np.ndarray) -> Patients:
    genes = patients.genes.copy()
    genes[:, columns] = np.nan
    return patients.with_genes(genes)
