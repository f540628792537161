"""Permutation importance: the loss if a gene's values are permuted among out-of-fold patients.

An alternative to attributions (Breiman 2001, Random forests). It does not use
gradients, so that where both agree, neither is an artefact of its own making.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from crosstype.explain.contributions import BATCH_BYTES, VALUES_AT_ONCE, PredictedLogits, with_genes
from crosstype.explain.out_of_fold import HeldOut
from crosstype.models.network import Batch
from crosstype.training.fit import Prepared
from crosstype.training.linear.base_model import base_model_inputs

Genes = Int[np.ndarray, " chosen"]
Donors = Int[np.ndarray, "patients chosen"]


@dataclass(frozen=True)
class Permuted:
    """Effect of permuting each chosen gene on one fold's test patients.

    Attributes:
        loss: mean rise of their log loss, in nats; below 0 where the gene misled.
        change: mean absolute change of their logits.
    """

    loss: Float[np.ndarray, " chosen"]
    change: Float[np.ndarray, " chosen"]


def permuted(
    held: HeldOut, predicted: PredictedLogits, chosen: Genes, n_draws: int, rng: np.random.Generator
) -> Permuted:
    """Permute each of these kept genes between test patients who have it, several times.

    Standardised values are permuted, so that one gene alone changes.

    Args:
        held: a model and its test patients.
        predicted: the model's logits of them.
        chosen: places among the kept genes.
        n_draws: how often.
        rng: chance.
    """
    prepared = Prepared(held.patients, held.classifier.preparation, imputed=held.classifier.imputed)
    targets = held.patients.targets
    plain = log_loss(predicted.logits[:, :, None], targets)
    loss, change = np.zeros((2, len(chosen)))
    for _ in range(n_draws):
        donors = _assigned(~np.isnan(prepared.genes[:, chosen]), rng)
        moved = _moved(held, prepared, predicted, chosen, donors)
        loss += (log_loss(predicted.logits[:, :, None] + moved, targets) - plain).mean(axis=0)
        change += np.abs(moved).mean(axis=(0, 1))
    return Permuted(loss / n_draws, change / n_draws)


def log_loss(
    logits: Float[np.ndarray, "patients logits chosen"], targets: Int[np.ndarray, " patients"]
) -> Float[np.ndarray, "patients chosen"]:
    """Return each patient's log loss; one logit is the positive (second) class's."""
    if logits.shape[1] == 1:
        sign = np.where(targets == 1, -1.0, 1.0)[:, None]
        loss: np.ndarray = np.logaddexp(0, sign * logits[:, 0])
        return loss
    total = np.logaddexp.reduce(logits, axis=1)
    own: np.ndarray = total - logits[np.arange(len(targets)), targets]
    return own


def _assigned(measured: Bool[np.ndarray, "patients chosen"], rng: np.random.Generator) -> Donors:
    """Return the donor of each patient's value of each gene; missing values stay missing."""
    n_patients, n_chosen = measured.shape
    keys = rng.random((n_patients, n_chosen))
    donors = np.argsort(keys, axis=0)
    for column in np.flatnonzero(~measured.all(axis=0)):
        rows = np.flatnonzero(measured[:, column])
        donors[:, column] = np.arange(n_patients)
        donors[rows, column] = rng.permutation(rows)
    return donors


def _moved(
    held: HeldOut, prepared: Prepared, predicted: PredictedLogits, chosen: Genes, donors: Donors
) -> Float[np.ndarray, "patients logits chosen"]:
    """Return by how much each patient's logits move for each gene that is permuted."""
    columns = np.arange(len(chosen))
    moved = np.zeros((len(prepared), predicted.logits.shape[1], len(chosen)))
    if predicted.base_model is not None and held.classifier.base_model is not None:
        start = held.classifier.base_model
        inputs, _ = base_model_inputs(held.patients, held.classifier.preparation, start.uses)
        inputs = np.nan_to_num(inputs[:, chosen])
        away = inputs[donors, columns] - inputs
        moved += predicted.base_model.gene_weight[:, :, chosen] * away[:, None, :]
    weighted = np.flatnonzero(predicted.residual_weight > 0)
    if len(weighted):
        values = np.nan_to_num(prepared.genes[:, chosen])[donors, columns]
        for rows in prepared.batches(weighted, BATCH_BYTES):
            by_networks = _network_moves(held, prepared.batch(rows), chosen, values[rows])
            moved[rows] += predicted.residual_weight[rows][:, None, None] * by_networks
    return moved


def _network_moves(
    held: HeldOut, batch: Batch, chosen: Genes, values: Float[np.ndarray, "patients chosen"]
) -> Float[np.ndarray, "patients logits chosen"]:
    """Return by how much the networks' mean logits move, several genes at a time."""
    n_patients = len(batch.genes)
    step = max(1, VALUES_AT_ONCE // max(1, batch.tiles.numel()))
    permuted_values = torch.from_numpy(values.astype(np.float32))
    moves = []
    with torch.no_grad():
        for first in range(0, len(chosen), step):
            some = chosen[first : first + step]
            genes = batch.genes.repeat(len(some), 1)
            for place, gene in enumerate(some.tolist()):
                rows = slice(place * n_patients, (place + 1) * n_patients)
                genes[rows, gene] = permuted_values[:, first + place]
            total = torch.zeros((), dtype=torch.float64)
            for network in held.classifier.networks:
                now = with_genes(network, batch)(genes).double()
                plain = network(batch).logits.double()
                total = total + now.view(len(some), n_patients, -1) - plain
            moves.append((total / len(held.classifier.networks)).permute(1, 2, 0).numpy())
    return np.concatenate(moves, axis=2)
