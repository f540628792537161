"""Attention of every tile, and its contribution to the ridge base model.

Attention is the mean over the networks of all models in which the patient was out of fold. It
counts in the prediction in proportion to the residual weight. A tile's contribution to the base
model, in logits, always counts.

Contributions are exact shares of tile mean and tile spread.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float

from crosstype.explain.contributions import PredictedLogits
from crosstype.explain.out_of_fold import HeldOut
from crosstype.training.fit import Prepared
from crosstype.training.preprocessing import Preparation

Bag = Float[np.ndarray, "tiles features"]


def tile_contributions(
    bag: Bag, weight: Float[np.ndarray, " columns"], preparation: Preparation
) -> Float[np.ndarray, " tiles"]:
    """Return each tile's contribution to the base model's image part, in logits.

    A mean over tiles is a sum of tiles. A standard deviation is one too: of squared distances to
    the bag's mean, over the deviation. Both are counted against the training mean.

    Args:
        bag: raw features of all tiles of a patient.
        weight: of each column of the standardised summary (tile means, then tile spreads).
        preparation: how the summary is standardised.
    """
    values = bag.astype(np.float64)
    n_tiles, n_features = values.shape
    per_column = weight / preparation.summary_scale
    centre = values.mean(axis=0)
    away = (values - centre) ** 2
    spread = np.sqrt(away.mean(axis=0))
    share = np.divide(away, spread, out=np.zeros_like(away), where=spread > 0)
    mean = preparation.summary_mean.astype(np.float64)
    total = (values - mean[:n_features]) @ per_column[:n_features]
    total += (share - mean[n_features:]) @ per_column[n_features:]
    found: np.ndarray = total / n_tiles
    return found


AT_ONCE_BYTES = 1 << 27
PerTile = Float[np.ndarray, " tiles"]


@dataclass
class PatientAttention:
    """Attention over one patient's tiles; sums until `mean`.

    Attributes:
        attention: of each tile; sums to 1.
        contribution: of each tile to the base model's logit; sums to its image part. None
            if there is no base model.
        n_models: number of networks.
        tokens: attention of each gene token, in the first repeat; sums to 1.
        n_base_models: number of base models.
    """

    attention: PerTile
    contribution: PerTile | None = None
    n_models: int = 0
    tokens: dict[str, PerTile] = field(default_factory=dict)
    n_base_models: int = 0

    def mean(self) -> PatientAttention:
        """Return means in place of sums; tokens are means already."""
        contribution = self.contribution
        if contribution is not None:
            contribution = contribution / max(1, self.n_base_models)
        attention = self.attention / max(1, self.n_models)
        return PatientAttention(
            attention, contribution, self.n_models, self.tokens, self.n_base_models
        )


class Attention:
    """Attention of one model's networks, by patient."""

    def __init__(self, model: str) -> None:
        """Begin with nothing."""
        self.model = model
        self._looked: dict[str, PatientAttention] = {}

    def add(self, held: HeldOut, predicted: PredictedLogits) -> None:
        """Add one fold's test patients; those without an image, or of models without attention."""
        classifier, patients = held.classifier, held.patients
        prepared = Prepared(patients, classifier.preparation, imputed=classifier.imputed)
        shown = np.flatnonzero([one is not None for one in patients.bag_of])
        for rows in prepared.batches(shown, AT_ONCE_BYTES):
            batch = prepared.batch(rows)
            with torch.no_grad():
                outputs = [network(batch) for network in classifier.networks]
            if outputs[0].tile_attention is None:
                return
            sums = sum(one.tile_attention.double() for one in outputs)
            tokens = _token_attention(held, [one.gene_attention for one in outputs])
            for place, row in enumerate(rows.tolist()):
                n_tiles = int(batch.tile_mask[place].sum())
                one = self._of(patients.ids[row], n_tiles)
                one.attention += sums[place, :n_tiles].numpy()
                one.n_models += len(outputs)
                if held.job.repeat == 0:
                    one.tokens = {
                        name: values[place, :n_tiles].numpy() for name, values in tokens.items()
                    }
                self._add_contribution(held, predicted, row)

    def patients(self) -> Iterator[tuple[str, PatientAttention]]:
        """Yield each patient with an image, and their mean attention."""
        for patient in sorted(self._looked):
            yield patient, self._looked[patient].mean()

    def __bool__(self) -> bool:
        """Return whether there is any patient."""
        return bool(self._looked)

    def _of(self, patient: str, n_tiles: int) -> PatientAttention:
        return self._looked.setdefault(patient, PatientAttention(np.zeros(n_tiles)))

    def _add_contribution(self, held: HeldOut, predicted: PredictedLogits, row: int) -> None:
        """Add each tile's contribution, towards the patient's class as attributions are."""
        if predicted.base_model is None or not predicted.base_model.image_weight.shape[2]:
            return
        weight = predicted.base_model.image_weight[row]
        if len(weight) == 1:
            towards = weight[0]
        else:
            towards = weight[held.patients.targets[row]] - weight.mean(axis=0)
        shown = held.patients.bag_of[row]
        assert shown is not None
        bag = held.patients.bags.read(shown)
        found = tile_contributions(bag, towards, held.classifier.preparation)
        one = self._looked[held.patients.ids[row]]
        one.contribution = found if one.contribution is None else one.contribution + found
        one.n_base_models += 1


def _token_attention(
    held: HeldOut, each: list[torch.Tensor | None]
) -> dict[str, Float[torch.Tensor, "patients tiles"]]:
    """Return the attention of each gene token: gene sets in the mean of the fold's networks.

    A learned program is one network's own, and another's of the same number is another thing; so
    programs are the first network's.
    """
    known = [one for one in each if one is not None]
    if not known:
        return {}
    names = held.classifier.set_names
    mean = torch.stack(known).mean(dim=0)
    found = {name: mean[:, place] for place, name in enumerate(names)}
    for place in range(len(names), known[0].shape[1]):
        found[f"program_{place - len(names) + 1:02d}"] = known[0][:, place]
    return found


def rank_of(values: PerTile) -> np.ndarray:
    """Return the rank of each tile, 1 for the highest; ties by place."""
    rank = np.empty(len(values), dtype=np.int64)
    rank[np.argsort(-values, kind="stable")] = np.arange(1, len(values) + 1)
    return rank
