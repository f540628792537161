"""The known answer is found, and with shuffled labels it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .planted import N_PLANTED, explained, n_found, plant, shuffled, tile_auroc


def test_planted_tiles_and_genes_are_named(
    tmp_path: Path, make_recipe: Any, make_splits: Any
) -> None:
    planted = plant(tmp_path)
    attributions, attention = explained(planted, make_recipe, make_splits)
    assert n_found(attributions) >= 9
    # The ridge base model decides here, and a tile's contribution is a term of its logit.
    assert attributions.residual_weight == 0
    assert tile_auroc(attention, planted, "contribution") >= 0.9
    assert attributions.gap < 1e-6
    # Permutation asks another question (what is lost, not what was added), and by chance would name
    # one of the ten among its first twenty. Losses of 24 patients are noisy.
    table = attributions.gene_table(None)
    first = set(table["gene"][:N_PLANTED])
    by_change, by_loss = (
        set(table.sort(f"permutation_{name}", descending=True)["gene"][:20])
        for name in ("change", "loss")
    )
    assert len(first & by_change) >= 9
    assert len(first & by_loss) >= 5
    agreement = attributions.agreement()
    assert agreement["change"] > 0.9
    assert agreement["loss"] > 0.1


@pytest.mark.long
def test_networks_alone_name_planted_genes(
    tmp_path: Path, make_recipe: Any, make_splits: Any
) -> None:
    planted = plant(tmp_path, 120)
    how = {"start": "zero", "corruption": 0.0, "learning_rate": 0.003}
    attributions, _ = explained(planted, make_recipe, make_splits, **how)
    assert attributions.residual_weight == 1
    assert n_found(attributions) >= 9
    assert attributions.gap < 0.01


@pytest.mark.parametrize("n_shuffles", [pytest.param(30, marks=pytest.mark.long)])
def test_with_shuffled_labels_both_fall_to_chance(
    tmp_path: Path, make_recipe: Any, make_splits: Any, n_shuffles: int
) -> None:
    planted = plant(tmp_path)
    maps, found, towards = [], [], []
    for seed in range(n_shuffles):
        one = shuffled(planted, seed)
        attributions, attention = explained(one, make_recipe, make_splits, seed=seed)
        maps.append([tile_auroc(attention, one, name) for name in ("attention", "contribution")])
        found.append(n_found(attributions))
        named = attributions.gene_table(None).sort("gene")
        towards.append(np.sign(named["slope_Basal"].to_numpy()).mean())
    # One shuffle may rank planted tiles first or last, for they differ from the others whatever the
    # labels; over many neither is likelier. Genes that move together weigh more under any labels.
    error = np.std(maps, axis=0, ddof=1) / np.sqrt(n_shuffles)
    assert (np.abs(np.mean(maps, axis=0) - 0.5) < 3 * error + 0.02).all()
    assert np.mean(found) <= 4
    assert max(found) < 9
    assert abs(np.mean(towards)) < 0.5
